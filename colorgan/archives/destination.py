"""Where the colourings of an archive are written: a folder or a bucket. A write is whole."""

# ruff: noqa: D102 - Destination documents the methods.

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from colorgan.archives.listing import STANDARD, Photo, is_file_address
from colorgan.archives.reading import S3
from colorgan.errors import ConfigError
from colorgan.files import TEMPORARY, Input, check_outputs, refusal, write_file
from colorgan.storage import Storage, open_storage

_ABANDONED_S = 120.0  # age after which a temporary file is considered abandoned
_FEW = 8  # objects that are looked for one by one; more are listed


class Destination(ABC):
    """Files under relative paths with slashes; it can be pickled.

    Attributes:
        uri: its address.
    """

    uri: str

    @abstractmethod
    def present(self, paths: Sequence[str]) -> set[str]:
        """Those of the paths that exist, and are whole: a write appears whole or not at all."""

    @abstractmethod
    def tidy(self, paths: Sequence[str]) -> None:
        """Delete what killed processes left in the folders of the paths two minutes ago."""

    @abstractmethod
    def read(self, path: str) -> bytes | None:
        """The content of a file; None without one."""

    @abstractmethod
    def write(self, path: str, data: bytes, overwrite: bool = False) -> None:
        """Write a file that appears whole or not at all; raises ColorganError.

        Without `overwrite`, a folder keeps a file that has appeared in the meantime, and raises
        NotWritten. A bucket replaces it.
        """

    @abstractmethod
    def check(
        self, photos: Sequence[Photo], targets: Sequence[str], overwrite: bool = False
    ) -> None:
        """Check that targets may be written, and that none replaces a photograph.

        Args:
            photos: the photographs.
            targets: the paths to write.
            overwrite: whether existing files may be replaced.

        Raises:
            ConfigError: a target is a photograph, exists, or cannot be written.
        """

    @abstractmethod
    def location(self, path: str) -> str:
        """The full address of a file."""


@dataclass(frozen=True)
class Folder(Destination):
    """A folder of this machine or of a shared file system, which the first write creates."""

    path: Path

    @property
    def uri(self) -> str:  # type: ignore[override]
        """The folder's path."""
        return str(self.path)

    def present(self, paths: Sequence[str]) -> set[str]:
        return {path for path in paths if os.path.lexists(self.path / path)}

    def tidy(self, paths: Sequence[str]) -> None:
        for folder in {(self.path / path).parent for path in paths}:
            with suppress(OSError), os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith(TEMPORARY):
                        _delete_abandoned(Path(entry))

    def read(self, path: str) -> bytes | None:
        with suppress(FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return (self.path / path).read_bytes()
        return None

    def write(self, path: str, data: bytes, overwrite: bool = False) -> None:
        write_file(self.path / path, data, overwrite=overwrite)

    def check(
        self, photos: Sequence[Photo], targets: Sequence[str], overwrite: bool = False
    ) -> None:
        check_outputs(
            [self.path / target for target in targets],
            [each for photo in photos if (each := _input(photo)) is not None],
            overwrite,
            new_folders=True,
        )

    def location(self, path: str) -> str:
        return str(self.path / path)


@dataclass(frozen=True)
class Prefix(Destination):
    """A prefix of a bucket."""

    storage: Storage

    @property
    def uri(self) -> str:  # type: ignore[override]
        """s3://bucket/prefix."""
        return self.storage.uri

    def present(self, paths: Sequence[str]) -> set[str]:
        if len(paths) <= _FEW:
            return {path for path in paths if self.storage.exists(path)}
        return set(paths).intersection(self.storage.list())

    def tidy(self, paths: Sequence[str]) -> None:
        """Do nothing: an upload that was not completed is no object."""

    def read(self, path: str) -> bytes | None:
        return self.storage.get(path) if self.storage.exists(path) else None

    def write(self, path: str, data: bytes, overwrite: bool = False) -> None:
        self.storage.put(path, data)

    def check(
        self, photos: Sequence[Photo], targets: Sequence[str], overwrite: bool = False
    ) -> None:
        inputs = {photo.address for photo in photos}
        for target in targets:
            if self.location(target) in inputs:
                raise ConfigError(
                    f"{self.location(target)} is an input and cannot be overwritten: give another "
                    "output"
                )
        if not overwrite and (there := self.present(targets)):
            existing = [self.location(target) for target in targets if target in there]
            raise ConfigError(refusal(existing, len(targets)))

    def location(self, path: str) -> str:
        return f"{self.storage.uri}/{path}"


def open_destination(uri: str) -> Destination:
    """Open s3://bucket/prefix or a folder; raises ColorganError."""
    return Prefix(open_storage(uri)) if uri.startswith(S3) else Folder(Path(uri))


def _input(photo: Photo) -> Input | None:
    """A photograph's path or file descriptor; None if it is not on this machine."""
    if photo.address == STANDARD:
        return 0
    return Path(photo.address) if is_file_address(photo.address) else None


def _delete_abandoned(path: Path) -> None:
    with suppress(OSError):
        if time.time() - path.stat(follow_symlinks=False).st_mtime > _ABANDONED_S:
            path.unlink(missing_ok=True)
