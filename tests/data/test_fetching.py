import asyncio
import gzip
import hashlib
import os
import signal
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from colorgan import __version__
from colorgan.data import fetching
from colorgan.data.fetching import KNOWN_PLACEHOLDERS, FetchConfig, Fetcher, is_public
from colorgan.errors import ColorganError, ConfigError, ImageRejected
from tests.web_server import (
    Answer,
    BadWeb,
    bad_web,
    closed,
    endless,
    garbage,
    gzip_bomb,
    huge,
    in_turn,
    late,
    ok,
    redirect,
    reset,
    short,
    silent,
    slow_body,
    slow_headers,
    status,
)

BACKOFF_S = fetching.BACKOFF_S
PUBLIC = "127.0.0.2"


class Names(AbstractResolver):
    """Names of the test's own: addresses, one list an enquiry and the last for ever, or a fault."""

    def __init__(self, names: dict[str, list[list[str]] | OSError]) -> None:
        self.names = names
        self.asked: Counter[str] = Counter()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = self.names[host]
        self.asked[host] += 1
        if isinstance(found, OSError):
            raise found
        addresses = found[min(self.asked[host], len(found)) - 1]
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in addresses
        ]

    async def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "BACKOFF_S", 0.001)


@pytest.fixture
def web() -> Iterator[BadWeb]:
    with bad_web() as web:
        yield web


@pytest.fixture
def public_web(monkeypatch: pytest.MonkeyPatch) -> Iterator[BadWeb]:
    """A server whose address counts as public, while the rest of loopback does not."""
    monkeypatch.setattr(fetching, "is_public", lambda ip: ip == PUBLIC or is_public(ip))
    with bad_web(host=PUBLIC) as web:
        yield web


def fetcher(resolver: AbstractResolver | None = None, **options: Any) -> Fetcher:
    quick = {"allow_private": True, "timeout_s": 5.0, "retries": 1}
    return Fetcher(FetchConfig(**(quick | options)), resolver)


def get(url: str, resolver: AbstractResolver | None = None, **options: Any) -> bytes:
    with fetcher(resolver, **options) as fetch:
        return fetch.get(url)


def rejection(
    url: str, resolver: AbstractResolver | None = None, **options: Any
) -> tuple[str, str]:
    """The reason and the detail."""
    with pytest.raises(ImageRejected) as caught:
        get(url, resolver, **options)
    assert "\n" not in str(caught.value)
    return caught.value.reason, caught.value.detail


def reason(url: str, resolver: AbstractResolver | None = None, **options: Any) -> str:
    return rejection(url, resolver, **options)[0]


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# Bodies


def test_a_body_comes_as_it_was_sent_whatever_its_type_says(web: BadWeb) -> None:
    body = bytes(range(256)) * 1000
    assert get(web.add("/a.jpg", ok(body))) == body
    assert get(web.add("/page", ok(b"<html>", content_type="text/html"))) == b"<html>"
    assert get(web.add("/empty.jpg", ok())) == b""


def test_a_packed_body_is_unpacked(web: BadWeb) -> None:
    packed = ok(gzip.compress(b"photograph"), **{"Content-Encoding": "gzip"})
    assert get(web.add("/", packed)) == b"photograph"


def test_long_headers_do_no_harm(web: BadWeb) -> None:
    policy = {"Content-Security-Policy": "img-src " + "https://photos.example " * 1000}
    assert get(web.add("/", ok(b"photograph", **policy))) == b"photograph"


def test_a_body_that_does_not_unpack_is_a_fault_of_the_connection(web: BadWeb) -> None:
    packed = ok(b"no gzip at all", **{"Content-Encoding": "gzip"})
    assert reason(web.add("/", packed)) == "connection"


@pytest.mark.parametrize("answer", [huge(2**20 + 1), endless(), gzip_bomb(2**26)])
def test_a_large_body_is_not_read_to_its_end(web: BadWeb, answer: Answer) -> None:
    assert rejection(web.add("/", answer), max_mib=1) == ("too large", "more than 1 MiB")
    assert web.requests["/"] == 1


