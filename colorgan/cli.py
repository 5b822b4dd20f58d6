"""The command `colorgan`: a thin face over the library.

Only the module of the requested command is imported, so that `--help` and commands without
networks do not wait for PyTorch. Other packages add commands through entry points: see `Command`.
"""

import argparse
import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import entry_points

from colorgan.commands.command import Command
from colorgan.commands.process import add_storage_option, guarded
from colorgan.errors import ConfigError
from colorgan.system import keep_buffers
from colorgan.version import __version__

GROUP = "colorgan.commands"  # entry-point group through which other packages add commands

_COMMANDS = {
    name: Command(help, f"colorgan.commands.{module}", "prepare_" + name.replace("-", "_"))
    for name, module, help in (
        ("stage", "staging", "make a dataset of photographs"),
        ("datasets", "datasets", "list the datasets in storage, verify them, or show one"),
        ("train", "training", "train one model in this process"),
        (
            "models",
            "models",
            "list the models in storage and the embedded ones; release or remove versions",
        ),
        ("train-router", "routing", "train the router's head on a dataset's own classes"),
        ("evaluate-router", "routing", "count where the router sends photographs"),
        ("misrouting", "routing", "measure what misrouting costs"),
        ("robustness", "robustness", "measure whether colours change what a classifier says"),
        ("variants", "variants", "measure how variants of colourings differ, and which is best"),
        ("train-segmenter", "segmenting", "train a segmenter on pictures and their masks"),
        ("train-detector", "detecting", "train a detector on pictures and their boxes"),
        ("hybrids", "hybrids", "measure colouring by objects on pictures of two classes"),
        ("scenes", "scenes", "draw scenes with their masks into a folder"),
        ("survey", "survey", "ask people which colouring looks most natural"),
        ("classify", "photographs", "say which class photographs are of"),
        ("colorize", "photographs", "colour photographs"),
        ("export", "export", "export models for programs without PyTorch, as ONNX"),
    )
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    Returns:
        0, 1 for a fault, 2 for a bad option, 130 when interrupted.
    """
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
    known = _known_commands(first)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, known_command in known.items():
        help = known_command.help
        command = commands.add_parser(name, help=help, description=help.capitalize() + ".")
        if list(first) == [name]:
            add_storage_option(command)
            module = importlib.import_module(known_command.module)
            getattr(module, known_command.prepare)(command)
    return parser


def _known_commands(first: Sequence[str]) -> Mapping[str, Command]:
    """The commands by name; those of other packages are loaded only if needed.

    Raises:
        ConfigError: the first argument is not a command.
    """
    if set(first) & set(_COMMANDS):
        return _COMMANDS
    known = dict(_COMMANDS)
    for point in entry_points(group=GROUP):
        # The metadata may be older or newer than the code, as in a checkout of another version.
        with suppress(ImportError, AttributeError):
            known.setdefault(point.name, point.load())
    for name in first:
        if not name.startswith("-") and name not in known:
            raise ConfigError(
                f"unknown command {name!r}: choose from {', '.join(known)}; if it belongs to a "
                "newer version, reinstall colorgan (pip install -e . in a checkout)"
            )
    return known
