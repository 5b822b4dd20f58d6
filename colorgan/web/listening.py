"""Reserves the address of a server before the server starts."""

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import uvicorn

from colorgan.errors import ColorganError

_BACKLOG = 2048  # connections that may wait to be accepted; uvicorn's default


@contextmanager
def reserved(host: str, port: int) -> Iterator[socket.socket]:
    """Bind a socket to an address for the duration of a `with` block.

    The socket does not listen until `listen` is called; until then, clients are refused.

    Raises:
        ColorganError: the port is in use or not permitted, or the host is not an address of this
            machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as bound:
        # Otherwise, old connections of a service that has ended would block its port for a minute.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((host, port))
        except OSError as error:
            raise _refused(host, port, error) from None
        yield bound


def listen(bound: socket.socket) -> None:
    """Let clients connect; raises ColorganError if another program already uses the address."""
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
    """The URL of an address, to print."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _refused(host: str, port: int, error: OSError) -> ColorganError:
    if error.errno == errno.EADDRINUSE:
        return ColorganError(
            f"port {port} of {host} is in use by another program: stop that, or choose another "
            "--port"
        )
    if error.errno == errno.EACCES:
        return ColorganError(f"port {port} requires root: choose a --port of 1024 or above")
    return ColorganError(
        f"cannot listen on {host}: {error.strerror or error}; choose another --host"
    )