def test_a_body_of_just_the_limit_is_read(web: BadWeb) -> None:
    assert len(get(web.add("/", ok(bytes(2**20))), max_mib=1)) == 2**20


def test_flickrs_and_others_placeholders_are_known_by_their_content(
    web: BadWeb, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "880a7a58e05d3e83797f27573bb6d35c" in KNOWN_PLACEHOLDERS
    monkeypatch.setitem(KNOWN_PLACEHOLDERS, hashlib.md5(b"gone!").hexdigest(), "a sorry picture")
    assert rejection(web.add("/a.jpg", ok(b"gone!"))) == ("placeholder", "a sorry picture")


@pytest.mark.parametrize(
    "name", ["photo_unavailable.png", "photo_unavailable_l.png", "photo_unavailable.gif"]
)
def test_a_placeholder_is_known_by_its_address(web: BadWeb, name: str) -> None:
    web.add(f"/images/{name}", ok(b"sorry"))
    url = web.add("/a.jpg", redirect(f"/images/{name}?zz=1"))
    assert rejection(url) == ("placeholder", name)


# Statuses and what can pass


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (404, "gone"),
        (410, "gone"),
        (401, "forbidden"),
        (403, "forbidden"),
        (451, "forbidden"),
        (204, "HTTP status"),
        (304, "HTTP status"),
        (400, "HTTP status"),
        (418, "HTTP status"),
        (501, "HTTP status"),
        (302, "HTTP status"),  # without saying where
    ],
)
def test_a_status_that_stays_is_asked_for_once(web: BadWeb, code: int, expected: str) -> None:
    assert rejection(web.add("/", status(code))) == (expected, f"status {code}")
    assert web.requests["/"] == 1


@pytest.mark.parametrize("code", [408, 425, 429, 500, 502, 503, 504])
def test_a_status_that_can_pass_is_asked_for_again(web: BadWeb, code: int) -> None:
    expected = "too many requests" if code == 429 else "server error"
    assert rejection(web.add("/", status(code)), retries=2) == (expected, f"status {code}")
    assert web.requests["/"] == 3
    passing = in_turn(status(code), status(code), ok(b"photograph"))
    assert get(web.add("/passing", passing), retries=2) == b"photograph"


@pytest.mark.parametrize(
    "fault", [closed(), short(b"photo"), reset(b"photo"), garbage(b"SSH-2.0\r\n\r\n")]
)
def test_a_broken_connection_is_made_again(web: BadWeb, fault: Answer) -> None:
    assert reason(web.add("/", fault), retries=2) == "connection"
    # aiohttp itself asks a second time where a connection closes before an answer.
    assert web.requests["/"] in (3, 6)
    passing = in_turn(fault, fault, ok(b"photograph"))
    assert get(web.add("/passing", passing), retries=2) == b"photograph"


def test_a_port_where_nobody_listens_is_a_fault_of_the_connection() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        assert rejection(url) == ("connection", "Connection refused")


@pytest.mark.parametrize(
    "answer", [silent(), slow_headers(0.02), slow_body(bytes(1000), 0.02), huge(1000)]
)
def test_a_slow_answer_times_out_and_is_asked_for_again(web: BadWeb, answer: Answer) -> None:
    began = time.monotonic()
    assert reason(web.add("/", answer), timeout_s=0.2) == "timeout"
    assert 0.4 < time.monotonic() - began < 2
    assert web.requests["/"] == 2


def test_redirects_share_the_time_of_one_attempt(web: BadWeb) -> None:
    for hop in range(4):
        web.add(f"/{hop}", late(0.3, redirect(f"/{hop + 1}")))
    web.add("/4", ok())
    assert reason(web.at("127.0.0.1", "/0"), timeout_s=0.8, retries=0) == "timeout"
    assert not web.requests["/4"]


