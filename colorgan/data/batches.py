"""Decoded photographs in memory, and batches of crops from them for training."""

import os
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from colorgan.data.dataset import Dataset, Row, even_shares
from colorgan.data.mapping import batched
from colorgan.images.decoding import Pixels, decode, resize_square

# pix2pix scales a photograph to 286 x 286 and crops 256 x 256 of it (appendix 6.2, random jitter).
JITTER = 286 / 256

Batches = Generator[Tensor, None, None]


class PhotoBank:
    """The photographs of a split as one uint8 array, each the whole photograph as a square.

    Attributes:
        pixels: (photographs, side, side, 3) uint8 sRGB, in memory or in a memory-mapped file.
    """

    def __init__(self, pixels: Pixels) -> None:
        self.pixels = pixels

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
    ) -> "PhotoBank":
        """Read and decode a split once.

        Args:
            dataset: where the photographs are.
            classes: whose photographs to read.
            split: train, val or test.
            side: of the squares, in pixels.
            memory_limit: bytes; a larger array lives in a memory-mapped temporary file.
            limit: at most so many photographs, as even over the classes as it goes and the same
                ones every time; 0 is all.

        Raises:
            ColorganError: there is no such photograph, or one cannot be decoded.
        """
        shares = {label: dataset.count([label], split) for label in classes}
        if limit:
            shares = even_shares(shares, limit)
        dataset.check_split(classes, split)
        count = sum(shares.values())
        pixels = _allocate((count, side, side, 3), memory_limit)
        rows = _taken(dataset.rows(classes, split), shares)

        def fill(place: int, image: bytes) -> None:
            pixels[place] = resize_square(decode(image).rgb, side)

        workers = torch.get_num_threads()
        with ThreadPoolExecutor(workers) as pool:
            # A bounded stride at a time, so that the encoded photographs are never all in memory.
            places = enumerate(row.image for row in rows)
            for stride in batched(places, 16 * workers):
                list(pool.map(lambda item: fill(*item), stride))
        return cls(pixels)

    def batches(self, batch_size: int, crop: int, rng: np.random.Generator) -> Batches:
        """One epoch of random crops, each flipped left to right or not, in a random order.

        Args:
            batch_size: photographs a batch; the last batch may be smaller.
            crop: side of the crops, in pixels.
            rng: decides the order, the crops and the flips.

        Yields:
            (batch, 3, crop, crop) uint8 sRGB.
        """
        count, side = self.pixels.shape[:2]
        jitter = _Jitter.draw(count, side, crop, rng)
        for start in range(0, count, batch_size):
            batch = np.empty((min(batch_size, count - start), crop, crop, 3), np.uint8)
            for place, photo in enumerate(jitter.order[start : start + batch_size]):
                top, left = jitter.tops[photo], jitter.lefts[photo]
                cut = self.pixels[photo, top : top + crop, left : left + crop]
                batch[place] = cut[:, ::-1] if jitter.flips[photo] else cut
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
    """

    def __init__(self, bank: PhotoBank, device: torch.device) -> None:
        """Copy a bank's photographs to a device."""
        self.pixels = torch.from_numpy(np.asarray(bank.pixels)).to(device)

    def __len__(self) -> int:
        """How many photographs there are."""
        return len(self.pixels)

    def batches(self, batch_size: int, crop: int, rng: np.random.Generator) -> Batches:
        """One epoch of random crops; see `PhotoBank.batches`."""
        count, side = self.pixels.shape[:2]
        device = self.pixels.device
        jitter = _Jitter.draw(count, side, crop, rng)
        # One copy to the device an epoch, and none a batch.
        drawn = np.stack([jitter.tops, jitter.lefts, jitter.flips])[:, jitter.order]
        order = torch.from_numpy(jitter.order).to(device)
        tops, lefts, flips = torch.from_numpy(drawn).to(device)
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
class _Jitter:
    """The order of an epoch, and by photograph its crop's corner and whether it is flipped."""

    order: npt.NDArray[np.int64]
    tops: npt.NDArray[np.int64]
    lefts: npt.NDArray[np.int64]
    flips: npt.NDArray[np.int64]

    @classmethod
    def draw(cls, count: int, side: int, crop: int, rng: np.random.Generator) -> "_Jitter":
        order = rng.permutation(count)
        tops, lefts = rng.integers(0, side - crop + 1, (2, count))
        return cls(order, tops, lefts, rng.integers(0, 2, size=(count,)))


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


def _taken(rows: Iterable[Row], shares: Mapping[str, int]) -> Iterator[Row]:
    """The first rows of each class, as many as its share."""
    left = dict(shares)
    for row in rows:
        if left[row.label]:
            left[row.label] -= 1
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
