"""Decoded photographs in memory, and batches of their crops for training."""

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from colorgan.data.dataset import Balance, Dataset
from colorgan.data.squares import Group, Keeping, Selection, Squares, read_squares
from colorgan.errors import ConfigError
from colorgan.workers import ALONE, Workers

# pix2pix resizes a photograph to 286 x 286 and crops it to 256 x 256 (appendix 6.2, random jitter).
JITTER = 286 / 256

IN_MEMORY = "memory"  # the name of the order of photographs that are all in memory

_COPIED = 256  # photographs copied to a device at a time

Batches = Generator[Tensor, None, None]
Integers = npt.NDArray[np.int64]


class PhotoSource(Protocol):
    """Photographs to train on: a bank, or a stream of them."""

    def __len__(self) -> int:
        """The number of photographs of an epoch."""
        ...

    def order(self, workers: Workers) -> str:
        """The name of the order of an epoch, which follows from its seed.

        A training continues an epoch only in the order in which it began. It is empty if the order
        cannot be repeated.
        """
        ...

    def batches(
        self,
        batch_size: int,
        crop: int,
        rng: np.random.Generator,
        skip: int = 0,
        workers: Workers = ALONE,
    ) -> Batches:
        """One epoch of random crops; see `PhotoBank.batches`."""
        ...


class PhotoBank:
    """The photographs of a split as one uint8 array, each resized as a whole to a square.

    Attributes:
        pixels: (photographs, side, side, 3) uint8 sRGB, in memory or in memory-mapped files.
        groups: (class, source) of each photograph; empty if unknown.
        weights: (photographs,) sampling probabilities; None if an epoch takes each photograph once.
    """

    def __init__(
        self, pixels: Squares, groups: Sequence[Group] = (), balance: Balance = "none"
    ) -> None:
        """Take photographs.

        Args:
            pixels: (photographs, side, side, 3) uint8 sRGB.
            groups: class and source of each photograph, required for balancing.
            balance: the groups that get equal expected shares of an epoch; see `sampling_weights`.
        """
        self.pixels = pixels
        self.groups = tuple(groups)
        self.weights = sampling_weights(groups, balance)

    def read(self) -> None:
        """Read what has not been read yet: nothing here; see `LaterBank`."""

    def __len__(self) -> int:
        """The number of photographs."""
        return len(self.pixels)

    def order(self, workers: Workers) -> str:
        """The name of the order of an epoch, the same for any number of workers."""
        return IN_MEMORY

    @classmethod
    def load(
        cls,
        dataset: Dataset,
        classes: Sequence[str],
        split: str,
        side: int,
        memory_limit: int,
        limit: int = 0,
        balance: Balance = "none",
    ) -> "PhotoBank":
        """Read and decode a split once.

        Args:
            dataset: the dataset to read.
            classes: the classes whose photographs are read.
            split: train, val or test.
            side: the side of the squares, in pixels.
            memory_limit: in bytes; a larger array is kept in memory-mapped files, and so is a
                smaller one that is worth sharing; see `colorgan.data.squares`.
            limit: maximum number of photographs, balanced across classes and across the sources of
                each class, always the same ones; 0 means all.
            balance: the groups that get equal expected shares of an epoch.

        Raises:
            ColorganError: as from `read_squares`.
        """
        pixels, groups = read_squares(
            Selection(dataset, classes, split, side, limit), Keeping(memory_limit)
        )
        return cls(pixels, groups, balance)

    def batches(
        self,
        batch_size: int,
        crop: int,
        rng: np.random.Generator,
        skip: int = 0,
        workers: Workers = ALONE,
    ) -> Batches:
        """One epoch of random crops, flipped left to right at random, in a random order.

        The epoch takes every photograph once, or draws as many with replacement if the bank has
        weights.

        Args:
            batch_size: photographs per batch, over all workers; the last batch may be smaller.
            crop: side of the crops, in pixels.
            rng: determines the order, the crops and the flips.
            skip: number of batches to leave out at the beginning; the others stay as they are.
            workers: the workers; this one gets its part of each batch (see `Workers.within`).

        Yields:
            (batch, 3, crop, crop) uint8 sRGB.
        """
        count, side = self.pixels.shape[:2]
        jitter = Jitter.draw(count, side, crop, rng, self.weights)
        for start in range(skip * batch_size, count, batch_size):
            mine = workers.within(start, min(start + batch_size, count))
            batch = np.empty((len(mine), crop, crop, 3), np.uint8)
            for place, position in enumerate(mine):
                photo, top, left, flip = jitter.at(position)
                cut = self.pixels[photo, top : top + crop, left : left + crop]
                batch[place] = cut[:, ::-1] if flip else cut
            yield torch.from_numpy(batch).permute(0, 3, 1, 2).contiguous()

    def in_order(self, batch_size: int, workers: Workers = ALONE) -> Batches:
        """A worker's part of the whole photographs, in order: (batch, 3, side, side) uint8 sRGB."""
        first, end = workers.bounds(len(self))
        for start in range(first, end, batch_size):
            batch = np.array(self.pixels[start : min(start + batch_size, end)])
            yield torch.from_numpy(batch).permute(0, 3, 1, 2).contiguous()


