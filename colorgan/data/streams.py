"""Photographs that are read from a dataset's shards in every epoch, and never all in memory.

Processes of a DataLoader read the encoded photographs in the epoch's order (see
colorgan.data.stream_order), and each decodes its part of the batches. What is held is bounded by
the number of processes, not by that of the photographs.
"""

import copy
import os
import signal
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from multiprocessing.connection import Connection
from multiprocessing.context import ForkContext
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from colorgan.data.batches import Batches
from colorgan.data.dataset import Balance, Dataset, Row
from colorgan.data.squares import Selection, selected_shards, square_of
from colorgan.data.stream_order import Piece, epoch, portion, size
from colorgan.errors import ColorganError, ProcessDied
from colorgan.images.decoding import Pixels
from colorgan.workers import ALONE, Workers

AHEAD = 2  # batches that a process prepares before they are asked for
SILENCE_S = 60.0  # after which a process that was sending a batch counts as dead or stuck
_SHARDS_AHEAD = 1  # shards that are downloaded for each open one
_MOST_WORKERS = 8
_DIED = "DataLoader worker"  # how PyTorch begins when one of its processes has died
_FORMAT = 1  # of the order; to be raised when it changes


class PhotoStream:
    """The photographs of a selection, read anew in every epoch."""

    def __init__(
        self,
        wanted: Selection,
        balance: Balance = "none",
        processes: int = 1,
        scratch: str = "",
    ) -> None:
        """Describe the photographs; nothing is read yet.

        Args:
            wanted: the photographs, each resized as a whole to a square before it is cropped.
            balance: the groups that get equal expected shares of an epoch.
            processes: number of processes that read and decode; 0 works in this process.
            scratch: folder for copies of a remote storage's shards; see `open_shards`.

        Raises:
            ColorganError: there is no such photograph.
        """
        wanted.dataset.check_split(wanted.classes, wanted.split)
        self._wanted, self._balance = wanted, balance
        self._processes, self._scratch = processes, scratch
        self._pieces = tuple(Piece(shard, 0, count) for shard, count in selected_shards(wanted))

    def __len__(self) -> int:
        """The number of photographs of an epoch, over all workers."""
        return sum(piece.rows for piece in self._pieces)

    def order(self, workers: Workers) -> str:
        """The name of the order of an epoch; with another number of workers it is another one."""
        return f"stream {_FORMAT} of {workers.count}"

    def batches(
        self,
        batch_size: int,
        crop: int,
        rng: np.random.Generator,
        skip: int = 0,
        workers: Workers = ALONE,
    ) -> Batches:
        """One epoch of random crops, flipped left to right at random; see `PhotoBank.batches`.

        The batches follow from the state of `rng` alone, whatever the number of processes. Skipped
        batches are read, but not decoded.

        Args:
            batch_size: photographs per batch, over all workers; the last batch may be smaller.
            crop: side of the crops, in pixels.
            rng: determines the order, the crops and the flips.
            skip: number of batches to leave out at the beginning.
            workers: the workers; this one gets its part of each batch, and one photograph where it
                has none (see `Workers.within`).

        Yields:
            (batch, 3, crop, crop) uint8 sRGB.

        Raises:
            ColorganError: a shard is damaged or missing, or a photograph cannot be decoded.
        """
        reading = self._reading(batch_size, crop, rng, workers)
        loader = DataLoader(
            _Batches(reading, skip),
            batch_size=None,
            num_workers=self._processes,
            collate_fn=_as_it_is,
            worker_init_fn=_begin_worker,
            prefetch_factor=AHEAD if self._processes else None,
            # A forked process starts at once, and never uses the device or the storage's client.
            multiprocessing_context=_Fork() if self._processes else None,
            # Otherwise, it would draw from the random numbers of the training.
            generator=torch.Generator(),
        )
        with deaths_in_words():
            for batch in loader:
                if isinstance(batch, ColorganError):
                    raise batch
                yield torch.from_numpy(batch).permute(0, 3, 1, 2).contiguous()

    def rows(
        self, batch_size: int, rng: np.random.Generator, workers: Workers = ALONE
    ) -> Iterator[Row]:
        """A worker's photographs of an epoch, still encoded, in the order of `batches`."""
        return self._reading(batch_size, self._wanted.side, rng, workers).rows()

    def _reading(
        self, batch_size: int, crop: int, rng: np.random.Generator, workers: Workers
    ) -> "_Reading":
        recipe = Recipe(self._wanted.side, crop, int(rng.integers(2**62)), workers)
        dataset = self._wanted.dataset
        return _Reading(dataset, self._pieces, recipe, self._balance, batch_size, self._scratch)


def default_processes(device: torch.device) -> int:
    """The number of processes that feed a device: one for a CPU, which has to train as well."""
    if device.type == "cpu":
        return 1
    return max(1, min(_MOST_WORKERS, len(os.sched_getaffinity(0)) - 1))


