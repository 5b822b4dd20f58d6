"""A storage in a folder of this machine or of a shared file system."""

# ruff: noqa: D102 - Storage documents the methods.

from __future__ import annotations

import errno
import filecmp
import io
import os
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from colorgan.errors import ColorganError, ConfigError
from colorgan.storage.interface import TEMPORARY, Storage, checked_folder, checked_key

_ABANDONED_S = 24 * 3600.0  # age after which a temporary file is considered abandoned
_TIDIED = 10_000  # tidied folders that a storage remembers
_ATTEMPTS = 10  # attempts to write into a folder that others delete at the same time
_Names = list[str]  # inside the class `list` is a method


class LocalStorage(Storage):
    """Objects as files of a folder. Links are followed, but deleting one keeps its target."""

    remote = False

    def __init__(self, root: Path) -> None:
        """Open a folder, which the first write creates; raises ConfigError if it is a file."""
        self._root = root
        self._tidied: set[Path] = set()
        self.uri = str(root)
        with self._plainly("open"):
            if root.exists() and not root.is_dir():
                raise ConfigError(f"the storage {root} is a file: give a folder")

    def put(self, key: str, data: bytes) -> None:
        path = self._path(key)
        with self._plainly(f"write {key} to"):
            self._tidy(path.parent)
            _write_whole(path, io.BytesIO(data), _replace)

    def create(self, key: str, data: bytes) -> bool:
        path = self._path(key)
        with self._plainly(f"write {key} to"):
            self._tidy(path.parent)
            while not _write_whole(path, io.BytesIO(data), _link):
                if path.is_dir():
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
                with suppress(FileNotFoundError):
                    return path.read_bytes() == data
        return True

    def put_file(self, key: str, path: Path) -> None:
        target = self._path(key)
        with self._plainly(f"copy {path} to {key} in"), path.open("rb") as source:
            self._tidy(target.parent)
            _write_whole(target, source, _replace)

    def get(self, key: str) -> bytes:
        path = self._path(key)
        with self._plainly(f"read {key} in", key):
            return path.read_bytes()

    def get_file(self, key: str, path: Path) -> None:
        doing = f"copy {key} to {path} from"
        stored = self._path(key)
        with self._plainly(doing, key):
            source = stored.open("rb")
        with source, self._plainly(doing):
            _write_whole(path, source, _replace)

    def open(self, key: str) -> io.BufferedReader:
        path = self._path(key)
        with self._plainly(f"open {key} in", key):
            return path.open("rb")

    def matches(self, key: str, path: Path) -> bool:
        stored = self._path(key)
        with self._plainly(f"compare {key} in"):
            try:
                return stored.is_file() and filecmp.cmp(stored, path, shallow=False)
            except FileNotFoundError:
                if stored.is_file():
                    raise  # the local file is missing, not the object
                return False

    def exists(self, key: str) -> bool:
        path = self._path(key)
        with self._plainly(f"look for {key} in"):
            return path.is_file()

    def list(self, prefix: str = "") -> _Names:
        folder = self._root / checked_folder(prefix)
        with self._plainly(f"list {prefix or 'everything'} in"):
            return sorted(path.relative_to(self._root).as_posix() for path in _files(folder))

    def folders(self, prefix: str = "") -> _Names:
        folder = self._root / checked_folder(prefix)
        with self._plainly(f"list {prefix or 'everything'} in"):
            try:
                inside = list(folder.iterdir())
            except (FileNotFoundError, NotADirectoryError):
                return []
            return sorted(path.name for path in inside if path.is_dir() and any(_files(path)))

    def delete(self, prefix: str) -> None:
        path = self._path(prefix.removesuffix("/"))
        absent = suppress(FileNotFoundError, NotADirectoryError)
        with self._plainly(f"delete {prefix} from"), absent:
            try:
                path.unlink()  # deletes a link, not its target
            except IsADirectoryError:
                _remove_folder(path)

    def _path(self, key: str) -> Path:
        return self._root / checked_key(key)

    def _tidy(self, folder: Path) -> None:
        """Delete the abandoned temporary files in a folder, once per folder and storage object."""
        if folder in self._tidied:
            return
        if len(self._tidied) >= _TIDIED:
            self._tidied.clear()
        self._tidied.add(folder)
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(TEMPORARY):
                    age = time.time() - entry.stat(follow_symlinks=False).st_mtime
                    if age > _ABANDONED_S:
                        Path(entry).unlink(missing_ok=True)

    @contextmanager
    def _plainly(self, doing: str, key: str | None = None) -> Iterator[None]:
        """Turn an OSError into a one-sentence error, NotInStorage if the object `key` is absent."""
        try:
            yield
        except OSError as error:
            # An object may be deleted at any time; a shared file system then reports ESTALE.
            absent = isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError)
            if key is not None and (absent or error.errno == errno.ESTALE):
                raise self.absent(key) from error
            raise ColorganError(f"cannot {doing} {self.uri}: {error.strerror or error}") from error