def test_pauses_double_up_to_a_limit_and_are_drawn_from_their_whole_length(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fetching, "BACKOFF_S", BACKOFF_S)
    monkeypatch.setattr(fetching.random, "uniform", lambda least, most: (least, most))
    assert [fetching._backoff(retry) for retry in (0, 1, 2, 10)] == [
        (0, 0.5),
        (0, 1),
        (0, 2),
        (0, 10),
    ]


def test_a_server_that_asks_for_patience_gets_some(
    web: BadWeb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "MAX_RETRY_AFTER_S", 0.3)
    busy = status(503, headers={"Retry-After": "3600"})
    began = time.monotonic()
    assert get(web.add("/", in_turn(busy, ok(b"photograph")))) == b"photograph"
    assert 0.3 < time.monotonic() - began < 2


def test_patience_is_asked_for_in_seconds_or_until_a_date_and_ends() -> None:
    def date(seconds: float) -> str:
        return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)

    assert fetching._retry_after("7") == 7
    assert 8 < fetching._retry_after(date(10)) <= 10
    assert fetching._retry_after("3600") == fetching._retry_after(date(3600)) == 30
    for nothing in ("", "soon", "-5", date(-60)):
        assert fetching._retry_after(nothing) == 0


# Names, addresses, redirects


@pytest.mark.parametrize(
    "url",
    [
        "",
        "photo.jpg",
        "//photos.example/a.jpg",
        "http://",
        "http:///a.jpg",
        "http://[::bad/",
        "http://photos.example:99999/",
        "http://photos..example/",
        f"http://{'x' * 70}.example/",
        "ftp://photos.example/a.jpg",
        "file:///etc/passwd",
        "data:image/png;base64,AAAA",
        "javascript:alert(1)",
    ],
)
def test_what_is_no_web_address_is_refused(url: str) -> None:
    assert reason(url) == "bad address"


def test_an_address_is_encoded_as_browsers_do(web: BadWeb) -> None:
    web.add("/%C3%BCber%20uns/100%25%2F1.jpg?a=%C3%A4", ok(b"photograph"))
    assert get(web.at("127.0.0.1", "/über uns/100%25%2F1.jpg?a=ä") + " \r\n") == b"photograph"


def test_a_name_that_does_not_exist_is_looked_up_once() -> None:
    names = Names({"no.example": socket.gaierror(socket.EAI_NONAME, "unknown")})
    assert rejection("http://no.example/", names) == ("no such host", "no.example")
    assert names.asked["no.example"] == 1


def test_a_name_that_cannot_be_looked_up_now_is_looked_up_again() -> None:
    names = Names({"no.example": socket.gaierror(socket.EAI_AGAIN, "try again")})
    assert rejection("http://no.example/", names, retries=2)[0] == "no such host"
    assert names.asked["no.example"] == 3


def test_a_certificate_that_proves_nothing_is_refused(tmp_path: Path) -> None:
    with bad_web({"/": ok()}, tls=self_signed("photos.example", tmp_path)) as web:
        names = Names({"photos.example": [["127.0.0.1"]]})
        url = web.at("photos.example", "/")
        assert rejection(url, names) == ("certificate", "self-signed certificate")
        assert not web.requests


def test_a_server_that_does_not_speak_tls_is_a_fault_of_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        url = f"https://127.0.0.1:{server.getsockname()[1]}/"
        waiting = pool.submit(rejection, url, retries=0)
        with server.accept()[0] as connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            assert waiting.result() == ("connection", "the TLS handshake failed")


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed(web: BadWeb, code: int) -> None:
    web.add("/new/b%20c.jpg", ok(b"photograph"))
    assert get(web.add("/old/a.jpg", redirect("../new/b c.jpg", code))) == b"photograph"


def test_redirects_are_counted(web: BadWeb) -> None:
    for hop in range(3):
        web.add(f"/{hop}", redirect(f"/{hop + 1}"))
    url = web.at("127.0.0.1", "/0")
    web.add("/3", ok(b"photograph"))
    assert get(url, max_redirects=3) == b"photograph"
    assert rejection(url, max_redirects=2) == ("too many redirects", "more than 2")
    assert reason(web.add("/loop", redirect("/loop"))) == "too many redirects"
    assert web.requests["/loop"] == 6


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://photos.example/", "http://[::bad/"])
def test_a_redirect_leads_nowhere_but_to_the_web(web: BadWeb, to: str) -> None:
    assert reason(web.add("/", redirect(to))) == "bad address"


