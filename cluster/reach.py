"""Checks quickly whether a Ray cluster answers at an address and accepts this user's token.

Ray itself would wait for half a minute or for minutes, and print a warning every second.
"""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from colorgan.errors import ColorganError, ConfigError

_TIMEOUT_S = 10.0
_SAY_S = 15.0
_CLIENT = "ray://"  # Ray Client, which has checks and time limits of its own

# A call that every control store answers. Its answer is not decoded: only the status matters.
_CALL = "/ray.rpc.NodeInfoGcsService/GetClusterId"

# Every HTTP/2 server, and so every gRPC server, answers the preface by a frame of settings.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
_FRAME_HEADER, _SETTINGS = 9, 4


def check_address(address: str) -> None:
    """Check that a control store answers at `HOST:PORT`; other forms are left to Ray.

    Raises:
        ConfigError: the address has another form, or is a job server's.
        ColorganError: nothing answers there, or something else does, or the cluster refuses the
            token.
    """
    if address in ("local", "auto") or address.startswith(_CLIENT):
        return
    if os.environ.get("RAY_USE_TLS", "0") not in ("", "0"):
        return  # Ray alone knows the certificates
    if address.startswith(("http://", "https://")):
        raise ConfigError(
            f"{address} is the address of a job server, for `ray job submit` and `colorgan jobs`: "
            "give the cluster's, such as 127.0.0.1:6379"
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError(
            f"{address} is not the address of a Ray cluster: give HOST:PORT, such as "
            "127.0.0.1:6379, or auto"
        )
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _TIMEOUT_S) as connection:
            connection.settimeout(_TIMEOUT_S)
            connection.sendall(_PREFACE)
            answer = connection.recv(_FRAME_HEADER, socket.MSG_WAITALL)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ColorganError(
            f"no Ray cluster answers at {address} ({reason}): check the address; `ray status` on "
            "the head says whether it runs"
        ) from None
    if len(answer) < _FRAME_HEADER or answer[3] != _SETTINGS:
        raise _no_ray(address)
    _check_answer(address)


def _check_answer(address: str) -> None:
    """Check that what speaks HTTP/2 at an address is a control store that accepts the token."""
    import grpc  # takes a tenth of a second

    token = cluster_token() if os.environ.get("RAY_AUTH_MODE") == "token" else ""
    metadata = [("authorization", f"Bearer {token}")] if token else None
    with grpc.insecure_channel(address) as channel:
        try:
            channel.unary_unary(_CALL)(b"", timeout=_TIMEOUT_S, metadata=metadata)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.UNAUTHENTICATED:
                refused = "refuses the token that is set here" if token else "requires its token"
                raise ColorganError(
                    f"the Ray cluster at {address} {refused}: set RAY_AUTH_MODE=token, and "
                    "RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH to its file"
                ) from None
            if error.code() == grpc.StatusCode.UNIMPLEMENTED:
                raise _no_ray(address) from None
            # Another status is left to Ray, which tries again.


def _no_ray(address: str) -> ColorganError:
    return ColorganError(
        f"what answers at {address} is not a Ray cluster: give the address of its control store, "
        "port 6379 by default"
    )


def cluster_token() -> str:
    """The cluster's token, looked up where Ray looks for it; empty if there is no token."""
    if token := os.environ.get("RAY_AUTH_TOKEN"):
        return token.strip()
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    try:
        return path.read_text().strip()
    except OSError:
        return ""


@contextmanager
def saying_so(address: str) -> Iterator[None]:
    """Print a line at intervals while the block connects to an address, or starts Ray."""
    doing = "starting Ray here" if address == "local" else f"connecting to Ray at {address}"
    connected = threading.Event()

    def wait() -> None:
        waited = _SAY_S
        while not connected.wait(_SAY_S):
            print(f"{doing}: {waited:.0f} s so far", flush=True)
            waited += _SAY_S

    threading.Thread(target=wait, daemon=True).start()
    try:
        yield
    finally:
        connected.set()
