"""Locks on files between processes, where the system and the file system have them."""

from contextlib import suppress
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def lock(file: BinaryIO, without: bool = True) -> bool:
    """Lock a file, if no other process has; `without` is the result where there are no locks."""
    if fcntl is None:
        return without
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return without
    return True


def unlock(file: BinaryIO) -> None:
    """Give up a lock on a file, if it is locked."""
    if fcntl is not None:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_UN)
