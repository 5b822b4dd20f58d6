"""Precomputed features of a training's photographs, stored as rows of 16-bit numbers.

The features of a frozen encoder are the same in every epoch. They are computed in parts of a few
hundred photographs. Each part is a file of the cache (see colorgan.data.cache), named by the
SHA-256 of the photographs' pixels and of everything that determines the features. The models of a
run and their restarts therefore share them, and an interruption costs at most one part.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import psutil
import torch
from torch import Tensor

from colorgan.data.batches import Batches, Jitter, PhotoBank
from colorgan.data.cache import Cache, find_cache
from colorgan.images.decoding import Pixels
from colorgan.workers import ALONE, Workers

_PART = 256  # photographs per file
_BATCH = 16  # photographs per batch of the encoder
_MEMORY_SHARE = 0.5  # share of the free memory that rows may take if the cache has no room

Numbers = npt.NDArray[np.uint16]


@dataclass(frozen=True)
class Looker:
    """The function that computes rows of features.

    Attributes:
        look: maps (batch, 3, side, side) uint8 sRGB to (batch, length) of a 16-bit type.
        length: the length of a row.
        dtype: the type of a row's numbers.
        name: identifies everything that determines the result of `look`, including the weights.
    """

    look: Callable[[Tensor], Tensor]
    length: int
    dtype: torch.dtype
    name: str


class FeatureBank:
    """The rows of a bank's photographs, in memory or in memory-mapped files.

    Its epochs equal those of a bank whose squares have the size of the crops.

    Attributes:
        weights: the sampling weights of the bank.
    """

    def __init__(
        self, parts: Sequence[Numbers], dtype: torch.dtype, weights: npt.NDArray[np.float64] | None
    ) -> None:
        """Take rows.

        Args:
            parts: arrays (photographs, 1 or 2, length): unflipped and, optionally, flipped left to
                right.
            dtype: the 16-bit type of the numbers.
            weights: the probability of each photograph; see `PhotoBank`.
        """
        self.weights = weights
        self._parts = tuple(parts)
        self._dtype = dtype
        self._begins = np.cumsum([0, *(len(part) for part in parts)])

    def __len__(self) -> int:
        """The number of photographs."""
        return int(self._begins[-1])

    def batches(
        self,
        batch_size: int,
        crop: int,
        rng: np.random.Generator,
        skip: int = 0,
        workers: Workers = ALONE,
    ) -> Batches:
        """One epoch of whole photographs, each flipped at random; see `PhotoBank.batches`.

        Yields:
            (batch, length) rows.
        """
        jitter = Jitter.draw(len(self), crop, crop, rng, self.weights)
        for start in range(skip * batch_size, len(self), batch_size):
            mine = workers.within(start, min(start + batch_size, len(self)))
            now = slice(mine.start, mine.stop)
            yield self._rows(jitter.order[now], jitter.flips[now])

    def in_order(self, batch_size: int, workers: Workers = ALONE) -> Batches:
        """The rows of a worker's part of the unflipped photographs, in order: (batch, length)."""
        first, end = workers.bounds(len(self))
        for start in range(first, end, batch_size):
            photographs = np.arange(start, min(start + batch_size, end))
            yield self._rows(photographs, np.zeros_like(photographs))

    def _rows(self, photographs: npt.NDArray[np.int64], flips: npt.NDArray[np.int64]) -> Tensor:
        rows = np.empty((len(photographs), self._parts[0].shape[-1]), np.uint16)
        parts = np.searchsorted(self._begins, photographs, side="right") - 1
        for place, (photograph, flip, part) in enumerate(
            zip(photographs, flips, parts, strict=True)
        ):
            rows[place] = self._parts[part][photograph - self._begins[part], flip]
        return torch.from_numpy(rows).view(self._dtype)


def look_once(
    bank: PhotoBank,
    looker: Looker,
    mirrored: bool,
    observe: Callable[[float], None] = lambda fraction: None,
    scratch: str = "",
    workers: Workers = ALONE,
) -> FeatureBank | None:
    """The rows of a bank's photographs, read from the cache or computed.

    Several workers, all of which have the same bank, compute a share of the rows each, and send
    them to those that do not find them in a cache on their own machine.

    Args:
        bank: the photographs.
        looker: computes the rows.
        mirrored: whether to compute the rows of the flipped photographs as well.
        observe: receives the completed fraction of this worker's share; it may raise to interrupt,
            which loses at most the current part.
        scratch: folder to use instead of the cache's; see `find_cache`.
        workers: the workers; what one of them raises, all raise.

    Returns:
        The rows; None if neither the cache nor the memory of one of the workers has room for them.
    """
    parts = [
        _Part(np.asarray(bank.pixels[begin:end]), looker, mirrored) for begin, end in _runs(bank)
    ]
    with workers.together():
        kept = _Kept(parts, find_cache(scratch))
        own = range(workers.rank, len(parts), workers.count)
        done, total = 0, sum(len(parts[number].pixels) for number in own)
        for number in own:
            part = parts[number]

            def compute(part: _Part = part, done: int = done) -> Iterator[Numbers]:
                for place, some in part.compute():
                    observe((done + place) / total)
                    yield some

            def poll(fraction: float = done / total) -> None:
                observe(fraction)

            if not kept.add(number, compute, poll):
                break
            done += len(part.pixels)
        observe(1.0)
    if not _exchange(kept, workers):
        return None
    return FeatureBank(
        [kept.rows[number] for number in range(len(parts))], looker.dtype, bank.weights
    )