# Addresses that must not be connected to


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::a00:1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::",
        "2001:0:4136:e378:8000:63bf:80ff:fffe",
        "2001:db8::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "fc00::1",
        "fd12:3456::1",
        "ff02::1",
        "4000::1",
        "2130706433",
        "0x7f.1",
        "localhost",
        "",
    ],
)
def test_an_address_that_is_not_on_the_internet_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "93.184.216.34",
        "8.8.8.8",
        "100.128.0.1",
        "2606:4700::6810:84e5",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
        "2002:808:808::",
    ],
)
def test_an_address_on_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "127。0。0。1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "localhost",
    ],
)
def test_no_spelling_of_loopback_is_connected_to(web: BadWeb, host: str) -> None:
    url = web.at(host, "/")
    web.add("/", ok(b"secret"))
    assert reason(url, allow_private=False) == "refused address"
    if host != "[::1]":
        assert get(url) == b"secret"
        assert web.requests["/"] == 1


def test_a_name_of_a_private_address_is_refused_and_not_tried_again(web: BadWeb) -> None:
    names = Names({"photos.example": [["127.0.0.1", "::1"]]})
    url = web.at("photos.example", "/")
    assert rejection(url, names, allow_private=False) == (
        "refused address",
        "photos.example is at 127.0.0.1, which is not public",
    )
    assert names.asked["photos.example"] == 1
    assert not web.requests


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "[::ffff:127.0.0.1]", "in.example"])
def test_a_redirect_to_a_private_address_is_refused(
    web: BadWeb, public_web: BadWeb, host: str
) -> None:
    names = Names({"photos.example": [[PUBLIC]], "in.example": [["127.0.0.1"]]})
    public_web.add("/", redirect(web.at(host, "/secret")))
    url = public_web.at("photos.example", "/")
    assert reason(url, names, allow_private=False) == "refused address"
    assert public_web.requests["/"] == 1
    assert not web.requests


def test_a_name_that_moves_inside_between_two_requests_is_refused(
    web: BadWeb, public_web: BadWeb
) -> None:
    names = Names({"photos.example": [[PUBLIC], ["127.0.0.1"]]})
    public_web.add("/", redirect(web.at("photos.example", "/secret")))
    url = public_web.at("photos.example", "/")
    assert reason(url, names, allow_private=False) == "refused address"
    assert names.asked["photos.example"] == 2
    assert not web.requests


@pytest.mark.parametrize("addresses", [["127.0.0.1", PUBLIC], [PUBLIC, "127.0.0.1"]])
def test_of_a_names_addresses_only_the_public_ones_are_used(
    public_web: BadWeb, addresses: list[str]
) -> None:
    public_web.add("/", late(0.3, ok(b"photograph")))  # longer than aiohttp waits for one address
    names = Names({"photos.example": [addresses]})
    with socket.create_server(("127.0.0.1", public_web.port)) as private:
        url = public_web.at("photos.example", "/")
        assert get(url, names, allow_private=False) == b"photograph"
        private.setblocking(False)
        with pytest.raises(BlockingIOError):
            private.accept()


def test_a_download_of_a_file_is_refused_a_private_address_too(web: BadWeb, tmp_path: Path) -> None:
    with (
        fetcher(allow_private=False) as fetch,
        pytest.raises(ColorganError, match="refused address"),
    ):
        fetch.download(web.add("/", ok(b"secret")), tmp_path / "file")
    assert not web.requests


# What is said of the one who asks


def test_a_request_says_who_asks_and_for_what(web: BadWeb) -> None:
    get(web.add("/a.jpg", ok()))
    assert web.headers["/a.jpg"]["user-agent"] == f"colorgan/{__version__}"
    assert web.headers["/a.jpg"]["accept"] == "image/*"


