"""Many photographs on the page: a grid, one archive of all, and folders."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.browser import Shoot, fits, visit
from tests.serve.photograph_page import SIZE, await_colours, card_of, choose, drawn, photograph

pytestmark = pytest.mark.slow

NAMES = ("horse.jpg", "horse.png", "Horse.jpg", "Großmutter 鍵.jpg")


def choose_named(page: Page, *names: str) -> None:
    page.get_by_label("Choose photographs").set_input_files(
        [
            {"name": name, "mimeType": "image/jpeg", "buffer": drawn(seed=100 + place)}
            for place, name in enumerate(names)
        ]
    )


def test_many_photographs_lie_in_a_grid_and_come_as_one_archive(
    failing_page: Page, tmp_path: Path, shoot: Shoot
) -> None:
    page = failing_page
    letter = {"name": "letter.jpg", "mimeType": "image/jpeg", "buffer": b"Dear photographer,"}
    choose_named(page, *NAMES)
    page.get_by_label("Choose photographs").set_input_files([letter])  # type: ignore[list-item]
    for name in NAMES:
        await_colours(card_of(page, name))
    expect(page.get_by_text("4 of 5 coloured, 1 not")).to_be_visible()
    expect(card_of(page, "letter.jpg")).to_contain_text("The photograph cannot be used")
    boxes = [card_of(page, name).bounding_box() for name in NAMES]
    tops, lefts = ([round(box[side]) for box in boxes if box] for side in ("y", "x"))
    assert len(set(tops)) < len(NAMES) and len(set(lefts)) > 1
    expect(page.get_by_role("group", name="Before and after")).to_have_count(0)
    shoot(page, "many")

    with page.expect_download() as download:
        page.get_by_role("button", name="Download 4 of 5").press("Enter")
    assert download.value.suggested_filename == "colorgan.zip"
    expect(page.get_by_text("colorgan.zip holds 4 photographs.")).to_be_visible()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [
            "horse-colored.png",
            "horse-colored (2).png",
            "Horse-colored (3).png",
            "Großmutter 鍵-colored.png",
        ]
        pictures = []
        for name in archive.namelist():
            with Image.open(io.BytesIO(archive.read(name))) as picture:
                assert (picture.format, picture.size) == ("PNG", SIZE)
                pictures.append(np.asarray(picture))
    with page.expect_download() as download:
        card_of(page, NAMES[2]).get_by_role("link", name="Download").click()
    with Image.open(download.value.path()) as picture:
        np.testing.assert_array_equal(np.asarray(picture), pictures[2])
    assert len({each.tobytes() for each in pictures}) == 4

    page.get_by_role("button", name="Remove all").click()
    expect(page.get_by_role("article")).to_have_count(0)
    expect(page.get_by_label("Choose photographs")).to_be_focused()


def test_a_photograph_of_many_is_opened_to_adjust_it(page: Page, shoot: Shoot) -> None:
    choose_named(page, *NAMES)
    card = card_of(page, "horse.png")
    await_colours(card)
    small = card.bounding_box()
    button = card.get_by_role("button", name="Adjust horse.png")
    expect(button).to_have_attribute("aria-expanded", "false")
    button.press("Enter")
    expect(button).to_be_hidden()  # it has another name
    close = card.get_by_role("button", name="Close horse.png")
    expect(close).to_be_focused()
    expect(close).to_have_attribute("aria-expanded", "true")
    large = card.bounding_box()
    assert small and large and large["width"] > 2 * small["width"]
    card.get_by_role("radio", name="Flicker").check()
    card.get_by_role("button", name="Correct colours").click()
    for name in NAMES:
        expect(card_of(page, name)).to_have_attribute("data-state", "done")
    shoot(page, "many-open")
    close.click()
    expect(card.get_by_role("slider", name="before and after")).to_be_visible()
    expect(card.get_by_role("button", name="A point of")).to_be_hidden()
    closed = card.bounding_box()
    assert closed and closed["width"] == pytest.approx(small["width"])


def test_a_dropped_folder_gives_its_photographs(page: Page, tmp_path: Path) -> None:
    folder = tmp_path / "holiday"
    (folder / "1931").mkdir(parents=True)
    photograph(folder, "a.jpg", 101)
    photograph(folder / "1931", "B.JPG", 102)
    (folder / "Thumbs.db").write_bytes(b"no photograph")
    session = page.context.new_cdp_session(page)
    box = page.locator(".dropzone").bounding_box()
    assert box
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send(
            "Input.dispatchDragEvent",
            {
                "type": kind,
                "x": box["x"] + 20,
                "y": box["y"] + 20,
                "data": {"items": [], "files": [str(folder)], "dragOperationsMask": 1},
            },
        )
    for name in ("a.jpg", "B.JPG"):
        await_colours(card_of(page, name))
    expect(page.get_by_role("article")).to_have_count(2)


def test_failed_photographs_are_tried_again_together(failing_page: Page, tmp_path: Path) -> None:
    page = failing_page
    page.route("**/classify", lambda route: route.abort())
    choose(page, photograph(tmp_path, "a.jpg"), photograph(tmp_path, "b.jpg"))
    expect(page.get_by_text("0 of 2 coloured, 2 not")).to_be_visible()
    expect(page.get_by_role("button", name="Download all")).to_be_disabled()
    page.unroute("**/classify")
    page.get_by_role("button", name="Try 2 again").click()
    for name in ("a.jpg", "b.jpg"):
        await_colours(card_of(page, name))
    expect(page.get_by_role("button", name="Try 2 again")).to_be_hidden()
    expect(page.get_by_role("button", name="Download all")).to_be_enabled()


def test_many_photographs_fit_a_phone_in_the_dark(
    browser: Browser, server: str, shoot: Shoot
) -> None:
    phone = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "color_scheme": "dark"}
    with visit(browser, server, **phone) as page:
        choose_named(page, *NAMES)
        for name in NAMES:
            await_colours(card_of(page, name))
        assert fits(page)
        card_of(page, NAMES[0]).get_by_role("button", name="Adjust").click()
        assert fits(page)
        shoot(page, "phone-many-dark")


def test_shares_are_whole_percentages_that_add_up_to_100(page: Page) -> None:
    cases = {
        (0.5, 0.3, 0.2): [50, 30, 20],
        (1 / 3, 1 / 3, 1 / 3): [34, 33, 33],
        (0.004, 0.004, 0.992): [1, 0, 99],
        (0.06, 0.02, 0.0): [75, 25, 0],  # the best labels' probabilities
        (0.0, 0.0): [0, 0],
        (0.7,): [100],
    }
    for scores, whole in cases.items():
        shares = "async (scores) => (await import('/page/shares.js')).shares(scores)"
        assert page.evaluate(shares, list(scores)) == whole
