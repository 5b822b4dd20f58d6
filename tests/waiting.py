"""Waits for what other processes do, as long as a loaded machine may take for it."""

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

# Long enough for a machine that does other work; what is waited for usually comes within seconds.
PATIENCE_S = 900.0


def wait_until(
    condition: Callable[[], Found],
    describe: Callable[[], object] = lambda: "it has not happened in time",
    every_s: float = 0.1,
) -> Found:
    """Ask until the answer is true, and return it.

    Args:
        condition: what is asked; it may raise AssertionError to end the wait.
        describe: what the failure says when the time has passed.
        every_s: seconds between two questions.
    """
    deadline = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, describe()
        time.sleep(every_s)
    return found