def test_cookies_are_not_kept_and_proxies_are_not_taken_from_the_environment(
    web: BadWeb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    web.add("/", ok(b"photograph", **{"Set-Cookie": "a=b"}))
    names = Names({"photos.example": [["127.0.0.1"]]})
    with fetcher(names) as fetch:
        for _ in range(2):
            assert fetch.get(web.at("photos.example", "/")) == b"photograph"
    assert "cookie" not in web.headers["/"]


def test_a_password_goes_to_its_own_host_alone(web: BadWeb) -> None:
    names = Names({name: [["127.0.0.1"]] for name in ("photos.example", "other.example")})
    web.add("/a", redirect("/b"))
    web.add("/b", redirect(web.at("other.example", "/c")))
    web.add("/c", ok())
    get(web.at("user:s3cret@photos.example", "/a"), names)
    assert "authorization" in web.headers["/a"]
    assert "authorization" not in web.headers["/c"]


@pytest.mark.parametrize(
    "url",
    [
        "http://user:s3cret@127.0.0.1:{port}/404",
        "http://user:s3cret@127.0.0.1:{port}/loop",
        "http://user:s3cret@127.0.0.1:{port}/closed",
        "http://user:s3cret@127.0.0.1:{port}/silent",
        "http://user:s3cret@127.0.0.1:{port}/file",
        "http://user:s3cret@127.0.0.1:1/",
        "https://user:s3cret@127.0.0.1:{port}/",
        "http://user:s3cret@photos..example/",
        "http://user:s3cret@photos.example:99999/",
        "http://user:s3cret@[::bad/",
        "http://user:s3/cret@photos.example/",
        "ftp://user:s3cret@photos.example/",
        "user:s3cret@photos.example/",
    ],
)
def test_a_password_is_never_shown(web: BadWeb, url: str, tmp_path: Path) -> None:
    web.add("/loop", redirect("/loop"))
    web.add("/closed", closed())
    web.add("/silent", silent())
    web.add("/file", redirect("file://user:s3cret@/etc/passwd"))
    url = url.format(port=web.port)
    with fetcher(timeout_s=0.2, retries=0) as fetch:
        with pytest.raises(ImageRejected) as caught:
            fetch.get(url)
        with pytest.raises(ColorganError) as caught_too:
            fetch.download(url, tmp_path / "file")
    for text in (str(caught.value), str(caught_too.value)):
        assert "s3" not in text
        assert "cret" not in text


# Many at once


def get_all(fetch: Fetcher, urls: list[str]) -> list[bytes]:
    with ThreadPoolExecutor(len(urls)) as pool:
        return list(pool.map(fetch.get, urls))


def test_connections_are_limited_in_all_and_by_host(web: BadWeb) -> None:
    hosts = ("a.example", "b.example", "c.example")
    web.add("/", late(0.1, ok(b"photograph")))
    with fetcher(
        Names({host: [["127.0.0.1"]] for host in hosts}), connections=5, per_host=2
    ) as fetch:
        get_all(fetch, [web.at(host, "/") for host in hosts * 10])
    assert web.peak == 5
    assert all(web.peak_of[host] == 2 for host in hosts)


def test_a_redirect_counts_for_the_host_that_it_leads_to(web: BadWeb) -> None:
    hosts = [f"{number}.example" for number in range(8)]
    names = Names({host: [["127.0.0.1"]] for host in [*hosts, "one.example"]})
    web.add("/", redirect(web.at("one.example", "/photo")))
    web.add("/photo", late(0.05, ok(b"photograph")))
    with fetcher(names, per_host=2) as fetch:
        get_all(fetch, [web.at(host, "/") for host in hosts])
    assert web.peak_of["one.example"] == 2


def test_redirects_to_and_fro_do_not_block_each_other(web: BadWeb) -> None:
    names = Names({"a.example": [["127.0.0.1"]], "b.example": [["127.0.0.1"]]})
    for path, to in (("/1", "b.example"), ("/2", "a.example"), ("/3", "b.example")):
        web.add(path, redirect(web.at(to, f"/{int(path[1]) + 1}")))
    web.add("/4", ok(b"photograph"))
    with fetcher(names, connections=2, per_host=1) as fetch:
        urls = [web.at("a.example", "/1"), web.at("b.example", "/1")] * 8
        assert get_all(fetch, urls) == [b"photograph"] * 16


def test_time_in_the_queue_is_not_the_servers(web: BadWeb) -> None:
    url = web.add("/", late(0.2, ok(b"photograph")))
    for limit in ({"per_host": 1}, {"connections": 1}):
        with fetcher(timeout_s=0.6, retries=0, **limit) as fetch:
            assert get_all(fetch, [url] * 5) == [b"photograph"] * 5


def test_a_host_that_hangs_does_not_hold_up_the_others(web: BadWeb) -> None:
    names = Names({"slow.example": [["127.0.0.1"]], "quick.example": [["127.0.0.1"]]})
    web.add("/slow", silent())
    web.add("/quick", ok(b"photograph"))
    with ThreadPoolExecutor(6) as pool, fetcher(names, connections=2, per_host=1) as fetch:
        for _ in range(6):
            pool.submit(fetch.get, web.at("slow.example", "/slow"))
        eventually(lambda: web.requests["/slow"])
        began = time.monotonic()
        assert fetch.get(web.at("quick.example", "/quick")) == b"photograph"
        assert time.monotonic() - began < 2


def test_many_slow_answers_are_waited_for_at_once(web: BadWeb) -> None:
    url = web.add("/", late(1, ok(b"photograph")))
    with fetcher(connections=64, per_host=64) as fetch:
        get_all(fetch, [url] * 64)
    assert web.peak == 64


def test_hosts_that_nobody_asks_any_more_are_forgotten(web: BadWeb) -> None:
    url = web.add("/", ok())
    with fetcher() as fetch:
        fetch.get(url)
        assert not fetch._hosts


# The end


def fetch_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "fetch"]


