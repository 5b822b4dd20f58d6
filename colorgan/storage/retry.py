"""Retries for a storage that does not respond."""

import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_before_delay, wait_exponential

from colorgan.errors import StorageUnavailable

_PATIENCE_S = 600.0  # how long work waits for a storage that has become unavailable
_HEARING_S = 1.0  # interval at which a wait calls `hear`

Result = TypeVar("Result")


def retry_transient(
    work: Callable[[], Result],
    patience_s: float = _PATIENCE_S,
    hear: Callable[[], None] = lambda: None,
) -> Result:
    """Call a function that uses a storage, and retry while the storage does not respond.

    Args:
        work: a function that leaves no trace when it fails, or that may be called twice.
        patience_s: how long to retry, in seconds.
        hear: called every second between two attempts; what it raises, such as a request to stop,
            ends the wait.

    Raises:
        StorageUnavailable: the storage has not responded in that time.
    """
    attempts = Retrying(
        retry=retry_if_exception_type(StorageUnavailable),
        stop=stop_before_delay(patience_s),
        wait=wait_exponential(multiplier=1.0, max=15.0),
        sleep=partial(_sleep, hear),
        reraise=True,
    )
    return attempts(work)


def _sleep(hear: Callable[[], None], seconds: float) -> None:
    hear()
    while seconds > 0:
        step = min(seconds, _HEARING_S)
        time.sleep(step)
        seconds -= step
        hear()
