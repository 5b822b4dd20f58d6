"""What is left of a job after each kind of kill, and after the next start of the same job.

    python scripts/kills.py --rounds 2

Each round starts a Ray of its own and trains a model on it as a submitted job, once for each kind
of kill. The table counts what the job added to the idle cluster: its processes, its living actors
and placement groups, its files in $TMPDIR and /dev/shm, and its leases in storage. It is counted as
soon as the cluster is quiet after the kill, and once the same command has ended the job. Processes
and files of Ray and PyTorch themselves are not counted. A round takes some minutes.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path

import psutil

from cluster.job_server import JobServer
from cluster.local import LocalRay, local_ray
from colorgan.data.sources import SceneSource
from colorgan.data.staging import StagingConfig, stage
from colorgan.storage import Storage, open_storage
from colorgan.temporary import temporary_folder
from colorgan.training.progress import read_progress

_MARK = "COLORGAN_KILLS"  # an environment variable by which the processes of a Ray are found
_EPOCHS = 30
_PATIENCE_S = 600.0
_QUIET_S = 45.0  # longer than the queue remembers a job that has stopped asking
_SMALL = "--preset small --size 32 --width 4 --discriminator-width 4 --models animals"
_SHARED = Path("/dev/shm")
_FOREIGN = ("torchinductor_", "pymp-")  # files of PyTorch, and of Ray's dashboard


@dataclass(frozen=True)
class Left:
    """What a job has added to an idle cluster.

    Attributes:
        processes: names of its processes: its driver, its actors and tasks.
        actors: the classes of its living actors.
        groups: the states of its placement groups.
        files: names in $TMPDIR and /dev/shm.
        leases: things in storage.
    """

    processes: tuple[str, ...]
    actors: tuple[str, ...]
    groups: tuple[str, ...]
    files: tuple[str, ...]
    leases: tuple[str, ...]

    def counts(self) -> str:
        """How many of each there are, in words."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return ", ".join(f"{len(values)} {name}" for name, values in found.items() if values)

    def names(self) -> str:
        """Everything by name; `nothing` if nothing is left."""
        values = [value for field in fields(self) for value in getattr(self, field.name)]
        return ", ".join(dict.fromkeys(values)) or "nothing"


