"""Lets the tasks of a job run the code of its driver, and refuses other code, as a service does."""

import hashlib
import platform
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from colorgan.errors import ColorganError

_PACKAGES = ("colorgan", "cluster", "serve", "tune")
_KINDS = (".py", ".toml")
_ROOT = Path(__file__).resolve().parents[1]


class ImportPath(list[str]):
    """The folders that Ray inserts at the front of a task's import path, one after the other.

    Ray appends the working directory, which may be another checkout and would come first. Here, it
    comes before, so that the folder of this checkout is inserted last.
    """

    def extend(self, folders: Iterable[str]) -> None:
        """Add folders before the others."""
        self[:0] = folders


def checkout_path() -> ImportPath:
    """The folder of this checkout, for the import path of tasks; empty for an installed package.

    A task would otherwise import what is installed where Ray was started, which may be another
    checkout on the same machine. On other machines, which lack the folder, it has no effect.
    """
    return ImportPath([str(_ROOT)] if (_ROOT / "pyproject.toml").exists() else [])


def code_version() -> str:
    """The SHA-256 of the code that this process imports, and the folder that it is in."""
    return f"{code_digest()} {_ROOT}"


@cache
def code_digest() -> str:
    """The SHA-256 of the code that this process imports, in hex."""
    digest = hashlib.sha256()
    for package in _PACKAGES:
        for path in sorted((_ROOT / package).rglob("*")):
            if path.suffix in _KINDS:
                data = path.read_bytes()
                digest.update(f"{path.relative_to(_ROOT)} {len(data)}\n".encode() + data)
    return digest.hexdigest()


def check_code(version: str) -> None:
    """Check that this process has the code of the driver.

    Args:
        version: the driver's `code_version`.

    Raises:
        ColorganError: it has other code.
    """
    digest, _, folder = version.partition(" ")
    if digest == code_digest():
        return
    if folder == str(_ROOT):
        raise ColorganError(
            f"the code in {folder} has changed since the job began: start the job again, and let "
            "it run from a copy that nobody edits, as with `ray job submit --working-dir .`"
        )
    raise ColorganError(
        f"{platform.node()} has another version of colorgan in {_ROOT} than the job has in "
        f"{folder}: install the same version on every machine, or submit the job with "
        "`ray job submit --working-dir .`"
    )


def check_service_code(digest: str) -> None:
    """Check that this process has the code from which a service was deployed.

    Ray Serve starts replicas wherever its controller was started, which may be another checkout.

    Args:
        digest: `code_digest` of the process that deployed the service.

    Raises:
        ColorganError: it has other code.
    """
    if digest != code_digest():
        raise ColorganError(
            f"{platform.node()} runs another version of colorgan, in {_ROOT}, than the service was "
            f"deployed from: deploy it from {_ROOT}, or install the same version on every machine"
        )
