"""A sample from lists of addresses on a web a third of which is bad."""

import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from colorgan.data import fetching
from colorgan.data.dataset import SPLITS, Row
from colorgan.data.fetching import FetchConfig
from colorgan.data.sources.url_lists import UrlListSource
from colorgan.data.staging import Execution, Staged, StagingConfig, stage
from colorgan.images.decoding import decode
from colorgan.storage import Storage, open_storage
from tests import web_server as web
from tests.web_server import BadWeb, bad_web

CLASSES = ("animals", "people")
WANTED = 100
GOOD, BAD = 140, 90  # addresses a class; 39 % are bad
CONFIG = StagingConfig(size=48, min_side=32)
FETCHING = FetchConfig(
    connections=32, per_host=32, timeout_s=2.5, retries=1, max_mib=1, allow_private=True
)


def picture(number: int, quality: int = 95) -> bytes:
    cells = np.random.default_rng(number).integers(0, 256, (18, 24, 3), dtype=np.uint8)
    image = Image.fromarray(cells).resize((72, 54), Image.Resampling.BICUBIC)
    return encoded(image, quality=quality)


def encoded(image: Image.Image, kind: str = "JPEG", **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def gone_picture() -> bytes:
    """What a host shows in place of a photograph."""
    cells = np.full((60, 80, 3), 230, np.uint8)
    cells[20:40, 10:70] = (20, 60, 200)
    return encoded(Image.fromarray(cells), "PNG")


GRAY = encoded(Image.fromarray(np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)), "PNG")
TINY = encoded(Image.new("RGB", (20, 20), (200, 30, 30)), "PNG")

# Each kind of bad answer, and what it is to be called.
FAULTS = {
    "404": (lambda number: web.status(404), "gone"),
    "410": (lambda number: web.status(410), "gone"),
    "403": (lambda number: web.status(403), "forbidden"),
    "500": (lambda number: web.status(500), "server error"),
    "silent": (lambda number: web.silent(), "timeout"),
    "drip": (lambda number: web.slow_body(picture(number), 0.05), "timeout"),
    "headers": (lambda number: web.slow_headers(0.05), "timeout"),
    "reset": (lambda number: web.reset(picture(number)[:500]), "connection"),
    "closed": (lambda number: web.closed(), "connection"),
    "short": (lambda number: web.short(picture(number)), "connection"),
    "html": (lambda number: web.ok(b"<html>It is gone.</html>" * 50), "not an image"),
    "text": (lambda number: web.ok(b"sorry", "text/plain"), "not an image"),
    "truncated": (lambda number: web.ok(picture(number)[:-400]), "truncated"),
    "gray": (lambda number: web.ok(GRAY + b"%d" % number), "grayscale"),
    "tiny": (lambda number: web.ok(TINY), "too small"),
    "huge": (lambda number: web.huge(10**9), "too large"),
    "endless": (lambda number: web.endless(), "too large"),
    "bomb": (lambda number: web.gzip_bomb(3 << 20), "too large"),
}


@dataclass
class Lists:
    """The lists, and what is to become of every address on them.

    Attributes:
        folder: of the lists, one a class.
        truth: what an address is to be called; a good one is "".
        unsure: addresses of pictures that stand at two: one of the two is good.
    """

    folder: Path
    truth: dict[str, str] = field(default_factory=dict)
    unsure: dict[str, str] = field(default_factory=dict)
    lines: Counter[str] = field(default_factory=Counter)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[BadWeb]:
    monkeypatch.setattr(fetching, "BACKOFF_S", 0.01)
    with bad_web() as running:
        yield running


