"""`ray up cluster/on_prem.yaml` on machines of the test's own, and what happens when one dies.

The machines see the checkout and the Python packages of this one, so these are not installed: that
is all in which the test's cluster file differs from the one in the repository, apart from names.
"""

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
import yaml

from cluster.local import free_ports
from colorgan.packages.card import list_models
from colorgan.storage import Storage, open_storage
from colorgan.training.checkpoints import Checkpoints
from tests import machines
from tests.conftest import CHECKOUT, SMALL, history_epochs, stage_scenes, summary
from tests.machines import HOST, Machine, Network
from tests.s3_server import S3Server, s3_server
from tests.serve.conftest import publish_untrained

pytestmark = [pytest.mark.slow, pytest.mark.machines]

TRAIN = ("python", "jobs/train_all.py", *SMALL)
CLASSES = ("animals", "people", "vehicles")


@dataclass
class Cluster:
    """A cluster that `ray up` made, and a person outside of it."""

    network: Network
    s3: S3Server
    storage: Storage
    config: Path
    environment: dict[str, str]
    jobs_address: str = ""
    tunnel: subprocess.Popen[bytes] | None = None
    head: Machine = field(init=False)

    def type(self, *arguments: str, timeout: float = 300) -> str:
        """A command of Python's, typed outside; returns what it prints."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=CHECKOUT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def ray(self, *arguments: str) -> str:
        """A command of Ray's, typed outside; returns what it prints."""
        return self.type("-m", "ray.scripts.scripts", *arguments)

    def up(self) -> None:
        """`ray up`, and `ray dashboard` in a terminal of its own."""
        self.down_tunnel()
        self.ray("up", "-y", str(self.config))
        (port,) = free_ports(1)
        self.jobs_address = self.environment["RAY_ADDRESS"] = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "ray.scripts.scripts", "dashboard", "--port", str(port)]
        self.tunnel = subprocess.Popen(
            [*command, str(self.config)], env=self.environment, stdout=subprocess.DEVNULL
        )
        wait_until(lambda: listens("127.0.0.1", port))
        wait_until(lambda: len(self.addresses()) == 3, 480)

    def down_tunnel(self) -> None:
        """End `ray dashboard`."""
        if self.tunnel:
            self.tunnel.terminate()
            self.tunnel.wait()

    def submit(self, *command: str) -> str:
        """Submit a job without waiting for it; returns its name."""
        output = self.ray("job", "submit", "--no-wait", "--", *command)
        found = re.search(r"raysubmit_\w+", output)
        assert found, output
        return found.group()

    def ask(self, path: str) -> Any:
        answer = requests.get(
            self.jobs_address + path,
            headers={"Authorization": f"Bearer {self.environment['RAY_AUTH_TOKEN']}"},
            timeout=30,
        )
        answer.raise_for_status()
        return answer.json()

    def log(self, job: str) -> str:
        log: str = self.ask(f"/api/jobs/{job}/logs")["logs"]
        return log

    def wait_for(self, job: str, words: str, timeout: float = 240) -> re.Match[str]:
        """Wait until a job has printed what matches."""
        deadline = time.monotonic() + timeout
        while not (found := re.search(words, log := self.log(job))):
            status = self.ask(f"/api/jobs/{job}")["status"]
            assert status in ("PENDING", "RUNNING") and time.monotonic() < deadline, log
            time.sleep(0.5)
        return found

    def finish(self, job: str, timeout: float = 400) -> str:
        """Wait for a job's end; returns its log."""
        wait_until(
            lambda: self.ask(f"/api/jobs/{job}")["status"] not in ("PENDING", "RUNNING"), timeout
        )
        log = self.log(job)
        assert self.ask(f"/api/jobs/{job}")["status"] == "SUCCEEDED", log
        return log

    def addresses(self) -> set[str]:
        """Of the nodes that Ray counts on."""
        nodes = self.ask("/api/v0/nodes?detail=1")["data"]["result"]["result"]
        return {node["node_ip"] for node in nodes if node["state"] == "ALIVE"}


