"""Options and helpers that the command lines of the jobs share."""

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import NoReturn

from rich.console import Console
from rich.table import Table

from cluster.planning import RESIZE_SECONDS, TrainingOptions
from colorgan.commands import holding
from colorgan.commands.process import EXIT_INTERRUPTED, guarded, take_any_text
from colorgan.data.dataset import Dataset, list_datasets, open_dataset
from colorgan.data.sources import SourceConfig, find_source
from colorgan.data.staging import StagingConfig, stage
from colorgan.errors import ConfigError, NotInStorage
from colorgan.options import parse
from colorgan.storage import Storage
from colorgan.storage.lease import Lease, release_all
from colorgan.temporary import delete_all
from colorgan.training.config import SpeedConfig

_JOB_CONFIG = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # set by `ray job submit` in the job's process


def run_job(
    parser: argparse.ArgumentParser,
    job: Callable[[argparse.Namespace], int],
    argv: Sequence[str] | None,
) -> int:
    """Parse a job's command line and run it; returns its exit status."""
    take_any_text()
    args = parser.parse_args(argv)
    # `ray job stop` and schedulers send SIGTERM. It ends the job as Ctrl-C does, with a message
    # that says how to continue.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return guarded(lambda: job(args))


def add_address_option(parser: argparse.ArgumentParser) -> None:
    """Add the option --address."""
    parser.add_argument(
        "--address", help="address of the Ray cluster (default: $RAY_ADDRESS, or a new Ray)"
    )