def _write_whole(path: Path, source: BinaryIO, take_name: Callable[[Path, Path], bool]) -> bool:
    """Write a file that appears under its name only once it is complete and on the disk.

    Args:
        path: the file; its folder is created.
        source: its content, positioned at the beginning.
        take_name: `_replace` or `_link`.

    Returns:
        Whether the file took its name.
    """
    attempts = 0
    while True:
        temporary = path.with_name(TEMPORARY + uuid.uuid4().hex)
        try:
            _make_folder(path.parent)
            with temporary.open("xb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
                file.flush()
                os.fsync(file.fileno())
            taken = take_name(temporary, path)
            _sync_folder(path.parent)
            return taken
        except FileNotFoundError:
            attempts += 1
            if attempts == _ATTEMPTS:
                raise
            source.seek(0)  # another process has deleted the folder in the meantime
        finally:
            with suppress(OSError):
                temporary.unlink()


def _replace(temporary: Path, path: Path) -> bool:
    temporary.replace(path)
    return True


def _link(temporary: Path, path: Path) -> bool:
    """Give the temporary file its name if the name is free; returns whether it was."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
            raise
        return _copy_to_new(temporary, path)
    return True


def _copy_to_new(temporary: Path, path: Path) -> bool:
    """Replace `_link` on file systems without hard links; readers may see the file grow."""
    try:
        file = path.open("xb")
    except FileExistsError:
        return False
    try:
        with file, temporary.open("rb") as source:
            shutil.copyfileobj(source, file, 1 << 20)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return True


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        if folder.exists():  # a file has this name
            raise
        # Another process created it and a third has deleted it: the caller tries again.
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder)) from None
    for each in missing:
        _sync_folder(each.parent)


def _sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk, if the file system supports it."""
    handle = None
    try:
        handle = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.ENOENT):
            raise
    finally:
        if handle is not None:
            os.close(handle)


def _remove_folder(folder: Path) -> None:
    def failed(_function: object, _path: object, fault: Any) -> None:
        error = fault[1] if isinstance(fault, tuple) else fault
        # Other processes delete the same folder, or have written a new file into it, which stays.
        # For a folder replaced by a link in the meantime, rmtree raises an OSError without errno.
        gone = isinstance(error, FileNotFoundError) or error.errno in (errno.ENOTEMPTY, None)
        if not gone:
            raise error

    handler: dict[str, Any] = {"onexc" if sys.version_info >= (3, 12) else "onerror": failed}
    shutil.rmtree(folder, **handler)


def _files(folder: Path) -> Iterator[Path]:
    def failed(error: OSError) -> None:
        # A folder that is absent, or that another process has just deleted, is empty.
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            raise error

    for parent, _, names in os.walk(folder, onerror=failed):
        yield from (Path(parent, name) for name in names if not name.startswith(TEMPORARY))


class ReadOnlyStorage(LocalStorage):
    """A folder whose objects cannot be changed.

    Attributes:
        reason: why, as a clause of the error.
    """

    reason: str

    def put(self, key: str, data: bytes) -> None:
        raise self._unchanged(key)

    def create(self, key: str, data: bytes) -> bool:
        raise self._unchanged(key)

    def put_file(self, key: str, path: Path) -> None:
        raise self._unchanged(key)

    def delete(self, prefix: str) -> None:
        raise self._unchanged(prefix)

    def _unchanged(self, key: str) -> ColorganError:
        return ColorganError(f"{key} cannot be changed in {self.uri}: {self.reason}")
