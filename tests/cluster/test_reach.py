"""Addresses at which no Ray answers are refused at once: Ray itself would wait for minutes."""

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import pytest

from cluster import reach
from cluster.local import LocalRay
from cluster.reach import check_address
from colorgan.errors import ColorganError, ConfigError


@pytest.fixture
def web_server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def mute_server() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://127.0.0.1:8265", "is the address of a job server, for `ray job submit`"),
        ("127.0.0.1", "is not the address of a Ray cluster: give HOST:PORT"),
        ("head:gcs", "is not the address of a Ray cluster: give HOST:PORT"),
    ],
)
def test_what_is_no_address_is_refused_in_words(address: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check_address(address)


@pytest.mark.parametrize("address", ["127.0.0.1:9", "[::1]:9", "no-such-host.invalid:6379"])
def test_where_nothing_answers_a_sentence_says_so(address: str) -> None:
    with pytest.raises(ColorganError) as refused:
        check_address(address)
    assert str(refused.value).startswith(f"no Ray cluster answers at {address} (")


def test_what_answers_and_is_no_ray_is_told_apart(web_server: str) -> None:
    with pytest.raises(ColorganError, match=f"what answers at {web_server} is not a Ray cluster"):
        check_address(web_server)


def test_what_accepts_and_says_nothing_is_not_waited_for(
    mute_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reach, "_TIMEOUT_S", 0.2)
    before = time.monotonic()
    with pytest.raises(ColorganError, match=f"no Ray cluster answers at {mute_server}"):
        check_address(mute_server)
    assert time.monotonic() - before < 30


@pytest.fixture
def other_grpc() -> Iterator[str]:
    """A gRPC server that is no Ray's, as a proxy may be."""
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


def test_another_grpc_server_is_told_apart(other_grpc: str) -> None:
    with pytest.raises(ColorganError, match=f"what answers at {other_grpc} is not a Ray cluster"):
        check_address(other_grpc)


@pytest.mark.slow
def test_a_ray_is_recognised_and_its_token_checked(
    ray_cluster: LocalRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ray_cluster.environment.items():
        monkeypatch.setenv(name, value)
    check_address(ray_cluster.address)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "another")
    with pytest.raises(ColorganError, match="refuses the token that is set here: set RAY_AUTH"):
        check_address(ray_cluster.address)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(ColorganError, match=f"{ray_cluster.address} requires its token: set RAY_"):
        check_address(ray_cluster.address)
