"""Says what a job waits for, and for how long."""

import time
from collections.abc import Callable

from colorgan.training.progress import format_seconds

FIRST_S = 60.0  # after so many seconds, a wait is explained for the first time
_OFTEN_S, _SELDOM_S = 60.0, 300.0  # until the next time, within five minutes and after them


def share_in_words(cpus: float, gpus: float) -> str:
    """The resources of a process in words: 0.4 GPU and 1 CPU."""
    return f"{gpus:g} GPU and {cpus:g} CPU" if gpus else f"{cpus:g} CPU"


def no_room(cpus: float, gpus: float, seconds: float) -> str:
    """Why a process has not been placed for so many seconds."""
    return (
        f"no machine has had {share_in_words(cpus, gpus)} free for {format_seconds(seconds)}; "
        "`colorgan jobs` and `ray status` show what runs"
    )


class Patience:
    """Decides when a wait is explained: after a minute, and then at growing intervals."""

    def __init__(self) -> None:
        """Start to wait."""
        self._began = time.monotonic()
        self._due = FIRST_S

    def seconds(self) -> float | None:
        """The seconds waited so far, if they should be told now; otherwise None."""
        waited = time.monotonic() - self._began
        if waited < self._due:
            return None
        self._due = waited + (_OFTEN_S if waited < _SELDOM_S else _SELDOM_S)
        return waited


def wait_for_place(
    cpus: float,
    gpus: float,
    say: Callable[[str], None],
    record: Callable[[str], None] = lambda what: None,
) -> None:
    """Wait until the cluster has room for a process, and say why it takes long.

    Args:
        cpus: CPUs that the process reserves.
        gpus: GPUs that it reserves.
        say: prints a line.
        record: records what is waited for, for `colorgan jobs`; it is called with nothing once
            there is room.
    """
    import ray

    # An empty task of the same size: Ray knows best when there is room, and an autoscaler sees it.
    placed = ray.remote(_nothing).options(num_cpus=cpus, num_gpus=gpus, max_retries=-1).remote()
    patience = Patience()
    while not ray.wait([placed], timeout=1.0)[0]:
        record(share_in_words(cpus, gpus))
        seconds = patience.seconds()
        if seconds is not None:
            say(no_room(cpus, gpus, seconds))
    record("")


def is_unplaced(cpus: float, gpus: float) -> bool:
    """Whether Ray has yet to find room for a training of this size."""
    from ray.util import placement_group_table

    wanted = {"CPU": cpus, **({"GPU": gpus} if gpus else {})}
    return any(
        group["state"] in ("PENDING", "RESCHEDULING") and wanted in group["bundles"].values()
        for group in placement_group_table().values()
    )


def _nothing() -> None:
    pass
