"""Decoded photographs in memory, and batches of crops from them for training."""

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from colorgan.data.dataset import Balance, Dataset, Row, even_shares
from colorgan.data.mapping import batched
from colorgan.errors import ConfigError
from colorgan.images.decoding import Pixels, decode, resize_square

# pix2pix scales a photograph to 286 x 286 and crops 256 x 256 of it (appendix 6.2, random jitter).
JITTER = 286 / 256

Batches = Generator[Tensor, None, None]
Integers = npt.NDArray[np.int64]
Group = tuple[str, int]  # a photograph's class, and its source among those of the dataset


class PhotoBank:
    """The photographs of a split as one uint8 array, each the whole photograph as a square.

    Attributes:
        pixels: (photographs, side, side, 3) uint8 sRGB, in memory or in a memory-mapped file.
        groups: (class, source) of each photograph; empty where nobody has said it.
        weights: (photographs,) the probability of each, where an epoch draws by weight; None where
            it takes each once.
    """

    def __init__(
        self, pixels: Pixels, groups: Sequence[Group] = (), balance: Balance = "none"
    ) -> None:
        """Take photographs.

        Args:
            pixels: of them.
            groups: class and source of each, which balancing needs.
            balance: what has the same expected share of an epoch; see `sampling_weights`.
        """
        self.pixels = pixels
        self.groups = tuple(groups)
        self.weights = sampling_weights(groups, balance)

    def __len__(self) -> int:
        """How many photographs there are."""
        return len(self.pixels)

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
            dataset: where the photographs are.
            classes: whose photographs to read.
            split: train, val or test.
            side: of the squares, in pixels.
            memory_limit: bytes; a larger array lives in a memory-mapped temporary file.
            limit: at most so many photographs, as even over the classes, and over the sources of a
                class, as it goes and the same ones every time; 0 is all.
            balance: what has the same expected share of an epoch.

        Raises:
            ColorganError: there is no such photograph, or one cannot be decoded.
        """
        dataset.check_split(classes, split)
        shares = _shares(dataset, classes, split, limit)
        count = sum(shares.values())
        pixels = _allocate((count, side, side, 3), memory_limit)
        groups: list[Group] = []

        def images() -> Iterator[bytes]:
            for row in _taken(dataset.rows(classes, split), shares):
                groups.append((row.label, row.source_index))
                yield row.image

        def fill(place: int, image: bytes) -> None:
            pixels[place] = resize_square(decode(image).rgb, side)

        workers = torch.get_num_threads()
        with ThreadPoolExecutor(workers) as pool:
            # A bounded stride at a time, so that the encoded photographs are never all in memory.
            for stride in batched(enumerate(images()), 16 * workers):
                list(pool.map(lambda item: fill(*item), stride))
        return cls(pixels, groups, balance)

    def batches(self, batch_size: int, crop: int, rng: np.random.Generator) -> Batches:
        """One epoch of random crops, each flipped left to right or not, in a random order.

        It takes every photograph once; by weight, it draws as many with replacement.

        Args:
            batch_size: photographs a batch; the last batch may be smaller.
            crop: side of the crops, in pixels.
            rng: decides the order, the crops and the flips.

        Yields:
            (batch, 3, crop, crop) uint8 sRGB.
        """
        count, side = self.pixels.shape[:2]
        jitter = Jitter.draw(count, side, crop, rng, self.weights)
        for start in range(0, count, batch_size):
            batch = np.empty((min(batch_size, count - start), crop, crop, 3), np.uint8)
            for place in range(len(batch)):
                photo, top, left, flip = jitter.at(start + place)
                cut = self.pixels[photo, top : top + crop, left : left + crop]
                batch[place] = cut[:, ::-1] if flip else cut
            yield torch.from_numpy(batch).permute(0, 3, 1, 2).contiguous()

    def in_order(self, batch_size: int) -> Batches:
        """Every whole photograph, in order: (batch, 3, side, side) uint8 sRGB."""
        for start in range(0, len(self), batch_size):
            batch = np.array(self.pixels[start : start + batch_size])
            yield torch.from_numpy(batch).permute(0, 3, 1, 2).contiguous()


class DevicePhotographs:
    """A bank's photographs on a device, where they are cropped and flipped, too.

    Its batches are those of the bank, and none of them waits for the host.

    Attributes:
        pixels: (photographs, side, side, 3) uint8 sRGB, on the device.
        weights: as those of the bank, on the host.
    """

    def __init__(self, bank: PhotoBank, device: torch.device) -> None:
        """Copy a bank's photographs to a device."""
        self.pixels = torch.from_numpy(np.asarray(bank.pixels)).to(device)
        self.weights = bank.weights

    def __len__(self) -> int:
        """How many photographs there are."""
        return len(self.pixels)

    def batches(self, batch_size: int, crop: int, rng: np.random.Generator) -> Batches:
        """One epoch of random crops; see `PhotoBank.batches`."""
        count, side = self.pixels.shape[:2]
        device = self.pixels.device
        jitter = Jitter.draw(count, side, crop, rng, self.weights)
        # One copy to the device an epoch, and none a batch.
        drawn = np.stack([jitter.order, jitter.tops, jitter.lefts, jitter.flips])
        order, tops, lefts, flips = torch.from_numpy(drawn).to(device)
        line = torch.arange(crop, device=device)
        for start in range(0, count, batch_size):
            now = slice(start, start + batch_size)
            rows = tops[now, None] + line
            columns = lefts[now, None] + torch.where(flips[now, None] > 0, crop - 1 - line, line)
            photographs = order[now, None, None]
            batch = self.pixels[photographs, rows[:, :, None], columns[:, None, :]]
            yield batch.permute(0, 3, 1, 2).contiguous()

    def in_order(self, batch_size: int) -> Batches:
        """Every whole photograph, in order: (batch, 3, side, side) uint8 sRGB."""
        for start in range(0, len(self.pixels), batch_size):
            yield self.pixels[start : start + batch_size].permute(0, 3, 1, 2).contiguous()


