"""Objects of S3 as files, and local files by what S3 says of objects."""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any


class S3File(io.RawIOBase):
    """An object as a file to read and to seek in: every read is a request for that part."""

    def __init__(self, part: Callable[[int, int], bytes], size: int) -> None:
        """Take what reads from one place up to another, and the object's size in bytes."""
        self._part = part
        self._size = size
        self._place = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place; returns it."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = max(0, start + offset)
        return self._place

    def readinto(self, buffer: Any) -> int:
        """Read as much as the buffer holds, or as there is; returns how many bytes."""
        end = min(self._place + len(buffer), self._size)
        if end <= self._place:
            return 0
        data = self._part(self._place, end)
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)


def entity_tags(path: Path, part_bytes: int) -> tuple[str, str]:
    """What S3 calls an object of a file's content: sent whole, and sent in parts of that size."""
    whole, parts, count = hashlib.md5(usedforsecurity=False), b"", 0
    with path.open("rb") as file:
        while part := file.read(part_bytes):
            whole.update(part)
            parts += hashlib.md5(part, usedforsecurity=False).digest()
            count += 1
    together = hashlib.md5(parts, usedforsecurity=False).hexdigest()
    return whole.hexdigest(), f"{together}-{count}"


def digest(file: io.BufferedReader, read_bytes: int) -> bytes:
    """The SHA-256 of what a file holds, read in pieces of that size: of S3 a request each."""
    found = hashlib.sha256()
    while part := file.read(read_bytes):
        found.update(part)
    return found.digest()
