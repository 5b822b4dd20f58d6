"""What the command lines of the jobs share."""

import argparse
import signal
from collections.abc import Callable, Sequence

from colorgan.commands.process import guarded, take_any_text
from colorgan.data.dataset import Dataset, list_datasets, open_dataset
from colorgan.data.sources import SourceConfig, find_source
from colorgan.data.staging import StagingConfig, stage
from colorgan.errors import ConfigError
from colorgan.storage import Storage


def run_job(
    parser: argparse.ArgumentParser,
    job: Callable[[argparse.Namespace], int],
    argv: Sequence[str] | None,
) -> int:
    """Parse a job's command line and run it; returns its exit status."""
    take_any_text()
    args = parser.parse_args(argv)
    # `ray job stop` and schedulers send SIGTERM: end as for Ctrl-C, with a word on how to go on.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return guarded(lambda: job(args))


def say(line: str) -> None:
    """Print at once: the log of a job is followed while it grows."""
    print(line, flush=True)


def add_address_option(parser: argparse.ArgumentParser) -> None:
    """Add the option --address."""
    parser.add_argument(
        "--address", help="of the Ray cluster (default: $RAY_ADDRESS, or a new Ray)"
    )


def add_process_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a job whose processes may die and may want a GPU."""
    add_address_option(parser)
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto")
    parser.add_argument(
        "--retries", type=int, default=3, metavar="N", help="restarts of a process that died"
    )


def add_training_options(parser: argparse.ArgumentParser, trainings: str) -> None:
    """Add the options of a job that trains several networks, which its user calls `trainings`."""
    add_process_options(parser)
    parser.add_argument(
        "--gpus-per-model",
        type=float,
        default=1.0,
        metavar="N",
        help=f"below 1, {trainings} share a GPU",
    )
    parser.add_argument(
        "--max-parallel", type=int, metavar="N", help=f"train at most N {trainings} at once"
    )
    parser.add_argument(
        "--checkpoint-every", type=int, default=5, metavar="N", help="epochs between checkpoints"
    )


def check_at_least(least: int, args: argparse.Namespace, *names: str) -> None:
    """Check options that are whole numbers, where they are given; raises ConfigError."""
    for name in names:
        value = getattr(args, name)
        if value is not None and value < least:
            raise ConfigError(f"--{name.replace('_', '-')} must be at least {least}")


def choose_dataset(storage: Storage, name: str | None) -> Dataset:
    """The dataset of this name; without one the newest, or else scenes, staged now, and says so.

    Raises:
        NotInStorage: there is none of this name.
        Corrupt: the manifest of the one of this name cannot be read.
    """
    if name:
        return open_dataset(storage, name)
    # One that is damaged must not hide the others.
    manifests = list_datasets(storage, lambda fault: print(f"note: {fault}", flush=True))
    if manifests:
        print(f"no --dataset: taking the newest, {manifests[-1].name}", flush=True)
        return Dataset(storage, manifests[-1])
    print(f"no dataset in {storage.uri}: staging the embedded scenes", flush=True)
    source = find_source("scenes", SourceConfig(), StagingConfig.size)
    return stage(source, storage, "scenes").dataset
