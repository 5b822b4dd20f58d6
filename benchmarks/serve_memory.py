"""The memory of the service on Ray Serve: idle, under load and while an update is deployed.

    python -m benchmarks serve_memory [--one-process] [--json FILE]

The models that come with colorgan are published twice in a new storage. The first versions are
deployed by `python -m serve.deploy` on a Ray of this benchmark's own, then the second ones, while
clients send photographs without a pause. Memory is the proportional set size: a page that several
processes share is counted once. Ray's own processes, which run without a service too, are listed
apart from the service.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import psutil
import yaml

from benchmarks.face import Settings, add_options, note, run_all, settings_of
from benchmarks.measure import Result
from benchmarks.photographs import photographs
from cluster.local import LocalRay, free_ports, local_ray
from colorgan.errors import ColorganError
from colorgan.packages.card import find
from colorgan.packages.embedded import open_embedded
from colorgan.storage import Storage, open_storage

NAME = "serve_memory"
REQUESTS = 48
CLIENTS = 8
PATIENCE_S = 300.0
SETTLE_S = 15.0  # Ray ends an idle worker, such as the one that built the application, after 1 s
CPUS = 16  # of Ray, which counts them without taking any: enough for two sets of replicas

# Ray's own time limits, which a loaded machine does not keep.
_PATIENT = {
    "RAY_DASHBOARD_SUBPROCESS_MODULE_WAIT_READY_TIMEOUT": "300",
    "RAY_gcs_server_port_wait_time_s": "300",
    "RAY_gcs_server_request_timeout_seconds": "300",
    "RAY_worker_register_timeout_seconds": "600",
    "RAY_health_check_timeout_ms": "300000",
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "300",
}

# A process of Ray has another title while a method of its actor runs.
_TITLE = re.compile(
    r"ray::.*?(ServeReplica:\w+:(?P<replica>\w+)|(?P<actor>\w+Controller|\w+Actor))"
)

_DEPLOYS = re.compile(r"-m (serve\.deploy|ray\.serve\.scripts)")  # commands, not the service
_RAY = "Ray itself"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.serve_memory",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--one-process", action="store_true", help="router and generators in the ingress's process"
    )
    add_options(parser)
    args = parser.parse_args(argv)

    def benchmark(settings: Settings) -> list[Result]:
        return run(settings, args.one_process)

    return run_all({NAME: lambda: benchmark}, settings_of(args), args.json, args.overwrite)


def run(settings: Settings, one_process: bool = False) -> list[Result]:
    """Deploy, measure, and deploy newer versions; raises ColorganError if the service fails."""
    photos = photographs(settings, settings.pick(2, REQUESTS, REQUESTS))
    with TemporaryDirectory(prefix="colorgan-bench-") as name:
        folder = Path(name)
        storage = open_storage(str(folder / "storage"))
        _publish(storage, "20260101-000000")
        with local_ray(folder, CPUS, variables=_PATIENT) as ray:
            service = _Service(ray, folder, storage, one_process)
            service.deploy("20260101-000000")
            return list(_measure(service, photos))


def _measure(service: "_Service", photos: Sequence[bytes]) -> Iterator[Result]:
    case = "one process" if service.one_process else "a process for each model"

    def result(what: str, memory: dict[str, float], **facts: float | str) -> Result:
        parts = {f"{part} MiB": round(used) for part, used in sorted(memory.items())}
        total, apart = _of_service(memory), memory.get(_RAY, 0.0)
        note(f"{case}, {what}: {total:.0f} MiB, and Ray itself {apart:.0f} MiB")
        return Result(NAME, case, what, round(total), "MiB", facts={**parts, **facts})

    time.sleep(SETTLE_S)
    yield result("idle", memory())
    _ask_all(service, photos[:CLIENTS], 1)  # buffers and threads
    alone = _ask_all(service, photos, 1)
    with _sampled() as peak:
        together = _ask_all(service, photos, CLIENTS)
    yield result(
        f"{CLIENTS} clients, peak",
        peak(),
        **{"alone ms": 1000 * statistics.median(alone)},
        **{"together ms": 1000 * statistics.median(together)},
    )
    _publish(service.storage, "20260102-000000")
    before = replicas()
    statuses: Counter[str] = Counter()
    with _sampled() as peak, _sending(service, photos, statuses):
        began = time.monotonic()
        service.deploy("20260102-000000")
        took = time.monotonic() - began
        time.sleep(SETTLE_S)
    kept = len(before & replicas())
    yield result(
        "update, peak",
        peak(),
        seconds=took,
        **{"replicas kept": f"{kept} of {len(before)}"},
        **{f"answered {status}": count for status, count in statuses.items()},
    )
    time.sleep(SETTLE_S)
    yield result("after the update", memory())


def _publish(storage: Storage, version: str) -> None:
    """Copy the embedded packages to a storage under a version, and release them there."""
    embedded = open_embedded()
    for name in embedded.folders("models"):
        card = find(embedded, name)
        for file in card.files:
            data = embedded.get(f"models/{name}/{card.version}/{file}")
            storage.put(f"models/{name}/{version}/{file}", data)
        storage.put(f"models/{name}/{version}/model.json", replace(card, version=version).to_json())
        storage.put(f"models/{name}/latest.json", f'{{"version": "{version}"}}\n'.encode())


class _Service:
    """The application, deployed on a Ray of this benchmark."""

    def __init__(self, ray: LocalRay, folder: Path, storage: Storage, one_process: bool) -> None:
        (port,) = free_ports(1)
        self.address = f"http://127.0.0.1:{port}"
        self.storage = storage
        self.one_process = one_process
        self._ray = ray
        self._file = folder / "service.yaml"
        args: dict[str, Any] = {"storage": storage.uri, "device": "cpu"}
        if one_process:
            args["one_process"] = True
        application = {
            "name": "colorgan",
            "route_prefix": "/",
            "import_path": "serve.app:build",
            "args": args,
        }
        document = {
            "http_options": {"host": "127.0.0.1", "port": port},
            "logging_config": {"enable_access_log": False},
            "applications": [application],
        }
        self._file.write_text(yaml.safe_dump(document))

    def deploy(self, version: str) -> None:
        """Deploy what is released, and wait until every model has this version."""
        command = [sys.executable, "-m", "serve.deploy", str(self._file)]
        done = subprocess.run(
            [*command, "--address", self._ray.jobs_address],
            env={**os.environ, **self._ray.environment},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise ColorganError(f"the service was not deployed: {done.stderr[-2000:]}")
        deadline = time.monotonic() + PATIENCE_S
        while not self._serves(version):
            if time.monotonic() > deadline:
                raise ColorganError(f"the service has no version {version} after {PATIENCE_S} s")
            time.sleep(0.2)

    def _serves(self, version: str) -> bool:
        try:
            answer = httpx.get(f"{self.address}/models", timeout=30)
            served = [each["model"] for each in answer.json()["models"]]
        except (httpx.HTTPError, ValueError, KeyError):
            return False
        return all(each.endswith(f"@{version}") for each in served)


def _ask(client: httpx.Client, photo: bytes) -> tuple[float, str]:
    """Colour a photograph; returns the seconds that it took, and the status."""
    began = time.perf_counter()
    try:
        status = str(client.post("/colorize", content=photo).status_code)
    except httpx.HTTPError as error:
        status = type(error).__name__
    return time.perf_counter() - began, status


def _ask_all(service: _Service, photos: Sequence[bytes], clients: int) -> list[float]:
    """Seconds for each photograph; raises ColorganError if one is not coloured."""
    with (
        httpx.Client(base_url=service.address, timeout=PATIENCE_S) as client,
        ThreadPoolExecutor(clients) as pool,
    ):
        answers = list(pool.map(lambda photo: _ask(client, photo), photos))
    failed = [status for _, status in answers if status != "200"]
    if failed:
        raise ColorganError(f"the service answered {failed[0]}")
    return [seconds for seconds, _ in answers]


@contextmanager
def _sending(service: _Service, photos: Sequence[bytes], statuses: Counter[str]) -> Iterator[None]:
    """Send photographs without a pause inside a `with` block, and count the answers."""
    stop = threading.Event()

    def send() -> None:
        with httpx.Client(base_url=service.address, timeout=PATIENCE_S) as client:
            while not stop.is_set():
                for photo in photos:
                    statuses[_ask(client, photo)[1]] += 1
                    if stop.is_set():
                        return

    threads = [threading.Thread(target=send) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@contextmanager
def _sampled() -> Iterator[Callable[[], dict[str, float]]]:
    """Measure memory again and again inside a `with` block; yields a function for the largest."""
    stop, largest = threading.Event(), dict[str, float]()

    def sample() -> None:
        nonlocal largest
        while not stop.is_set():
            largest = max(largest, memory(), key=_of_service)
            stop.wait(0.2)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield lambda: largest
    finally:
        stop.set()
        thread.join()


def memory(root: psutil.Process | None = None) -> dict[str, float]:
    """The proportional set size of a process's descendants by what they are, in MiB.

    Args:
        root: the process; None means this one.
    """
    used: dict[str, float] = defaultdict(float)
    for process in (root or psutil.Process()).children(recursive=True):
        try:
            title = " ".join(process.cmdline())
            rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
        except (psutil.Error, OSError):
            continue
        size = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
        if size and not _DEPLOYS.search(title):
            used[_part(title)] += int(size[1]) / 1024
    return used


def _of_service(memory: Mapping[str, float]) -> float:
    """The memory of the service, without Ray itself."""
    return sum(used for part, used in memory.items() if part != _RAY)


def replicas(root: psutil.Process | None = None) -> set[int]:
    """The processes of the replicas among the descendants of `root`, as in `memory`."""
    return {
        process.pid
        for process in (root or psutil.Process()).children(recursive=True)
        if "ServeReplica:" in " ".join(process.cmdline())
    }


def _part(title: str) -> str:
    if not title.startswith("ray::"):
        return _RAY
    found = _TITLE.match(title)
    return (found["replica"] or found["actor"]) if found else "other workers"


if __name__ == "__main__":
    sys.exit(main())
