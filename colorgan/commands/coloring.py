"""The options for the models that colour, shared by `colorgan colorize` and jobs/colorize.py."""

import argparse

from colorgan.archives.networks import ASSEMBLED, ModelChoice
from colorgan.errors import ConfigError
from colorgan.inference.colorizer import VIVID
from colorgan.inference.router_choice import RouterConfig
from colorgan.options import add_options, parse
from colorgan.packages.embedded import EMBEDDED_MODELS


def add_models(parser: argparse.ArgumentParser) -> None:
    """Add the options for the choice of models, and --vividness."""
    parser.add_argument(
        "--model",
        metavar="MODEL",
        default=ASSEMBLED,
        help=f"{ASSEMBLED}: each photograph by the model of its class (the default); "
        f"{EMBEDDED_MODELS}: the same with the models that come with colorgan; or one model for "
        "all: animals, animals@VERSION, general",
    )
    parser.add_argument(
        "--class", metavar="NAME", dest="photo_class", help="the class, instead of the router's"
    )
    parser.add_argument(
        "--vividness",
        type=float,
        default=1.0,
        metavar="X",
        help=f"factor for the chroma, from 0 (gray) to {VIVID:g} (default: 1)",
    )
    add_options(parser.add_argument_group("router"), RouterConfig)


def given_models(args: argparse.Namespace) -> ModelChoice:
    """The models that the options of `add_models` choose; raises ConfigError."""
    if not 0 <= args.vividness <= VIVID:
        raise ConfigError(f"--vividness must lie between 0 and {VIVID:g}")
    return ModelChoice(args.model, args.photo_class, parse(RouterConfig, args))
