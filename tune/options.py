"""The options that say what a sweep tries, and how it judges its trials."""

import argparse
from pathlib import Path

from colorgan.models import EMBEDDED
from colorgan.sweeps.documents import METRICS
from tune.space import SCHEDULERS


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
