"""Files that a command writes for its user, outside storage.

`check_outputs` decides before any work is done what may be written: an input is never overwritten,
and another existing file only if the user allows it. A file appears complete or not at all.
"""

import errno
import os
import stat
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from colorgan.errors import ColorganError, ConfigError

# A path or a file descriptor: standard input has no path, but may be a regular file all the same.
Input = Path | int

TEMPORARY = ".colorgan-tmp-"  # short, so that it fits wherever the file's own name does
_FULL = (errno.ENOSPC, errno.EDQUOT)
# Errors of file systems without hard links.
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EMLINK)


class NotWritten(ColorganError):  # noqa: N818 - the name reads well without "Error"
    """A file could not be written; the previous file, if any, is unchanged.

    Attributes:
        full: whether the disk or the user's quota is full, so that no other file has room either.
        exists: whether another process has written a file of this name in the meantime.
    """

    def __init__(self, path: Path, error: OSError) -> None:
        reason = error.strerror or str(error)
        if isinstance(error, FileExistsError):
            reason = (
                "a file with this name has appeared since the command began; it was not overwritten"
            )
        super().__init__(f"cannot write {path}: {reason}")
        self.full = error.errno in _FULL
        self.exists = isinstance(error, FileExistsError)


def check_outputs(
    outputs: Sequence[Path],
    inputs: Iterable[Input] = (),
    overwrite: bool = False,
    new_folders: bool = False,
) -> None:
    """Check that files may be written; call this before any work is done.

    Args:
        outputs: the files that the command will write.
        inputs: the files that it reads. Files are compared, not names: a hard link, a symbolic
            link and another spelling on a case-insensitive file system are all the same file.
        overwrite: whether the user allows existing files to be replaced.
        new_folders: whether the command will create missing folders.

    Raises:
        ConfigError: an output is an input, exists, is the same file as another output, or cannot
            be written where it should go.
    """
    read = {identity for each in inputs if (identity := _identity(each))}
    found: dict[tuple[int, int], Path] = {}
    existing = []
    for path in outputs:
        _check_folder(path, new_folders)
        if not os.path.lexists(path):
            continue
        identity = _identity(path)
        if identity in read:
            raise ConfigError(f"{path} is an input and cannot be overwritten: give another output")
        if path.exists() and not path.is_file():
            kind = "a folder" if path.is_dir() else "not a regular file"
            raise ConfigError(f"cannot write {path}: it is {kind}")
        if identity in found:
            raise ConfigError(
                f"{path} and {found[identity]} are the same file: give different outputs"
            )
        if identity:
            found[identity] = path
        existing.append(path)
    if existing and not overwrite:
        raise ConfigError(refusal(existing, len(outputs)))


def check_stream(descriptor: int, inputs: Iterable[Input]) -> None:
    """Raise ConfigError if an open output file, such as standard output, is also an input."""
    if (identity := _identity(descriptor)) and identity in map(_identity, inputs):
        raise ConfigError("standard output is redirected to an input file: give another output")


def write_file(
    path: Path, data: bytes, overwrite: bool = False, times: tuple[int, int] | None = None
) -> None:
    """Write a file that appears under its name only once it is complete and on the disk.

    Args:
        path: the file; missing folders are created.
        data: its content.
        overwrite: whether an existing file is replaced. If not, a file that has appeared since
            `check_outputs` is left alone.
        times: when it was last read and changed, in nanoseconds, as os.utime takes them; None for
            now.

    Raises:
        NotWritten: the disk is full, the name is taken, …; no partial file remains.
    """
    with finished_file(path, overwrite, times) as temporary, temporary.open("wb") as file:
        file.write(data)


@contextmanager
def finished_file(
    path: Path, overwrite: bool = False, times: tuple[int, int] | None = None
) -> Iterator[Path]:
    """A temporary file, empty at first, that becomes `path` at the end of a `with` block.

    Arguments and errors as for `write_file`.
    """
    temporary = path.with_name(TEMPORARY + uuid.uuid4().hex)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.open("xb").close()
            yield temporary
            with temporary.open("rb+") as file:
                if overwrite:
                    _keep_mode(path, file.fileno())
                os.fsync(file.fileno())
            if times is not None:
                os.utime(temporary, ns=times)
            if overwrite:
                temporary.replace(path)
            else:
                _publish(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise NotWritten(path, error) from error


def _publish(temporary: Path, path: Path) -> None:
    """Give a file its name atomically if the name is free; a rename would replace a new file."""
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        temporary.replace(path)


def _keep_mode(path: Path, descriptor: int) -> None:
    """Copy the old file's mode, so that a private file stays private when it is replaced."""
    if not hasattr(os, "fchmod"):
        return
    with suppress(OSError):  # no file to replace, or a file system without modes
        os.fchmod(descriptor, stat.S_IMODE(path.stat().st_mode))


def _identity(file: Input) -> tuple[int, int] | None:
    """The device and inode of a regular file, which os.path.samefile compares; None for others."""
    try:
        status = os.fstat(file) if isinstance(file, int) else file.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None


def _check_folder(path: Path, new_folders: bool) -> None:
    """Raise ConfigError if the file's folder is missing or cannot be written to or created."""
    folder = path.parent
    while not os.path.lexists(folder) and folder != folder.parent:
        if not new_folders:
            raise ConfigError(f"cannot write {path}: there is no folder {folder}")
        folder = folder.parent
    if not folder.is_dir():
        raise ConfigError(f"cannot write {path}: {folder} is not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"cannot write {path}: no permission to write to {folder}")


def refusal(existing: Sequence[object], of: int) -> str:
    """The sentence for outputs that exist, of so many that would be written."""
    if of == 1:
        return f"{existing[0]} exists: give another name, or --overwrite to replace it"
    there = "exist" if len(existing) > 1 else "exists"
    return (
        f"{len(existing)} of the {of} files to write {there} already, {existing[0]} first: give "
        "another folder, --overwrite to replace them, or --skip-existing to leave them"
    )
