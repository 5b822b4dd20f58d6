"""Retries for a storage that does not respond."""

from collections.abc import Callable
from typing import TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_before_delay, wait_exponential

from colorgan.errors import StorageUnavailable

_PATIENCE_S = 600.0  # how long work waits for a storage that has become unavailable

Result = TypeVar("Result")


def retry_transient(work: Callable[[], Result], patience_s: float = _PATIENCE_S) -> Result:
    """Call a function that uses a storage, and retry while the storage does not respond.

    Args:
        work: a function that leaves no trace when it fails, or that may be called twice.
        patience_s: how long to retry, in seconds.

    Raises:
        StorageUnavailable: the storage has not responded in that time.
    """
    attempts = Retrying(
        retry=retry_if_exception_type(StorageUnavailable),
        stop=stop_before_delay(patience_s),
        wait=wait_exponential(multiplier=1.0, max=15.0),
        reraise=True,
    )
    return attempts(work)