def wait_until(condition: Callable[[], Any], timeout: float = 120) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it has not happened in time"
        time.sleep(0.5)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if reason := machines.missing():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("machines")
    with (
        machines.network(folder / "network", CHECKOUT) as network,
        s3_server(folder / "s3", host=HOST) as s3,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in s3.environment().items():
            patch.setenv(name, value)
        storage = open_storage(f"s3://{s3.new_bucket()}/colorgan")
        stage_scenes(storage)
        cluster = Cluster(network, s3, storage, folder / "on_prem.yaml", outside(folder, s3))
        cluster.head, *workers = (
            network.boot(name, number)
            for number, name in enumerate(("cg-head", "cg-one", "cg-two"), 1)
        )
        cluster.config.write_text(yaml.safe_dump(adapted(cluster, workers)))
        started = time.monotonic()
        try:
            cluster.up()
            say(f"ray up: three nodes after {time.monotonic() - started:.0f} s")
            yield cluster
        finally:
            cluster.down_tunnel()


def outside(folder: Path, s3: S3Server) -> dict[str, str]:
    """The variables of a person with a token, made as docs/on_prem.md says."""
    home = folder / "home"
    home.mkdir()
    environment = {"HOME": str(home), "RAY_AUTH_MODE": "token", "PATH": os.environ["PATH"]}
    command = [sys.executable, "-m", "ray.scripts.scripts", "get-auth-token", "--generate"]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    token = (home / ".ray" / "auth_token").read_text().strip()
    return {**environment, **s3.environment(), "RAY_AUTH_TOKEN": token}


def adapted(cluster: Cluster, workers: list[Machine]) -> dict[str, Any]:
    """cluster/on_prem.yaml with this network's names and addresses, and without installing."""
    config: dict[str, Any] = yaml.safe_load((CHECKOUT / "cluster" / "on_prem.yaml").read_text())
    config["provider"] |= {
        "head_ip": cluster.head.address,
        "worker_ips": [worker.address for worker in workers],
    }
    config["auth"] = {"ssh_user": "root", "ssh_private_key": str(cluster.network.key)}
    credentials = cluster.config.parent / "credentials"
    credentials.write_text(
        f"[default]\naws_access_key_id = {cluster.s3.access_key}\n"
        f"aws_secret_access_key = {cluster.s3.secret_key}\nregion = {cluster.s3.region}\n"
    )
    config["file_mounts"] = {
        "~/colorgan": str(CHECKOUT),
        "~/.ray/auth_token": cluster.environment["HOME"] + "/.ray/auth_token",
        "~/.aws/credentials": str(credentials),
    }
    *_, environment = config["setup_commands"]
    python = Path(sys.executable).parent
    for before, after in (
        ("s3://YOUR-BUCKET/colorgan", cluster.storage.uri),
        ("http://192.0.2.20:9000", cluster.s3.endpoint),
        ("$HOME/.venv/bin", str(python)),
    ):
        assert before in environment
        environment = environment.replace(before, after)
    environment = environment.replace("\nEND\n", "\nexport PYTHONPATH=$HOME/colorgan\nEND\n", 1)
    config["setup_commands"] = [environment]
    # Every machine sees all cores of this one.
    for commands in ("head_start_ray_commands", "worker_start_ray_commands"):
        config[commands] = [
            f"{command} --num-cpus=1" if "ray start" in command else command
            for command in config[commands]
        ]
    return config


class Metadata:
    """A cloud's metadata service, which tells of a spot machine's end when there is a notice."""

    def __init__(self) -> None:
        self.notice: datetime | None = None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                self.answer(200 if self.path == "/latest/api/token" else 404, "a-token")

            def do_GET(self) -> None:
                if self.headers["X-aws-ec2-metadata-token"] != "a-token":
                    self.answer(401, "")
                elif outer.notice and self.path == "/latest/meta-data/spot/instance-action":
                    time = outer.notice.strftime("%Y-%m-%dT%H:%M:%SZ")
                    self.answer(200, json.dumps({"action": "terminate", "time": time}))
                else:
                    self.answer(404, "")

            def log_message(self, *arguments: Any) -> None:
                """Say nothing."""

            def answer(self, status: int, text: str) -> None:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(text.encode())

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self.address = f"http://{HOST}:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def metadata(cluster: Cluster) -> Iterator[Metadata]:
    service = Metadata()
    yield service
    service.close()


def say(*words: object) -> None:
    """Leave a figure in the test's output: `pytest -s`."""
    print("\n--", *words, end="", flush=True)


def listens(host: str, port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(2)
        return client.connect_ex((host, port)) == 0


def test_without_the_token_nothing_answers(cluster: Cluster) -> None:
    assert requests.get(f"{cluster.jobs_address}/api/jobs/", timeout=10).status_code == 401
    assert requests.get(f"{cluster.jobs_address}/api/v0/nodes", timeout=10).status_code == 401
    # From outside the dashboard is reached by SSH alone.
    assert not listens(cluster.head.address, 8265) and listens(cluster.head.address, 10001)
    # The port of `ray://` addresses, with the ping of Ray's client.
    with grpc.insecure_channel(f"{cluster.head.address}:10001") as channel:
        call = channel.unary_unary("/ray.rpc.RayletDriver/ClusterInfo")

        def ping(token: str) -> bytes:
            metadata = [("authorization", f"Bearer {token}")]
            answer: bytes = call(b"\x08\x06", metadata=metadata, timeout=30)
            return answer

        for wrong in ("", "0" * 64):
            with pytest.raises(grpc.RpcError) as refused:
                ping(wrong)
            assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
        assert ping(cluster.environment["RAY_AUTH_TOKEN"])


def test_three_models_train_on_three_machines(cluster: Cluster) -> None:
    log = cluster.finish(cluster.submit(*TRAIN, "--run", "r", "--epochs", "3", "--router", "head"))
    assert "no --dataset: taking the newest, scenes" in log
    models = summary(cluster.storage, "r")["models"]
    assert {model["node"] for model in models} == {"10.88.0.1", "10.88.0.2", "10.88.0.3"}
    assert {card.model for card in list_models(cluster.storage)} == {*CLASSES, "router"}
    say("trained on", ", ".join(f"{model['model']} {model['node']}" for model in models))


def test_machines_that_die_and_that_are_taken_away_lose_no_more_than_promised(
    cluster: Cluster, metadata: Metadata
) -> None:
    # So many epochs that none is done before its machine has its notice, on a fast computer, too.
    options = ("--run", "deaths", "--epochs", "400", "--checkpoint-every", "40")
    job = cluster.submit(*TRAIN, *options)
    on = {
        cluster.wait_for(job, rf"(\w+): training \({address},").group(1): machine
        for machine in cluster.network.machines.values()
        for address in [re.escape(machine.address)]
    }
    by_machine = {machine.name: model for model, machine in on.items()}

    # Prometheus is told how far each is, and the machine's log has a line an epoch.
    goes, machine = by_machine["cg-one"], cluster.network.machines["cg-one"]
    gauge = rf'ray_colorgan_epoch{{[^}}]*model="{goes}"[^}}]*run="deaths"[^}}]*}} (\d+)'
    metrics = f"http://{machine.address}:8080/metrics"
    wait_until(lambda: re.search(gauge, requests.get(metrics, timeout=10).text), 60)
    logs = "cat /tmp/ray/session_latest/logs/worker-*.err"
    lines = [
        json.loads(line)
        for line in cluster.network.ssh(machine, logs).stdout.splitlines()
        if '"run": "deaths"' in line
    ]
    assert {line["model"] for line in lines} == {goes}
    assert [line["epoch"] for line in lines] == list(range(1, len(lines) + 1))

    # One is killed some epochs after its first checkpoint.
    dies = by_machine["cg-two"]
    cluster.wait_for(job, f"{dies}: epoch 46/400")
    cluster.network.machines["cg-two"].kill()
    killed = time.monotonic()

    # One gets a spot machine's notice and is gone when it has kept what it had.
    metadata.notice = datetime.now(UTC) + timedelta(seconds=90)
    spot = f". ~/.colorgan && python -m cluster.spot aws --metadata {metadata.address}"
    done = cluster.network.ssh(machine, spot)
    assert done.returncode == 0 and "telling Ray" in done.stdout, done.stderr
    checkpoints = Checkpoints(cluster.storage, f"runs/deaths/{goes}")
    wait_until(lambda: checkpoints.last() % 40, 90)  # none was due
    machine.kill()

    log = cluster.finish(job, 600)
    for model in CLASSES:
        assert history_epochs(cluster.storage, model) == list(range(1, 401)), model
    for model, what, most in ((dies, "died", 40), (goes, "was taken away", 8)):
        epochs = [int(n) for n in re.findall(rf"{model}: epoch (\d+)/400", log)]
        twice = len(epochs) - len(set(epochs))
        assert twice <= most, (model, epochs)
        say(f"{model}, whose machine {what}: {twice} epochs done twice, checkpoint every 40")
    say(f"from the first machine's death to the end of the job {time.monotonic() - killed:.0f} s")
    assert {model["node"] for model in summary(cluster.storage, "deaths")["models"]} == {
        cluster.head.address
    }


def test_machines_that_come_back_join_by_themselves(cluster: Cluster) -> None:
    for machine in list(cluster.network.machines.values()):
        if not machine.runs:
            cluster.network.reboot(machine)
    back = time.monotonic()
    wait_until(lambda: len(cluster.addresses()) == 3, 180)
    say(f"two machines were back in the cluster {time.monotonic() - back:.0f} s after their boot")


def test_a_service_outlives_a_machine(cluster: Cluster, tmp_path: Path) -> None:
    document = yaml.safe_load((CHECKOUT / "serve" / "production.yaml").read_text())
    (application,) = document["applications"]
    application["args"] |= {"storage": cluster.storage.uri, "compile": False}
    application["args"]["limits"]["timeout_s"] = 20
    for model in CLASSES:
        publish_untrained(cluster.storage, model)
    document["http_options"]["host"] = "0.0.0.0"
    for deployment in application["deployments"]:
        # So large that it takes two machines, and so small that two are enough.
        deployment["ray_actor_options"] = {"num_cpus": 0.3}
        deployment["autoscaling_config"] = {"min_replicas": 1, "max_replicas": 1}
    file = tmp_path / "service.yaml"
    file.write_text(yaml.safe_dump(document))
    cluster.type("-m", "serve.deploy", str(file), "--address", cluster.jobs_address)
    address = f"http://{cluster.head.address}:8000"
    photograph = (CHECKOUT / "serve" / "page" / "samples").glob("*.jpg")
    body = next(photograph).read_bytes()

    def ask() -> int:
        headers = {"Content-Type": "image/jpeg"}
        try:
            answer = requests.post(f"{address}/colorize", body, headers=headers, timeout=70)
        except requests.RequestException:
            return 0
        return answer.status_code

    wait_until(lambda: ask() == 200, 180)
    dies, replicas = next(
        (machine, replicas)
        for machine in cluster.network.machines.values()
        if machine is not cluster.head and (replicas := machine.processes("ServeReplica"))
    )
    dies.kill()
    killed, answers = time.monotonic(), []
    while answers[-10:] != [200] * 10 or time.monotonic() - killed < 30:
        answers.append(ask())
        assert time.monotonic() - killed < 240, answers
    failures = [status for status in answers if status != 200]
    say(
        f"a machine with {len(replicas)} of the service's replicas died: {len(failures)} of",
        f"{len(answers)} requests failed, {dict(Counter(failures))}; all well again after",
        f"{time.monotonic() - killed:.0f} s",
    )
    assert set(failures) <= {503, 504}
    cluster.network.reboot(dies)
    cluster.ray("exec", str(cluster.config), "serve shutdown -y")


def test_a_job_whose_head_died_goes_on_when_it_is_submitted_again(cluster: Cluster) -> None:
    wait_until(lambda: len(cluster.addresses()) == 3, 240)
    options = ("--run", "head", "--epochs", "40", "--checkpoint-every", "4")
    job = cluster.submit(*TRAIN, *options)
    cluster.wait_for(job, "people: epoch 6/40")
    cluster.head.kill()
    died = time.monotonic()
    cluster.head = cluster.network.reboot(cluster.head)
    cluster.up()
    again = cluster.submit(*TRAIN, *options)
    # A worker's disk runs full, besides: of /tmp nothing is left to write to.
    workers = {each.address: each for each in cluster.network.machines.values()}
    del workers[cluster.head.address]
    there = "|".join(map(re.escape, workers))
    model, address = cluster.wait_for(again, rf"(\w+): training \(({there}),").groups()
    full = workers[address]
    cluster.network.ssh(full, "head -c 5G /dev/zero > /tmp/full")
    assert cluster.network.ssh(full, "df --output=avail /tmp").stdout.split()[1] == "0"
    log = cluster.finish(again)
    assert "(going on)" in log and not re.search("people: epoch [1-4]/40", log)
    for each in CLASSES:
        assert history_epochs(cluster.storage, each) == list(range(1, 41)), each
    (node,) = {m["node"] for m in summary(cluster.storage, "head")["models"] if m["model"] == model}
    say(f"the head died: all models done {time.monotonic() - died:.0f} s later")
    say(f"{model} began on the machine whose disk ran full, {full.address}, and ended on {node}")
    cluster.network.ssh(full, "rm /tmp/full")


def test_what_docs_on_prem_says_of_tearing_down_leaves_nothing_running(cluster: Cluster) -> None:
    started = time.monotonic()
    cluster.ray("down", "-y", str(cluster.config))
    every = cluster.network.machines.values()
    wait_until(lambda: not any(machine.processes("raylet") for machine in every), 180)
    say(f"torn down on three machines in {time.monotonic() - started:.0f} s")
    assert not any(machine.processes("gcs_server") for machine in every)
