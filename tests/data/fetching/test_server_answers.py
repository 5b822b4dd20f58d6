"""Bodies and statuses, and which faults are tried again."""

import gzip
import hashlib
import socket
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from colorgan.data import fetching
from colorgan.data.fetching import KNOWN_PLACEHOLDERS
from tests.data.fetching.clients import BACKOFF_S, get, reason, rejection
from tests.web_server import (
    Answer,
    BadWeb,
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
    assert 0.4 < time.monotonic() - began < 300
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
    assert [fetching.backoff(retry) for retry in (0, 1, 2, 10)] == [
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
    assert 0.3 < time.monotonic() - began < 300


def test_patience_is_asked_for_in_seconds_or_until_a_date_and_ends() -> None:
    def date(seconds: float) -> str:
        return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)

    assert fetching.retry_after("7") == 7
    assert 8 < fetching.retry_after(date(10)) <= 10
    assert fetching.retry_after("3600") == fetching.retry_after(date(3600)) == 30
    for nothing in ("", "soon", "-5", date(-60)):
        assert fetching.retry_after(nothing) == 0
