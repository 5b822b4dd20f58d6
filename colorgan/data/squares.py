"""The photographs of a split, decoded to squares of one size: in memory, or in files.

Files are shared by all processes of a machine: the trainings of a run, the trials of a sweep, and
their restarts. The photographs of one class and source are a file of the cache (see
colorgan.data.cache), named by the SHA-256 of everything that determines its pixels, so the model of
all classes uses the same files as those of each class. The first process decodes the photographs,
and the others wait for it. Only if the cache has no room for a file does a process keep a file of
its own, which has no name and so cannot outlive it. Space on the disk is reserved before anything
is decoded: writing through a mapping to a full disk would kill the process.
"""

import hashlib
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import PIL
import torch

from colorgan.data.cache import Cache, find_cache
from colorgan.data.dataset import Dataset, Row, Shard, even_shares
from colorgan.data.mapping import batched
from colorgan.errors import ColorganError, Corrupt, ImageRejected
from colorgan.images.decoding import Pixels, decode, resize_square
from colorgan.system import reserve_space

SHARED_FROM = 64 * 2**20  # bytes of a split; smaller ones are kept by each process in its memory
_FORMAT = 1  # of the files; to be raised when decoding or scaling changes

Group = tuple[str, int]  # a photograph's class, and the index of its source in the dataset


@dataclass(frozen=True)
class Selection:
    """The photographs to read.

    Attributes:
        dataset: the dataset.
        classes: their classes.
        split: train, val or test.
        side: the side of the squares, in pixels.
        limit: maximum number of photographs, balanced across classes and across the sources of
            each class, always the same ones; 0 means all.
    """

    dataset: Dataset
    classes: Sequence[str]
    split: str
    side: int
    limit: int = 0


@dataclass(frozen=True)
class Keeping:
    """Where decoded photographs are kept.

    Attributes:
        memory_limit: bytes that they may take in this process's memory.
        scratch: folder for the files; empty means the cache's and, for a file that the cache has no
            room for, the one for temporary files.
        observe: called often with the number of photographs that are there and the number of all;
            it may raise to interrupt.
    """

    memory_limit: int
    scratch: str = ""
    observe: Callable[[int, int], None] = lambda done, count: None


class Stack:
    """Arrays of photographs of one size, read as if they were one array; nothing is copied.

    Attributes:
        shape: (photographs, side, side, 3).
    """

    def __init__(self, parts: Sequence[Pixels]) -> None:
        """Take arrays (photographs, side, side, 3) uint8."""
        self._parts = tuple(parts)
        self._begins = np.cumsum([0, *(len(part) for part in parts)])
        self.shape: tuple[int, ...] = (int(self._begins[-1]), *parts[0].shape[1:])

    @property
    def nbytes(self) -> int:
        """The size of all photographs in bytes."""
        return int(np.prod(self.shape))

    def __len__(self) -> int:
        """The number of photographs."""
        return self.shape[0]

    def __iter__(self) -> Iterator[Pixels]:
        """Every photograph, (side, side, 3)."""
        for part in self._parts:
            yield from part

    def __getitem__(self, key: Any) -> Pixels:
        """Index as in an array; the first index is a number from 0 on, or a slice of step 1."""
        first, rest = (key[0], key[1:]) if isinstance(key, tuple) else (key, ())
        if isinstance(first, slice):
            begin, end, _ = first.indices(len(self))
            pieces = [
                part[max(begin - at, 0) : max(end - at, 0)]
                for at, part in zip(self._begins, self._parts, strict=False)
            ]
            pieces = [piece for piece in pieces if len(piece)] or [self._parts[0][:0]]
            whole = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
            return whole[(slice(None), *rest)]
        place = int(np.searchsorted(self._begins, first, side="right")) - 1
        found: Pixels = self._parts[place][(first - self._begins[place], *rest)]
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Pixels:
        """A copy as one array."""
        return np.concatenate(self._parts).astype(dtype or np.uint8, copy=False)


Squares = Pixels | Stack


def read_squares(wanted: Selection, keeping: Keeping) -> tuple[Squares, list[Group]]:
    """Read photographs, each resized as a whole to a square.

    Returns:
        (photographs, side, side, 3) uint8 sRGB, in memory or in memory-mapped files to be read
        only; and the class and source of each photograph.

    Raises:
        ColorganError: there is no such photograph, one cannot be decoded, or neither the memory nor
            the disk has room for them.
    """
    wanted.dataset.check_split(wanted.classes, wanted.split)
    parts = _parts(wanted)
    groups = [part.group for part in parts for _ in range(part.count)]
    size = sum(part.size for part in parts)
    count = len(groups)
    if size > min(keeping.memory_limit, SHARED_FROM):
        shared = _shared(parts, size, keeping)
        if shared:
            return (shared[0] if len(shared) == 1 else Stack(shared)), groups
    shape = (count, wanted.side, wanted.side, 3)
    if size <= keeping.memory_limit:
        pixels = np.empty(shape, np.uint8)
        done = 0
        for some in _decoded(parts, lambda done: keeping.observe(done, count)):
            pixels[done : done + len(some)] = some
            done += len(some)
        return pixels, groups
    with _reserved(Path(keeping.scratch or tempfile.gettempdir()), size) as file:
        for some in _decoded(parts, lambda done: keeping.observe(done, count)):
            file.write(some.data)
        file.flush()
        return np.memmap(file, np.uint8, mode="r", shape=shape), groups


