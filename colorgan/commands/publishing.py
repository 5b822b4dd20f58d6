"""The options --no-publish and --tag, shared by the commands and jobs that publish packages."""

import argparse

from colorgan.errors import ConfigError
from colorgan.names import check_name
from colorgan.training.plan import Publishing


def add_publishing_options(parser: argparse.ArgumentParser) -> None:
    """Add the options --no-publish and --tag."""
    parser.add_argument(
        "--no-publish",
        action="store_true",
        help="train without making packages; the same --run without this option makes them",
    )
    add_tag_option(parser)


def add_tag_option(parser: argparse.ArgumentParser) -> None:
    """Add the option --tag."""
    parser.add_argument(
        "--tag",
        metavar="NAME",
        default="",
        help="a name for what is published, such as candidate: it is not released until colorgan "
        "models release does that",
    )


def given_publishing(args: argparse.Namespace) -> Publishing:
    """The values of both options; raises ConfigError."""
    tag = given_tag(args)
    if tag and args.no_publish:
        raise ConfigError("--no-publish publishes nothing that --tag could name: drop one of them")
    return Publishing(not args.no_publish, tag)


def given_tag(args: argparse.Namespace) -> str:
    """The value of --tag, which may be empty; raises ConfigError."""
    return check_name("tag", args.tag) if args.tag else ""
