"""What works on a storage: Ray's jobs, and the processes that hold a lease without being one."""

import shlex
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from cluster.job_server import RayJob
from colorgan.commands.holding import KINDS
from colorgan.storage import Storage
from colorgan.storage.lease import LeaseRecord, list_leases
from colorgan.training.progress import (
    UNDERWAY,
    ModelProgress,
    RunProgress,
    format_seconds,
    read_progress,
    run_seconds_left,
)

_SHELL_SIGNAL = 128  # exit status of a shell whose command was killed, less the signal's number

DIED = "DIED"  # status of a process that was killed, in addition to Ray's


@dataclass(frozen=True)
class Job:
    """A job of Ray, a process with a lease, or both.

    Attributes:
        ray: the job as Ray knows it; None for a process that is on no cluster, or on another one.
        lease: the lease that it holds or, if it was killed, held; None without one.
        run: the progress of the run that it trains; None for other work, and at the beginning.
    """

    ray: RayJob | None
    lease: LeaseRecord | None
    run: RunProgress | None

    @property
    def name(self) -> str:
        """The name by which `colorgan jobs` takes it."""
        if self.ray and self.ray.name:
            return self.ray.name
        return self.thing.partition("/")[2] or (self.ray.number if self.ray else "")

    @property
    def thing(self) -> str:
        """The folder of storage that it works on; empty if that is not known."""
        if self.lease:
            return self.lease.thing
        return f"runs/{self.run.run}" if self.run else ""

    @property
    def asked(self) -> str:
        """The folder of storage that its command names, for a job that has given its lease back."""
        if self.thing or not self.ray:
            return self.thing
        return _named(self.ray.entrypoint)

    @property
    def left_behind(self) -> bool:
        """Whether it was killed, so that its work must be continued by another job."""
        return self.status not in ("PENDING", "RUNNING") and self.lease is not None

    @property
    def death(self) -> str:
        """How a job ended that has left its work behind, in words."""
        status = (self.ray.exit_status if self.ray else None) or 0
        # Ray's own status of a signal, and the one of the shell that Ray has started.
        number = -status if status < 0 else status - _SHELL_SIGNAL
        if number > 0:
            return f"was killed by {_signal_name(number)}"
        return "died" if self.status == DIED else self.status.lower()

    @property
    def status(self) -> str:
        """Ray's status, or RUNNING or DIED for a process that is not Ray's.

        A job whose shell or supervisor was killed has failed for Ray, and its driver may live on.
        """
        died = self.lease is not None and self.lease.presumed_dead()
        if self.lease and self.lease.process.is_alive():
            return "PENDING" if self.ray and self.ray.status == "PENDING" else "RUNNING"
        if self.ray and (self.ray.over or not died):
            return self.ray.status
        return DIED if died else "RUNNING"

    @property
    def over(self) -> bool:
        """Whether it has ended and left nothing that must be continued."""
        return self.lease is None and self.ray is not None and self.ray.over

    @property
    def started(self) -> float:
        """When it was started, in seconds since the Unix epoch."""
        if self.ray:
            return self.ray.started
        return self.lease.since if self.lease else 0.0

    @property
    def seconds(self) -> float:
        """How long it has run, or ran."""
        ended = self.ray.ended if self.ray and self.ray.ended else None
        if ended is None and self.lease and self.status == DIED:
            ended = self.lease.renewed
        return max(0.0, (ended or time.time()) - self.started)

    def models(self) -> tuple[ModelProgress, ...]:
        """The models of its run; none of them is under way once the job has ended."""
        if not self.run:
            return ()
        if self.status in ("PENDING", "RUNNING"):
            return self.run.models
        ended = "interrupted" if self.left_behind else self.status.lower()
        return tuple(
            replace(model, state=ended, detail="", seconds_left=None)
            if model.state in UNDERWAY
            else model
            for model in self.run.models
        )

    def progress(self) -> tuple[str, str]:
        """How far it is, and the estimated time to its end, in words; both may be empty."""
        if self.run:
            left = run_seconds_left(self.models())
            return "", format_seconds(left) if left is not None else ""
        if self.left_behind:
            return "", ""
        work = self.lease.work if self.lease else None
        if not work or not self.lease:
            return "", ""
        left = work.seconds_left(time.time() - self.lease.since)
        to_go = format_seconds(left) if left is not None and self.status == "RUNNING" else ""
        return f"{work.done:,} of {work.total:,} {work.unit}", to_go


def find_jobs(storage: Storage, jobs: Sequence[RayJob]) -> list[Job]:
    """Join Ray's jobs with the leases and the progress in a storage; oldest first."""
    leases, runs = list_leases(storage), read_progress(storage)
    found = []
    for job in jobs:
        its_own = [lease for lease in leases if _holds(job, lease)]
        leases = [lease for lease in leases if lease not in its_own]
        # A job that holds several works on the first, and on the others as steps of it.
        found += [Job(job, lease, _run_of(job, lease, runs)) for lease in its_own]
        if not its_own:
            found.append(Job(job, None, _run_of(job, None, runs)))
    found += [Job(None, lease, _run_of(None, lease, runs)) for lease in leases]
    return sorted(found, key=lambda job: job.started)


def _named(command: str) -> str:
    """The folder of storage that a command names by an option; empty if it names none."""
    try:
        words = shlex.split(command)
    except ValueError:  # an open quotation mark
        return ""
    for folder, option in KINDS.values():
        if not option:
            continue
        # A training's --dataset is not what it works on.
        if option == "--dataset" and not any("stage" in word for word in words):
            continue
        for word, following in zip(words, [*words[1:], ""], strict=True):
            value = following if word == option else word.removeprefix(f"{option}=")
            if value != word and value:
                return f"{folder}/{value}"
    return ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _holds(job: RayJob, lease: LeaseRecord) -> bool:
    if job.name and lease.job:
        return lease.job == job.name
    # A driver that was started without `ray job submit` is known by its process.
    return not job.name and job.pid == lease.process.pid and job.started <= lease.renewed


def _during(job: RayJob, moment: float) -> bool:
    return job.started <= moment <= (job.ended or time.time())


def _run_of(
    job: RayJob | None, lease: LeaseRecord | None, runs: Sequence[RunProgress]
) -> RunProgress | None:
    """The progress that a job has written, and no job of the same run before it."""
    for run in runs:
        if lease:
            # Before it writes its own progress, that of the previous job is still there.
            if lease.thing == f"runs/{run.run}" and run.updated >= lease.since:
                return run
        # Times are compared because job numbers repeat on every cluster.
        elif job and run.job == job.number and _during(job, run.started):
            return run
    return None
