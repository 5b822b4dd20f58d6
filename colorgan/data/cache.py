"""Verified shards of a dataset as open files, read in place or through a cache on the local disk.

The cache holds the shards of remote storages, and what takes long to compute: decoded photographs
and their features. All processes of a machine share it:

    $COLORGAN_CACHE        its folder (default: colorgan in $XDG_CACHE_HOME or ~/.cache)
    $COLORGAN_CACHE_GIB    its size in GiB (default: 20); 0 disables it

A training's --scratch names another folder for its files, which has no limit but the disk.

Its files are named by a SHA-256. That of a shard is the hash of its content, so that a shard of
several datasets is kept once.
"""

import hashlib
import io
import math
import os
import re
import shutil
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

from colorgan.data.downloads import StoredShard, damaged, download
from colorgan.data.mapping import Stopped
from colorgan.errors import ColorganError, ConfigError, StorageUnavailable
from colorgan.locks import lock, unlock
from colorgan.storage import Storage, retry_transient
from colorgan.system import reserve_space

_AHEAD = 4  # shards downloaded while one is read
_AHEAD_IN_MEMORY = 1  # the same, if they cannot be cached on disk
_DEFAULT_GIB = "20"
_KEPT = re.compile("[0-9a-f]{64}")
_TEMPORARY = ".colorgan-part-"
_RESERVED = ".colorgan-reserved-"  # a temporary file that its writer has locked
_LOCK = ".colorgan-lock-"
_ABANDONED_S = 3600.0  # time since the last write after which a temporary file is abandoned
_LOCK_PATIENCE_S = 600.0  # time after which a process that holds a lock counts as stuck
_LOCK_POLL_S = 0.1
_POLL_S = 0.5

Files = Generator[BinaryIO, None, None]


def open_shards(
    storage: Storage,
    shards: Sequence[StoredShard],
    poll: Callable[[], None] = lambda: None,
    ahead: int | None = None,
    scratch: str = "",
) -> Files:
    """Open shards one after another; each file is closed when the next one is requested.

    Shards of a remote storage are read through the cache, or through memory if the cache's folder
    cannot be written or the disk is full. The next shards are downloaded while one is read. Close
    the iterator to stop the downloads.

    Args:
        storage: the storage that holds the shards.
        shards: the shards.
        poll: called every half second while a shard is waited for; it may raise to interrupt.
        ahead: number of further shards that are downloaded while one is read; None means as many
            as there is room for.
        scratch: folder to use instead of the cache's; see `find_cache`.

    Raises:
        Corrupt: a shard does not match its checksum.
        NotInStorage: a shard is missing.
        StorageUnavailable: the storage has not responded for a long time.
        ConfigError: $COLORGAN_CACHE_GIB is not a size.
    """
    remote = partial(_through_cache, poll=poll, most=ahead, scratch=scratch)
    files = remote(storage, shards) if storage.remote else _in_place(storage, shards)
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
            raise damaged(shard, size)
        yield file


def _through_cache(
    storage: Storage,
    shards: Sequence[StoredShard],
    poll: Callable[[], None],
    most: int | None,
    scratch: str,
) -> Files:
    cache = find_cache(scratch)
    ahead = _AHEAD if cache else _AHEAD_IN_MEMORY
    ahead = ahead if most is None else min(ahead, most)
    stop = threading.Event()
    waiting: deque[tuple[StoredShard, Future[BinaryIO]]] = deque()
    pool = ThreadPoolExecutor(max(ahead, 1), thread_name_prefix="colorgan-shards")

    def fetch(shard: StoredShard) -> BinaryIO:
        kept = cache.open(storage, shard, stop) if cache else None
        return kept or download(storage, shard, io.BytesIO(), stop)

    def first() -> BinaryIO:
        shard, future = waiting[0]
        while not wait((future,), timeout=_POLL_S).done:
            poll()
        waiting.popleft()
        try:
            return future.result()
        except StorageUnavailable:
            # The retries run in the reader's own thread, which can be interrupted.
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


