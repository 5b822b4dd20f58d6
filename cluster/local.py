"""Starts a private Ray on this machine, for `make demo` and the tests."""

import contextlib
import ctypes
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psutil

from colorgan.errors import ColorganError
from colorgan.temporary import temporary_folder

SHORT = Path("/tmp")  # Ray's sockets are in its temporary folder, and their paths must be short
_LOOPBACK = "127.0.0.1"
_PR_SET_PDEATHSIG = 1  # see prctl(2)
_START_SECONDS = 300
_STOP_SECONDS = 5


@dataclass(frozen=True)
class LocalRay:
    """A running Ray.

    Attributes:
        jobs_address: address for `ray job submit`.
        address: address for `ray.init`.
        environment: environment variables that a process needs to connect, in addition to its own.
    """

    jobs_address: str
    address: str
    environment: dict[str, str]


def private_ray_environment() -> dict[str, str]:
    """Environment variables that protect a new Ray with a new token, whatever was set before."""
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        # A stopped job first saves the last epochs of its trainings.
        "RAY_JOB_STOP_WAIT_TIME_S": "120",
        # This machine is not preemptible, so no process needs to watch for a notice.
        "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    }


@contextlib.contextmanager
def local_ray(
    folder: Path,
    cpus: int | None = None,
    port: int | None = None,
    options: Sequence[str] = (),
    variables: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[LocalRay]:
    """Start a Ray in `folder`, and stop its processes, and no others, at the end.

    Args:
        folder: working directory of Ray, and therefore of the jobs submitted to it.
        cpus: number of CPUs that Ray may use; None for all of the machine's.
        port: port of the control store; None for any free port.
        options: additional options of `ray start`.
        variables: additional environment variables of Ray.

    Raises:
        ColorganError: Ray does not start; the message ends with the last lines of its log.
    """
    free_port, jobs_port, client_port, agent_port = free_ports(4)
    port = port or free_port
    jobs_address = f"http://{_LOOPBACK}:{jobs_port}"
    environment = {**private_ray_environment(), **variables}
    # `python` in a job's command must be this interpreter, even if its environment is not active.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    with temporary_folder("ray", SHORT) as temporary:
        command = [
            sys.executable,
            "-m",
            "ray.scripts.scripts",
            "start",
            "--head",
            "--block",
            f"--port={port}",
            f"--dashboard-host={_LOOPBACK}",
            f"--dashboard-port={jobs_port}",
            f"--ray-client-server-port={client_port}",
            # Jobs need this port: with the default, a second Ray on the machine would accept none.
            f"--dashboard-agent-listen-port={agent_port}",
            f"--temp-dir={temporary}",
            *([f"--num-cpus={cpus}"] if cpus is not None else []),
            *options,
        ]
        log = temporary / "start.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, **environment, "PATH": path},
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=_end_with_parent(),
            )
        try:
            _wait(process, jobs_address, environment["RAY_AUTH_TOKEN"], log)
            yield LocalRay(jobs_address, f"{_LOOPBACK}:{port}", environment)
        finally:
            _stop(process)


def _end_with_parent() -> Callable[[], None]:
    """A function that lets a child get SIGTERM when its parent dies, even by SIGKILL."""
    libc = ctypes.CDLL(None)

    def end_with_parent() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    return end_with_parent


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Terminate Ray and every process that it started, without draining them first."""
    try:
        started = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        started = []
    # Asked to end, `ray start` would wait for services that wait for it.
    process.kill()
    for child in started:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.terminate()
    _, alive = psutil.wait_procs(started, _STOP_SECONDS)
    for child in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    process.wait()


def _wait(process: subprocess.Popen[bytes], address: str, token: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        # While Ray starts, its answers may also be empty or incomplete.
        with contextlib.suppress(urllib.error.URLError, OSError, ValueError, LookupError):
            _ask(address, token, "jobs/")
            # Ray takes jobs before it has a node, and ends if the node does not start in time.
            if _ask(address, token, "v0/nodes")["data"]["result"]["total"]:
                return
        time.sleep(0.5)
    last_words = "\n".join(log.read_text().splitlines()[-10:])
    raise ColorganError(f"Ray did not start within {_START_SECONDS} s:\n{last_words}")


def _ask(address: str, token: str, path: str) -> Any:
    request = urllib.request.Request(
        f"{address}/api/{path}", headers={"Authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.load(answer)


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface on which nothing listens at the moment."""
    sockets = [socket.create_server((_LOOPBACK, 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in sockets]
    for server in sockets:
        server.close()
    return ports
