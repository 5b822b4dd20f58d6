"""The command `colorgan`: a thin face over the library.

Only the module of the command that is asked for is imported, so that `--help` and commands without
networks don't wait for PyTorch.
"""

import argparse
import errno
import importlib
import io
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TextIO

import colorgan
from colorgan.commands.text import printable
from colorgan.errors import ColorganError, ConfigError
from colorgan.memory import keep_buffers

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

EXIT_FAULT = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, 1 for a fault, 2 for a bad option, 130."""
    return guarded(lambda: _run(sys.argv[1:] if argv is None else argv))


def guarded(command: Callable[[], int]) -> int:
    """Run a command and turn the errors that a user can mend into one sentence and a status."""
    # Pillow warns of large pictures and of odd EXIF; decoding has limits and verdicts of its own.
    warnings.filterwarnings("ignore", module="PIL")
    take_any_text()
    try:
        status = command()
        # The interpreter would do it last, where it can only complain of a full disk.
        if sys.stdout is not None:
            sys.stdout.flush()
        return status
    except ColorganError as error:
        lines = str(error).split("\n")
        print("error: " + "\n".join(map(printable, lines)), file=sys.stderr)
        return EXIT_USAGE if isinstance(error, ConfigError) else EXIT_FAULT
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader has gone, as in `colorgan models | head`: nobody is left to tell.
        _discard(sys.stdout, sys.stderr)
        return EXIT_FAULT
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = printable(error.filename or "standard output")
        print(f"error: cannot write {where}: {error.strerror}", file=sys.stderr)
        _discard(sys.stdout)
        return EXIT_FAULT


def take_any_text() -> None:
    """Let standard output and error print every text: what their encoding lacks is escaped.

    A file's name may be no text at all, and a terminal's encoding ASCII; neither may end a command.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _discard(*streams: TextIO) -> None:
    """Drop what streams still hold: the interpreter would fail on it at its end."""
    for stream in streams:
        with suppress(OSError, ValueError):
            descriptor = stream.fileno()
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, descriptor)
            os.close(null)


def _run(argv: Sequence[str]) -> int:
    keep_buffers()
    args = _parser(argv[:1]).parse_args(argv)
    command: Callable[[argparse.Namespace], int] = args.command
    return command(args)


_STORAGE = "$COLORGAN_STORAGE, or artifacts/"


def add_storage_option(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """Add the option --storage."""
    own = default if default not in (None, argparse.SUPPRESS) else _STORAGE
    parser.add_argument(
        "--storage",
        metavar="URI",
        default=default,
        help=f"a folder or s3://bucket/prefix (default: {own})",
    )


def _parser(first: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="colorgan",
        description="Colour black-and-white photographs with class-specific conditional GANs.",
    )
    parser.add_argument("--version", action="version", version=f"colorgan {colorgan.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, (help, module) in _COMMANDS.items():
        command = commands.add_parser(name, help=help, description=help.capitalize() + ".")
        if list(first) == [name]:
            add_storage_option(command)
            prepare = "prepare_" + name.replace("-", "_")
            getattr(importlib.import_module(f"colorgan.commands.{module}"), prepare)(command)
    return parser
