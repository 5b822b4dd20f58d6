"""A cluster of `ray up cluster/on_prem.yaml` on machines of the test's own.

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
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests
import yaml

from cluster.local import free_ports
from colorgan.storage import Storage
from tests.conftest import CHECKOUT, SMALL
from tests.machines import HOST, Machine, Network
from tests.s3_server import S3Server

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


def say(*words: object) -> None:
    """Leave a figure in the test's output: `pytest -s`."""
    print("\n--", *words, end="", flush=True)


def listens(host: str, port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(2)
        return client.connect_ex((host, port)) == 0
