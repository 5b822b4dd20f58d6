"""Waiting for a storage that does not answer."""

from collections.abc import Callable
from typing import TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_before_delay, wait_exponential

from colorgan.errors import StorageUnavailable

_PATIENCE_S = 600.0  # that work waits for a storage which has gone away

Result = TypeVar("Result")


def retry_transient(work: Callable[[], Result], patience_s: float = _PATIENCE_S) -> Result:
    """Call a function that uses a storage, and call it again while the storage does not answer.

    Args:
        work: a function that leaves no trace when it fails, or that may be called twice.
        patience_s: how long to try, in seconds.

    Raises:
        StorageUnavailable: the storage has not answered in all that time.
    """
    attempts = Retrying(
        retry=retry_if_exception_type(StorageUnavailable),
        stop=stop_before_delay(patience_s),
        wait=wait_exponential(multiplier=1.0, max=15.0),
        reraise=True,
    )
    return attempts(work)
