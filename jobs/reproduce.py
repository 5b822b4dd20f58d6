"""Answer the 2018 report's questions on a dataset: train, compare, and write one page of it all.

    python jobs/reproduce.py --preset smoke
    python jobs/reproduce.py --preset cpu --dataset NAME
    ray job submit -- python jobs/reproduce.py --preset report --dataset NAME

Each step is one of the other jobs. Started again with the same --name it goes on with the step that
was interrupted, and where that had got to.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from cluster.connection import storage_uri
from cluster.job import add_process_options, choose_dataset, run_job
from cluster.local import local_ray
from colorgan.commands.process import EXIT_INTERRUPTED, add_storage_option
from colorgan.data.dataset import Dataset
from colorgan.errors import ColorganError
from colorgan.evaluation.results import ASSEMBLED
from colorgan.names import GENERAL, HYPERCOLUMN
from colorgan.storage import Storage, open_storage
from colorgan.system import about_machine, choose_device
from colorgan.training.progress import format_seconds
from jobs.reproduction.analyses import ANALYSES, class_packages, package_of, publish_trials
from jobs.reproduction.page import write_page
from jobs.reproduction.plan import (
    BEST,
    BEST_GENERAL,
    SCALES,
    Reproduction,
    Step,
    StepRecord,
    evaluation_step,
    later_general_step,
    new_reproduction,
    open_reproduction,
    read_record,
    sweep_steps,
    training_steps,
    write_record,
)
from jobs.reproduction.sections import make_sections

_STOP_SECONDS = 150.0  # a job that is told to end keeps its trainings' last epochs


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job; returns its exit status."""
    return run_job(_parser(), _run, argv)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="reproduce.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_storage_option(parser)
    scales = "; ".join(f"{name}: {scale.description}" for name, scale in SCALES.items())
    parser.add_argument(
        "--preset", choices=tuple(SCALES), default="smoke", help=f"{scales} (default: %(default)s)"
    )
    parser.add_argument(
        "--dataset",
        metavar="NAME",
        help="(default: the newest in storage, or else scenes, staged now)",
    )
    parser.add_argument(
        "--name", metavar="NAME", help="go on with, or start, the one so named (default: PRESET)"
    )
    parser.add_argument(
        "--backbone", metavar="NAME", default="", help="below hypercolumn (default: the preset's)"
    )
    parser.add_argument(
        "--gpus-per-model", type=float, metavar="N", help="below 1, models share a GPU"
    )
    add_process_options(parser)
    return parser


def _run(args: argparse.Namespace) -> int:
    storage = open_storage(storage_uri(args.storage))
    dataset = choose_dataset(storage, args.dataset)
    wanted = new_reproduction(
        args.name or args.preset,
        datetime.now(UTC).isoformat(timespec="seconds"),
        args.preset,
        dataset,
        args.backbone,
        about_machine(),
    )
    reproduction, going_on = open_reproduction(storage, wanted)
    _say(
        f"reproduction {reproduction.name}{' (going on)' if going_on else ''}: "
        f"{dataset.manifest.name}, preset {reproduction.scale}, storage {storage.uri}"
    )
    try:
        _do_all(args, storage, reproduction, dataset)
    except KeyboardInterrupt:
        _say(f"stopped; the same command with --name {reproduction.name} goes on")
        return EXIT_INTERRUPTED
    _say(f"results: {storage.location(reproduction.key('index.html'))}")
    return 0


