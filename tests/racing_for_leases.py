"""What racing processes do with leases; a module of its own, because each of them imports it."""

from contextlib import ExitStack

from colorgan.errors import Held
from colorgan.storage import open_storage
from colorgan.storage.lease import hold

_KEPT = ExitStack()


def take(number: int, uri: str, me: str) -> str:
    """Take a lease and keep it; returns the name of the process if it got the lease."""
    lease = hold(open_storage(uri), f"runs/{number}", "run", "wait", say=lambda line: None)
    try:
        _KEPT.enter_context(lease)
    except Held:
        return ""
    return me