def add_process_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a job whose processes may be restarted and may use a GPU."""
    add_address_option(parser)
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto")
    parser.add_argument(
        "--retries",
        type=int,
        default=3,
        metavar="N",
        help="how often to restart a process that died",
    )


def add_training_options(parser: argparse.ArgumentParser, trainings: str) -> None:
    """Add the options of a job that trains several networks.

    Args:
        parser: parser of the job.
        trainings: what the help texts call these trainings, in the plural.
    """
    add_process_options(parser)
    parser.add_argument(
        "--gpus-per-model",
        type=float,
        metavar="N",
        help=f"GPUs for each: a share below 1, so that {trainings} share a GPU, or a whole number, "
        "with a worker on each of these GPUs (default: 1)",
    )
    _add_workers_option(parser, trainings)
    parser.add_argument(
        "--max-parallel", type=int, metavar="N", help=f"train at most N {trainings} at once"
    )
    parser.add_argument(
        "--checkpoint-every", type=int, default=5, metavar="N", help="epochs between checkpoints"
    )


def _add_workers_option(parser: argparse.ArgumentParser, trainings: str) -> None:
    one, elastic = trainings.removesuffix("s"), trainings == "models"
    several = (
        "; with MIN-MAX, as many as there is room for, fewer when a machine dies and more when one "
        "joins, each with a whole GPU or whole CPUs"
    )
    parser.add_argument(
        f"--workers-per-{one}",
        type=worker_range if elastic else worker_count,
        dest="workers",
        default=(None, None),
        metavar="N|MIN-MAX" if elastic else "N",
        help=f"processes that train each of the {trainings} together, with the same result, each "
        "with its own GPU or share of the CPUs, on any machines; --batch-size stays that of a step "
        f"over all of them{several if elastic else ''} (default: 1, or a worker per GPU where each "
        f"of the {trainings} has a machine of several GPUs to itself)",
    )
    parser.set_defaults(resize_every=RESIZE_SECONDS)
    if elastic:
        parser.add_argument(
            "--resize-every",
            type=float,
            metavar="SECONDS",
            help="with MIN-MAX workers, how often to look whether there is room for more; each "
            "change starts the workers anew (default: %(default)g)",
        )


def worker_count(text: str) -> tuple[int, int]:
    """A fixed number of workers, as the smallest and the greatest; raises ArgumentTypeError."""
    try:
        return int(text), int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            "must be a whole number, which does not change while a trial trains (a range as 1-4 is "
            f"for train_all), not {text!r}"
        ) from None


def worker_range(text: str) -> tuple[int, int]:
    """The smallest and the greatest number of workers; raises ArgumentTypeError."""
    least, dash, most = text.partition("-")
    try:
        return int(least), int(most if dash else least)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be a whole number, or a smallest and a greatest one as 1-4, not {text!r}"
        ) from None


def training_options(args: argparse.Namespace) -> TrainingOptions:
    """The values of the options of `add_training_options` and SpeedConfig; raises ConfigError."""
    check_at_least(1, args, "checkpoint_every")
    check_at_least(0, args, "retries")
    workers, most_workers = args.workers
    return TrainingOptions(
        device=args.device,
        gpus_per_model=args.gpus_per_model,
        max_parallel=args.max_parallel,
        retries=args.retries,
        checkpoint_every=args.checkpoint_every,
        speed=parse(SpeedConfig, args),
        workers=workers,
        most_workers=most_workers,
        resize_every=args.resize_every,
    )


def check_at_least(least: int, args: argparse.Namespace, *names: str) -> None:
    """Check that integer options, where given, are at least `least`; raises ConfigError."""
    for name in names:
        value = getattr(args, name)
        if value is not None and value < least:
            raise ConfigError(f"--{name.replace('_', '-')} must be at least {least}")


def choose_dataset(
    storage: Storage,
    name: str | None,
    stages_scenes: bool = True,
    scenes: tuple[int, int] | None = None,
) -> Dataset:
    """Open the dataset of a name, or the newest one, and print which was chosen.

    Args:
        storage: storage of the datasets.
        name: the dataset's name; None for the newest.
        stages_scenes: whether to stage the embedded scenes if storage has no dataset.
        scenes: how many of them per class, and their short side in pixels; None for the defaults.

    Raises:
        NotInStorage: there is no dataset of this name, or no dataset at all.
        Corrupt: the manifest of the named dataset cannot be read.
    """
    if name:
        return open_dataset(storage, name)
    # A damaged dataset must not hide the others.
    manifests = list_datasets(storage, lambda fault: say(f"note: {fault}"))
    if manifests:
        say(f"no --dataset: taking the newest, {manifests[-1].name}")
        return Dataset(storage, manifests[-1])
    if not stages_scenes:
        raise NotInStorage(f"no dataset in {storage.uri}: create one with colorgan stage")
    say(f"no dataset in {storage.uri}: staging the embedded scenes")
    per_class, size = scenes or (SourceConfig.per_class, StagingConfig.size)
    source = find_source("scenes", SourceConfig(per_class), size)
    config = StagingConfig(size=size, min_side=min(size, StagingConfig.min_side))
    return stage(source, storage, "scenes", config).dataset


def say(line: str) -> None:
    """Print a line and flush it, because users follow the log of a running job."""
    print(line, flush=True)


def working_on(storage: Storage, kind: str, name: str) -> AbstractContextManager[Lease]:
    """Hold the lease of a run or another thing; see `colorgan.commands.holding.working_on`."""
    return holding.working_on(storage, kind, name, submission_id())


def submission_id() -> str:
    """The name of the job that `ray job submit` gave to this process; empty without one."""
    try:
        config = json.loads(os.environ.get(_JOB_CONFIG, "{}"))
        return str(config["metadata"]["job_submission_id"])
    except (ValueError, TypeError, KeyError):
        return ""


def end_stopped(option: str, name: str) -> NoReturn:
    """Exit at once from a job that was stopped, and print how to continue.

    Ray is not shut down: the same signal may have stopped it, so it might not answer. Ray ends the
    processes that this one owns.

    Args:
        option: the job's option that names what it works on, such as --run.
        name: value of that option.
    """
    release_all()
    delete_all()
    say(f"stopped; run the same command with {option} {name} to continue")
    os._exit(EXIT_INTERRUPTED)


def say_table(table: Table) -> None:
    """Print a table as wide as the terminal, or 140 columns wide without one."""
    # Without a terminal, as in a job's log, rich would assume a narrow one.
    console = Console() if sys.stdout.isatty() else Console(width=140)
    console.print(table)
