"""Train one model with different hyper-parameters, and evaluate each trial during training.

    python jobs/sweep.py --preset small --dataset NAME
    python jobs/sweep.py --model animals --grid batch_size=1,5,10 size=128,256 --epochs 200
    ray job submit -- python jobs/sweep.py --sweep NAME --space space.yaml --samples 8

Started again with the same --sweep, the job continues; finished trials are not run again. The
dashboard, python -m tune.dashboard --sweep NAME, shows its progress.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import closing

from cluster.connection import storage_uri
from cluster.job import (
    add_training_options,
    choose_dataset,
    run_job,
    say,
    training_options,
    working_on,
)
from cluster.planning import TrainingOptions
from colorgan.commands.process import EXIT_FAULT, add_storage_option
from colorgan.commands.publishing import add_tag_option, given_tag
from colorgan.commands.tracking import add_tracking_option
from colorgan.errors import ConfigError
from colorgan.names import CIC, GENERAL, HYPERCOLUMN
from colorgan.options import add_options
from colorgan.storage import Storage, open_storage
from colorgan.storage.lease import Lease
from colorgan.sweeps.documents import create_sweep, read_state
from colorgan.training.config import SpeedConfig, TrainingConfig
from colorgan.training.presets import preset_values
from colorgan.training.tracking import open_tracking
from tune.options import add_search_options, sweep_request
from tune.plan import SweepPlan, plan_sweep
from tune.running import report_sweep, run_trials, train_base
from tune.space import SWEEP_PRESETS, Search, Space


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job; returns its exit status: 0 even if trials failed, unless --strict is given."""
    return run_job(make_parser(), _run, argv)


def make_parser() -> argparse.ArgumentParser:
    """The parser of the job's command line."""
    parser = argparse.ArgumentParser(
        prog="sweep.py", description="Train one model with different hyper-parameters on Ray Tune."
    )
    add_storage_option(parser)
    parser.add_argument("--dataset", metavar="NAME", help="(default: the newest in storage)")
    parser.add_argument(
        "--model",
        metavar="MODEL",
        help=f"a class of the dataset, {GENERAL}, {HYPERCOLUMN} or {CIC} (default: the preset's)",
    )
    parser.add_argument("--sweep", metavar="NAME", help="name of the sweep to continue or start")
    parser.add_argument(
        "--preset",
        choices=tuple(SWEEP_PRESETS),
        default="small",
        help="model and search space to start from, which the options below override; report is "
        "the 2018 report's, for a GPU (default: %(default)s)",
    )
    add_search_options(parser)
    parser.add_argument(
        "--publish-best",
        action="store_true",
        help="publish the best epoch of all trials as a package",
    )
    add_tag_option(parser)
    parser.add_argument("--strict", action="store_true", help="status 1 if any trial failed")
    add_tracking_option(parser)
    add_training_options(parser, "trials")
    own = {name: preset.training for name, preset in SWEEP_PRESETS.items()}
    add_options(
        parser.add_argument_group("hyper-parameters of every trial"),
        TrainingConfig,
        lambda field: preset_values(field, own),
    )
    add_options(parser.add_argument_group("speed"), SpeedConfig)
    return parser


def _run(args: argparse.Namespace) -> int:
    options, tag = training_options(args), given_tag(args)
    if tag and not args.publish_best:
        raise ConfigError("--tag names what --publish-best publishes: give both")
    request = sweep_request(args)
    storage = open_storage(storage_uri(args.storage))
    dataset = choose_dataset(storage, args.dataset, stages_scenes=False)
    with working_on(storage, "sweep", request.name) as lease:
        plan = plan_sweep(storage, dataset, request)
        return _search(args, options, storage, plan, request.space, lease)


def _search(
    args: argparse.Namespace,
    options: TrainingOptions,
    storage: Storage,
    plan: SweepPlan,
    space: Space,
    lease: Lease,
) -> int:
    plan = train_base(storage, plan, options, args.address)
    sweep = plan.sweep
    going_on = create_sweep(storage, sweep, plan.rows)
    say(
        f"sweep {sweep.name}{' (continuing)' if going_on else ''}: {sweep.model} on "
        f"{sweep.dataset['name']}, {len(sweep.trials)} trials, evaluated every {sweep.eval_every} "
        f"epochs, storage {storage.uri}"
    )
    say(f"to follow it: python -m tune.dashboard --storage {storage.uri} --sweep {sweep.name}")
    with closing(open_tracking(args.track, sweep.name, say)) as tracking:
        if all(read_state(storage, sweep, trial.name).over for trial in sweep.trials):
            say("every trial is over")
        else:
            search = Search(args.scheduler, space, args.metric)
            run_trials(storage, sweep, search, options, args.address, lease, tracking)
        best, tag = args.publish_best, given_tag(args)
        failed = report_sweep(storage, sweep, args.metric, best, tracking, tag)
    return EXIT_FAULT if failed and args.strict else 0


if __name__ == "__main__":
    sys.exit(main())
