"""What every storage can do, and which keys it takes."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from colorgan.errors import ConfigError, NotInStorage

TEMPORARY = ".colorgan-tmp-"  # names a reader never sees; pyarrow skips leading dots as well
_Names = list[str]  # inside the class `list` is a method


class Storage(ABC):
    """Objects under relative POSIX keys; a key's folders exist as long as they hold something.

    A storage can be pickled: it is opened again from its ``uri`` where it arrives.

    Attributes:
        uri: its address.
        remote: whether its objects are on other machines, so that what is read travels each time.
    """

    uri: str
    remote: bool

    @abstractmethod
    def put(self, key: str, data: bytes) -> None:
        """Store ``data``; readers see the old object or the whole new one."""

    @abstractmethod
    def create(self, key: str, data: bytes) -> bool:
        """Store ``data`` unless there is an object under this key; one of many writers succeeds.

        Returns:
            Whether the object is this data. So who is told that a network failed may create the
            same again, and data that two writers could share must hold something of the writer's.
        """

    @abstractmethod
    def put_file(self, key: str, path: Path) -> None:
        """Store the content of a local file without reading it into memory at once."""

    @abstractmethod
    def get(self, key: str) -> bytes:
        """The object's bytes; NotInStorage if there is none."""

    @abstractmethod
    def get_file(self, key: str, path: Path) -> None:
        """Copy the object to a local file, which appears whole or not at all."""

    @abstractmethod
    def open(self, key: str) -> io.BufferedReader:
        """The object as a file to read and to seek in; only what is read travels."""

    @abstractmethod
    def matches(self, key: str, path: Path) -> bool:
        """Whether the object is, by what the storage says of it, this local file.

        S3 is believed its size and its checksum; where it has none that can be compared, the
        object is read.
        """

    @abstractmethod
    def exists(self, key: str) -> bool:
        """Whether there is an object (not a folder) under exactly this key."""

    @abstractmethod
    def list(self, prefix: str = "") -> _Names:
        """All keys inside the folder ``prefix`` and its folders, sorted."""

    @abstractmethod
    def folders(self, prefix: str = "") -> _Names:
        """The names of the folders directly inside ``prefix``, sorted."""

    @abstractmethod
    def delete(self, prefix: str) -> None:
        """Remove the object of this name and everything in the folder of this name, if any."""

    def location(self, key: str) -> str:
        """The full address of an object or a folder, for people and for other libraries."""
        return f"{self.uri}/{checked_key(key)}"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the address only."""
        from colorgan.storage import open_storage

        return open_storage, (self.uri,)

    def absent(self, key: str) -> NotInStorage:
        """What is raised where there is no object under a key."""
        return NotInStorage(f"{key} is not in {self.uri}")


def checked_key(key: str) -> str:
    """Return a key that leads nowhere out of its storage; raises ConfigError for any other."""
    parts = key.split("/")
    if "\0" in key or any(part in ("", ".", "..") for part in parts):
        raise ConfigError(
            f"{key!r} is not a storage key: give a relative path without empty, '.' or '..' parts"
        )
    if any(part.startswith(TEMPORARY) for part in parts) or _undecoded(key):
        raise ConfigError(
            f"{key!r} is not a storage key: give a name in UTF-8 that does not begin with "
            f"{TEMPORARY}"
        )
    return key


def _undecoded(key: str) -> bool:
    """Whether a key has bytes of a file name that were no text."""
    return any("\ud800" <= character <= "\udfff" for character in key)


def checked_folder(prefix: str) -> str:
    """The prefix that all keys inside the folder share; empty for the whole storage."""
    return f"{checked_key(prefix.removesuffix('/'))}/" if prefix else ""
