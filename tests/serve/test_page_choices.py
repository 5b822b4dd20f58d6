"""What can be chosen of a colouring on the page: other colours, and colouring by objects."""

import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser import Shoot
from tests.serve.photograph_page import await_colours, card_of, choose, photograph, pixels

pytestmark = pytest.mark.slow


def apart(left: Locator, right: Locator) -> float:
    """The mean distance of what two <img> show."""
    return float(np.abs(np.array(pixels(left), int) - pixels(right)).mean())


def test_other_colours_are_chosen_by_the_keyboard_and_become_the_result(
    page: Page, tmp_path: Path, shoot: Shoot
) -> None:
    choose(page, photograph(tmp_path, "horse.jpg"))
    card = card_of(page, "horse.jpg")
    await_colours(card)
    toggle, after = card.get_by_role("button", name="Other colours"), card.locator(".after")
    expect(toggle).to_have_attribute("aria-expanded", "false")
    toggle.press("Enter")
    expect(toggle).to_have_attribute("aria-expanded", "true")
    offered = card.get_by_role("group", name="Which colours?")
    expect(offered.get_by_role("radio")).to_have_count(4)
    expect(offered.locator("img:not([hidden])")).to_have_count(4)
    expect(page.get_by_role("log")).to_contain_text("4 colourings to choose from")
    small = offered.locator("img")
    assert apart(small.nth(0), after) < apart(small.nth(2), after)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    usual = offered.get_by_role("radio", name="Colours 1, the usual")
    expect(usual).to_be_checked()
    usual.press("ArrowRight")
    offered.get_by_role("radio", name="Colours 2").press("ArrowRight")
    third = offered.get_by_role("radio", name="Colours 3")
    expect(third).to_be_checked()
    expect(third).to_be_focused()
    expect(page.get_by_role("log")).to_contain_text("colours 3.")
    assert apart(small.nth(2), after) < apart(small.nth(0), after)
    shoot(page, "other-colours")

    card.get_by_role("slider", name="Vividness").fill("0.5")
    expect(page.get_by_role("log")).to_contain_text("colours 3, vividness 50%")
    queries = [parse_qs(urlsplit(url).query) for url in asked if "/colorize" in url]
    alone = [each for each in queries if "variants" not in each]
    assert [each["variant"] for each in alone[-2:]] == [["3"], ["3"]]
    assert alone[-1]["vividness"] == ["0.5"]
    expect(offered.locator("img:not([hidden])")).to_have_count(4)
    assert queries[-1]["vividness"] == ["0.5"], "the pictures to choose from have it, too"

    card.get_by_role("radio", name="vehicles").check()
    expect(card.locator(".state")).to_have_text("Coloured as vehicles, as you chose")
    expect(usual).to_be_checked()
    card.get_by_role("radio", name="by objects").check()
    expect(card.locator(".state")).to_contain_text("Coloured by objects")
    expect(toggle).to_be_hidden()
    expect(offered).to_be_hidden()


def test_objects_have_boxes_and_names_which_can_be_hidden(page: Page, shoot: Shoot) -> None:
    page.get_by_role("button", name="Portrait of a cat").click()
    card = card_of(page, "chelsea.jpg")
    await_colours(card)
    words = card.locator(".objects-words")
    expect(words).to_be_hidden()
    card.get_by_role("radio", name="by objects").check()
    expect(card.locator(".state")).to_have_text("Coloured by objects; 1 found")
    expect(words).to_have_text(
        re.compile(r"Found: animals \d\d%\. The general model coloured the rest\.")
    )
    expect(card.locator(".model-name").first).to_contain_text(re.compile("general@.*, animals@"))
    box = card.locator(".boxes > span")
    expect(box).to_have_count(1)
    expect(box).to_be_visible()
    own, stack = box.bounding_box(), card.locator(".stack").bounding_box()
    assert own and stack
    assert own["width"] == pytest.approx(stack["width"], rel=0.1), "the cat fills the picture"
    shoot(page, "by-objects")
    card.get_by_role("checkbox", name="Show the boxes").press("Space")
    expect(box).to_be_hidden()
    card.get_by_role("radio", name="auto").check()
    expect(words).to_be_hidden()
    card.get_by_role("radio", name="by objects").check()
    expect(words).to_be_visible()
    expect(box).to_be_hidden()
