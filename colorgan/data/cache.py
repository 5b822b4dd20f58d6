"""A dataset's shards as open files, checked: read in place, or through a cache on the local disk.

The cache is for a storage that is remote, and for what takes long to compute of photographs. All
processes of a machine share it:

    $COLORGAN_CACHE        its folder (default: colorgan in $XDG_CACHE_HOME or ~/.cache)
    $COLORGAN_CACHE_GIB    its size in GiB (default: 20); 0 keeps nothing

A file there is named by a SHA-256, a shard by its content's, so that it is kept once whatever
dataset it is of.
"""

import fcntl
import hashlib
import io
import os
import re
import shutil
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from colorgan.data.mapping import Stopped
from colorgan.errors import ColorganError, ConfigError, Corrupt, StorageUnavailable
from colorgan.storage import Storage, retry_transient

_AHEAD = 4  # shards that are downloaded while one is read
_AHEAD_IN_MEMORY = 1  # the same, where no disk takes them
_PART = 16 * 2**20  # bytes that one request asks a storage for
_DEFAULT_GIB = "20"
_KEPT = re.compile("[0-9a-f]{64}")
_TEMPORARY = ".colorgan-part-"
_LOCK = ".colorgan-lock-"
_ABANDONED_S = 3600.0  # after its last byte a temporary file is nobody's
_LOCK_PATIENCE_S = 600.0  # that another process may take for a shard before it is taken for stuck
_LOCK_POLL_S = 0.1

Files = Generator[BinaryIO, None, None]


@dataclass(frozen=True)
class StoredShard:
    """A shard under its key in storage, and what it must be: its size in bytes, its SHA-256."""

    key: str
    bytes: int
    sha256: str


def open_shards(storage: Storage, shards: Sequence[StoredShard]) -> Files:
    """Open shards one after another; each file is closed when the next one is asked for.

    A remote storage's shards come through the cache, and the next ones are downloaded while one is
    read; where the cache's folder cannot be written or the disk is full, through memory. Close the
    iterator to end the downloads.

    Raises:
        Corrupt: a shard does not match its checksum.
        NotInStorage: a shard is gone.
        StorageUnavailable: the storage has not answered for a long time.
        ConfigError: $COLORGAN_CACHE_GIB is not a size.
    """
    files = _through_cache(storage, shards) if storage.remote else _in_place(storage, shards)
    try:
        for file in files:
            with file:
                yield file
    finally:
        files.close()


def _in_place(storage: Storage, shards: Sequence[StoredShard]) -> Files:
    for shard in shards:
        file = storage.open(shard.key)
        try:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
            file.seek(0)
        except OSError as error:
            file.close()
            raise ColorganError(f"cannot read {shard.key} in {storage.uri}: {error}") from error
        if digest != shard.sha256:
            file.close()
            raise _damaged(shard, size)
        yield file


def _through_cache(storage: Storage, shards: Sequence[StoredShard]) -> Files:
    cache = find_cache()
    ahead = _AHEAD if cache else _AHEAD_IN_MEMORY
    stop = threading.Event()
    waiting: deque[tuple[StoredShard, Future[BinaryIO]]] = deque()
    pool = ThreadPoolExecutor(ahead, thread_name_prefix="colorgan-shards")

    def fetch(shard: StoredShard) -> BinaryIO:
        kept = cache.open(storage, shard, stop) if cache else None
        return kept or _download(storage, shard, io.BytesIO(), stop)

    def first() -> BinaryIO:
        shard, future = waiting.popleft()
        try:
            return future.result()
        except StorageUnavailable:
            # Waiting is for the reader's own thread, which can be interrupted.
            return retry_transient(lambda: fetch(shard))

    try:
        for shard in shards:
            waiting.append((shard, pool.submit(fetch, shard)))
            if len(waiting) > ahead:
                yield first()
        while waiting:
            yield first()
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
        for _, future in waiting:
            if not future.cancelled() and not future.exception():
                future.result().close()


def _download(
    storage: Storage, shard: StoredShard, target: BinaryIO, stop: threading.Event
) -> BinaryIO:
    """Write a shard to a file, check it, and return the file at its beginning."""
    digest, size = hashlib.sha256(), 0
    with storage.open(shard.key) as source:
        while part := source.read(_PART):
            if stop.is_set():
                raise Stopped
            digest.update(part)
            size += len(part)
            target.write(part)
    if digest.hexdigest() != shard.sha256:
        raise _damaged(shard, size)
    target.seek(0)
    return target


def _damaged(shard: StoredShard, size: int) -> Corrupt:
    return Corrupt(
        f"{shard.key} does not match its checksum ({size} bytes, {shard.bytes} expected): "
        "stage the dataset again with --replace"
    )


def cache_folder() -> Path | None:
    """The folder of this machine's cache, which is made; None where it cannot be."""
    try:
        named = os.environ.get("COLORGAN_CACHE")
        caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(named) if named else Path(caches, "colorgan")
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # Path.home's, where the user has none
        return None
    return folder


def find_cache() -> "Cache | None":
    """The cache that the environment names; None where there is to be none, or can be none."""
    said = os.environ.get("COLORGAN_CACHE_GIB") or _DEFAULT_GIB
    try:
        limit = float(said) * 2**30
    except ValueError:
        limit = -1.0
    if not limit >= 0:
        raise ConfigError(f"COLORGAN_CACHE_GIB={said!r} is not a size: give GiB, 0 for no cache")
    folder = cache_folder() if limit else None
    return None if folder is None else Cache(folder, limit)


