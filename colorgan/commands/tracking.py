"""The option --track, shared by the commands and jobs that train."""

import argparse


def add_tracking_option(parser: argparse.ArgumentParser) -> None:
    """Add the option --track, whose values `open_tracking` takes as `args.track`."""
    parser.add_argument(
        "--track",
        action="append",
        default=[],
        metavar="TRACKER",
        help="mlflow:URI, wandb or tensorboard:FOLDER: also record parameters, metrics, samples "
        "and packages there; may be given several times",
    )
