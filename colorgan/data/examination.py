"""Examination of candidates: each is fetched, decoded, checked and scaled, and kept if usable.

Candidates are examined in chunks. The result of a chunk is one Parquet file in storage, a *piece*,
whose name is a checksum of the chunk: a worker that examines the same chunk again finds the piece
and has nothing to do. An interrupted staging therefore resumes from its existing pieces.

    staging/<dataset>/<chunk's checksum>.parquet

A piece holds one row per candidate: the usable ones first, one row group per split and in the
chunk's order, then the rejected ones with the reason.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import repeat
from threading import Event, Semaphore
from typing import Any

import imagehash
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from colorgan.data.dataset import SPLITS
from colorgan.data.fetching import FetchConfig, Fetcher
from colorgan.data.mapping import Stopped, bounded_threads
from colorgan.data.sources.candidates import Candidate
from colorgan.errors import ConfigError, ImageRejected, NotInStorage
from colorgan.images.colorfulness import colorfulness
from colorgan.images.decoding import (
    MAX_PIXELS,
    content_hash,
    encode_jpeg,
    is_grayscale,
    shrink,
)
from colorgan.options import Configuration, Count, Share, Weight, option
from colorgan.storage import Storage, open_storage, retry_transient

# Candidates per chunk; fewer online, where one download may delay its chunk for minutes.
CHUNK = 64
CHUNK_ONLINE = 16
PALE = "pale"  # the reason for rejection by --min-colorfulness
_HASH_SIDE = 16  # the perceptual hash has _HASH_SIDE ** 2 bits

_SCHEMA = pa.schema(
    [
        ("number", pa.int32()),
        ("label", pa.string()),
        ("split", pa.string()),
        ("source", pa.string()),
        ("licence", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("sha256", pa.string()),
        ("look", pa.binary()),
        ("bytes", pa.int32()),
        ("image", pa.binary()),
    ]
)
_FACTS = [name for name in _SCHEMA.names if name != "image"]


@dataclass(frozen=True)
class ExaminationConfig(Configuration):
    """How photographs are checked, resized and split."""

    size: Count = option(286, "short side of the staged photographs, in pixels")
    min_side: Count = option(128, "drop photographs with a shorter short side, in pixels")
    max_pixels: Count = option(
        MAX_PIXELS, "drop photographs with more pixels, as possible decompression bombs"
    )
    val_share: Share = option(0.1, "share of the photographs in the split val")
    test_share: Share = option(0.1, "share of the photographs in the split test")
    min_colorfulness: Weight = option(
        0.0,
        "drop training photographs of lower colourfulness (Hasler and Süsstrunk 2003): 15 is "
        "slightly colourful, 33 moderately; 0 drops none",
    )
    split_seed: int = option(0, "random seed of the split by content")

    def check(self) -> None:
        """Check the shares together; raises ConfigError."""
        if self.val_share + self.test_share >= 1:
            raise ConfigError("--val-share and --test-share must leave a share for train")


def split_of(sha256: str, config: ExaminationConfig) -> str:
    """The split of a photograph by its content: equal photographs always get the same split.

    Args:
        sha256: the photograph's content_hash.
        config: the shares of the splits and the salt.
    """
    salted = hashlib.sha256(f"{config.split_seed}:{sha256}".encode()).digest()
    position = int.from_bytes(salted[:8], "big") / 2**64
    if position < config.test_share:
        return "test"
    return "val" if position < config.test_share + config.val_share else "train"


def perceptual_hash(image: Image.Image) -> bytes:
    """The perceptual hash of a picture: 256 bits, few of which change when it is saved again.

    It is computed from the lowest frequencies of the discrete cosine transform (Zauner 2010).
    Halving a photograph's size, or JPEG at quality 40, changed at most 6 bits, and brightening by a
    fifth at most 22; any two different photographs of 1,200 differed in more than 50.

    The picture is first reduced by an integer factor to at least twice the required size. This
    takes a third of the time and changed at most 6 bits in 400 photographs.

    Args:
        image: a picture of mode RGB.
    """
    side = 4 * _HASH_SIDE
    small = image.convert("L").resize((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return np.packbits(imagehash.phash(small, _HASH_SIDE).hash).tobytes()


@dataclass(frozen=True)
class Facts:
    """The result of examining one candidate.

    The fields from `width` on describe the staged picture; they are 0 or empty if it was rejected.

    Attributes:
        number: its index in the chunk.
        split: the split of a usable photograph; otherwise the split that the source gave, if any.
        reason: why it was rejected; empty if it is usable.
        detail: what exactly was found.
        width: width in pixels.
        height: height in pixels.
        sha256: the `content_hash` before resizing.
        look: the perceptual hash, 32 bytes.
        bytes: size of the file in bytes.
    """

    number: int
    label: str
    split: str
    source: str
    licence: str
    reason: str = ""
    detail: str = ""
    width: int = 0
    height: int = 0
    sha256: str = ""
    look: bytes = b""
    bytes: int = 0


@dataclass
class Chunk:
    """Candidates of one class that are examined together.

    Attributes:
        place: the index of the chunk in the staging.
        key: the key of its piece in storage.
        candidates: the photographs to examine.
        config: the checks to apply.
        table: one row of Facts per candidate, in the piece's order; None before the examination.
    """

    place: int
    key: str
    candidates: tuple[Candidate, ...]
    config: ExaminationConfig
    table: pa.Table | None = None

    def column(self, name: str) -> list[Any]:
        """One of the facts of every candidate, in the piece's order; empty if not examined."""
        found: list[Any] = self.table[name].to_pylist() if self.table else []
        return found

    def facts(self) -> list[Facts]:
        """The candidates' facts: usable ones first, ordered by split, then rejected ones."""
        return [Facts(**row) for row in self.table.to_pylist()] if self.table else []


