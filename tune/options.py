"""The options that say what a sweep tries, and how it judges its trials."""

import argparse
from pathlib import Path

from cluster.job import check_at_least
from colorgan.models import EMBEDDED
from colorgan.names import check_name
from colorgan.options import given
from colorgan.sweeps.documents import METRICS
from colorgan.training.config import TrainingConfig
from colorgan.training.runs import new_run_name
from tune.plan import SweepRequest
from tune.space import SCHEDULERS, SWEEP_PRESETS, choose_space


def add_search_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--grid", metavar="NAME=VALUE,VALUE", nargs="+", default=[], help="try every combination"
    )
    parser.add_argument(
        "--space", metavar="FILE", type=Path, help="a search space in YAML: see tune/space.py"
    )
    parser.add_argument(
        "--samples", type=int, default=1, metavar="N", help="number of draws from the search space"
    )
    parser.add_argument(
        "--scheduler",
        choices=SCHEDULERS,
        default="none",
        help="asha stops the weaker trials; pbt lets all wait for each other at every evaluation, "
        "and replaces the weaker by copies of the stronger ones with changed values (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--metric",
        choices=tuple(METRICS),
        default="val_l1",
        help="metric that the scheduler and --publish-best compare (default: %(default)s)",
    )
    parser.add_argument(
        "--eval-every",
        type=int,
        metavar="N",
        help="epochs between evaluations (default: the preset's)",
    )
    parser.add_argument(
        "--classifier",
        default=EMBEDDED,
        help="network for the semantic score and the Fréchet distance; none skips both (default: "
        "%(default)s)",
    )


def sweep_request(args: argparse.Namespace) -> SweepRequest:
    """The sweep that the options of jobs/sweep.py ask for; raises ConfigError for a bad value."""
    check_at_least(1, args, "eval_every")
    overrides = given(TrainingConfig, args)
    TrainingConfig(**overrides)
    space = choose_space(SWEEP_PRESETS[args.preset], args.grid, args.space, overrides)
    if args.scheduler == "pbt":
        space.mutations(0)
    return SweepRequest(
        name=check_name("sweep", args.sweep) if args.sweep else new_run_name("sweep"),
        preset=args.preset,
        overrides=overrides,
        space=space,
        samples=args.samples,
        model=args.model or "",
        eval_every=args.eval_every,
        classifier="" if args.classifier == "none" else args.classifier,
        scheduler=args.scheduler,
        metric=args.metric,
    )