@dataclass(frozen=True)
class Recipe:
    """How encoded photographs become the batches of a worker in an epoch.

    Attributes:
        side: the side to which each photograph is resized as a whole, in pixels.
        crop: the side of the crops, in pixels.
        seed: the seed of the epoch.
        workers: the workers of the training.
    """

    side: int
    crop: int
    seed: int
    workers: Workers = ALONE

    def batch(self, number: int, rows: Sequence[Row]) -> Pixels:
        """Decode, crop and flip the photographs of a batch.

        Args:
            number: the batch's number in the epoch, which determines the crops and flips.
            rows: the photographs.

        Returns:
            (photographs, crop, crop, 3) uint8 sRGB.

        Raises:
            Corrupt: a photograph cannot be decoded.
        """
        rng = np.random.default_rng([self.seed, self.workers.rank, number])
        corners = rng.integers(0, self.side - self.crop + 1, (len(rows), 2))
        flips = rng.integers(0, 2, len(rows))
        batch = np.empty((len(rows), self.crop, self.crop, 3), np.uint8)
        for place, row in enumerate(rows):
            square = square_of(row, self.side)
            top, left = corners[place]
            cut = square[top : top + self.crop, left : left + self.crop]
            batch[place] = cut[:, ::-1] if flips[place] else cut
        return batch


@dataclass(frozen=True)
class _Reading:
    """The photographs that a worker of a training reads in an epoch."""

    dataset: Dataset
    pieces: tuple[Piece, ...]
    recipe: Recipe
    balance: Balance
    batch_size: int
    scratch: str

    @property
    def count(self) -> int:
        """The number of photographs of the epoch, over all workers."""
        return sum(piece.rows for piece in self.pieces)

    def rows(self) -> Iterator[Row]:
        recipe = self.recipe
        own = portion(self.count, self.batch_size, recipe.workers)
        seeds = recipe.seed, recipe.workers.rank
        return epoch(self.pieces, self._read, seeds, own, self.balance)

    def batches(self) -> Iterator[list[Row]]:
        """The worker's photographs of each batch."""
        rows, count = self.rows(), self.count
        some: list[Row] = []
        for begin in range(0, count, self.batch_size):
            own = size(min(self.batch_size, count - begin), self.recipe.workers)
            some = list(islice(rows, own)) or some[-1:] or self._any()
            yield some

    def _any(self) -> list[Row]:
        with closing(self._read(self.pieces)) as rows:
            return list(islice(rows, 1))

    def _read(self, pieces: Sequence[Piece]) -> Generator[Row, None, None]:
        shards = [piece.shard for piece in pieces]
        opened = self.dataset.rows_of(shards, ahead=_SHARDS_AHEAD, scratch=self.scratch)
        with closing(opened) as rows:
            for piece in pieces:
                own = islice(rows, piece.shard.rows)
                yield from islice(own, piece.begin, piece.end)
                for _ in own:  # the rest of the shard
                    pass


class _Batches(IterableDataset[Any]):
    """The batches that one process of a DataLoader prepares; its error is the last of them.

    The DataLoader takes a batch of each process in turn, so that process `i` of `n` prepares the
    batches `i`, `i` + `n`, and so on.
    """

    def __init__(self, reading: _Reading, skip: int) -> None:
        self._reading, self._skip = reading, skip

    def __iter__(self) -> Iterator[Pixels | ColorganError]:
        worker = get_worker_info()
        number, processes = (worker.id, worker.num_workers) if worker else (0, 1)
        reading = self._reading
        if worker:  # the connections of the process that forked must not be used by two
            reading = replace(reading, dataset=copy.deepcopy(reading.dataset))
        try:
            for batch, some in enumerate(reading.batches()):
                if batch >= self._skip and (batch - self._skip) % processes == number:
                    yield reading.recipe.batch(batch, some)
        except ColorganError as error:
            yield error


class _Fork(ForkContext):
    """Forks processes whose death is noticed, even while they send a batch.

    In the main thread a signal tells PyTorch of it; a training of Ray's has another thread, which
    would wait for the rest of the batch for ever.
    """

    def Queue(self, maxsize: int = 0) -> Any:  # noqa: N802 - the name that PyTorch calls
        queue = super().Queue(maxsize)
        queue._reader.__class__ = _Reader  # type: ignore[attr-defined]
        return queue


class _Reader(Connection):
    """An end of a pipe that fails if the rest of a message does not come.

    The DataLoader then looks whether its processes are alive.
    """

    def _recv(self, size: int, read: Any = None) -> Any:
        def read_soon(handle: int, count: int) -> bytes:
            if not self.poll(SILENCE_S):
                raise TimeoutError(f"a batch was begun, but nothing came for {SILENCE_S:g} s")
            return os.read(handle, count)

        return super()._recv(size, read_soon)  # type: ignore[misc]


@contextmanager
def deaths_in_words() -> Iterator[None]:
    """Say in words that a process of a DataLoader has died.

    PyTorch says it wherever the main thread happens to be, so this must enclose all that is done
    while a stream is read.

    Raises:
        ProcessDied: it has.
    """
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith(_DIED):
            raise
        raise ProcessDied(
            "a process that reads photographs died, as when the machine has no memory left: run "
            "the same command again with --run NAME to continue, and with --data memory to read "
            f"them without such processes ({str(error).splitlines()[0].rstrip('. ')})"
        ) from None


def _as_it_is(batch: Any) -> Any:
    """Leave a batch an array, which the process sends through a pipe, not in shared memory."""
    return batch


def _begin_worker(number: int) -> None:
    """Leave Ctrl-C to the training, which may save its state first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
