"""How the page shows a photograph and its colouring: three views, and a live vividness."""

import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, Request, expect

from colorgan.inference.colorizer import VIVID
from tests.browser import Shoot, fits, visit
from tests.serve.photograph_page import (
    await_colours,
    card_of,
    choose,
    chroma,
    colourfulness,
    photograph,
    pixels,
    slider_of,
)
from tests.serve.test_restore_api import DATA as PRINT

pytestmark = pytest.mark.slow

FLASHES_MOST = 3  # a second: WCAG 2.3.1


@pytest.fixture
def card(page: Page, tmp_path: Path) -> Locator:
    """A coloured photograph's."""
    choose(page, photograph(tmp_path, "horse.jpg"))
    card = card_of(page, "horse.jpg")
    await_colours(card)
    return card


def view(card: Locator, name: str) -> None:
    card.get_by_role("radio", name=name).check()


def test_side_by_side_shows_the_whole_of_both(page: Page, card: Locator, shoot: Shoot) -> None:
    view(card, "Side by side")
    expect(slider_of(card)).to_be_hidden()
    before, after = (card.locator(side).bounding_box() for side in (".before", ".after"))
    assert before and after
    assert before["x"] + before["width"] <= after["x"]
    assert (before["y"], before["height"]) == (after["y"], after["height"])
    assert before["width"] / before["height"] == pytest.approx(4 / 3, rel=0.02)
    assert colourfulness(card.locator(".stack")) > 0
    shoot(page, "side-by-side")
    view(card, "Slider")
    expect(slider_of(card)).to_be_visible()


def test_a_hint_is_set_on_the_colouring_beside_the_photograph(page: Page, card: Locator) -> None:
    view(card, "Side by side")
    card.get_by_role("button", name="Correct colours").click()
    card.get_by_role("button", name="A point of horse.jpg").click()  # in its middle
    expect(card.locator(".hints-list")).to_contain_text(re.compile("at (79|80), (59|60)"))
    mark, after = (
        card.locator(".marks .swatch").bounding_box(),
        card.locator(".after").bounding_box(),
    )
    assert mark and after
    assert mark["x"] + mark["width"] / 2 == pytest.approx(after["x"] + after["width"] / 2, abs=4)