def cache_folder() -> Path | None:
    """Create the folder of this machine's cache and return it; None if that is impossible."""
    try:
        named = os.environ.get("COLORGAN_CACHE")
        if named:
            folder = Path(named)
        else:
            caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
            folder = Path(caches, "colorgan")
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # Path.home raises RuntimeError for a user without a home
        return None
    return folder


def find_cache(scratch: str = "") -> "Cache | None":
    """The cache configured by the environment; None if it is disabled or cannot be created.

    Args:
        scratch: a folder to use instead, without a limit but the disk; empty for none.

    Raises:
        ColorganError: the folder cannot be created.
        ConfigError: $COLORGAN_CACHE_GIB is not a size.
    """
    if scratch:
        try:
            Path(scratch).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ColorganError(f"--scratch {scratch} cannot be used: {error.strerror}") from None
        return Cache(Path(scratch), math.inf)
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
    """Files in a folder; the least recently used ones are removed when their size exceeds a limit.

    A file may be removed while a process reads it: an open file stays readable.
    """

    def __init__(self, folder: Path, limit: float) -> None:
        """Open a cache and remove what exceeds its limit.

        Args:
            folder: the folder; any other files in it stay untouched.
            limit: the maximum total size of the files, in bytes; if infinite, files are removed
                only when the disk has no room for a new one.
        """
        self._folder = folder
        self._limit = limit
        self._full = False
        with suppress(OSError):
            self._make_room(0)

    def open(self, storage: Storage, shard: StoredShard, stop: threading.Event) -> BinaryIO | None:
        """Open a shard's file, downloaded if it is not cached; None if it cannot be kept."""
        # This text from the manifest becomes a file name, so it must be a digest.
        if not _KEPT.fullmatch(shard.sha256):
            return None

        def whole(file: BinaryIO) -> bool:
            found = hashlib.file_digest(cast(io.BufferedReader, file), "sha256").hexdigest()
            return found == shard.sha256

        def write() -> BinaryIO:
            return self._written(_TEMPORARY, lambda file: download(storage, shard, file, stop))

        def wait() -> None:
            if stop.wait(_LOCK_POLL_S):
                raise Stopped

        return self._open(_Wanted(shard.sha256, shard.bytes, whole, write, wait))

    def has_room(self, size: int) -> bool:
        """Whether files with this total size in bytes can be kept at the same time."""
        try:
            # Existing files may be removed, or be among the ones in question.
            kept = sum(entry.stat().st_size for entry in self._files())
            return size <= min(self._limit, shutil.disk_usage(self._folder).free + kept)
        except OSError:
            return False

    def keep(
        self,
        name: str,
        size: int,
        write: Callable[[BinaryIO], None],
        poll: Callable[[], None] = lambda: None,
    ) -> BinaryIO | None:
        """Open a file that takes long to compute, written if it is not cached.

        The file appears complete or not at all; one process of the machine writes it while the
        others wait. Its space on the disk is reserved before it is written.

        Args:
            name: the SHA-256 (hex) of everything that determines its content.
            size: its size in bytes.
            write: writes its content.
            poll: called often while another process writes the file; it may raise to interrupt.

        Returns:
            The file open for reading, at its beginning; None if it cannot be kept.
        """

        def fill(file: BinaryIO) -> None:
            reserve_space(file.fileno(), size)
            write(file)

        def wait() -> None:
            poll()
            time.sleep(_LOCK_POLL_S)

        whole, written = partial(_has_size, size), partial(self._written, _RESERVED, fill)
        return self._open(_Wanted(name, size, whole, written, wait))

    def find(self, name: str, size: int) -> BinaryIO | None:
        """Open a file that `keep` has written, at its beginning; None if there is none."""
        try:
            return self._kept(name, partial(_has_size, size))
        except OSError:
            return None

    def _files(self) -> list[os.DirEntry[str]]:
        with os.scandir(self._folder) as entries:
            return [entry for entry in entries if _KEPT.fullmatch(entry.name)]

    def _open(self, wanted: "_Wanted") -> BinaryIO | None:
        name = wanted.name
        try:
            kept = self._kept(name, wanted.whole)
            if kept or self._full or wanted.size > self._limit:
                return kept
            with self._alone(name, wanted.wait):
                return self._kept(name, wanted.whole) or self._add(wanted)
        except OSError:
            # The disk is full or the folder is gone, so the next files are not attempted.
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

    def _add(self, wanted: "_Wanted") -> BinaryIO:
        self._make_room(wanted.size)
        file = wanted.write()
        try:
            Path(file.name).replace(self._folder / wanted.name)
            self._make_room(0)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            file.close()
            raise
        return file

    def _written(self, prefix: str, write: Callable[[BinaryIO], object]) -> BinaryIO:
        """A new temporary file with a content, open at its beginning."""
        temporary = self._folder / (prefix + uuid.uuid4().hex)
        file = temporary.open("x+b")
        try:
            if prefix == _RESERVED:
                lock(file)
            write(file)
            file.flush()
            file.seek(0)
        except BaseException:
            temporary.unlink(missing_ok=True)
            with suppress(OSError):  # closing flushes, which fails again if the disk is full
                file.close()
            raise
        return file

    @contextmanager
    def _alone(self, name: str, wait: Callable[[], None]) -> Iterator[None]:
        """Prevent other processes of the machine from writing the same file at the same time.

        The lock only saves work, so a process continues without it if nobody has written anything
        for some minutes. `wait` is called until then; it may raise to interrupt.
        """
        # The lock files are few and are never removed, because removing a lock is a race.
        with (self._folder / (_LOCK + name[:2])).open("ab") as guard:
            began = time.time()
            while not lock(guard) and time.time() - self._last_write(began) < _LOCK_PATIENCE_S:
                wait()
            try:
                yield
            finally:
                unlock(guard)

    def _last_write(self, since: float) -> float:
        """When a temporary file was last written to, at the earliest `since`."""
        times = [since]
        for entry in os.scandir(self._folder):
            if entry.name.startswith((_TEMPORARY, _RESERVED)):
                with suppress(FileNotFoundError):
                    times.append(entry.stat(follow_symlinks=False).st_mtime)
        return max(times)

    def _make_room(self, wanted: int) -> None:
        """Remove abandoned temporary files, and cached files until `wanted` more bytes fit."""
        total = wanted
        kept: list[tuple[int, int, str]] = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                temporary = entry.name.startswith((_TEMPORARY, _RESERVED))
                if not temporary and not _KEPT.fullmatch(entry.name):
                    continue
                try:
                    status = entry.stat(follow_symlinks=False)
                    if temporary and _is_abandoned(entry, status):
                        Path(entry.path).unlink()
                        continue
                except FileNotFoundError:
                    continue
                total += status.st_size
                if not temporary:
                    kept.append((status.st_mtime_ns, status.st_size, entry.path))
        for _, size, path in sorted(kept):
            if total <= self._limit and not self._disk_lacks(wanted):
                break
            Path(path).unlink(missing_ok=True)
            total -= size

    def _disk_lacks(self, wanted: int) -> bool:
        """Whether a cache that only the disk limits has no room for `wanted` bytes."""
        return math.isinf(self._limit) and shutil.disk_usage(self._folder).free < wanted


@dataclass(frozen=True)
class _Wanted:
    """A file that a cache is asked for: what is it, is it whole, and how is it written?

    `write` creates it under a temporary name; `wait` is called while another process does.
    """

    name: str
    size: int
    whole: Callable[[BinaryIO], bool]
    write: Callable[[], BinaryIO]
    wait: Callable[[], None]


def _is_abandoned(entry: os.DirEntry[str], status: os.stat_result) -> bool:
    """Whether the writer of a temporary file is dead, or has not written for a long time."""
    age = time.time() - status.st_mtime
    if entry.name.startswith(_RESERVED) and age > _LOCK_POLL_S:
        with Path(entry.path).open("rb") as file, suppress(OSError):
            return lock(file, without=age > _ABANDONED_S)
    return age > _ABANDONED_S


def _has_size(size: int, file: BinaryIO) -> bool:
    return os.fstat(file.fileno()).st_size == size
