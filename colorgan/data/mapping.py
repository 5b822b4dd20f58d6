"""The interface for applying work to many items in parallel, and its version with threads."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice
from typing import Protocol, TypeVar

from colorgan.system import processors

Item = TypeVar("Item")
Result = TypeVar("Result")


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` items; the last may be shorter (itertools.batched needs Python 3.12)."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


# A function that does items in a number of threads and yields their results in any order. It opens
# what it needs when the first result is asked for, takes a few items ahead, and can be pickled.
Work = Callable[[Iterable[Item], int], Iterator[Result]]


class Mapper(Protocol):
    """Applies work to items, in this process or in others.

    Attributes:
        workers: number of processes.
    """

    @property
    def workers(self) -> int: ...  # noqa: D102

    def map(self, work: Work[Item, Result], items: Iterable[Item]) -> Iterator[Result]:
        """Apply the work to every item; yields the results in any order."""
        ...


class ThreadMapper:
    """Applies work in threads of this process; Pillow and NumPy release Python's global lock."""

    workers = 1

    def __init__(self, threads: int | None = None) -> None:
        """Take the number of threads to compute in, by default one per processor."""
        self.threads = threads or processors()

    def map(self, work: Work[Item, Result], items: Iterable[Item]) -> Iterator[Result]:
        """Apply the work to every item."""
        return work(items, self.threads)


@contextmanager
def bounded_threads(
    at_once: int,
) -> Iterator[Callable[[Callable[[Item], Result], Iterable[Item]], Iterator[Result]]]:
    """Threads for a number of items at a time.

    Yields a function that calls another one on every item and yields the results in any order. At
    the end, items that have not been begun are left out.
    """
    pool = ThreadPoolExecutor(at_once)

    def run(do: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        running: set[Future[Result]] = set()
        for item in items:
            running.add(pool.submit(do, item))
            if len(running) > at_once:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()

    try:
        yield run
    finally:
        pool.shutdown(cancel_futures=True)


class Stopped(Exception):  # noqa: N818
    """Raised in a worker thread whose consumer has stopped."""
