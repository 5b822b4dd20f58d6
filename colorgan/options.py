"""Configuration dataclasses as command-line options: a default and its help text stand once.

A configuration's field is declared with `option(default, help)`. The command line shows and parses
it; the dataclass's own __post_init__ checks it, wherever the value came from.
"""

import argparse
import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

Config = TypeVar("Config")


def option(default: Any, help: str, choices: Sequence[str] | None = None) -> Any:
    """A dataclass field with the help text and the choices that its option shows."""
    return dataclasses.field(default=default, metadata={"help": help, "choices": choices})


def add_options(parser: argparse._ActionsContainer, config: type[Any]) -> None:
    """Add an option for every field of a configuration dataclass.

    An option that is not given leaves nothing in the parsed arguments, so that `given` can lay
    what was given over any base.
    """
    for field in dataclasses.fields(config):
        if not field.metadata:
            continue
        name = "--" + field.name.replace("_", "-")
        if isinstance(field.default, bool):
            parser.add_argument(
                name,
                dest=field.name,
                action="store_true",
                default=argparse.SUPPRESS,
                help=field.metadata["help"],
            )
            continue
        parser.add_argument(
            name,
            dest=field.name,
            type=type(field.default),
            choices=field.metadata["choices"],
            default=argparse.SUPPRESS,
            help=field.metadata["help"]
            + ("" if field.default == "" else f" (default: {field.default})"),
        )


def given(config: type[Any], args: argparse.Namespace) -> dict[str, Any]:
    """The values of a configuration's fields that stood on the command line."""
    names = {field.name for field in dataclasses.fields(config)}
    return {name: value for name, value in vars(args).items() if name in names}


def parse(config: type[Config], args: argparse.Namespace) -> Config:
    """A configuration from its defaults and what stood on the command line."""
    return config(**given(config, args))
