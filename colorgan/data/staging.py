"""Staging: candidates in, a checked and resized Parquet dataset in storage out."""

import csv
import hashlib
import io
import os
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from colorgan.data.dataset import SCHEMA, SPLITS, Dataset, Manifest, Row, Shard, check_name
from colorgan.data.sources import Candidate, Source
from colorgan.errors import ColorganError, ConfigError, ImageRejected
from colorgan.images.decoding import (
    MAX_PIXELS,
    content_hash,
    encode_jpeg,
    is_grayscale,
    resize_short_side,
)
from colorgan.options import option
from colorgan.storage import Storage


@dataclass(frozen=True)
class StagingConfig:
    """How photographs are checked, resized and split."""

    size: int = option(286, "short side of the staged photographs, in pixels")
    min_side: int = option(128, "drop photographs whose short side is less, in pixels")
    max_pixels: int = option(MAX_PIXELS, "drop photographs of more pixels: decompression bombs")
    val_share: float = option(0.1, "share of the photographs in the split val")
    test_share: float = option(0.1, "share of the photographs in the split test")
    split_seed: int = option(0, "salt of the split by content; another seed, another split")
    shard_mib: int = option(64, "size that a Parquet shard reaches before the next one, in MiB")

    def __post_init__(self) -> None:
        """Check the values; raises ConfigError."""
        for name in ("size", "min_side", "max_pixels", "shard_mib"):
            if getattr(self, name) < 1:
                raise ConfigError(f"--{name.replace('_', '-')} must be at least 1")
        if min(self.val_share, self.test_share) < 0 or self.val_share + self.test_share >= 1:
            raise ConfigError("--val-share and --test-share must leave a share for train")


@dataclass(frozen=True)
class Dropped:
    """A candidate that was left out, and why."""

    source: str
    label: str
    reason: str
    detail: str


@dataclass
class StagingProgress:
    """Where a staging is: passed to its observer after every candidate."""

    label: str = ""
    seen: int = 0
    kept: int = 0
    dropped: list[Dropped] = field(default_factory=list)


def split_of(sha256: str, config: StagingConfig) -> str:
    """The split of a photograph by its content, so that the same one always falls in the same.

    Args:
        sha256: the photograph's content_hash.
        config: the shares and the salt.
    """
    salted = hashlib.sha256(f"{config.split_seed}:{sha256}".encode()).digest()
    position = int.from_bytes(salted[:8], "big") / 2**64
    if position < config.test_share:
        return "test"
    return "val" if position < config.test_share + config.val_share else "train"


def stage(
    source: Source,
    storage: Storage,
    name: str,
    config: StagingConfig | None = None,
    replace: bool = False,
    observe: Callable[[StagingProgress], None] = lambda progress: None,
) -> tuple[Dataset, list[Dropped]]:
    """Write a source's photographs as a dataset.

    Every candidate is decoded fully, turned upright, converted to sRGB and scaled down to the
    staged size; those that cannot be used are left out, and listed beside the manifest in
    dropped.csv. Shards are collected in a local temporary folder and go to storage when all is
    well: until then a staging that is interrupted leaves storage as it was, and after that no
    dataset is visible under the name until it is whole.

    Args:
        source: where the photographs come from.
        storage: where the dataset goes.
        name: the dataset's name.
        config: checks, sizes and shares; the defaults where None.
        replace: write over a dataset of that name.
        observe: called after every candidate, with one object that changes.

    Returns:
        The dataset, and the candidates that were left out.

    Raises:
        ColorganError: the dataset exists already, or a class has no photograph that can be used.
    """
    config = config or StagingConfig()
    folder = f"datasets/{check_name('dataset', name)}"
    if storage.exists(f"{folder}/manifest.json") and not replace:
        raise ColorganError(
            f"dataset {name!r} exists in {storage.uri}: --replace writes it anew, "
            "or choose another name"
        )
    with tempfile.TemporaryDirectory(prefix="colorgan-stage-") as spool:
        writer = _ShardWriter(Path(spool), config.shard_mib * 2**20)
        progress = StagingProgress()
        seen: dict[str, str] = {}
        for candidate, result in _prepared(source.candidates(), config):
            progress.label = candidate.label
            progress.seen += 1
            if isinstance(result, Row) and result.sha256 in seen:
                result = ImageRejected("duplicate", f"of {seen[result.sha256]}")
            if isinstance(result, Row):
                seen[result.sha256] = result.source
                writer.add(result)
                progress.kept += 1
            else:
                progress.dropped.append(
                    Dropped(candidate.source, candidate.label, result.reason, result.detail)
                )
            observe(progress)
        shards = writer.close()
        _check_classes(source.classes, writer.counts, progress.dropped)
        manifest = Manifest(
            name=name,
            created=datetime.now(UTC).isoformat(timespec="milliseconds"),
            source=source.description,
            size=config.size,
            split_seed=None if source.has_splits else config.split_seed,
            classes=source.classes,
            counts={
                label: {split: writer.counts[label, split] for split in SPLITS}
                for label in source.classes
            },
            dropped=dict(Counter(drop.reason for drop in progress.dropped)),
            shards=shards,
            fingerprint=hashlib.sha256("".join(s.sha256 for s in shards).encode()).hexdigest(),
        )
        # The old manifest goes first and the new one comes last, so that nobody reads old and new
        # shards as one dataset.
        storage.delete(f"{folder}/manifest.json")
        storage.delete(folder)
        for shard in shards:
            storage.put_file(f"{folder}/{shard.key}", Path(spool) / shard.key)
        storage.put(f"{folder}/dropped.csv", _dropped_csv(progress.dropped))
        storage.put(f"{folder}/manifest.json", manifest.to_json())
    return Dataset(storage, manifest), progress.dropped