@dataclass(frozen=True)
class Jitter:
    """By place in an epoch: the photograph, its crop's corner and whether it is flipped."""

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
        """Draw an epoch's.

        Args:
            count: photographs.
            side: of their squares, in pixels.
            crop: side of the crops, in pixels.
            rng: decides all.
            weights: as those of `epoch_order`.
        """
        order = epoch_order(count, rng, weights)
        tops, lefts = rng.integers(0, side - crop + 1, (2, count))
        flips = rng.integers(0, 2, size=(count,))
        if weights is None:  # they were drawn by photograph, not by place
            tops, lefts, flips = tops[order], lefts[order], flips[order]
        return cls(order, tops, lefts, flips)

    def at(self, place: int) -> tuple[int, int, int, int]:
        """Photograph, top, left, and whether it is flipped."""
        return self.order[place], self.tops[place], self.lefts[place], self.flips[place]


def epoch_order(
    count: int, rng: np.random.Generator, weights: npt.NDArray[np.float64] | None = None
) -> Integers:
    """The photographs of an epoch in their order, as many as there are.

    Args:
        count: photographs.
        rng: decides the order; one of (seed, epoch) gives the same every time.
        weights: (photographs,) probabilities by which to draw, with replacement; None takes every
            photograph once.

    Returns:
        (count,) places of photographs.
    """
    return rng.permutation(count) if weights is None else rng.choice(count, count, p=weights)


def sampling_weights(groups: Sequence[Group], balance: Balance) -> npt.NDArray[np.float64] | None:
    """By what probability to draw each photograph, so that what is balanced has equal shares.

    Args:
        groups: class and source of each photograph.
        balance: `classes` gives each class the same share; `sources` gives in each class, which
            have the same share, each of its sources the same; `none` weighs nothing.

    Returns:
        (photographs,), their sum 1; None for `none`.

    Raises:
        ConfigError: there is something to balance, and no groups are known.
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
    """A bank's photographs on a GPU where they take at most a share of its free memory.

    Where they take more, and on another device, they stay in the bank.
    """
    if device.type != "cuda":
        return bank
    free, _ = torch.cuda.mem_get_info(device)
    return DevicePhotographs(bank, device) if bank.pixels.nbytes <= share * free else bank


def on_device(batches: Iterator[Tensor], device: torch.device, prefetch: bool) -> Batches:
    """Move batches to a device, in their order.

    Args:
        batches: on the CPU.
        device: where they are wanted.
        prefetch: prepare the next batch in a thread while the device works on this one. Close the
            iterator to end the thread.

    Yields:
        Each batch on the device. The copy to a GPU begins from pinned memory and runs beside the
        host; whatever the device is told next waits for it.
    """
    pin = device.type == "cuda"
    prepare: Callable[[Tensor], Tensor] = Tensor.pin_memory if pin else Tensor.contiguous
    prepared = prefetched(batches, prepare) if prefetch else map(prepare, batches)
    for batch in prepared:
        yield batch.to(device, non_blocking=pin)


def prefetched(batches: Iterator[Tensor], prepare: Callable[[Tensor], Tensor]) -> Batches:
    """Take batches one ahead, in a thread; a fault in it is raised at the batch that it concerns.

    Args:
        batches: what to take.
        prepare: applied to each in the thread.

    Yields:
        The prepared batches in their order. The thread ends with the iterator, or when that is
        closed.
    """

    def take() -> Tensor | None:
        batch = next(batches, None)
        return None if batch is None else prepare(batch)

    with ThreadPoolExecutor(1, thread_name_prefix="colorgan-batches") as thread:
        following = thread.submit(take)
        while (batch := following.result()) is not None:
            following = thread.submit(take)
            yield batch


def _shares(dataset: Dataset, classes: Sequence[str], split: str, limit: int) -> dict[Group, int]:
    """How many photographs of each class and source to take."""
    counts = {label: dataset.sources_of(label, split) for label in classes}
    if limit:
        totals = {label: sum(sources.values()) for label, sources in counts.items()}
        each = even_shares(totals, limit)
        counts = {label: even_shares(counts[label], each[label]) for label in classes}
    return {
        (label, source): count
        for label, sources in counts.items()
        for source, count in sources.items()
    }


def _taken(rows: Iterable[Row], shares: Mapping[Group, int]) -> Iterator[Row]:
    """The first rows of each class and source, as many as their share."""
    left = dict(shares)
    for row in rows:
        if left[row.label, row.source_index]:
            left[row.label, row.source_index] -= 1
            yield row
        if not any(left.values()):
            return  # or shards would be read that nobody needs


def _allocate(shape: tuple[int, ...], memory_limit: int) -> Pixels:
    if int(np.prod(shape)) <= memory_limit:
        return np.empty(shape, np.uint8)
    # Without a name the file cannot outlive the process, however that ends.
    descriptor, path = tempfile.mkstemp(prefix="colorgan-photos-")
    with os.fdopen(descriptor, "r+b") as file:
        os.unlink(path)  # noqa: PTH108 - Path says the same with more words
        file.truncate(int(np.prod(shape)))
        return np.memmap(file, np.uint8, mode="r+", shape=shape)