def _do_all(
    args: argparse.Namespace, storage: Storage, reproduction: Reproduction, dataset: Dataset
) -> None:
    scale, records = SCALES[reproduction.scale], dict[str, StepRecord]()
    with ExitStack() as stack:
        runner = _Runner(args, storage, reproduction, records, stack)
        for step in sweep_steps(reproduction):
            runner.run(step)
        # Before the models to keep: the newest package of a name is what others take.
        trials = publish_trials(storage, reproduction)
        for step in training_steps(reproduction):
            runner.run(step)
        begun = package_of(storage, reproduction, BEST, GENERAL)
        runner.run(later_general_step(reproduction, begun))
        runner.run(evaluation_step(reproduction, "trials", trials, scale.photographs))
        models = {
            ASSEMBLED: class_packages(storage, reproduction, "classes"),
            GENERAL: package_of(storage, reproduction, GENERAL, GENERAL),
            HYPERCOLUMN: package_of(storage, reproduction, HYPERCOLUMN, HYPERCOLUMN),
            BEST: class_packages(storage, reproduction, BEST),
            BEST_GENERAL: package_of(storage, reproduction, BEST_GENERAL, GENERAL),
        }
        runner.run(evaluation_step(reproduction, "models", models, scale.photographs))
    device = choose_device(args.device)
    itself = f"python jobs/reproduce.py --preset {reproduction.scale} --name {reproduction.name}"
    for name, analyze in ANALYSES.items():

        def work(analyze: Callable[..., None] = analyze) -> None:
            analyze(storage, reproduction, dataset, device)

        _once(storage, reproduction, records, name, itself, work)
    write_page(storage, reproduction, make_sections(storage, reproduction), records)


class _Runner:
    """Runs steps, each once, on one cluster: that of $RAY_ADDRESS, or a Ray of its own."""

    def __init__(
        self,
        args: argparse.Namespace,
        storage: Storage,
        reproduction: Reproduction,
        records: dict[str, StepRecord],
        stack: ExitStack,
    ) -> None:
        self._args, self._storage, self._reproduction = args, storage, reproduction
        self._records, self._stack = records, stack
        self._environment: dict[str, str] | None = None

    def run(self, step: Step) -> None:
        """Run a step unless it is done; raises ColorganError where it fails."""
        args = self._args
        how = [f"--storage={self._storage.uri}", f"--device={args.device}"]
        how.append(f"--retries={args.retries}")
        if args.gpus_per_model and step.job != "evaluate":
            how.append(f"--gpus-per-model={args.gpus_per_model}")
        command = [sys.executable, "-m", f"jobs.{step.job}", *how, *step.options]
        _once(
            self._storage,
            self._reproduction,
            self._records,
            step.name,
            step.command,
            lambda: _execute(command, self._cluster()),
        )

    def _cluster(self) -> dict[str, str]:
        """The environment in which a job finds the cluster."""
        if self._environment is None:
            self._environment = _connect(self._args.address, self._stack)
        return self._environment


def _connect(address: str | None, stack: ExitStack) -> dict[str, str]:
    address = address or os.environ.get("RAY_ADDRESS")
    if address:
        return {**os.environ, "RAY_ADDRESS": address}
    ray = stack.enter_context(local_ray(Path.cwd()))
    return {**os.environ, **ray.environment, "RAY_ADDRESS": ray.address}


def _once(
    storage: Storage,
    reproduction: Reproduction,
    records: dict[str, StepRecord],
    name: str,
    command: str,
    work: Callable[[], None],
) -> None:
    """Do a step's work unless it is done, and keep a record of it."""
    record = read_record(storage, reproduction, name)
    if record:
        _say(f"== {name}: done before, in {format_seconds(record.seconds)}")
    else:
        _say(f"== {name}: {command}")
        started = time.time()
        work()
        record = StepRecord(command, started, time.time() - started)
        write_record(storage, reproduction, name, record)
    records[name] = record


def _execute(command: Sequence[str], environment: dict[str, str]) -> None:
    process = subprocess.Popen(command, env=environment)
    try:
        status = process.wait()
    except KeyboardInterrupt:
        # Ctrl-C reaches the whole process group; SIGTERM only this process.
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
        raise
    if status == EXIT_INTERRUPTED:
        raise KeyboardInterrupt
    if status:
        raise ColorganError(f"{' '.join(command[2:4])} failed; its output above says why")


def _say(line: str) -> None:
    """Print at once: the log of a job is followed while it grows."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
