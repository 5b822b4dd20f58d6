"""Reads the bytes of photographs, wherever they are."""

import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path

from colorgan.data.dataset import open_dataset
from colorgan.errors import NotInStorage
from colorgan.storage import Storage, open_storage

S3 = "s3://"
DATASET = "dataset:"
_SHARDS = 2  # shards of datasets that a process keeps in memory
_one_shard = threading.Lock()  # threads must not read the same shard side by side


@dataclass(frozen=True)
class Reader:
    """Reads photographs by their addresses (`colorgan.archives.listing.Photo`).

    Attributes:
        storage: address of the storage of the datasets; None for the default.
        given: content of photographs that were read before, by address: that of standard input.
    """

    storage: str | None
    given: Mapping[str, bytes | OSError] = field(default_factory=dict)

    def read(self, address: str) -> bytes:
        """The content of a photograph's file.

        Raises:
            OSError: the file cannot be read.
            ColorganError: the object or the dataset cannot be read.
        """
        if address in self.given:
            content = self.given[address]
            if isinstance(content, OSError):
                raise content
            return content
        if address.startswith(S3):
            bucket, key = bucket_and_key(address)
            return open_bucket(bucket).get(key)
        if address.startswith(DATASET):
            name, shard, row = _parts(address)
            with _one_shard:
                rows = _images(self.storage, name, shard)
            return rows[row]
        return Path(address).read_bytes()


def read_stdin() -> bytes:
    """The content of standard input; raises OSError."""
    if sys.stdin is None:
        raise OSError("standard input is closed")
    return sys.stdin.buffer.read()


def bucket_and_key(address: str) -> tuple[str, str]:
    """The bucket and the key, without slashes around it, of s3://bucket/key."""
    bucket, _, key = address.removeprefix(S3).partition("/")
    return bucket, key.strip("/")


@cache
def open_bucket(bucket: str) -> Storage:
    """The whole of a bucket as a storage, once a process; raises as `open_storage`."""
    return open_storage(f"{S3}{bucket}")


def row_address(dataset: str, shard: str, row: int) -> str:
    """The address of a row of a dataset, counted from 0 in its shard."""
    return f"{DATASET}{dataset}/{shard}#{row}"


def _parts(address: str) -> tuple[str, str, int]:
    name, _, rest = address.removeprefix(DATASET).partition("/")
    shard, _, row = rest.rpartition("#")
    return name, shard, int(row)


@lru_cache(_SHARDS)
def _images(storage: str | None, name: str, key: str) -> list[bytes]:
    dataset = open_dataset(open_storage(storage), name)
    for shard in dataset.manifest.shards:
        if shard.key == key:
            return [row.image for row in dataset.rows_of([shard])]
    raise NotInStorage(f"the dataset {name} has no {key} any more")
