"""How commands print."""

import re
import sys
from collections.abc import Iterable, Sequence

# What moves a terminal's cursor or hides the end of a line (C0, C1, line and paragraph separators,
# directions of writing), and bytes of a file name that are no text (surrogates).
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: object) -> str:
    r"""A text on one line, as a terminal can show it: \x1b, \n or, of a file's name, \xdf."""
    return _UNPRINTABLE.sub(_escaped, str(text))


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:  # how Python holds a byte that the encoding does not know
        return f"\\x{code - 0xDC00:02x}"
    return found[0].encode("unicode_escape").decode()


def print_errors(errors: Iterable[object]) -> None:
    """Say on standard error what could not be done, a line each."""
    for error in errors:
        print(f"error: {printable(error)}", file=sys.stderr)


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows of cells under their headings."""
    lines = [[printable(cell) for cell in line] for line in (headings, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    for line in lines:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        )


def print_note(sentence: str) -> None:
    """Tell the user, beside a command's output, what it decided by itself; nothing where empty."""
    if sentence:
        print(f"note: {sentence}", file=sys.stderr, flush=True)
