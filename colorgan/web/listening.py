"""The address to listen on, taken before anything is started or said."""

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import uvicorn

from colorgan.errors import ColorganError

_BACKLOG = 2048  # connections that wait to be accepted; uvicorn's own default


@contextmanager
def reserved(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that is bound to an address, and closed afterwards.

    It does not listen yet: until `listen`, clients are refused, as before a service is started.

    Raises:
        ColorganError: the port is in use or not for this user, or the host is no address here.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as bound:
        # The connections of a service that has ended must not keep its port for a minute.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((host, port))
        except OSError as error:
            raise _refused(host, port, error) from None
        yield bound


def listen(bound: socket.socket) -> None:
    """Let clients connect; raises ColorganError where another program has come first."""
    host, port = bound.getsockname()[:2]
    try:
        bound.listen(_BACKLOG)
    except OSError as error:
        raise _refused(host, port, error) from None


def run_server(config: uvicorn.Config, bound: socket.socket) -> None:
    """Serve on a reserved address until Ctrl-C."""
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[bound])


def address(host: str, port: int) -> str:
    """The URL to print."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _refused(host: str, port: int, error: OSError) -> ColorganError:
    if error.errno == errno.EADDRINUSE:
        return ColorganError(
            f"port {port} of {host} is in use by another program: stop that, or choose another "
            "--port"
        )
    if error.errno == errno.EACCES:
        return ColorganError(f"port {port} is for root alone: choose a --port from 1024 on")
    return ColorganError(
        f"cannot listen on {host}: {error.strerror or error}; choose another --host"
    )
