"""S3 objects as files, and the checksums that compare them with local files."""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any


class S3File(io.RawIOBase):
    """An object as a readable, seekable file: every read is a ranged request."""

    def __init__(self, part: Callable[[int, int], bytes], size: int) -> None:
        """Take a function that reads a range, its end excluded, and the object's size in bytes."""
        self._part = part
        self._size = size
        self._place = 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position and return it."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = max(0, start + offset)
        return self._place

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer, up to the end of the object; returns the number of bytes read."""
        end = min(self._place + len(buffer), self._size)
        if end <= self._place:
            return 0
        data = self._part(self._place, end)
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)


def entity_tags(path: Path, part_bytes: int) -> tuple[str, str]:
    """The ETags of an S3 object with a file's content: sent in one request, and in such parts."""
    whole, parts, count = hashlib.md5(usedforsecurity=False), b"", 0
    with path.open("rb") as file:
        while part := file.read(part_bytes):
            whole.update(part)
            parts += hashlib.md5(part, usedforsecurity=False).digest()
            count += 1
    together = hashlib.md5(parts, usedforsecurity=False).hexdigest()
    return whole.hexdigest(), f"{together}-{count}"


def digest(file: io.BufferedReader, read_bytes: int) -> bytes:
    """The SHA-256 of a file's content; each read of `read_bytes` is one request if it is on S3."""
    found = hashlib.sha256()
    while part := file.read(read_bytes):
        found.update(part)
    return found.digest()
