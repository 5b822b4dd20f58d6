"""Colours an archive in one process: files are read and written in threads around the networks."""

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from colorgan.archives.networks import Networks, Squares
from colorgan.archives.steps import Item, Loaded, Outcome, Settings, finish, load
from colorgan.data.mapping import batched

_AHEAD = 2  # batches that are read while others are coloured or written


def color_here(
    items: Iterable[Item], networks: Networks, settings: Settings, batch_size: int, threads: int
) -> Generator[Outcome, None, None]:
    """Colour photographs, and yield what became of each, in order.

    At most a few batches are in memory. If the caller stops, what is being written is completed,
    and everything else left out. After a failure for a full disk, nothing more is begun.

    Args:
        items: the photographs.
        networks: the loaded networks, which run in this thread.
        settings: how to colour them.
        batch_size: number of photographs that the networks take at once.
        threads: number of threads that read and write.
    """
    pool = ThreadPoolExecutor(threads)
    ahead: deque[list[Future[tuple[Loaded, Squares] | Outcome]]] = deque()
    behind: deque[list[Future[Outcome] | Outcome]] = deque()
    batches = batched(items, batch_size)
    full = False

    def read_next() -> None:
        for batch in batches:
            ahead.append([pool.submit(load, item, settings, networks.inputs) for item in batch])
            return

    def written() -> Iterator[Outcome]:
        nonlocal full
        for each in behind.popleft():
            outcome = each.result() if isinstance(each, Future) else each
            full = full or bool(outcome.failure and outcome.failure.full)
            yield outcome

    try:
        for _ in range(_AHEAD):
            read_next()
        while ahead and not full:
            loaded = [future.result() for future in ahead.popleft()]
            read_next()
            squares = [each[1] for each in loaded if not isinstance(each, Outcome)]
            predicted = iter(networks.predict(squares))
            behind.append(
                [
                    each
                    if isinstance(each, Outcome)
                    else pool.submit(finish, each[0], next(predicted), settings)
                    for each in loaded
                ]
            )
            del loaded, squares
            while len(behind) > _AHEAD or (behind and _is_done(behind[0])):
                yield from written()
        while behind:
            yield from written()
    finally:
        pool.shutdown(cancel_futures=True)


def _is_done(batch: Iterable[Future[Outcome] | Outcome]) -> bool:
    return all(each.done() for each in batch if isinstance(each, Future))