@dataclass(frozen=True)
class Cluster:
    """A Ray, and the folder in which its jobs work."""

    ray: LocalRay
    folder: Path
    mark: str

    @property
    def storage(self) -> Storage:
        """The storage of the jobs."""
        return open_storage(str(self.folder / "storage"))

    def processes(self) -> Iterator[psutil.Process]:
        """All processes of this Ray and its jobs."""
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get(_MARK) == self.mark:
                    yield process

    def named(self, words: str) -> psutil.Process:
        """The process whose command has some words, and not the shell that has started it."""
        return next(
            each
            for each in self.processes()
            if words in _command(each) and each.name() not in ("sh", "bash")
        )

    def left(self, before: frozenset[str]) -> Left:
        """What there is besides Ray's own processes and the files that were there before."""
        commands = [_command(each) for each in self.processes()]
        jobs = [_short(each) for each in commands if each.startswith(("ray::", "python jobs/"))]
        own = ("ray::IDLE", "ray::DashboardAgent", "ray::RuntimeEnvAgent")
        actors, groups = self._state()
        return Left(
            tuple(sorted(each for each in jobs if not each.startswith(own))),
            actors,
            groups,
            tuple(sorted(set(_files(self.folder)) - before)),
            tuple(self.storage.list("leases")),
        )

    def _state(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        import requests

        token = self.ray.environment["RAY_AUTH_TOKEN"]
        found = []
        for kind in ("actors", "placement_groups"):
            try:
                answer = requests.get(
                    f"{self.ray.jobs_address}/api/v0/{kind}",
                    headers={"Authorization": f"Bearer {token}"},
                    timeout=30,
                )
                rows = answer.json()["data"]["result"]["result"]
            except (requests.RequestException, ValueError, KeyError):
                rows = []  # the head is dead
            living = [row for row in rows if row["state"] not in ("DEAD", "REMOVED")]
            found.append(tuple(sorted(row.get("class_name") or row["state"] for row in living)))
        return found[0], found[1]


def _command(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def _short(command: str) -> str:
    return "driver" if "jobs/" in command else command.split()[0]


def _files(folder: Path) -> list[str]:
    paths = (*(folder / "tmp").iterdir(), *_SHARED.iterdir())
    return [path.name for path in paths if not path.name.startswith(_FOREIGN)]


def _kill(words: str, number: signal.Signals = signal.SIGKILL) -> Callable[[Cluster], None]:
    """A function that sends a signal to the process whose command has some words."""
    return lambda cluster: cluster.named(words).send_signal(number)


_LAST = "SIGKILL of the raylet"  # after it, the head must be started again

KILLS: Mapping[str, Callable[[Cluster], None]] = {
    "SIGKILL of the driver": _kill("jobs/train_all.py"),
    "SIGKILL of the training process": _kill("RayTrainWorker"),
    "SIGKILL of the job's supervisor": _kill("ray::JobSupervisor"),
    "SIGTERM of the driver": _kill("jobs/train_all.py", signal.SIGTERM),
    _LAST: _kill("/raylet/raylet "),
}


def _wait(condition: Callable[[], object], seconds: float = _PATIENCE_S) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True


def _submit(cluster: Cluster, run: str) -> str:
    import requests

    command = f"python jobs/train_all.py --run {run} --epochs {_EPOCHS} {_SMALL}"
    for _ in range(60):  # the agent that starts jobs comes up later than the job server
        answer = requests.post(
            f"{cluster.ray.jobs_address}/api/jobs/",
            json={"entrypoint": f"{command} --storage {cluster.storage.uri}"},
            headers={"Authorization": f"Bearer {cluster.ray.environment['RAY_AUTH_TOKEN']}"},
            timeout=60,
        )
        if answer.ok:
            break
        time.sleep(5)
    return str(answer.json()["submission_id"])


def _trains(cluster: Cluster, run: str) -> bool:
    models = [
        row for each in read_progress(cluster.storage) if each.run == run for row in each.models
    ]
    return any(row.state == "training" and row.epoch >= 3 for row in models)


def _ended(cluster: Cluster, name: str) -> str:
    """How a job has ended, once it has."""
    server = JobServer(cluster.ray.jobs_address)
    assert _wait(lambda: server.job(name).over), f"{name} has not ended"
    return server.job(name).status.lower()


def _quiet(cluster: Cluster, before: frozenset[str]) -> tuple[Left, float]:
    """What is left once nothing changes any more, and after how many seconds that was."""
    began = changed = time.monotonic()
    left = cluster.left(before)
    while left.counts() and time.monotonic() - changed < _QUIET_S:
        time.sleep(0.5)
        now = cluster.left(before)
        if now != left:
            left, changed = now, time.monotonic()
    return left, changed - began


def _row(kind: str, cluster: Cluster, run: str) -> tuple[str, ...]:
    before = frozenset(_files(cluster.folder))
    name = _submit(cluster, run)
    assert _wait(lambda: _trains(cluster, run)), JobServer(cluster.ray.jobs_address).log(name)
    during = cluster.left(before)
    KILLS[kind](cluster)
    ended = "-" if kind == _LAST else _ended(cluster, name)
    left, seconds = _quiet(cluster, before)
    row = (kind, during.counts(), ended, f"{left.names()} ({seconds:.0f} s)")
    if kind == _LAST or ended == "succeeded":
        return *row, "-"
    again = _ended(cluster, _submit(cluster, run))
    after, later = _quiet(cluster, before)
    return *row, f"{again}: {after.names()} ({later:.0f} s)"


def _round(number: int, folder: Path) -> Iterator[tuple[str, ...]]:
    mark = f"{os.getpid()}-{number}"
    (folder / "tmp").mkdir(parents=True)
    config = StagingConfig(size=64, min_side=32, val_share=0.2, test_share=0.2)
    stage(SceneSource(24, seed=0, size=64), open_storage(str(folder / "storage")), "scenes", config)
    before = frozenset(_files(folder))
    variables = {_MARK: mark, "TMPDIR": str(folder / "tmp"), "OMP_NUM_THREADS": "1"}
    checkout = Path(__file__).resolve().parents[1]
    with local_ray(checkout, 2, variables=variables) as ray:
        os.environ["RAY_AUTH_TOKEN"] = ray.environment["RAY_AUTH_TOKEN"]
        cluster = Cluster(ray, folder, mark)
        for place, kind in enumerate(KILLS):
            row = _row(kind, cluster, f"killed-{number}-{place}")
            if kind != _LAST:
                yield row
    with local_ray(checkout, 2, variables=variables) as ray:  # the next start, on a new head
        os.environ["RAY_AUTH_TOKEN"] = ray.environment["RAY_AUTH_TOKEN"]
        cluster = Cluster(ray, folder, mark)
        again = _ended(cluster, _submit(cluster, f"killed-{number}-{place}"))
        after, later = _quiet(cluster, before)
        yield (*row[:-1], f"{again}: {after.names()} ({later:.0f} s)")


def main() -> int:
    """Print a row as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2)
    args = parser.parse_args()
    print("| kill | while it trains | the job | left behind | after the next start |", flush=True)
    print("| --- | --- | --- | --- | --- |", flush=True)
    with temporary_folder("kills") as folder:
        for number in range(args.rounds):
            for row in _round(number, folder / str(number)):
                print(f"| {' | '.join(row)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
