"""Datasets in an object store, written without a staging, and what the cache holds of them."""

import dataclasses
import hashlib
import io
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from colorgan.data.dataset import SCHEMA, SPLITS, Dataset, Manifest, Row, Shard
from colorgan.storage import Storage
from tests.s3_server import S3Server

Layout = Mapping[tuple[str, str], Sequence[int]]

PETS: Layout = {("cats", "train"): (5, 4, 6, 3, 5, 4, 2), ("cats", "val"): (3,)}

SHARDS = len(PETS["cats", "train"])


def noise(number: int) -> bytes:
    """3000 bytes that are no picture."""
    return np.random.default_rng(number).bytes(3000)


def write_dataset(
    storage: Storage, name: str, layout: Layout, image: Callable[[int], bytes] = noise
) -> Dataset:
    """A dataset as staging writes it: so many photographs in each shard of a class and split."""
    shards, count = [], 0
    for (label, split), sizes in layout.items():
        for number, size in enumerate(sizes):
            rows = [record(image(each), label, split, each) for each in range(count, count + size)]
            count += size
            data = parquet(pa.Table.from_pylist(rows, SCHEMA))
            key = f"{label}/{split}-{number:05d}.parquet"
            digest = hashlib.sha256(data).hexdigest()
            shards.append(Shard(key, label, split, size, len(data), digest))
            storage.put(f"datasets/{name}/{key}", data)
    classes = tuple(dict.fromkeys(label for label, _ in layout))
    counts = {c: {split: sum(layout.get((c, split), ())) for split in SPLITS} for c in classes}
    manifest = Manifest(
        name, "2026-01-02T03:04:05+00:00", "noise", 8, 0, classes, counts, {}, tuple(shards), "f"
    )
    storage.put(f"datasets/{name}/manifest.json", manifest.to_json())
    return Dataset(storage, manifest)


def record(image: bytes, label: str, split: str, number: int) -> dict[str, object]:
    sha256 = hashlib.sha256(image).hexdigest()
    return {
        "image": {"bytes": image, "path": f"{sha256}.jpg"},
        "label": label,
        "split": split,
        "source": f"https://photos.example/{number}.jpg",
        "width": 8,
        "height": 8,
        "sha256": sha256,
        "licence": "CC BY 4.0" if number % 2 else None,
    }


def parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="none", row_group_size=100)
    return sink.getvalue()


def use(patch: pytest.MonkeyPatch, server: S3Server) -> None:
    for name, value in server.environment().items():
        patch.setenv(name, value)


def train(dataset: Dataset) -> list[Row]:
    return list(dataset.rows(("cats",), "train"))


def kept(folder: Path) -> dict[str, int]:
    """The sizes of what the cache holds, but for its locks."""
    return {p.name: p.stat().st_size for p in folder.iterdir() if "lock" not in p.name}


def shards_of(dataset: Dataset, split: str = "train") -> list[Shard]:
    return [shard for shard in dataset.manifest.shards if shard.split == split]


def part(dataset: Dataset, *shards: Shard) -> Dataset:
    """The dataset with these shards alone."""
    return Dataset(dataset.storage, dataclasses.replace(dataset.manifest, shards=shards))


def limit_to(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setenv("COLORGAN_CACHE_GIB", repr(size / 2**30))


def cut(data: bytes) -> bytes:
    return data[:-9]


def flip(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


def empty(data: bytes) -> bytes:
    return b""


def downloading() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("colorgan-shards")]
