"""What the page says of files and servers that fail, in a browser."""

import io
import re
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Route, expect

from serve.access import API_KEY
from tests.browser import Shoot, visit
from tests.serve.photograph_page import (
    API,
    await_colours,
    bomb,
    card_of,
    choose,
    drawn,
    photograph,
    send_files_by,
)

pytestmark = pytest.mark.slow


def test_what_was_odd_about_a_file_is_said(failing_page: Page, tmp_path: Path) -> None:
    page = failing_page  # that there are several pages, the server says by a refusal
    cut, scan = tmp_path / "cut.jpg", tmp_path / "scan.tiff"
    cut.write_bytes(drawn()[:-2])
    with Image.open(io.BytesIO(drawn())) as first, Image.new("L", (90, 60)) as second:
        first.save(scan, save_all=True, append_images=[second])
    choose(page, cut, scan)
    await_colours(card_of(page, "cut.jpg"))
    expect(card_of(page, "cut.jpg")).to_contain_text("About the file: the end")
    await_colours(card_of(page, "scan.tiff"))
    words = "About the file: the file has several pages; this is the first."
    expect(card_of(page, "scan.tiff")).to_contain_text(words)


def test_a_key_of_any_letters_is_sent_as_the_server_reads_it(
    browser: Browser, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "schlüssel-鍵"
    monkeypatch.setenv(API_KEY, key)
    with visit(browser, server, failures=True) as page:
        field = page.get_by_label("This server requires an API key.")
        field.fill(key)
        field.press("Enter")
        expect(page.get_by_text("Models served here")).to_be_visible()


def test_files_that_cannot_be_coloured_say_why_and_leave_the_others_alone(
    failing_page: Page, tmp_path: Path, shoot: Shoot
) -> None:
    page = failing_page
    text = tmp_path / "letter.jpg"
    text.write_text("Dear photographer, there is no picture in here.")
    first, last = photograph(tmp_path, "first.jpg"), photograph(tmp_path, "last.jpg", 103)
    choose(page, first, text, bomb(tmp_path / "bomb.png"), last)
    refused = card_of(page, "letter.jpg")
    expect(refused).to_contain_text("The photograph cannot be used: not an image")
    expect(refused.get_by_role("button", name="Try again")).to_be_visible()
    expect(card_of(page, "bomb.png")).to_contain_text("The photograph has too many pixels")
    await_colours(card_of(page, "first.jpg"))
    await_colours(card_of(page, "last.jpg"))
    expect(page.get_by_text("2 of 4 coloured")).to_be_visible()
    log = page.get_by_role("log")
    expect(log).to_contain_text("letter.jpg is not coloured.")
    expect(log).to_contain_text("first.jpg: Coloured as")
    shoot(page, "errors")


def test_a_file_that_is_too_large_is_refused_in_words(failing_page: Page, tmp_path: Path) -> None:
    huge = tmp_path / "huge.jpg"
    with huge.open("wb") as file:
        file.truncate(30_000_000)
    choose(failing_page, huge)
    # The server may hang up before the browser has read its answer.
    words = re.compile("has more than [0-9,]+ bytes|file .30 MB. is too large")
    expect(card_of(failing_page, "huge.jpg")).to_contain_text(words)


def test_a_busy_server_is_asked_again(failing_page: Page, tmp_path: Path) -> None:
    answers = iter([503, 503])

    def busy(route: Route) -> None:
        status = next(answers, None)
        if status is None:
            route.continue_()
        else:
            route.fulfill(status=status, headers={"Retry-After": "0"}, json={"detail": "busy"})

    failing_page.route("**/colorize?*", busy)
    choose(failing_page, photograph(tmp_path, "horse.jpg"))
    await_colours(card_of(failing_page, "horse.jpg"))
    assert next(answers, None) is None


def test_a_lost_connection_is_said_in_words_and_can_be_tried_again(
    failing_page: Page, tmp_path: Path
) -> None:
    page = failing_page
    page.route("**/classify", lambda route: route.abort())
    choose(page, photograph(tmp_path, "horse.jpg"))
    card = card_of(page, "horse.jpg")
    expect(card).to_contain_text("be reached.")
    page.unroute("**/classify")
    card.get_by_role("button", name="Try again").click()
    await_colours(card)
    expect(card.get_by_text("be reached.")).to_be_hidden()


def test_a_server_that_wants_a_key_is_given_the_one_that_is_typed(
    browser: Browser, server: str, tmp_path: Path, shoot: Shoot
) -> None:
    def guard(route: Route) -> None:
        if route.request.headers.get("x-api-key") == "sesame":
            route.continue_()
        else:
            route.fulfill(status=401, json={"detail": "send the API key"})

    with visit(browser, server, failures=True) as page:
        page.route(API, guard)
        page.reload()
        field = page.get_by_label("This server requires an API key.")
        field.fill("guess")
        field.press("Enter")
        field = page.get_by_label("The server rejected that key.")
        expect(field).to_be_focused()
        shoot(page, "key")
        choose(page, photograph(tmp_path, "a.jpg"), photograph(tmp_path, "b.jpg"))
        field.fill("sesame")
        field.press("Enter")
        await_colours(card_of(page, "a.jpg"))
        await_colours(card_of(page, "b.jpg"))
        expect(field).to_be_hidden()
        page.reload()
        expect(page.get_by_text("Models served here")).to_be_visible()
        expect(page.get_by_label("API key")).to_be_hidden()


def test_a_name_is_text_and_never_markup(page: Page) -> None:
    name = "<img src=x onerror=alert(1)>.jpg"
    send_files_by("drop", page, "body", **{name: drawn()})
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    await_colours(page.get_by_role("article"))
