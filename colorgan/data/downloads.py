"""Copies a dataset's shards from storage, and verifies them."""

import hashlib
import threading
from dataclasses import dataclass
from typing import BinaryIO

from colorgan.data.mapping import Stopped
from colorgan.errors import Corrupt
from colorgan.storage import Storage

_PART = 16 * 2**20  # bytes per request to the storage


@dataclass(frozen=True)
class StoredShard:
    """A shard's key in storage, and its expected size in bytes and SHA-256."""

    key: str
    bytes: int
    sha256: str


def download(
    storage: Storage, shard: StoredShard, target: BinaryIO, stop: threading.Event
) -> BinaryIO:
    """Write a shard to a file, verify it, and return the file positioned at its beginning.

    Raises:
        Stopped: the event was set.
        Corrupt: the shard does not match its checksum.
    """
    digest, size = hashlib.sha256(), 0
    with storage.open(shard.key) as source:
        while part := source.read(_PART):
            if stop.is_set():
                raise Stopped
            digest.update(part)
            size += len(part)
            target.write(part)
    if digest.hexdigest() != shard.sha256:
        raise damaged(shard, size)
    target.seek(0)
    return target


def damaged(shard: StoredShard, size: int) -> Corrupt:
    """The error for a shard of which `size` bytes were read."""
    return Corrupt(
        f"{shard.key} does not match its checksum ({size} bytes, {shard.bytes} expected): "
        "stage the dataset again with --replace"
    )
