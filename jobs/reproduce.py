"""Answer the 2018 report's questions on a dataset: train, compare, and write a page of results.

    python jobs/reproduce.py --preset smoke
    python jobs/reproduce.py --preset cpu --dataset NAME
    ray job submit -- python jobs/reproduce.py --preset report --dataset NAME

Each step is one of the other jobs. Started again with the same --name, the job continues with the
step that was interrupted, from the point that it had reached.
"""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

from cluster.connection import storage_uri
from cluster.job import add_process_options, choose_dataset, run_job, say, working_on
from colorgan.commands.process import EXIT_INTERRUPTED, add_storage_option
from colorgan.data.dataset import Dataset
from colorgan.evaluation.results import ASSEMBLED
from colorgan.names import GENERAL, HYPERCOLUMN
from colorgan.storage import Storage, open_storage
from colorgan.storage.lease import Lease
from colorgan.system import about_machine, choose_device
from jobs.reproduction.analyses import ANALYSES, class_packages, package_of, publish_trials
from jobs.reproduction.page import write_page
from jobs.reproduction.plan import (
    BEST,
    BEST_GENERAL,
    SCALES,
    Reproduction,
    evaluation_step,
    later_general_step,
    new_reproduction,
    open_reproduction,
    sweep_steps,
    training_steps,
)
from jobs.reproduction.runner import JobOptions, StepRunner
from jobs.reproduction.sections import make_sections


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
    dataset = choose_dataset(storage, args.dataset)
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
        _do_all(args, storage, reproduction, dataset, lease)
    except KeyboardInterrupt:
        say(f"stopped; run the same command with --name {reproduction.name} to continue")
        return EXIT_INTERRUPTED
    say(f"results: {storage.location(reproduction.key('index.html'))}")
    return 0


def _do_all(
    args: argparse.Namespace,
    storage: Storage,
    reproduction: Reproduction,
    dataset: Dataset,
    lease: Lease,
) -> None:
    photographs = SCALES[reproduction.scale].photographs
    options = JobOptions(args.device, args.retries, args.gpus_per_model)
    sweeps, trainings = sweep_steps(reproduction), training_steps(reproduction)
    # The later general model and the two evaluations are steps, too.
    total = len(sweeps) + len(trainings) + 3 + len(ANALYSES)

    def heard(done: int) -> None:
        lease.report("steps", done, total)

    with StepRunner(storage, reproduction, options, args.address, heard) as runner:
        for step in sweeps:
            runner.run(step)
        # Trials are published before the models to keep, because the newest package of a name is
        # the one that is used by default.
        trials = publish_trials(storage, reproduction)
        for step in trainings:
            runner.run(step)
        begun = package_of(storage, reproduction, BEST, GENERAL)
        runner.run(later_general_step(reproduction, begun))
        runner.run(evaluation_step(reproduction, "trials", trials, photographs))
        models = {
            ASSEMBLED: class_packages(storage, reproduction, "classes"),
            GENERAL: package_of(storage, reproduction, GENERAL, GENERAL),
            HYPERCOLUMN: package_of(storage, reproduction, HYPERCOLUMN, HYPERCOLUMN),
            BEST: class_packages(storage, reproduction, BEST),
            BEST_GENERAL: package_of(storage, reproduction, BEST_GENERAL, GENERAL),
        }
        runner.run(evaluation_step(reproduction, "models", models, photographs))
    device = choose_device(args.device)
    itself = f"python jobs/reproduce.py --preset {reproduction.scale} --name {reproduction.name}"
    for name, analyze in ANALYSES.items():
        runner.once(name, itself, partial(analyze, storage, reproduction, dataset, device))
    write_page(storage, reproduction, make_sections(storage, reproduction), runner.records)


if __name__ == "__main__":
    sys.exit(main())