@pytest.fixture
def lists(server: BadWeb, tmp_path: Path) -> Lists:
    made = Lists(tmp_path / "lists")
    made.folder.mkdir()
    placeholder = gone_picture()
    loop = server.add("/loop", web.redirect("/loop"))
    for start, label in enumerate(CLASSES):
        first = start * 10_000

        def say(path: str, answer: web.Answer, truth: str, label: str = label) -> str:
            url = server.add(f"/{label}/{path}", answer)
            made.truth[url] = truth
            return url

        urls = []
        for number in range(first, first + GOOD):
            good = web.ok(picture(number), "text/html" if number % 7 == 0 else "image/jpeg")
            if number % 20 == 1:  # a server that has its moments
                good = web.in_turn(web.status(503, headers={"Retry-After": "0"}), good)
            if number % 20 == 2:  # a photograph that has moved
                good = web.redirect(server.add(f"/moved/{number}", good))
            urls.append(say(f"{number}.jpg", good, ""))
        # Those that cost the timeout are fewer.
        kinds = [
            (kind, fault)
            for kind, fault in FAULTS.items()
            for _ in range(1 if fault[1] == "timeout" else 3)
        ]
        for number in range(first, first + BAD - 36):
            kind, (answer, reason) = kinds[number % len(kinds)]
            urls.append(say(f"{kind}-{number}.jpg", answer(number), reason))
        for number in range(12):
            gone = web.redirect(server.add(f"/photo_unavailable.png?{number}", web.ok(placeholder)))
            urls.append(say(f"flickr-{number}", gone, "placeholder"))
            urls.append(say(f"gone-{number}.png", web.ok(placeholder, "image/png"), "placeholder"))
            urls.append(say(f"loop-{number}", web.redirect(loop), "too many redirects"))
        for number in range(first, first + 5):
            again = say(f"again-{number}.jpg", web.ok(picture(number)), "")
            made.unsure |= {
                again: "duplicate",
                f"{server.at(server.host, f'/{label}/{number}.jpg')}": "duplicate",
            }
            urls.append(again)
        for number in range(first + 5, first + 10):
            alike = say(f"alike-{number}.jpg", web.ok(picture(number, quality=75)), "")
            made.unsure |= {
                alike: "near-duplicate",
                f"{server.at(server.host, f'/{label}/{number}.jpg')}": "near-duplicate",
            }
            urls.append(alike)
        made.lines[label] = len(urls)
        listed = [f"n{number:08}_1\t{url}" for number, url in enumerate(urls)]
        listed += [listed[0], "n00000000_9\tnot an address", ""]
        (made.folder / f"{label}.txt").write_text("\n".join(listed))
    return made


def sample(lists: Lists, storage: Storage, name: str, wanted: int, seed: int = 3) -> Staged:
    source = UrlListSource(str(lists.folder), seed)
    return stage(
        source, storage, name, CONFIG, per_class=wanted, execution=Execution(fetching=FETCHING)
    )


def rows(staged: Staged) -> list[Row]:
    return [
        row
        for split in SPLITS
        for row in staged.dataset.rows(staged.dataset.manifest.classes, split)
    ]


@pytest.mark.slow
def test_so_many_good_photographs_are_found_and_the_tally_is_right_to_the_last(
    lists: Lists, server: BadWeb, storage: Storage
) -> None:
    staged = sample(lists, storage, "one", WANTED)
    assert staged.missing == {}
    kept = rows(staged)
    assert Counter(row.label for row in kept) == dict.fromkeys(CLASSES, WANTED)
    for row in kept:
        assert decode(row.image).rgb.shape == (48, 64, 3)
        assert lists.truth[row.source] == ""
        assert row.source.split("/")[-2] == row.label

    # Everything that was asked for is kept, dropped for its own fault, or spare.
    for drop in staged.dropped:
        if drop.detail == "it is listed before":
            continue
        allowed = {lists.truth[drop.source]} - {""} or {lists.unsure.get(drop.source)}
        assert {drop.reason} == allowed, drop
    listed_twice = sum(drop.detail == "it is listed before" for drop in staged.dropped)
    dropped = len(staged.dropped) - listed_twice
    asked = {path for path in server.requests if path.split("/")[1] in CLASSES}
    assert len(asked) == len(kept) + dropped + sum(staged.spare.values())
    bad = sum(lists.truth[drop.source] != "" for drop in staged.dropped)
    assert bad / (bad + len(kept)) > 0.25

    # The same sample for the same seed, and another for another.
    again = sample(lists, open_storage(f"{storage.uri}-again"), "one", WANTED)
    assert again.dataset.manifest.fingerprint == staged.dataset.manifest.fingerprint
    assert sorted(map(repr, again.dropped)) == sorted(map(repr, staged.dropped))
    other = sample(lists, storage, "other", WANTED, seed=4)
    assert {row.source for row in rows(other)} != {row.source for row in kept}


@pytest.mark.slow
def test_a_list_that_is_too_short_gives_all_it_has_and_says_how_many(
    lists: Lists, storage: Storage
) -> None:
    staged = sample(lists, storage, "all", 1000)
    counts = Counter(row.label for row in rows(staged))
    assert staged.missing == {label: 1000 - counts[label] for label in CLASSES}
    assert counts == dict.fromkeys(CLASSES, GOOD)
    assert staged.spare == {}
    truth = Counter(reason for reason in lists.truth.values() if reason)
    # Of two addresses of one picture one is dropped, and so is the line that stands twice.
    truth += Counter({"duplicate": 2 * (5 + 1), "near-duplicate": 2 * 5, "not an address": 2})
    assert Counter(staged.dataset.manifest.dropped) == truth
    assert len(staged.dropped) == truth.total() - truth["not an address"]
    assert sum(lists.lines.values()) + 2 == sum(counts.values()) + len(staged.dropped)
