"""Answer the 2018 report's questions on a dataset: train, compare, and write a page of results.

    python jobs/reproduce.py --preset smoke
    python jobs/reproduce.py --preset cpu --dataset NAME
    ray job submit -- python jobs/reproduce.py --preset report --dataset NAME

After the report's own questions, the page has a section on each of the systems that it compares
with or leaves for later. Each step is one of the other jobs, or a command of colorgan. Started
again with the same --name, the job continues with the step that was interrupted, from the point
that it had reached.
"""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from cluster.connection import storage_uri
from cluster.job import add_process_options, choose_dataset, run_job, say, working_on
from colorgan.commands.process import EXIT_INTERRUPTED, add_storage_option
from colorgan.data.dataset import Dataset
from colorgan.storage import Storage, open_storage
from colorgan.storage.lease import Lease
from colorgan.system import about_machine
from jobs.reproduction.plan import (
    Reproduction,
    new_reproduction,
    open_reproduction,
)
from jobs.reproduction.scales import SCALES
from jobs.reproduction.steps import do_all


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
        "--name",
        metavar="NAME",
        help="name of the reproduction to continue or start (default: PRESET)",
    )
    parser.add_argument(
        "--backbone",
        metavar="NAME",
        default="",
        help="backbone of hypercolumn (default: the preset's)",
    )
    parser.add_argument(
        "--gpus-per-model", type=float, metavar="N", help="below 1, models share a GPU"
    )
    add_process_options(parser)
    return parser


def _run(args: argparse.Namespace) -> int:
    storage = open_storage(storage_uri(args.storage))
    dataset = choose_dataset(storage, args.dataset, scenes=SCALES[args.preset].scenes)
    wanted = new_reproduction(
        args.name or args.preset,
        datetime.now(UTC).isoformat(timespec="seconds"),
        args.preset,
        dataset,
        args.backbone,
        about_machine(),
    )
    with working_on(storage, "reproduction", wanted.name) as lease:
        return _reproduce(args, storage, dataset, wanted, lease)


def _reproduce(
    args: argparse.Namespace,
    storage: Storage,
    dataset: Dataset,
    wanted: Reproduction,
    lease: Lease,
) -> int:
    reproduction, going_on = open_reproduction(storage, wanted)
    say(
        f"reproduction {reproduction.name}{' (continuing)' if going_on else ''}: "
        f"{dataset.manifest.name}, preset {reproduction.scale}, storage {storage.uri}"
    )
    try:
        do_all(args, storage, reproduction, dataset, lease)
    except KeyboardInterrupt:
        say(f"stopped; run the same command with --name {reproduction.name} to continue")
        return EXIT_INTERRUPTED
    say(f"results: {storage.location(reproduction.key('index.html'))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
