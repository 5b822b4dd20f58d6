"""Runs each step of a reproduction once, and records it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType

from cluster.job import say
from cluster.local import local_ray
from colorgan.cli import main as colorgan_command
from colorgan.commands.process import EXIT_INTERRUPTED
from colorgan.errors import ColorganError
from colorgan.storage import Storage
from colorgan.training.progress import format_seconds
from jobs.reproduction.here import JOBS_HERE
from jobs.reproduction.plan import (
    COMMAND,
    Reproduction,
    Step,
    StepRecord,
    read_record,
    write_record,
)
from jobs.reproduction.scales import SCALES

_STOP_SECONDS = 150.0  # a job that is stopped first saves the last epochs of its trainings


@dataclass(frozen=True)
class JobOptions:
    """The options that a reproduction passes on to its jobs.

    Attributes:
        device: auto, cpu or gpu.
        retries: how often a process that died is restarted.
        gpus_per_model: number of GPUs for each training; None for the jobs' default.
    """

    device: str
    retries: int
    gpus_per_model: float | None


class StepRunner:
    """Runs steps on the cluster of an address, or on a private Ray that the first step starts.

    Used as a context manager, it stops the private Ray at the end.

    Attributes:
        records: records of the finished steps, by name.
    """

    def __init__(
        self,
        storage: Storage,
        reproduction: Reproduction,
        options: JobOptions,
        address: str | None,
        heard: Callable[[int], None] = lambda done: None,
    ) -> None:
        """Take the reproduction and the options of its jobs.

        Args:
            storage: storage of the reproduction.
            reproduction: the reproduction whose steps are run.
            options: options of the jobs.
            address: address of the Ray cluster; None means $RAY_ADDRESS, or a private Ray without
                it.
            heard: called after each step with the number of those that are done.
        """
        self.records: dict[str, StepRecord] = {}
        self._storage, self._reproduction = storage, reproduction
        self._options, self._address, self._heard = options, address, heard
        self._stack = ExitStack()
        self._environment: dict[str, str] | None = None
        self._jobs: set[str] = set()  # that a step has run on Ray

    def __enter__(self) -> "StepRunner":
        """Return the runner."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the private Ray, if one was started."""
        self._environment = None
        self._stack.close()

    def run(self, step: Step) -> None:
        """Run the job or the command of a step unless it is done.

        A job is a process that uses the cluster. At a scale that says so, only the first job of
        each kind is one, and the work of the others is done in this process, as commands are.

        Raises:
            ColorganError: the job or the command fails.
        """
        options = self._options
        how = [f"--storage={self._storage.uri}", f"--device={options.device}"]
        if step.job == COMMAND:
            name, *rest = step.options
            self.once(step.name, step.command, lambda: _command([name, *how, *rest]))
            return
        how.append(f"--retries={options.retries}")
        if options.gpus_per_model and step.job != "evaluate":
            how.append(f"--gpus-per-model={options.gpus_per_model}")
        argv = [*how, *step.options]
        here = SCALES[self._reproduction.scale].here and step.job in self._jobs
        self._jobs.add(step.job)
        work = partial(JOBS_HERE[step.job], argv) if here else partial(self._job, step.job, argv)
        self.once(step.name, step.command, work)

    def _job(self, job: str, argv: Sequence[str]) -> None:
        _execute([sys.executable, "-m", f"jobs.{job}", *argv], self._cluster())

    def once(self, name: str, command: str, work: Callable[[], None]) -> None:
        """Do a step's work unless it is done, and record it.

        Args:
            name: name of the step.
            command: command with which a user would run the step.
            work: does the step's work.
        """
        record = read_record(self._storage, self._reproduction, name)
        if record:
            say(f"== {name}: done before, in {format_seconds(record.seconds)}")
        else:
            say(f"== {name}: {command}")
            started = time.time()
            work()
            record = StepRecord(command, started, time.time() - started)
            write_record(self._storage, self._reproduction, name, record)
        self.records[name] = record
        self._heard(len(self.records))

    def _cluster(self) -> dict[str, str]:
        """The environment variables with which a job connects to the cluster."""
        if self._environment is None:
            self._environment = self._connect()
        return self._environment

    def _connect(self) -> dict[str, str]:
        address = self._address or os.environ.get("RAY_ADDRESS")
        if address:
            return {**os.environ, "RAY_ADDRESS": address}
        ray = self._stack.enter_context(local_ray(Path.cwd()))
        return {**os.environ, **ray.environment, "RAY_ADDRESS": ray.address}


def _command(argv: Sequence[str]) -> None:
    _check(colorgan_command(argv), f"colorgan {argv[0]}")


def _execute(command: Sequence[str], environment: dict[str, str]) -> None:
    process = subprocess.Popen(command, env=environment)
    try:
        status = process.wait()
    except KeyboardInterrupt:
        # Ctrl-C reaches the whole process group, but SIGTERM reaches only this process.
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
        raise
    _check(status, " ".join(command[2:4]))


def _check(status: int, what: str) -> None:
    if status == EXIT_INTERRUPTED:
        raise KeyboardInterrupt
    if status:
        raise ColorganError(f"{what} failed; its output above says why")