def _exchange(kept: "_Kept", workers: Workers) -> bool:
    """Send the workers the rows that others have computed; returns whether all have all of them."""
    own = range(workers.rank, len(kept.parts), workers.count)
    if workers.greatest(not all(number in kept.rows for number in own)):
        return False
    missing = [number for number in range(len(kept.parts)) if not kept.find(number)]
    for number in sorted({number for each in workers.of_all(missing) for number in each}):
        part = kept.parts[number]
        rows = kept.rows.get(number)
        sent = np.empty(part.shape, np.uint16) if rows is None else np.array(rows)
        workers.broadcast([torch.from_numpy(sent.view(np.uint8))], number % workers.count)
        if rows is None:
            kept.add(number, lambda sent=sent: iter([sent]))  # type: ignore[misc]
    return not workers.greatest(len(kept.rows) < len(kept.parts))


def look_at_splits(
    train: PhotoBank,
    val: PhotoBank,
    looker: Looker,
    observe: Callable[[float], None],
    scratch: str = "",
    workers: Workers = ALONE,
) -> tuple[FeatureBank, FeatureBank] | None:
    """The rows of the training photographs, flipped ones included, and of the validation ones.

    Args:
        train: the training photographs.
        val: the validation photographs.
        looker: computes the rows.
        observe: as in `look_once`, for both.
        scratch: as in `look_once`.
        workers: as in `look_once`.

    Returns:
        Both; None if the photographs are not of one size, or there is no room.
    """
    if train.pixels.shape[1] != val.pixels.shape[1]:
        return None
    share = 2 * len(train) / (2 * len(train) + len(val))

    def observe_val(done: float) -> None:
        observe(share + (1 - share) * done)

    rows = look_once(train, looker, True, lambda done: observe(share * done), scratch, workers)
    of_val = look_once(val, looker, False, observe_val, scratch, workers)
    return (rows, of_val) if rows and of_val else None


@dataclass(frozen=True)
class _Part:
    """Some photographs, (photographs, side, side, 3) uint8, whose rows are stored together."""

    pixels: Pixels
    looker: Looker
    mirrored: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of the rows: photographs, 1 or 2 (with flips), length of a row."""
        return len(self.pixels), 2 if self.mirrored else 1, self.looker.length

    @property
    def bytes(self) -> int:
        """The size of its rows in bytes."""
        return 2 * int(np.prod(self.shape))

    @cached_property
    def name(self) -> str:
        """The SHA-256 (hex) of everything that determines its rows."""
        said = f"{self.looker.name} {self.looker.dtype} {self.pixels.shape} {self.mirrored} "
        digest = hashlib.sha256(said.encode())
        digest.update(np.ascontiguousarray(self.pixels).data)
        return digest.hexdigest()

    def compute(self) -> Iterator[tuple[int, Numbers]]:
        """Compute the rows in batches; yields the number of photographs done before, and rows."""
        for start in range(0, len(self.pixels), _BATCH):
            some = np.array(self.pixels[start : start + _BATCH])
            rgb = torch.from_numpy(some).permute(0, 3, 1, 2).contiguous()
            pictures = [rgb, rgb.flip(-1)] if self.mirrored else [rgb]
            rows = torch.stack([self.looker.look(each) for each in pictures], dim=1)
            yield start, rows.contiguous().view(torch.uint16).numpy()


class _Kept:
    """The rows of parts, in files of the cache or, where it has no room, in memory."""

    def __init__(self, parts: Sequence[_Part], cache: Cache | None) -> None:
        """Start without rows."""
        self.parts = parts
        self.rows: dict[int, Numbers] = {}
        self._left = sum(part.bytes for part in parts)
        self._cache = cache if cache and cache.has_room(self._left) else None

    def find(self, number: int) -> bool:
        """Whether the rows of a part are there, also if another process has written its file."""
        if number not in self.rows and self._cache:
            part = self.parts[number]
            self._map(number, self._cache.find(part.name, part.bytes))
        return number in self.rows

    def add(
        self,
        number: int,
        make: Callable[[], Iterator[Numbers]],
        poll: Callable[[], None] = lambda: None,
    ) -> bool:
        """Add the rows of a part, and return whether there was room for them.

        Args:
            number: the part's number.
            make: makes them, in order, if no process of this machine has.
            poll: called often while another process makes them.
        """
        part = self.parts[number]

        def write(file: BinaryIO) -> None:
            for some in make():
                file.write(some.data)

        if self._cache:
            self._map(number, self._cache.keep(part.name, part.bytes, write, poll))
        if number in self.rows:
            return True
        if self._left > _MEMORY_SHARE * psutil.virtual_memory().available:
            return False
        self._cache = None
        self._take(number, np.concatenate(list(make())))
        return True

    def _map(self, number: int, file: BinaryIO | None) -> None:
        if file:
            with file:
                shape = self.parts[number].shape
                self._take(number, np.asarray(np.memmap(file, np.uint16, mode="r", shape=shape)))

    def _take(self, number: int, rows: Numbers) -> None:
        self.rows[number] = rows
        self._left -= self.parts[number].bytes


def _runs(bank: PhotoBank) -> Iterator[tuple[int, int]]:
    """The begin and end of each part, which has photographs of a single class."""
    labels = [label for label, _ in bank.groups] or [""] * len(bank)
    begin = 0
    for _, group in groupby(labels):
        end = begin + len(list(group))
        for start in range(begin, end, _PART):
            yield start, min(start + _PART, end)
        begin = end
