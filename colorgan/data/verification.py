"""Verification that a dataset in storage is what was written."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from colorgan.data.dataset import Manifest, Shard
from colorgan.errors import ColorganError, Corrupt, NotInStorage, StorageUnavailable
from colorgan.storage import Storage, retry_transient

_BESIDE = ("manifest.json", "dropped.csv")  # files of a dataset other than shards
_PART = 16 * 2**20  # bytes per request to the storage
_READERS = 4  # shards verified at a time


@dataclass(frozen=True)
class Fault:
    """A fault of an object in a dataset: its key, and the rest of the sentence about it."""

    key: str
    fault: str


@dataclass(frozen=True)
class Verdict:
    """The result of a verification: the counts in the manifest, and the faults found."""

    dataset: str
    shards: int
    photographs: int
    bytes: int
    faults: tuple[Fault, ...]


def manifest_key(name: str) -> str:
    """The key of a dataset's manifest."""
    return f"datasets/{name}/manifest.json"


def verify(
    storage: Storage,
    name: str,
    observe: Callable[[int, int, int, int], None] = lambda shards, of, read, total: None,
) -> Verdict:
    """Compare everything in a dataset's folder with its manifest.

    Args:
        storage: the storage of the dataset; its shards are read directly, without the cache.
        name: the name of a dataset that has a manifest.
        observe: called after every shard with the number of shards read and in total, and the
            number of bytes read and in total.

    Raises:
        StorageUnavailable: the storage has not responded for a long time.
    """
    key = manifest_key(name)
    try:
        manifest = Manifest.from_json(storage.get(key), key)
    except StorageUnavailable:
        raise
    except ColorganError as error:  # Corrupt, or another schema version
        return Verdict(name, 0, 0, 0, (Fault(key, str(error).removeprefix(f"{key} ")),))
    faults = list(_inconsistent(name, manifest))
    folder = f"datasets/{name}"
    known = {f"{folder}/{shard.key}" for shard in manifest.shards}
    known.update(f"{folder}/{each}" for each in _BESIDE)
    there = storage.list(folder)
    faults += [
        Fault(each, "does not belong to this dataset") for each in there if each not in known
    ]
    faults += _damaged(storage, name, manifest.shards, observe)
    return Verdict(
        name,
        len(manifest.shards),
        sum(shard.rows for shard in manifest.shards),
        sum(shard.bytes for shard in manifest.shards),
        tuple(faults),
    )


def _inconsistent(name: str, manifest: Manifest) -> Iterator[Fault]:
    key = manifest_key(name)
    if manifest.name != name:
        yield Fault(key, f"is the manifest of dataset {manifest.name!r}")
    for label, counts in manifest.counts.items():
        for split, count in counts.items():
            held = sum(
                shard.rows
                for shard in manifest.shards
                if (shard.label, shard.split) == (label, split)
            )
            if held != count:
                yield Fault(
                    key,
                    f"counts {count} photographs of {label} in {split}, its shards hold {held}",
                )


def _damaged(
    storage: Storage,
    name: str,
    shards: Sequence[Shard],
    observe: Callable[[int, int, int, int], None],
) -> Iterator[Fault]:
    """Read several shards at a time; yields the faults in the shards' order."""
    total, done = sum(shard.bytes for shard in shards), 0
    pool = ThreadPoolExecutor(_READERS)

    def examine(shard: Shard) -> Fault | None:
        return _examine(storage, f"datasets/{name}/{shard.key}", shard)

    def result(shard: Shard, future: "Future[Fault | None]") -> Fault | None:
        try:
            return future.result()
        except StorageUnavailable:
            return retry_transient(lambda: examine(shard))

    try:
        futures = [pool.submit(examine, shard) for shard in shards]
        for number, (shard, future) in enumerate(zip(shards, futures, strict=True), 1):
            fault = result(shard, future)
            if fault:
                yield fault
            done += shard.bytes
            observe(number, len(shards), done, total)
    finally:
        pool.shutdown(cancel_futures=True)


def _examine(storage: Storage, key: str, shard: Shard) -> Fault | None:
    digest, size = hashlib.sha256(), 0
    try:
        with storage.open(key) as file:
            while part := file.read(_PART):
                digest.update(part)
                size += len(part)
            if digest.hexdigest() != shard.sha256:
                return Fault(
                    key, f"does not match its checksum ({size} bytes, {shard.bytes} expected)"
                )
            if size != shard.bytes:
                return Fault(key, f"has {size} bytes, {shard.bytes} expected")
            file.seek(0)
            rows = pq.ParquetFile(file).metadata.num_rows
    except NotInStorage:
        return Fault(key, "is missing")
    except pa.ArrowException:
        return Fault(key, "is not a Parquet file")
    except (Corrupt, OSError) as error:
        return Fault(key, f"cannot be read: {error}")
    if rows != shard.rows:
        return Fault(key, f"holds {rows} photographs, {shard.rows} expected")
    return None
