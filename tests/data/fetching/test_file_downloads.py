"""Downloads into files, and a fetcher's configuration."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from colorgan.data.fetching import FetchConfig
from colorgan.errors import ColorganError, ConfigError, ImageRejected
from tests.data.fetching.clients import eventually, fetcher
from tests.web_server import (
    Answer,
    BadWeb,
    huge,
    in_turn,
    ok,
    reset,
    short,
    slow_body,
    status,
)

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
        assert isinstance(waiting.exception(timeout=300), ColorganError)
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