@pytest.mark.parametrize(
    "answer",
    [silent(), slow_body(bytes(1000), 0.1), status(503, headers={"Retry-After": "20"})],
)
def test_leaving_stops_what_is_under_way(web: BadWeb, answer: Answer) -> None:
    url = web.add("/", answer)
    waiting: list[Future[bytes]] = []
    with ThreadPoolExecutor(3) as pool:
        with pytest.raises(KeyboardInterrupt), fetcher(timeout_s=30, per_host=2) as fetch:
            waiting += [pool.submit(fetch.get, url) for _ in range(3)]
            eventually(lambda: web.requests["/"] >= 2)
            began = time.monotonic()
            raise KeyboardInterrupt
        for future in waiting:
            error = future.exception(timeout=5)
            assert isinstance(error, ColorganError)
            assert not isinstance(error, ImageRejected)
    assert time.monotonic() - began < 2
    assert not fetch_threads()


@pytest.mark.filterwarnings("error")  # a coroutine that is never awaited warns
def test_a_fetcher_that_was_closed_says_so(web: BadWeb) -> None:
    url = web.add("/", ok())
    with fetcher() as fetch:
        fetch.close()
        with pytest.raises(ColorganError, match="closed"):
            fetch.get(url)
    fetch.close()
    assert not fetch_threads()


def test_ctrl_c_in_a_thread_that_waits_ends_its_download(web: BadWeb) -> None:
    hanging = web.add("/hanging", silent())
    url = web.add("/", ok(b"photograph"))

    def interrupt() -> None:
        eventually(lambda: web.requests["/hanging"])
        os.kill(os.getpid(), signal.SIGINT)

    # A shell's background jobs ignore SIGINT.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with fetcher(timeout_s=30, per_host=1) as fetch:
        threading.Thread(target=interrupt).start()
        with pytest.raises(KeyboardInterrupt):
            fetch.get(hanging)
        signal.signal(signal.SIGINT, before)
        began = time.monotonic()
        assert fetch.get(url) == b"photograph"
        assert time.monotonic() - began < 2  # the host's one connection was free again