class Cache:
    """Files in a folder, those least recently used removed when there are too many.

    A file may be removed while somebody reads it: what is open stays readable.
    """

    def __init__(self, folder: Path, limit: float) -> None:
        """Sweep the folder.

        Args:
            folder: may hold other files, which stay untouched.
            limit: bytes of all the files.
        """
        self._folder = folder
        self._limit = limit
        self._full = False
        with suppress(OSError):
            self._make_room(0)

    def open(self, storage: Storage, shard: StoredShard, stop: threading.Event) -> BinaryIO | None:
        """A shard's file, downloaded where it is not there yet; None where it cannot be kept."""
        # The manifest's word becomes a file's name, so it must be a digest and nothing else.
        if not _KEPT.fullmatch(shard.sha256):
            return None

        def whole(file: BinaryIO) -> bool:
            found = hashlib.file_digest(cast(io.BufferedReader, file), "sha256").hexdigest()
            return found == shard.sha256

        def write(file: BinaryIO) -> None:
            _download(storage, shard, file, stop)

        return self._open(shard.sha256, shard.bytes, whole, write, stop)

    def has_room(self, size: int) -> bool:
        """Whether files of so many bytes in all can be kept at once."""
        try:
            # What is there may be thrown away, or be among them.
            kept = sum(entry.stat().st_size for entry in self._files())
            return size <= min(self._limit, shutil.disk_usage(self._folder).free + kept)
        except OSError:
            return False

    def keep(self, name: str, size: int, write: Callable[[BinaryIO], None]) -> BinaryIO | None:
        """A file that takes long to compute, written where it is not there yet.

        It is there whole or not at all; one process of the machine writes it while the others wait.

        Args:
            name: a SHA-256 (hex) of all that decides its content.
            size: of it, in bytes.
            write: writes it.

        Returns:
            The file at its beginning, open for reading; None where it cannot be kept.
        """

        def whole(file: BinaryIO) -> bool:
            return os.fstat(file.fileno()).st_size == size

        return self._open(name, size, whole, write, threading.Event())

    def _files(self) -> list[os.DirEntry[str]]:
        with os.scandir(self._folder) as entries:
            return [entry for entry in entries if _KEPT.fullmatch(entry.name)]

    def _open(
        self,
        name: str,
        size: int,
        whole: Callable[[BinaryIO], bool],
        write: Callable[[BinaryIO], None],
        stop: threading.Event,
    ) -> BinaryIO | None:
        try:
            kept = self._kept(name, whole)
            if kept or self._full or size > self._limit:
                return kept
            with self._alone(name, stop):
                return self._kept(name, whole) or self._add(name, size, write)
        except OSError:
            # The disk is full, or the folder is gone: the next files need not find out again.
            self._full = True
            return None

    def _kept(self, name: str, whole: Callable[[BinaryIO], bool]) -> BinaryIO | None:
        path = self._folder / name
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return None
        if not whole(file):
            file.close()
            path.unlink(missing_ok=True)
            return None
        with suppress(OSError):
            os.utime(file.fileno())
        file.seek(0)
        return file

    def _add(self, name: str, size: int, write: Callable[[BinaryIO], None]) -> BinaryIO:
        self._make_room(size)
        temporary = self._folder / (_TEMPORARY + uuid.uuid4().hex)
        file = temporary.open("x+b")
        try:
            write(file)
            file.flush()
            file.seek(0)
            temporary.replace(self._folder / name)
            self._make_room(0)
        except BaseException:
            temporary.unlink(missing_ok=True)
            with suppress(OSError):  # what a full disk has not taken yet
                file.close()
            raise
        return file

    @contextmanager
    def _alone(self, name: str, stop: threading.Event) -> Iterator[None]:
        """Keep the machine's other readers from writing the same file meanwhile.

        A lock saves work and nothing else, so whoever cannot have it goes on without.
        """
        # Few files, of which none is ever removed: removing a lock is a race.
        with (self._folder / (_LOCK + name[:2])).open("ab") as lock:
            give_up = time.monotonic() + _LOCK_PATIENCE_S
            while not _locked(lock) and time.monotonic() < give_up:
                if stop.wait(_LOCK_POLL_S):
                    raise Stopped
            try:
                yield
            finally:
                with suppress(OSError):
                    fcntl.flock(lock, fcntl.LOCK_UN)

    def _make_room(self, wanted: int) -> None:
        """Remove files until `wanted` bytes more fit, and what killed processes have left."""
        total = wanted
        kept: list[tuple[int, int, str]] = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                temporary = entry.name.startswith(_TEMPORARY)
                if not temporary and not _KEPT.fullmatch(entry.name):
                    continue
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if temporary and time.time() - status.st_mtime > _ABANDONED_S:
                    Path(entry.path).unlink(missing_ok=True)
                    continue
                total += status.st_size
                if not temporary:
                    kept.append((status.st_mtime_ns, status.st_size, entry.path))
        for _, size, path in sorted(kept):
            if total <= self._limit:
                break
            Path(path).unlink(missing_ok=True)
            total -= size


def _locked(lock: io.BufferedWriter) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks
    return True
