"""Temporary folders that are cleaned up even after their process was killed.

Beside each folder, a file names its process. Whoever needs the next folder deletes those of
processes that have provably died.
"""

import json
import platform
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from colorgan.processes import ProcessIdentity, this_process

_PREFIX = "colorgan-"
_OWNER = ".owner.json"  # suffix of the file beside a folder that names its process


_own: dict[Path, Path] = {}  # the folders of this process, and the files that name it


@contextmanager
def temporary_folder(use: str, parent: Path | None = None) -> Iterator[Path]:
    """A temporary folder, which is deleted at the end of a `with` block.

    Args:
        use: what it is for, as a part of its name.
        parent: the folder in which it is created; $TMPDIR by default.
    """
    parent = parent or Path(tempfile.gettempdir())
    delete_abandoned(parent)
    folder = parent / f"{_PREFIX}{use}-{secrets.token_hex(4)}"
    owner = {"host": platform.node(), **asdict(this_process())}
    record = folder.with_name(folder.name + _OWNER)
    _own[folder] = record
    try:
        # The record comes first, so that a process that is killed here leaves no unknown folder.
        with suppress(OSError):  # on a full disk, the folder may still be of use
            record.write_text(json.dumps(owner))
        folder.mkdir(mode=0o700)
        yield folder
    finally:
        _own.pop(folder, None)
        _delete(folder, record)


def delete_all() -> None:
    """Delete the temporary folders of this process, before it ends without unwinding."""
    while _own:
        _delete(*_own.popitem())


def delete_abandoned(parent: Path | None = None) -> list[Path]:
    """Delete the temporary folders whose processes have died; returns those that were deleted."""
    parent = parent or Path(tempfile.gettempdir())
    deleted = []
    for record in parent.glob(f"{_PREFIX}*{_OWNER}"):
        with suppress(OSError, ValueError, TypeError, KeyError):
            owner = json.loads(record.read_text())
            host = owner.pop("host")
            identity = ProcessIdentity(**owner)
            # Temporary folders are on this machine, so nothing of an earlier boot lives.
            boots = {identity.boot, this_process().boot}
            rebooted = host == platform.node() and len(boots) == 2 and all(boots)
            if rebooted or identity.is_dead():
                folder = record.with_name(record.name.removesuffix(_OWNER))
                _delete(folder, record)
                deleted.append(folder)
    return deleted


def _delete(folder: Path, record: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        record.unlink()
