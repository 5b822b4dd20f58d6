"""The interface of every storage, and the keys that it accepts."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from colorgan.errors import ConfigError, NotInStorage

TEMPORARY = ".colorgan-tmp-"  # prefix hidden from readers; pyarrow skips leading dots as well
_Names = list[str]  # inside the class `list` is a method


class Storage(ABC):
    """Objects under relative POSIX keys; a folder exists as long as it holds an object.

    A storage can be pickled: the receiving process opens it again from its ``uri``.

    Attributes:
        uri: its address.
        remote: whether its objects are on other machines, so that every read uses the network.
    """

    uri: str
    remote: bool

    @abstractmethod
    def put(self, key: str, data: bytes) -> None:
        """Store ``data``; readers see the old object or the complete new one."""

    @abstractmethod
    def create(self, key: str, data: bytes) -> bool:
        """Store ``data`` unless the key has an object; of several writers, exactly one succeeds.

        Returns:
            Whether the object is this data. A writer may therefore repeat the call after a network
            failure, and data that two writers could share must contain something that identifies
            the writer.
        """

    @abstractmethod
    def put_file(self, key: str, path: Path) -> None:
        """Store the content of a local file without loading it into memory at once."""

    @abstractmethod
    def get(self, key: str) -> bytes:
        """The object's bytes; raises NotInStorage if there is no such object."""

    @abstractmethod
    def get_file(self, key: str, path: Path) -> None:
        """Copy the object to a local file, which appears complete or not at all."""

    @abstractmethod
    def open(self, key: str) -> io.BufferedReader:
        """The object as a readable, seekable file; only the parts that are read are transferred."""

    @abstractmethod
    def matches(self, key: str, path: Path) -> bool:
        """Whether the object has the content of a local file.

        For S3, its reported size and checksum are trusted; without a comparable checksum, the
        object is read.
        """

    @abstractmethod
    def exists(self, key: str) -> bool:
        """Whether there is an object (not a folder) under exactly this key."""

    @abstractmethod
    def list(self, prefix: str = "") -> _Names:
        """All keys inside the folder ``prefix`` and its subfolders, sorted."""

    @abstractmethod
    def folders(self, prefix: str = "") -> _Names:
        """The names of the folders directly inside ``prefix``, sorted."""

    @abstractmethod
    def delete(self, prefix: str) -> None:
        """Delete the object of this name and everything in the folder of this name, if any."""

    def location(self, key: str) -> str:
        """The full address of an object or a folder, for people and for other libraries."""
        return f"{self.uri}/{checked_key(key)}"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the address only."""
        from colorgan.storage import open_storage

        return open_storage, (self.uri,)

    def absent(self, key: str) -> NotInStorage:
        """The exception for a key without an object."""
        return NotInStorage(f"{key} is not in {self.uri}")


def checked_key(key: str) -> str:
    """Return a key that stays inside its storage; raises ConfigError for any other."""
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
    """Whether a key contains surrogates, from bytes of a file name that could not be decoded."""
    return any("\ud800" <= character <= "\udfff" for character in key)


def checked_folder(prefix: str) -> str:
    """The prefix of all keys inside a folder; empty for the whole storage."""
    return f"{checked_key(prefix.removesuffix('/'))}/" if prefix else ""
