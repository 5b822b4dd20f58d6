"""The order in which an epoch reads photographs as a stream, which its seed alone determines.

The shards are shuffled, each class and source evenly over the epoch, and divided among the workers
of a training. A worker reads some shards at the same time, takes the next photograph from any of
them in proportion to what they have left, and passes it through a shuffle buffer. So photographs of
all classes mix, although a shard has a single class, and no more is held than the open shards and
the buffer.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from itertools import groupby, islice
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from colorgan.data.dataset import Balance, Shard
from colorgan.workers import Workers

LANES = 6  # shards that are open at the same time
_BUFFER = 2048  # photographs in the shuffle buffer
_BUFFER_BYTES = 64 * 2**20  # encoded photographs in the shuffle buffer

Item = TypeVar("Item")


@dataclass(frozen=True)
class Piece:
    """The photographs of a shard from the number `begin` up to, but excluding, `end`."""

    shard: Shard
    begin: int
    end: int

    @property
    def rows(self) -> int:
        """The number of photographs."""
        return self.end - self.begin

    @property
    def number(self) -> int:
        """A number of the piece, by its shard and its first photograph; see `Recipe.batch`."""
        return int(self.shard.sha256[:12] or "0", 16) + self.begin

    @property
    def group(self) -> tuple[str, int]:
        """The class and the source of the photographs."""
        return self.shard.label, self.shard.source_index


# Reads the photographs of some pieces, in order.
Reader = Callable[[Sequence[Piece]], Generator[Item, None, None]]


@dataclass(frozen=True)
class _Lane:
    """Pieces that are read one after another.

    Attributes:
        weight: the number of photographs, or with balance a share of the draws.
        rounds: whether the pieces are read again and again, each time in another order.
    """

    pieces: list[Piece]
    weight: float
    rounds: bool


def portion(total: int, batch_size: int, workers: Workers) -> range:
    """The photographs of an epoch that a worker reads, as positions in the shuffled shards.

    Args:
        total: number of photographs of the epoch.
        batch_size: photographs of a step over all workers, of which each takes its part.
        workers: the workers.
    """

    def count(rank: int) -> int:
        worker = replace(workers, rank=rank)
        return total // batch_size * size(batch_size, worker) + size(total % batch_size, worker)

    begin = sum(map(count, range(workers.rank)))
    return range(begin, begin + count(workers.rank))


def size(batch: int, workers: Workers) -> int:
    """The number of a worker's photographs in a batch; it may be 0."""
    begin, end = workers.bounds(batch)
    return end - begin


def epoch(
    pieces: Sequence[Piece],
    read: Reader[Item],
    seeds: tuple[int, int],
    own: range,
    balance: Balance = "none",
) -> Iterator[Item]:
    """The photographs of an epoch that a worker takes, in order.

    Args:
        pieces: the photographs of all workers.
        read: reads the photographs of some pieces.
        seeds: determine the order: the epoch's seed, the same for all workers, and the worker's
            rank.
        own: the worker's `portion`.
        balance: see `TrainingConfig.balance`. Each group is then read in rounds, and the next
            photograph is from any group with its share as the probability.
    """
    rng = np.random.default_rng(seeds)
    if balance == "none":
        cut = list(_cut(_mixed(pieces, np.random.default_rng(seeds[0])), own.start, own.stop))
        lanes = [
            _Lane(some, sum(piece.rows for piece in some), rounds=False)
            for some in (cut[lane::LANES] for lane in range(LANES))
            if some
        ]
    else:
        lanes = _balanced(pieces, balance)
    with ExitStack() as stack:
        readers = [stack.enter_context(closing(_read(lane, read, rng))) for lane in lanes]
        left = np.array([lane.weight for lane in lanes], float)
        merged = _merged(readers, left, rng, counted=balance == "none")
        yield from shuffled(islice(merged, len(own)), buffer_size(pieces), rng)


