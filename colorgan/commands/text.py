"""Functions with which commands print text, tables, notes and errors."""

import argparse
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence

# Characters that move a terminal's cursor or hide the end of a line (C0, C1, line and paragraph
# separators, text direction), and surrogates, which stand for undecodable bytes of a file name.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

_GAP = "  "  # between the columns of a table
_LEAST = 16  # characters to which a column may be shortened
_PROGRESS_SECONDS = 2  # between two lines of progress


def printable(text: object) -> str:
    r"""Escape a text to one printable line, with \x1b, \n or, for bytes of file names, \xdf."""
    return _UNPRINTABLE.sub(_escaped, str(text))


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:  # Python's representation of an undecodable byte
        return f"\\x{code - 0xDC00:02x}"
    return found[0].encode("unicode_escape").decode()


def print_errors(errors: Iterable[object]) -> None:
    """Print errors to standard error, one per line."""
    for error in errors:
        print(f"error: {printable(error)}", file=sys.stderr)


def print_table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], spare: Sequence[str] = ()
) -> None:
    """Print rows of cells under their headings, in aligned columns.

    On a terminal that is too narrow, the columns named in `spare` are shortened or left out, the
    first one first, and a note on standard error names `--wide`, which the command must have.
    Elsewhere every column is printed whole.
    """
    lines = [[printable(cell) for cell in line] for line in (headings, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    room = _terminal_width()
    changed = _fit(headings, widths, spare, room) if room else []
    shown = [column for column, width in enumerate(widths) if width]
    for line in lines:
        cells = [_cut(line[column], widths[column]).ljust(widths[column]) for column in shown]
        print(_GAP.join(cells).rstrip())
    if changed:
        print_note(f"this terminal is too narrow for {', '.join(changed)}: --wide prints all")


def _fit(headings: Sequence[str], widths: list[int], spare: Sequence[str], room: int) -> list[str]:
    """Narrow spare columns until all fit; a width of 0 leaves one out. Returns their headings."""
    changed = []
    for heading in spare:
        shown = [width for width in widths if width]
        over = sum(shown) + len(_GAP) * (len(shown) - 1) - room
        if over <= 0:
            break
        column = headings.index(heading)
        left = widths[column] - over
        widths[column] = left if left >= max(_LEAST, len(heading)) else 0
        changed.append(heading)
    return changed


def _cut(cell: str, width: int) -> str:
    return cell if len(cell) <= width else f"{cell[: width - 1].rstrip()}\N{HORIZONTAL ELLIPSIS}"


def _terminal_width() -> int:
    """The columns of the terminal that standard output is; 0 if it is none, or does not know."""
    if not sys.stdout.isatty():
        return 0
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns
    except OSError:
        return 0


def add_wide_option(parser: argparse.ArgumentParser, default: bool | str = False) -> None:
    """Add the option `--wide` of a command that prints a table with spare columns."""
    parser.add_argument(
        "--wide",
        action="store_true",
        default=default,
        help="print every column whole, also on a narrow terminal",
    )


def print_note(sentence: str) -> None:
    """Print a note on a decision of the command to standard error; an empty one is not printed."""
    if sentence:
        print(f"note: {sentence}", file=sys.stderr, flush=True)


def print_notes(source: object, notes: Iterable[str]) -> None:
    """Print notes on a photograph to standard error, one per line."""
    for note in notes:
        print(f"{source}: {printable(note)}", file=sys.stderr)


def progress_printer() -> Callable[[str], None]:
    """A function that prints a line of progress to standard error, at most one in two seconds.

    The first line waits as long, and lines about a whole epoch are always printed.
    """
    shown = time.monotonic()

    def show(line: str) -> None:
        nonlocal shown
        if line.startswith("epoch") or time.monotonic() - shown > _PROGRESS_SECONDS:
            shown = time.monotonic()
            print(line, file=sys.stderr)

    return show
