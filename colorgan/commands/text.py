"""Functions with which commands print text, tables, notes and errors."""

import re
import sys
from collections.abc import Iterable, Sequence

# Characters that move a terminal's cursor or hide the end of a line (C0, C1, line and paragraph
# separators, text direction), and surrogates, which stand for undecodable bytes of a file name.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


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


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows of cells under their headings, in aligned columns."""
    lines = [[printable(cell) for cell in line] for line in (headings, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    for line in lines:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        )


def print_note(sentence: str) -> None:
    """Print a note on a decision of the command to standard error; an empty one is not printed."""
    if sentence:
        print(f"note: {sentence}", file=sys.stderr, flush=True)


def print_notes(source: object, notes: Iterable[str]) -> None:
    """Print notes on a photograph to standard error, one per line."""
    for note in notes:
        print(f"{source}: {printable(note)}", file=sys.stderr)
