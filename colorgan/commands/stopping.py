"""Stopping a long command without losing what it has done."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stops_when_asked(quiet: bool = False) -> Iterator[Callable[[], bool]]:
    """Let the work inside end by itself when the user asks for it.

    The first Ctrl-C or SIGTERM is remembered, and a line says so; the second raises
    KeyboardInterrupt.

    Args:
        quiet: whether to print nothing, because another process of the same command does.

    Yields:
        A function that tells whether to stop.
    """
    asked = False

    def hear(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        if quiet:
            return
        print("\nstopping: saving what is done; Ctrl-C again ends at once", file=sys.stderr)

    before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
