"""Exit statuses, error handling and the option --storage, shared by all commands and jobs."""

import argparse
import errno
import io
import os
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

from colorgan.commands.text import printable
from colorgan.errors import ColorganError, ConfigError, ProcessDied

EXIT_FAULT = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

_STORAGE = "$COLORGAN_STORAGE, or artifacts/"


def guarded(command: Callable[[], int]) -> int:
    """Run a command and return its exit status; errors of the user are printed as one sentence."""
    # Pillow warns about large pictures and unusual EXIF, which decoding checks itself.
    warnings.filterwarnings("ignore", module="PIL")
    take_any_text()
    try:
        status = command()
        # If the interpreter flushed at exit instead, a full disk could not be reported properly.
        if sys.stdout is not None:
            sys.stdout.flush()
        return status
    except (ColorganError, ProcessDied) as error:
        lines = str(error).split("\n")
        print("error: " + "\n".join(map(printable, lines)), file=sys.stderr)
        return EXIT_USAGE if isinstance(error, ConfigError) else EXIT_FAULT
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader has closed the pipe, as in `colorgan models | head`.
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
    """Let standard output and error escape characters that their encoding lacks.

    A file name may contain undecodable bytes, and a terminal's encoding may be ASCII; neither must
    end a command.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _discard(*streams: TextIO) -> None:
    """Discard what streams have buffered, because flushing it at exit would fail."""
    for stream in streams:
        with suppress(OSError, ValueError):
            descriptor = stream.fileno()
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, descriptor)
            os.close(null)


def add_storage_option(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """Add the option --storage."""
    own = default if default not in (None, argparse.SUPPRESS) else _STORAGE
    parser.add_argument(
        "--storage",
        metavar="URI",
        default=default,
        help=f"a folder or s3://bucket/prefix (default: {own})",
    )


def add_report_options(parser: argparse.ArgumentParser, report: str) -> None:
    """Add `--report`, `--json` and `--device` of a command that measures something.

    Args:
        parser: the command's parser.
        report: the default name of the report.
    """
    parser.add_argument(
        "--report",
        metavar="NAME",
        default=report,
        help="folder for the files, under reports/ in storage, whose earlier files are replaced "
        "(default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto")