def selected_shards(wanted: Selection) -> list[tuple[Shard, int]]:
    """The shards that hold a selection, and how many photographs from the first on it takes."""
    found = []
    for part in _parts(wanted):
        left = part.count
        for shard in part.shards:
            found.append((shard, min(shard.rows, left)))
            left -= found[-1][1]
    return found


def square_of(row: Row, side: int) -> Pixels:
    """Decode a staged photograph, and resize it as a whole to a square.

    Returns:
        (side, side, 3) uint8 sRGB.

    Raises:
        Corrupt: it cannot be decoded; the message names it.
    """
    try:
        return resize_square(decode(row.image).rgb, side)
    except ImageRejected as error:
        raise Corrupt(
            f"the photograph {row.source} of class {row.label} cannot be read from the dataset: "
            f"{error}: stage it again"
        ) from error


@dataclass(frozen=True)
class _Part:
    """The first `count` photographs of some shards, of one class and source."""

    dataset: Dataset
    shards: tuple[Shard, ...]
    count: int
    side: int

    @property
    def group(self) -> Group:
        return self.shards[0].label, self.shards[0].source_index

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return self.count, self.side, self.side, 3

    @property
    def size(self) -> int:
        """The size of the pixels in bytes."""
        return int(np.prod(self.shape))

    def name(self) -> str:
        """The SHA-256 (hex) of everything that determines the pixels."""
        said = f"squares {_FORMAT} {PIL.__version__} {self.shape} "
        return hashlib.sha256((said + " ".join(s.sha256 for s in self.shards)).encode()).hexdigest()

    def rows(self, poll: Callable[[], None]) -> Generator[Row, None, None]:
        with closing(self.dataset.rows_of(self.shards, poll)) as rows:
            yield from islice(rows, self.count)

    def square(self, row: Row) -> Pixels:
        return square_of(row, self.side)


def _parts(wanted: Selection) -> list[_Part]:
    """The photographs to read, in the order of the dataset's shards."""
    dataset, side = wanted.dataset, wanted.side
    left = Counter(_shares(wanted))
    parts = []
    shards = dataset.shards(wanted.classes, wanted.split)
    for group, run in groupby(shards, lambda shard: (shard.label, shard.source_index)):
        taken: list[Shard] = []
        count = 0
        for shard in run:
            if left[group] > count:
                taken.append(shard)
                count = min(count + shard.rows, left[group])
        if count:
            left[group] -= count
            parts.append(_Part(dataset, tuple(taken), count, side))
    return parts


def _shares(wanted: Selection) -> Mapping[Group, int]:
    """The number of photographs to take from each class and source."""
    dataset, limit = wanted.dataset, wanted.limit
    counts = {label: dataset.sources_of(label, wanted.split) for label in wanted.classes}
    if limit:
        totals = {label: sum(sources.values()) for label, sources in counts.items()}
        each = even_shares(totals, limit)
        counts = {label: even_shares(counts[label], each[label]) for label in wanted.classes}
    return {
        (label, source): count
        for label, sources in counts.items()
        for source, count in sources.items()
    }


def _decoded(parts: Sequence[_Part], observe: Callable[[int], None]) -> Iterator[Pixels]:
    """Decode photographs some at a time: (some, side, side, 3); `observe` gets the number done."""
    done = 0

    def poll() -> None:
        observe(done)

    workers = torch.get_num_threads()
    with ThreadPoolExecutor(workers) as pool:
        for part in parts:
            with closing(part.rows(poll)) as rows:
                # Work in bounded strides, so that the encoded photographs are never all in memory.
                for stride in batched(rows, 16 * workers):
                    poll()
                    yield np.stack(list(pool.map(part.square, stride)))
                    done += len(stride)
    poll()


def _shared(parts: Sequence[_Part], size: int, keeping: Keeping) -> list[Pixels]:
    """The parts from files that all processes share; empty if these cannot be kept."""
    cache = find_cache(keeping.scratch)
    if cache is None or not cache.has_room(size):
        return []
    count = sum(part.count for part in parts)
    found: list[Pixels] = []
    done = 0
    for part in parts:

        def observe(some: int, before: int = done) -> None:
            keeping.observe(before + some, count)

        pixels = _shared_part(cache, part, observe)
        if pixels is None:
            return []
        found.append(pixels)
        done += part.count
        keeping.observe(done, count)
    return found


def _shared_part(cache: Cache, part: _Part, observe: Callable[[int], None]) -> Pixels | None:
    def write(file: BinaryIO) -> None:
        for some in _decoded([part], observe):
            file.write(some.data)

    file = cache.keep(part.name(), part.size, write, partial(observe, 0))
    if file is None:
        return None
    with file:
        return np.memmap(file, np.uint8, mode="r", shape=part.shape)


def _reserved(folder: Path, size: int) -> BinaryIO:
    """A file without a name, with its space on the disk reserved.

    Raises:
        ColorganError: the folder cannot hold it; the message names the folder and the bytes.
    """
    try:
        # The caller closes it.
        file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        try:
            reserve_space(file.fileno(), size)
        except BaseException:
            file.close()
            raise
        return cast(BinaryIO, file)
    except OSError as error:
        free = shutil.disk_usage(folder).free if folder.is_dir() else 0
        raise ColorganError(
            f"the decoded photographs take {size:,} bytes, and {folder} cannot hold them "
            f"({error.strerror}; {free:,} bytes are free): free some, choose another folder with "
            "--scratch, or take fewer with --photographs"
        ) from None
