"""Correcting colours on the page: by mouse and by keyboard, with undo."""

from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser import Shoot, fits
from tests.serve.photograph_page import (
    SIZE,
    await_colours,
    card_of,
    choose,
    photograph,
    slider_of,
)

pytestmark = pytest.mark.slow


def pixel(card: Locator, x: int, y: int) -> np.ndarray:
    """A pixel of the coloured picture at its own size."""
    return np.array(
        card.locator(".after").evaluate(
            """async (image, [x, y]) => {
                await image.decode();
                const { naturalWidth, naturalHeight } = image;
                const canvas = new OffscreenCanvas(naturalWidth, naturalHeight).getContext("2d");
                canvas.drawImage(image, 0, 0);
                return Array.from(canvas.getImageData(x, y, 1, 1).data.slice(0, 3));
            }""",
            [x, y],
        ),
        dtype=int,
    )


def await_hints(card: Locator, count: int) -> None:
    expect(card.locator(".hints-list li")).to_have_count(count)
    expect(card.locator(".marks .swatch")).to_have_count(count)
    expect(card).to_have_attribute("data-state", "done")


def test_colours_of_points_are_set_undone_and_removed(
    page: Page, tmp_path: Path, shoot: Shoot
) -> None:
    choose(page, photograph(tmp_path, "horse.jpg"))
    card = card_of(page, "horse.jpg")
    await_colours(card)
    toggle = card.get_by_role("button", name="Correct colours")
    expect(toggle).to_have_attribute("aria-expanded", "false")
    toggle.click()
    expect(toggle).to_have_attribute("aria-expanded", "true")
    undo, clear = (card.get_by_role("button", name=name) for name in ("Undo", "Remove all"))
    expect(undo).to_be_disabled()

    aim = card.get_by_role("button", name="A point of horse.jpg")
    box = aim.bounding_box()
    assert box
    card.get_by_label("The colour was").fill("#2a52be")
    plain = pixel(card, 40, 90)
    # The middle of the pixel 40, 90.
    place = {"x": 40.5 / SIZE[0] * box["width"], "y": 90.5 / SIZE[1] * box["height"]}
    aim.click(position=place)  # type: ignore[arg-type]
    await_hints(card, 1)
    expect(card.locator(".hints-list")).to_contain_text("#2a52be at 40, 90")
    blue = pixel(card, 40, 90)
    assert blue[2] - blue[0] > 20 + plain[2] - plain[0]

    card.get_by_label("The colour was").fill("#c02020")
    for key in ("ArrowRight", "ArrowRight", "ArrowUp", "Shift+ArrowLeft", "Enter"):
        aim.press(key)
    await_hints(card, 2)
    (first, second) = card.locator(".hints-list span:not(.swatch)").all_inner_texts()
    assert first == "#2a52be at 40, 90" and second == "#c02020 at 46, 88"
    red = pixel(card, 46, 88)
    assert red[0] - red[2] > 0
    assert fits(page)
    shoot(page, "hints")

    undo.click()
    await_hints(card, 1)
    np.testing.assert_array_equal(pixel(card, 40, 90), blue)
    aim.press("Control+z")
    await_hints(card, 0)
    np.testing.assert_array_equal(pixel(card, 40, 90), plain)
    expect(undo).to_be_disabled()

    aim.click(position=place)  # type: ignore[arg-type]
    await_hints(card, 1)
    card.get_by_role("button", name="Remove #c02020 at 40, 90").click()
    await_hints(card, 0)
    aim.press("Enter")
    await_hints(card, 1)
    clear.click()
    await_hints(card, 0)
    expect(aim).to_be_focused()
    toggle.click()
    expect(aim).to_be_hidden()
    expect(slider_of(card)).to_be_visible()
