"""Lets one command at a time work on a run, a sweep, a report, a dataset or another thing."""

from contextlib import AbstractContextManager

from colorgan.names import check_name
from colorgan.storage import Storage
from colorgan.storage.lease import Lease, hold

# The folder and the option of each kind of thing.
_KINDS = {
    "run": ("runs", "--run"),
    "sweep": ("runs", "--sweep"),
    "report": ("reports", "--report"),
    "reproduction": ("reproductions", "--name"),
    "dataset": ("datasets", "--dataset"),
    "archive": ("archives", "--name"),
}


def working_on(
    storage: Storage, kind: str, name: str, job: str = ""
) -> AbstractContextManager[Lease]:
    """Hold the lease of a thing for the duration of a `with` block; see `hold`.

    Args:
        storage: the storage that the thing is in.
        kind: run, sweep, report, reproduction, dataset or archive.
        name: its name.
        job: the name under which a cluster knows this process.

    Raises:
        ConfigError: the name is invalid.
        Held: another process works on it.
    """
    folder, option = _KINDS[kind]
    return hold(
        storage,
        f"{folder}/{check_name(kind, name)}",
        f"{kind} {name!r}",
        f"wait until it ends, stop it with `colorgan jobs stop {name}`, or give another {option}",
        job,
    )