class LaterBank(PhotoBank):
    """A bank whose photographs are read when they are first needed."""

    def __init__(self, count: int, read: Callable[[], tuple[Squares, list[Group]]]) -> None:
        """Take the number of photographs, and the function that reads them."""
        self._count, self._read_them = count, read
        self.weights = None

    def __len__(self) -> int:
        """The number of photographs."""
        return self._count

    def __getattr__(self, name: str) -> Any:
        """Read the photographs for `pixels` and `groups`, which are then ordinary attributes."""
        if name not in ("pixels", "groups"):
            raise AttributeError(name)
        pixels, groups = self._read_them()
        self.pixels, self.groups = pixels, tuple(groups)
        return getattr(self, name)

    def read(self) -> None:
        """Read the photographs now, unless they are; raises ColorganError if that fails."""
        _ = self.pixels


class DevicePhotographs:
    """A bank's photographs on a device, which also crops and flips them.

    Its batches equal those of the bank, and none of them waits for the host.

    Attributes:
        pixels: (photographs, side, side, 3) uint8 sRGB, on the device.
        weights: the sampling weights of the bank, on the host.
    """

    def __init__(self, bank: PhotoBank, device: torch.device) -> None:
        """Copy a bank's photographs, which are read, to a device."""
        self.pixels = torch.empty(bank.pixels.shape, dtype=torch.uint8, device=device)
        # Some at a time, since an array of several files would be copied as a whole.
        for start in range(0, len(bank), _COPIED):
            some = np.array(bank.pixels[start : start + _COPIED])
            self.pixels[start : start + len(some)] = torch.from_numpy(some)
        self.weights = bank.weights

    def read(self) -> None:
        """Read what has not been read yet: nothing."""

    def __len__(self) -> int:
        """The number of photographs."""
        return len(self.pixels)

    def order(self, workers: Workers) -> str:
        """The name of the order of an epoch, the same for any number of workers."""
        return IN_MEMORY

    def batches(
        self,
        batch_size: int,
        crop: int,
        rng: np.random.Generator,
        skip: int = 0,
        workers: Workers = ALONE,
    ) -> Batches:
        """One epoch of random crops; see `PhotoBank.batches`."""
        count, side = self.pixels.shape[:2]
        device = self.pixels.device
        jitter = Jitter.draw(count, side, crop, rng, self.weights)
        # One copy to the device per epoch instead of one per batch.
        drawn = np.stack([jitter.order, jitter.tops, jitter.lefts, jitter.flips])
        order, tops, lefts, flips = torch.from_numpy(drawn).to(device)
        line = torch.arange(crop, device=device)
        for start in range(skip * batch_size, count, batch_size):
            mine = workers.within(start, min(start + batch_size, count))
            now = slice(mine.start, mine.stop)
            rows = tops[now, None] + line
            columns = lefts[now, None] + torch.where(flips[now, None] > 0, crop - 1 - line, line)
            photographs = order[now, None, None]
            batch = self.pixels[photographs, rows[:, :, None], columns[:, None, :]]
            yield batch.permute(0, 3, 1, 2).contiguous()

    def in_order(self, batch_size: int, workers: Workers = ALONE) -> Batches:
        """A worker's part of the whole photographs, in order: (batch, 3, side, side) uint8 sRGB."""
        first, end = workers.bounds(len(self))
        for start in range(first, end, batch_size):
            yield self.pixels[start : min(start + batch_size, end)].permute(0, 3, 1, 2).contiguous()


