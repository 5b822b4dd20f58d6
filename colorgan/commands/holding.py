"""Lets one command at a time work on a run, a sweep, a report or another thing."""

from contextlib import AbstractContextManager

from colorgan.names import check_name
from colorgan.storage import Storage
from colorgan.storage.lease import Lease, hold

# The folder in storage and the option of each kind of thing.
KINDS = {
    "run": ("runs", "--run"),
    "sweep": ("runs", "--sweep"),
    "report": ("reports", "--report"),
    "reproduction": ("reproductions", "--name"),
    "dataset": ("datasets", "--dataset"),
    "model": ("models", ""),
}


def working_on(
    storage: Storage, kind: str, name: str, job: str = ""
) -> AbstractContextManager[Lease]:
    """Hold the lease of a thing for the duration of a `with` block; see `hold`.

    Args:
        storage: the storage that the thing is in.
        kind: run, sweep, report, reproduction, dataset or model.
        name: its name.
        job: the name under which a cluster knows this process.

    Raises:
        ConfigError: the name is invalid.
        Held: another process works on it.
    """
    folder, option = KINDS[kind]
    stop = f"stop it with `colorgan jobs stop {name}`"
    return hold(
        storage,
        f"{folder}/{check_name(kind, name)}",
        f"{kind} {name!r}",
        f"wait until it ends, {stop}, or give another {option}"
        if option
        else f"wait until it ends, or {stop}",
        job,
    )