def test_flicker_alternates_once_a_second_until_it_is_paused(
    browser: Browser, server: str, tmp_path: Path, shoot: Shoot
) -> None:
    still = {"reduced_motion": "no-preference"}
    with visit(browser, server, watch=lambda page: page.clock.install(time=0), **still) as page:
        choose(page, photograph(tmp_path, "horse.jpg"))
        card = card_of(page, "horse.jpg")
        await_colours(card)
        page.clock.pause_at(3_600)
        view(card, "Flicker")
        stack = card.locator(".stack")
        expect(stack).to_have_attribute("data-shown", "after")
        colours = []
        for shown in ("before", "after", "before", "after"):
            page.clock.run_for(1000 // (2 * FLASHES_MOST))
            expect(stack).not_to_have_attribute("data-shown", shown)
            page.clock.run_for(500 - 1000 // (2 * FLASHES_MOST))
            expect(stack).to_have_attribute("data-shown", shown)
            expect(card.locator(f".tag-{shown}")).to_be_visible()
            colours.append(colourfulness(stack))
        assert max(colours[::2]) < 1 < min(colours[1::2])
        shoot(page, "flicker")
        card.get_by_role("button", name="Pause").click()
        page.clock.run_for(10_000)
        expect(stack).to_have_attribute("data-shown", "after")
        card.get_by_role("button", name="Play").click()
        page.clock.run_for(500)
        expect(stack).to_have_attribute("data-shown", "before")
        view(card, "Slider")
        page.clock.run_for(10_000)
        expect(slider_of(card)).to_be_visible()
        expect(card.get_by_role("group", name="Flicker")).to_be_hidden()


def test_flicker_stands_still_for_those_who_want_less_motion(page: Page, card: Locator) -> None:
    view(card, "Flicker")
    expect(card.get_by_role("button", name="Play")).to_be_visible()
    stack = card.locator(".stack")
    expect(stack).to_have_attribute("data-shown", "after")
    card.get_by_role("button", name="Show before").press("Enter")
    expect(stack).to_have_attribute("data-shown", "before")
    card.get_by_role("button", name="Show after").press("Enter")
    expect(stack).to_have_attribute("data-shown", "after")


def move_vividness(card: Locator, *values: float) -> list[list[str]]:
    """Move the slider without a rest; returns what is shown at each value: source and filter."""
    moved: list[list[str]] = card.get_by_role("slider", name="Vividness").evaluate(
        """(slider, values) => values.map((value) => {
            slider.value = value;
            slider.dispatchEvent(new Event("input", { bubbles: true }));
            const after = slider.closest(".card").querySelector(".after");
            return [after.src, after.style.filter];
        })""",
        values,
    )
    return moved


def test_the_vividness_is_previewed_at_once_and_asked_for_once(
    page: Page, card: Locator, shoot: Shoot
) -> None:
    asked: list[Request] = []
    page.on("request", lambda request: "/colorize" in request.url and asked.append(request))
    slider, after = card.get_by_role("slider", name="Vividness"), card.locator(".after")
    assert float(slider.get_attribute("max") or 0) == VIVID
    expect(card.locator("output")).to_have_text("100%")
    painted, source = chroma(after), str(after.get_attribute("src"))
    values = (1.1, 1.3, 0.4, 1.5)
    previews = [[source, f"saturate({value:g})"] for value in values]
    assert move_vividness(card, *values) == previews
    expect(card.locator("output")).to_have_text("150%")
    expect(after).not_to_have_attribute("src", source)
    expect(card).to_have_attribute("data-state", "done")
    assert [request.url.count("vividness=1.5") for request in asked] == [1]
    assert after.evaluate("image => image.style.filter") == ""
    assert chroma(after) > painted
    expect(page.get_by_role("log")).to_contain_text("vividness 150%")
    shoot(page, "vivid")

    vivid = str(after.get_attribute("src"))
    slider.press("Home")
    expect(slider).to_have_attribute("aria-valuetext", "0%, gray")
    expect(after).not_to_have_attribute("src", vivid)
    expect(card).to_have_attribute("data-state", "done")
    assert chroma(after) < 0.5
    # Nothing of the gray picture can be saturated.
    assert move_vividness(card, 0.7) == [[source, "saturate(0.7)"]]


def test_the_previewed_vividness_looks_as_the_one_that_comes(page: Page, card: Locator) -> None:
    after = card.locator(".after")
    painted, previewed = after.evaluate(
        """(image) => ["none", "saturate(1.5)"].map((filter) => {
            const canvas = new OffscreenCanvas(32, 24).getContext("2d");
            canvas.filter = filter;
            canvas.drawImage(image, 0, 0, 32, 24);
            return Array.from(canvas.getImageData(0, 0, 32, 24).data);
        })"""
    )
    source = str(after.get_attribute("src"))
    card.get_by_role("slider", name="Vividness").fill("1.5")
    expect(after).not_to_have_attribute("src", source)
    came = np.array(pixels(after), int)
    errors = [float(np.abs(came - each).mean()) for each in (painted, previewed)]
    assert errors[1] < errors[0] / 2, errors


def test_a_change_of_the_vividness_keeps_the_picture_until_the_next_one_is_there(
    page: Page, card: Locator
) -> None:
    page.route("**/colorize?*", lambda route: None)  # it never answers
    after = card.locator(".after")
    source = str(after.get_attribute("src"))
    with page.expect_request("**/colorize?*"):
        card.get_by_role("slider", name="Vividness").fill("0.5")
    assert after.get_attribute("src") == source
    assert after.evaluate("image => image.style.filter") == "saturate(0.5)"
    assert card.locator(".shimmer").first.evaluate("each => getComputedStyle(each).opacity") == "0"


def test_an_old_print_is_mended_as_chosen_and_the_choice_stays(
    page: Page, tmp_path: Path, shoot: Shoot
) -> None:
    (tmp_path / "print.png").write_bytes(PRINT)
    choose(page, tmp_path / "print.png")
    card = card_of(page, "print.png")
    await_colours(card)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    choice, note = card.get_by_label("Old print"), card.locator(".file-note")
    plain = pixels(card.locator(".after"))
    choice.select_option("colors")
    expect(card).to_have_attribute("data-state", "done")
    expect(note).to_contain_text("the border of the print stays gray; faded contrast mended")
    expect(choice).to_have_accessible_description(re.compile("lightness stays the print.s own"))
    assert pixels(card.locator(".after")) != plain
    shoot(page, "old-print")
    card.get_by_role("radio", name="vehicles").check()
    expect(card.locator(".state")).to_have_text("Coloured as vehicles, as you chose")
    expect(card.get_by_role("radio", name="vehicles")).to_be_focused()
    sent = [urlsplit(url) for url in asked if not url.startswith("blob:")]
    assert [each.path for each in sent] == ["/classify", "/colorize", "/colorize"]
    assert {*(each for part in sent for each in parse_qs(part.query)["restore"])} == {"colors"}
    choice.select_option("off")
    expect(note).to_be_hidden()


def test_all_views_fit_a_phone(browser: Browser, server: str, tmp_path: Path, shoot: Shoot) -> None:
    with visit(browser, server, viewport={"width": 360, "height": 740}, has_touch=True) as page:
        choose(page, photograph(tmp_path, "horse.jpg"))
        card = card_of(page, "horse.jpg")
        await_colours(card)
        view(card, "Flicker")
        assert fits(page)
        shoot(page, "phone-flicker")
        view(card, "Side by side")
        assert fits(page)
        before, after = (card.locator(side).bounding_box() for side in (".before", ".after"))
        assert before and after
        assert before["y"] + before["height"] <= after["y"], "one under the other"
        shoot(page, "phone-side-by-side")
