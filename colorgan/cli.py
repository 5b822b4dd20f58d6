"""The command `colorgan`: a thin face over the library.

Only the module of the command that is asked for is imported, so that `--help` and commands without
networks don't wait for PyTorch.
"""

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence

from colorgan.commands.process import add_storage_option, guarded
from colorgan.system import keep_buffers
from colorgan.version import __version__

_COMMANDS = {
    "stage": ("make a dataset of photographs", "staging"),
    "datasets": ("list the datasets in storage, verify them, or show one", "datasets"),
    "train": ("train one model in this process", "training"),
    "models": (
        "list the model packages in storage and the embedded ones, or publish one",
        "models",
    ),
    "jobs": ("list the cluster's jobs, print the log of one, or stop it", "jobs"),
    "train-router": ("train the router's head on a dataset's own classes", "routing"),
    "evaluate-router": ("count where the router sends photographs", "routing"),
    "misrouting": ("measure what a wrong turn of the router costs", "routing"),
    "survey": ("ask people which colouring looks most natural", "survey"),
    "classify": ("say which class photographs are of", "photographs"),
    "colorize": ("colour photographs", "photographs"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, 1 for a fault, 2 for a bad option, 130."""
    return guarded(lambda: _run(sys.argv[1:] if argv is None else argv))


def _run(argv: Sequence[str]) -> int:
    keep_buffers()
    args = _parser(argv[:1]).parse_args(argv)
    command: Callable[[argparse.Namespace], int] = args.command
    return command(args)


def _parser(first: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="colorgan",
        description="Colour black-and-white photographs with class-specific conditional GANs.",
    )
    parser.add_argument("--version", action="version", version=f"colorgan {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, (help, module) in _COMMANDS.items():
        command = commands.add_parser(name, help=help, description=help.capitalize() + ".")
        if list(first) == [name]:
            add_storage_option(command)
            prepare = "prepare_" + name.replace("-", "_")
            getattr(importlib.import_module(f"colorgan.commands.{module}"), prepare)(command)
    return parser