@dataclass(frozen=True)
class Jitter:
    """The random choices of an epoch, by position: photograph, corner of the crop, and flip."""

    order: Integers
    tops: Integers
    lefts: Integers
    flips: Integers

    @classmethod
    def draw(
        cls,
        count: int,
        side: int,
        crop: int,
        rng: np.random.Generator,
        weights: npt.NDArray[np.float64] | None = None,
    ) -> "Jitter":
        """Draw the choices of one epoch.

        Args:
            count: number of photographs.
            side: side of their squares, in pixels.
            crop: side of the crops, in pixels.
            rng: determines all choices.
            weights: sampling probabilities; see `epoch_order`.
        """
        order = epoch_order(count, rng, weights)
        tops, lefts = rng.integers(0, side - crop + 1, (2, count))
        flips = rng.integers(0, 2, size=(count,))
        if weights is None:  # crops and flips were drawn by photograph, not by position
            tops, lefts, flips = tops[order], lefts[order], flips[order]
        return cls(order, tops, lefts, flips)

    def at(self, place: int) -> tuple[int, int, int, int]:
        """The photograph, top, left, and flip (0 or 1) at a position."""
        return self.order[place], self.tops[place], self.lefts[place], self.flips[place]


def epoch_order(
    count: int, rng: np.random.Generator, weights: npt.NDArray[np.float64] | None = None
) -> Integers:
    """The order of the photographs in an epoch, which has as many samples as photographs.

    Args:
        count: number of photographs.
        rng: determines the order; an rng seeded by (seed, epoch) makes it reproducible.
        weights: (photographs,) probabilities for drawing with replacement; None takes every
            photograph once.

    Returns:
        (count,) indices of photographs.
    """
    return rng.permutation(count) if weights is None else rng.choice(count, count, p=weights)


def sampling_weights(groups: Sequence[Group], balance: Balance) -> npt.NDArray[np.float64] | None:
    """The sampling probability of each photograph for balanced classes or sources.

    Args:
        groups: class and source of each photograph.
        balance: `classes` gives each class the same share; `sources` also gives each source of a
            class the same share of that class; `none` applies no weights.

    Returns:
        (photographs,) probabilities with a sum of 1; None for `none`.

    Raises:
        ConfigError: balancing is requested, but the groups are unknown.
    """
    if balance == "none":
        return None
    if not groups:
        raise ConfigError(f"--balance {balance}: the classes of the photographs are not known")
    keys = groups if balance == "sources" else [(label, 0) for label, _ in groups]
    sizes = Counter(keys)
    parts = Counter(label for label, _ in sizes)
    weights = [1 / (len(parts) * parts[label] * sizes[label, source]) for label, source in keys]
    return np.array(weights)


Photographs = PhotoBank | DevicePhotographs


def keep_on_device(bank: PhotoBank, device: torch.device, share: float) -> Photographs:
    """Copy a bank's photographs to a GPU if they take at most a share of its free memory.

    If they take more, are not read yet, or on a device other than a GPU, the bank itself is
    returned.
    """
    if device.type != "cuda" or isinstance(bank, LaterBank):
        return bank
    free, _ = torch.cuda.mem_get_info(device)
    return DevicePhotographs(bank, device) if bank.pixels.nbytes <= share * free else bank


def on_device(batches: Iterator[Tensor], device: torch.device, prefetch: bool) -> Batches:
    """Move batches to a device, in order.

    Args:
        batches: batches on the CPU.
        device: the device to move them to.
        prefetch: prepare the next batch in a thread while the device works on the current one.
            Close the iterator to end the thread.

    Yields:
        Each batch on the device. The copy from pinned memory to a GPU is asynchronous to the host;
        later work on the device waits for it.
    """
    pin = device.type == "cuda"
    prepare: Callable[[Tensor], Tensor] = Tensor.pin_memory if pin else Tensor.contiguous
    prepared = prefetched(batches, prepare) if prefetch else map(prepare, batches)
    for batch in prepared:
        yield batch.to(device, non_blocking=pin)


def prefetched(batches: Iterator[Tensor], prepare: Callable[[Tensor], Tensor]) -> Batches:
    """Prepare one batch ahead in a thread; its exception is raised at the batch that caused it.

    Args:
        batches: the batches to prepare.
        prepare: applied to each batch in the thread.

    Yields:
        The prepared batches, in order. The thread ends when the iterator is exhausted or closed.
    """

    def take() -> Tensor | None:
        batch = next(batches, None)
        return None if batch is None else prepare(batch)

    with ThreadPoolExecutor(1, thread_name_prefix="colorgan-batches") as thread:
        following = thread.submit(take)
        while (batch := following.result()) is not None:
            following = thread.submit(take)
            yield batch