# Incremented whenever decoding gives different pixels, so that older pieces are not reused.
_DECODER = 2


def make_chunk(
    place: int, folder: str, candidates: Sequence[Candidate], config: ExaminationConfig
) -> Chunk:
    """Make a chunk, whose key is a checksum of everything that determines its piece."""
    digest = hashlib.sha256(repr((_DECODER, asdict(config))).encode())
    for each in candidates:
        facts = (each.label, each.source, each.split, each.licence, each.stamp)
        digest.update(repr(facts).encode())
    return Chunk(place, f"{folder}/{digest.hexdigest()}.parquet", tuple(candidates), config)


def examine_chunks(
    chunks: Iterable[Chunk], threads: int, *, storage: str, fetching: FetchConfig | None
) -> Iterator[tuple[int, pa.Table]]:
    """Examine chunks, and store their pieces; see `mapping.Work`.

    Args:
        chunks: the chunks.
        threads: number of threads to compute in.
        storage: URI of the storage for the pieces.
        fetching: limits on downloads; None if nothing needs to be downloaded.

    Yields:
        The place of each chunk, and its table.
    """
    store = open_storage(storage)
    readers = fetching.connections if fetching else threads
    decoding = Semaphore(threads)  # limits the number of large pictures in memory
    stop = Event()
    at_once = 64 if fetching else 2  # enough that slow servers do not delay others
    with (
        bounded_threads(at_once) as run,
        ThreadPoolExecutor(readers) as pool,
        Fetcher(fetching) as fetcher,
    ):

        def examine(candidate: Candidate, config: ExaminationConfig) -> tuple[Facts, bytes]:
            if stop.is_set():
                raise Stopped
            return _examine(candidate, fetcher.get, decoding, config)

        def do(chunk: Chunk) -> tuple[int, pa.Table]:
            table = _read_facts(store, chunk.key)
            if table is None:
                found = list(pool.map(examine, chunk.candidates, repeat(chunk.config)))
                if stop.is_set():  # cancelled downloads must not count as rejected
                    raise Stopped
                table = _write(store, chunk.key, found)
            return chunk.place, table

        try:
            yield from run(do, chunks)
        finally:
            stop.set()


def _examine(
    candidate: Candidate,
    fetch: Callable[[str], bytes],
    decoding: Semaphore,
    config: ExaminationConfig,
) -> tuple[Facts, bytes]:
    about = (candidate.label, candidate.split or "", candidate.source, candidate.licence)
    try:
        data = candidate.read(fetch)
        with decoding:
            original = candidate.decode(data, config.max_pixels)
            _check(original, config)
            sha256 = content_hash(original)
            # From a source's train split, content assigns the splits that the source lacks.
            split = (
                candidate.split if candidate.split in ("val", "test") else split_of(sha256, config)
            )
            staged = shrink(original, config.size)
            if split == "train":  # without pale photographs, val and test metrics would flatter
                _check_colorfulness(staged, config.min_colorfulness)
            image = encode_jpeg(staged)
    except ImageRejected as rejected:
        return Facts(0, *about, rejected.reason, rejected.detail), b""
    except OSError as error:
        return Facts(0, *about, "unreadable", error.strerror or str(error)), b""
    except UnicodeEncodeError:  # a path from a list, in a locale whose file names are not UTF-8
        return Facts(0, *about, "unreadable", "no file can have this name here"), b""
    return (
        Facts(
            number=0,
            label=candidate.label,
            split=split,
            source=candidate.source,
            licence=candidate.licence,
            width=staged.width,
            height=staged.height,
            sha256=sha256,
            look=perceptual_hash(staged),
            bytes=len(image),
        ),
        image,
    )


def _check(image: Image.Image, config: ExaminationConfig) -> None:
    width, height = image.size
    if min(height, width) < config.min_side:
        raise ImageRejected(
            "too small", f"{width} x {height}, the short side is less than {config.min_side}"
        )
    if is_grayscale(image):
        raise ImageRejected("grayscale")


def _check_colorfulness(image: Image.Image, least: float) -> None:
    if not least:
        return
    rgb = np.asarray(image, dtype=np.float32).transpose(2, 0, 1)[None] / 255
    found = float(colorfulness(rgb)[0])
    if found < least:
        raise ImageRejected(PALE, f"its colourfulness is {found:.1f}, less than {least:g}")


def _write(storage: Storage, key: str, found: list[tuple[Facts, bytes]]) -> pa.Table:
    """Store the results as a piece; returns its facts in the file's order."""
    records = [
        {**vars(facts), "number": number, "image": image}
        for number, (facts, image) in enumerate(found)
    ]
    groups = [[r for r in records if not r["reason"] and r["split"] == split] for split in SPLITS]
    groups.append([record for record in records if record["reason"]])
    tables = [pa.Table.from_pylist(group, _SCHEMA) for group in groups if group]
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink, _SCHEMA, compression="none", write_page_checksum=True, use_dictionary=False
    ) as writer:
        for table in tables:
            writer.write_table(table)
    piece = sink.getvalue().to_pybytes()
    retry_transient(lambda: storage.put(key, piece))
    return pa.concat_tables([table.select(_FACTS) for table in tables])


def _read_facts(storage: Storage, key: str) -> pa.Table | None:
    """The facts of an existing piece; None if there is no readable piece."""

    def read() -> pa.Table:
        with open_piece(storage, key) as piece:
            return piece.read(_FACTS)

    try:
        return retry_transient(read)
    except (NotInStorage, pa.ArrowException):
        return None


def open_piece(storage: Storage, key: str) -> pq.ParquetFile:
    """Open a piece in order to read some of its row groups."""
    return pq.ParquetFile(storage.open(key), page_checksum_verification=True, pre_buffer=False)