def _check_classes(
    classes: Iterable[str], counts: Counter[tuple[str, str]], dropped: list[Dropped]
) -> None:
    for label in classes:
        if any(counts[label, split] for split in SPLITS):
            continue
        reasons = Counter(drop.reason for drop in dropped if drop.label == label)
        listed = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
        raise ColorganError(
            f"class {label!r} is empty: none of its {reasons.total()} files is a photograph that "
            "can be used" + (f" ({listed})" if listed else "")
        )


def _prepared(
    candidates: Iterable[Candidate], config: StagingConfig
) -> Iterator[tuple[Candidate, Row | ImageRejected]]:
    """Prepare candidates in parallel, yield them in order, and hold only a few at a time.

    Threads are enough: Pillow and NumPy release the interpreter while they work on pixels.
    """
    workers = os.cpu_count() or 1
    waiting: deque[tuple[Candidate, Future[Row | ImageRejected]]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for candidate in candidates:
            waiting.append((candidate, pool.submit(_prepare, candidate, config)))
            if len(waiting) > 4 * workers:
                ready, future = waiting.popleft()
                yield ready, future.result()
        while waiting:
            ready, future = waiting.popleft()
            yield ready, future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _prepare(candidate: Candidate, config: StagingConfig) -> Row | ImageRejected:
    try:
        rgb = candidate.decode(config.max_pixels).rgb
        height, width = rgb.shape[:2]
        if min(height, width) < config.min_side:
            raise ImageRejected(
                "too small", f"{width} x {height}, the short side is less than {config.min_side}"
            )
        if is_grayscale(rgb):
            raise ImageRejected("grayscale")
    except ImageRejected as rejected:
        return rejected
    except OSError as error:
        return ImageRejected("unreadable", error.strerror or str(error))
    sha256 = content_hash(rgb)
    staged = resize_short_side(rgb, config.size)
    return Row(
        image=encode_jpeg(staged),
        label=candidate.label,
        split=candidate.split or split_of(sha256, config),
        source=candidate.source,
        width=staged.shape[1],
        height=staged.shape[0],
        sha256=sha256,
    )


class _ShardWriter:
    """Collects rows by class and split, and writes a shard to a folder whenever one is full."""

    def __init__(self, folder: Path, shard_bytes: int) -> None:
        self._folder = folder
        self._shard_bytes = shard_bytes
        self._rows: dict[tuple[str, str], list[Row]] = {}
        self._bytes: Counter[tuple[str, str]] = Counter()
        self._shards: list[Shard] = []
        self.counts: Counter[tuple[str, str]] = Counter()

    def add(self, row: Row) -> None:
        place = (row.label, row.split)
        self._rows.setdefault(place, []).append(row)
        self._bytes[place] += len(row.image)
        self.counts[place] += 1
        if self._bytes[place] >= self._shard_bytes:
            self._write(*place)

    def close(self) -> tuple[Shard, ...]:
        for place in list(self._rows):
            self._write(*place)
        return tuple(sorted(self._shards, key=lambda shard: shard.key))

    def _write(self, label: str, split: str) -> None:
        rows = self._rows.pop((label, split))
        del self._bytes[label, split]
        number = sum((shard.label, shard.split) == (label, split) for shard in self._shards)
        key = f"{label}/{split}-{number:05d}.parquet"
        data = _parquet(rows)
        path = self._folder / key
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        self._shards.append(Shard(key, label, split, len(rows), len(data), digest))


def _parquet(rows: list[Row]) -> bytes:
    records = [
        {**vars(row), "image": {"bytes": row.image, "path": f"{row.sha256}.jpg"}} for row in rows
    ]
    sink = io.BytesIO()
    # JPEGs do not compress further; small row groups let a reader stream a large shard.
    pq.write_table(
        pa.Table.from_pylist(records, schema=SCHEMA), sink, compression="none", row_group_size=100
    )
    return sink.getvalue()


def _dropped_csv(dropped: list[Dropped]) -> bytes:
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["source", "class", "reason", "detail"])
    table.writerows([drop.source, drop.label, drop.reason, drop.detail] for drop in dropped)
    return text.getvalue().encode()