def pieces_of(pieces: Sequence[Piece], seed: int, own: range, rows: int) -> list[Piece]:
    """The photographs of an epoch that a worker takes, in small pieces in random order.

    Args:
        pieces: the photographs of all workers.
        seed: determines the order; the same for all workers.
        own: the worker's `portion`.
        rows: maximum number of photographs of a piece.
    """
    small = [
        Piece(piece.shard, begin, min(begin + rows, piece.end))
        for piece in pieces
        for begin in range(piece.begin, piece.end, rows)
    ]
    return list(_cut(_mixed(small, np.random.default_rng(seed)), own.start, own.stop))


def buffer_size(pieces: Sequence[Piece]) -> int:
    """The number of photographs in the shuffle buffer, of which large ones leave fewer."""
    rows = sum(piece.shard.rows for piece in pieces)
    mean = sum(piece.shard.bytes for piece in pieces) / max(rows, 1)
    return max(1, min(_BUFFER, int(_BUFFER_BYTES / max(mean, 1))))


def shuffled(items: Iterator[Item], size: int, rng: np.random.Generator) -> Iterator[Item]:
    """All items, each drawn at random from `size` items that are held."""
    held = list(islice(items, size))
    for item in items:
        place = int(rng.integers(len(held)))
        held[place], item = item, held[place]
        yield item
    for place in rng.permutation(len(held)):
        yield held[place]


def _mixed(pieces: Sequence[Piece], rng: np.random.Generator) -> list[Piece]:
    """The pieces in random order, those of each group evenly over the whole."""
    placed: list[tuple[float, Piece]] = []
    for _, group in groupby(sorted(pieces, key=_group), key=_group):
        own = list(group)
        places = (np.arange(len(own)) + rng.random(len(own))) / len(own)
        order = [own[number] for number in rng.permutation(len(own))]
        placed += zip(places.tolist(), order, strict=True)
    return [piece for _, piece in sorted(placed, key=lambda each: each[0])]


def _group(piece: Piece) -> tuple[str, int]:
    return piece.group


def _cut(pieces: Sequence[Piece], begin: int, end: int) -> Iterator[Piece]:
    """The photographs from the number `begin` up to, but excluding, `end`."""
    at = 0
    for piece in pieces:
        first, last = max(begin - at, 0), min(end - at, piece.rows)
        if first < last:
            yield Piece(piece.shard, piece.begin + first, piece.begin + last)
        at += piece.rows


def _balanced(pieces: Sequence[Piece], balance: Balance) -> list[_Lane]:
    """A lane for each group, with its share of the draws; see `sampling_weights`."""
    if balance == "classes":
        key: Callable[[Piece], tuple[str, int]] = lambda piece: (piece.shard.label, 0)  # noqa: E731
    else:
        key = _group
    groups = {name: list(some) for name, some in groupby(sorted(pieces, key=key), key=key)}
    labels = [label for label, _ in groups]
    return [
        _Lane(some, 1 / (len({*labels}) * labels.count(label)), rounds=True)
        for (label, _), some in groups.items()
    ]


def _read(lane: _Lane, read: Reader[Item], rng: np.random.Generator) -> Generator[Item, None, None]:
    pieces = lane.pieces
    while True:
        if lane.rounds:
            pieces = [lane.pieces[place] for place in rng.permutation(len(lane.pieces))]
        with closing(read(pieces)) as items:
            yield from items
        if not lane.rounds:
            return


def _merged(
    lanes: Sequence[Iterator[Item]],
    left: npt.NDArray[np.float64],
    rng: np.random.Generator,
    counted: bool,
) -> Iterator[Item]:
    """The next item of any lane, in proportion to what is left; with `counted`, that falls."""
    while (total := left.sum()) > 0:
        lane = int(np.searchsorted(left.cumsum(), rng.random() * total, side="right"))
        yield next(lanes[lane])
        if counted:
            left[lane] -= 1