def test_a_look_up_that_hangs_does_not_delay_the_end() -> None:
    class Stuck(Names):
        async def resolve(self, *args: Any, **kwargs: Any) -> list[ResolveResult]:
            await asyncio.sleep(20)
            raise AssertionError

    began = time.monotonic()
    with ThreadPoolExecutor(1) as pool, fetcher(Stuck({}), timeout_s=30) as fetch:
        waiting = pool.submit(fetch.get, "http://photos.example/")
        time.sleep(0.1)
        fetch.close()
        assert isinstance(waiting.exception(timeout=5), ColorganError)
    assert time.monotonic() - began < 2


# Files


def test_a_file_of_any_size_is_written_whole(web: BadWeb, tmp_path: Path) -> None:
    body = os.urandom(3 * 2**20)
    with fetcher(max_mib=1) as fetch:
        fetch.download(web.add("/", ok(body)), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == body
    assert web.headers["/"]["accept"] == "*/*"


@pytest.mark.parametrize("fault", [short(bytes(2**20)), reset(bytes(2**20)), status(503)])
def test_a_file_that_breaks_off_is_begun_again(web: BadWeb, tmp_path: Path, fault: Answer) -> None:
    with fetcher() as fetch:
        fetch.download(web.add("/", in_turn(fault, ok(b"whole"))), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"whole"


def test_a_file_may_take_longer_than_the_timeout_while_it_moves(
    web: BadWeb, tmp_path: Path
) -> None:
    with fetcher(timeout_s=0.5, retries=0) as fetch:
        fetch.download(web.add("/", slow_body(b"12345678", 0.1)), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"12345678"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (status(404), "gone (status 404)"),
        (short(b"photo"), "connection"),
        (huge(1000), "timeout"),
    ],
)
def test_a_file_that_cannot_be_had_leaves_the_old_one(
    web: BadWeb, tmp_path: Path, answer: Answer, words: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    url = web.add("/archive.zip", answer)
    with fetcher(timeout_s=0.2) as fetch, pytest.raises(ColorganError) as caught:
        fetch.download(url, path)
    assert str(caught.value).startswith(f"cannot download {url}: {words}")
    assert not isinstance(caught.value, ImageRejected)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_stopped_leaves_nothing(web: BadWeb, tmp_path: Path) -> None:
    url = web.add("/", slow_body(bytes(1000), 0.02))
    with ThreadPoolExecutor(1) as pool, fetcher() as fetch:
        waiting = pool.submit(fetch.download, url, tmp_path / "file")
        eventually(lambda: list(tmp_path.iterdir()))
        fetch.close()
        assert isinstance(waiting.exception(timeout=5), ColorganError)
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written_is_one_sentence(web: BadWeb, tmp_path: Path) -> None:
    url = web.add("/", ok(b"whole"))
    with fetcher() as fetch:
        for path in (tmp_path / "missing" / "file", tmp_path):
            with pytest.raises(ColorganError, match=f"cannot write {path}: "):
                fetch.download(url, path)
    assert not list(tmp_path.iterdir())


# Configuration


@pytest.mark.parametrize(
    "options",
    [
        {"connections": 0},
        {"per_host": 0},
        {"timeout_s": 0.0},
        {"timeout_s": float("nan")},
        {"retries": -1},
        {"max_mib": 0},
        {"max_redirects": -1},
    ],
)
def test_a_configuration_that_cannot_work_names_its_option(options: dict[str, Any]) -> None:
    name = next(iter(options)).replace("_", "-")
    with pytest.raises(ConfigError, match=f"--{name} must be"):
        FetchConfig(**options)


def test_processes_keep_the_limits_together() -> None:
    config = FetchConfig(connections=64, per_host=8, retries=7)
    assert config.share(4) == FetchConfig(connections=16, per_host=2, retries=7)
    assert config.share(1) == config
    assert (config.share(100).connections, config.share(100).per_host) == (1, 1)


def self_signed(host: str, folder: Path) -> ssl.SSLContext:
    """What a server of TLS needs, with a certificate that nobody else has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    pem.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context
