"""`ray up cluster/on_prem.yaml` on machines of the test's own, and what happens when one dies."""

import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
import requests
import yaml

from colorgan.packages.card import list_models
from colorgan.storage import open_storage
from colorgan.training.checkpoints import Checkpoints
from tests import machines
from tests.cluster.on_prem_cluster import (
    CLASSES,
    TRAIN,
    Cluster,
    Metadata,
    adapted,
    listens,
    outside,
    say,
    wait_until,
)
from tests.conftest import CHECKOUT, history_epochs, stage_scenes, summary
from tests.machines import HOST
from tests.s3_server import s3_server
from tests.serve.conftest import publish_untrained

pytestmark = [pytest.mark.slow, pytest.mark.machines]


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


@pytest.fixture
def metadata(cluster: Cluster) -> Iterator[Metadata]:
    service = Metadata()
    yield service
    service.close()


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


def test_two_workers_on_two_machines_train_one_model(cluster: Cluster) -> None:
    options = ("--models", "animals", "--epochs", "3", "--no-publish")
    trained = {}
    for run, workers in (("one-worker", "1"), ("two-workers", "2")):
        job = cluster.submit(*TRAIN, *options, "--run", run, "--workers-per-model", workers)
        cluster.finish(job)
        (trained[run],) = summary(cluster.storage, run)["models"]
    one, two = trained.values()
    assert two["status"] == "done" and len(set(two["node"].split(", "))) == 2, two
    assert two["val_l1"] == pytest.approx(one["val_l1"], abs=0.5)
    say("two workers, on", two["node"], f"{two['seconds'] / one['seconds']:.1f} times the seconds")


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
    assert "(continuing)" in log and not re.search("people: epoch [1-4]/40", log)
    results = {each["model"]: each for each in summary(cluster.storage, "head")["models"]}
    assert set(results) == set(CLASSES)
    for each in results.values():  # its packages need not be released
        assert history_epochs(cluster.storage, each["package"]) == list(range(1, 41)), each
    node = results[model]["node"]
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
