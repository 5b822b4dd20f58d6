from collections.abc import Iterator

import pytest

from colorgan.data import fetching
from colorgan.data.fetching import is_public
from tests.data.fetching.clients import PUBLIC
from tests.web_server import (
    BadWeb,
    bad_web,
)


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
