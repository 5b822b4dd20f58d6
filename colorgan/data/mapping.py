"""The interface for applying work to many items in parallel, and its version with threads."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from itertools import islice
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Item_contra = TypeVar("Item_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` items; the last may be shorter (itertools.batched needs Python 3.12)."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


class Work(Protocol[Item_contra, Result_co]):
    """Work to be applied to each of many items. It can be pickled.

    Attributes:
        at_once: number of items that a process should have in progress at a time.
    """

    @property
    def at_once(self) -> int: ...  # noqa: D102

    def start(self, threads: int) -> AbstractContextManager[Callable[[Item_contra], Result_co]]:
        """Open what a process needs for the work, inside the context, and yield its function.

        Args:
            threads: number of threads that the process may compute in.
        """
        ...


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
        self.threads = threads or len(os.sched_getaffinity(0))

    def map(self, work: Work[Item, Result], items: Iterable[Item]) -> Iterator[Result]:
        """Apply the work to every item; only a few items are in progress at any time."""
        pool = ThreadPoolExecutor(work.at_once)
        try:
            with work.start(self.threads) as do:
                yield from _bounded(pool, do, items, work.at_once)
        finally:
            pool.shutdown(cancel_futures=True)


def _bounded(
    pool: ThreadPoolExecutor, do: Callable[[Item], Result], items: Iterable[Item], at_once: int
) -> Iterator[Result]:
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


class Stopped(Exception):  # noqa: N818
    """Raised in a worker thread whose consumer has stopped."""
