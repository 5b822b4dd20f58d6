"""The options for the models that colour, shared by `colorgan colorize` and jobs/colorize.py."""

import argparse

from colorgan.archives.networks import ASSEMBLED, ModelChoice
from colorgan.errors import ConfigError
from colorgan.inference.colorizer import LARGEST_SQUARE
from colorgan.inference.object_choice import ObjectConfig
from colorgan.inference.router_choice import RouterConfig
from colorgan.names import OBJECTS
from colorgan.options import add_options, parse
from colorgan.packages.embedded import EMBEDDED_MODELS


def add_models(parser: argparse.ArgumentParser) -> None:
    """Add the options for the choice of models."""
    parser.add_argument(
        "--model",
        metavar="MODEL",
        default=ASSEMBLED,
        help=f"{ASSEMBLED}: each photograph by the model of its class (the default); "
        f"{EMBEDDED_MODELS}: the same with the models that come with colorgan; {OBJECTS}: each "
        "object by the model of its class, the rest by general; or one model for all: animals, "
        "animals@VERSION, general",
    )
    parser.add_argument(
        "--class", metavar="NAME", dest="photo_class", help="the class, instead of the router's"
    )
    parser.add_argument(
        "--render-size",
        type=int,
        metavar="N",
        help="side of the square that the generator sees, in pixels: a multiple of 32, up to "
        f"{LARGEST_SQUARE} (default: the one that it was trained on)",
    )
    add_options(parser.add_argument_group("router"), RouterConfig)
    add_options(parser.add_argument_group(f"model {OBJECTS}"), ObjectConfig)


def given_models(args: argparse.Namespace) -> ModelChoice:
    """The models that the options of `add_models` choose; raises ConfigError."""
    router, objects = parse(RouterConfig, args), parse(ObjectConfig, args)
    if args.model != OBJECTS and objects != ObjectConfig():
        raise ConfigError(f"an option for objects is given: add --model {OBJECTS}, or drop it")
    return ModelChoice(args.model, args.photo_class, router, args.render_size, objects)
