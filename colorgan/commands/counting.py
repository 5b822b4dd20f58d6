"""Progress of a command over many photographs: a bar on a terminal, otherwise a line at times."""

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

_LINE_S = 5.0  # between lines without a terminal


class Counting:
    """Shows on standard error how far a command is; use it as a context manager."""

    def __init__(self, total: int) -> None:
        """Set the number of photographs."""
        self._total = total
        console = Console(stderr=True)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        if console.is_terminal and total > 1:
            # Lines on standard output go above the bar, but not if they go somewhere else.
            self._bar = Progress(
                BarColumn(),
                TextColumn("{task.description}"),
                console=console,
                transient=True,
                redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
            )
        self._shown = time.monotonic()

    def __enter__(self) -> "Counting":
        """Start the display."""
        if self._bar:
            self._bar.start()
            self._task = self._bar.add_task("", total=self._total)
        return self

    def __exit__(self, *raised: object) -> None:
        """Remove the bar."""
        if self._bar:
            self._bar.stop()

    def show(self, done: int, words: str) -> None:
        """Show how many photographs are done, and the same in words."""
        if self._bar and self._task is not None:
            self._bar.update(self._task, completed=done, description=words)
        elif done < self._total and time.monotonic() - self._shown > _LINE_S:
            self._shown = time.monotonic()
            print(words, file=sys.stderr, flush=True)
