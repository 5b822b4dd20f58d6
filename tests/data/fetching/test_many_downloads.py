"""Many downloads at once, and the end of them."""

import asyncio
import os
import signal
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from aiohttp.abc import ResolveResult

from colorgan.data import fetching
from colorgan.data.fetching import Fetcher
from colorgan.errors import ColorganError, ImageRejected
from tests.data.fetching.clients import Names, eventually, fetcher
from tests.web_server import (
    Answer,
    BadWeb,
    late,
    ok,
    redirect,
    silent,
    slow_body,
    status,
)

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
        assert time.monotonic() - began < 300


def test_many_slow_answers_are_waited_for_at_once(web: BadWeb) -> None:
    url = web.add("/", late(1, ok(b"photograph")))
    with fetcher(connections=64, per_host=64) as fetch:
        get_all(fetch, [url] * 64)
    assert web.peak == 64


def test_hosts_that_nobody_asks_any_more_are_forgotten(web: BadWeb) -> None:
    url = web.add("/", ok())
    with fetcher() as fetch:
        fetch.get(url)
        assert not fetch.hosts


# The end


def fetch_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "fetch"]


@pytest.mark.parametrize(
    "answer",
    [silent(), slow_body(bytes(1000), 0.1), status(503, headers={"Retry-After": "1000"})],
)
def test_leaving_stops_what_is_under_way(
    web: BadWeb, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "MAX_RETRY_AFTER_S", 1000.0)
    url = web.add("/", answer)
    waiting: list[Future[bytes]] = []
    with ThreadPoolExecutor(3) as pool:
        with pytest.raises(KeyboardInterrupt), fetcher(timeout_s=1000, per_host=2) as fetch:
            waiting += [pool.submit(fetch.get, url) for _ in range(3)]
            eventually(lambda: web.requests["/"] >= 2)
            began = time.monotonic()
            raise KeyboardInterrupt
        for future in waiting:
            error = future.exception(timeout=300)
            assert isinstance(error, ColorganError)
            assert not isinstance(error, ImageRejected)
    assert time.monotonic() - began < 300
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
    with fetcher(timeout_s=1000, per_host=1) as fetch:
        threading.Thread(target=interrupt).start()
        with pytest.raises(KeyboardInterrupt):
            fetch.get(hanging)
        signal.signal(signal.SIGINT, before)
        began = time.monotonic()
        assert fetch.get(url) == b"photograph"
        assert time.monotonic() - began < 300  # the host's one connection was free again


def test_a_look_up_that_hangs_does_not_delay_the_end() -> None:
    class Stuck(Names):
        async def resolve(self, *args: Any, **kwargs: Any) -> list[ResolveResult]:
            await asyncio.sleep(1000)
            raise AssertionError

    began = time.monotonic()
    with ThreadPoolExecutor(1) as pool, fetcher(Stuck({}), timeout_s=1000) as fetch:
        waiting = pool.submit(fetch.get, "http://photos.example/")
        time.sleep(0.1)
        fetch.close()
        assert isinstance(waiting.exception(timeout=300), ColorganError)
    assert time.monotonic() - began < 300
