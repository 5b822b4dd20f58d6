"""The page's whole story in a browser, against a server of untrained models."""

from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser import Shoot, fits, visit
from tests.serve.photograph_page import (
    SIZE,
    await_colours,
    card_of,
    choose,
    colourfulness,
    drawn,
    photograph,
    pixels,
    send_files_by,
    slider_of,
)

pytestmark = pytest.mark.slow


def test_a_dropped_photograph_is_routed_coloured_recoloured_compared_and_downloaded(
    page: Page, shoot: Shoot
) -> None:
    shoot(page, "empty")
    send_files_by("drop", page, ".dropzone", **{"horse.jpg": drawn()})
    card = card_of(page, "horse.jpg")
    await_colours(card)
    sources = [card.locator(side).get_attribute("src") for side in (".before", ".after")]
    assert sources[0] != sources[1], "the photograph itself is shown before"
    shoot(page, "done")

    for name in ("auto", "animals", "people", "vehicles"):
        expect(card.get_by_role("radio", name=name)).to_be_enabled()
    shares = card.locator(".class:not(.auto) .share").all_inner_texts()
    assert len(shares) == 3 and sum(int(text.removesuffix("%")) for text in shares) == 100
    lengths = card.locator(".class:not(.auto) .bar").evaluate_all(
        """bars => bars.map((bar) =>
            Number.parseFloat(getComputedStyle(bar, "::after").width) / bar.clientWidth)"""
    )
    assert sum(lengths) == pytest.approx(1, abs=0.01), "the bars have their shares' lengths"
    expect(card.get_by_role("radio", name="auto")).to_be_checked()

    slider, stack = slider_of(card), card.locator(".stack")
    slider.press("Home")
    expect(slider).to_have_attribute("aria-valuetext", "100% in colour")
    clip = card.locator(".after").evaluate("image => getComputedStyle(image).clipPath")
    coloured = colourfulness(stack)
    slider.press("End")
    expect(slider).to_have_attribute("aria-valuetext", "0% in colour")
    assert card.locator(".after").evaluate("image => getComputedStyle(image).clipPath") != clip
    assert colourfulness(stack) < 1 < coloured
    slider.press("ArrowLeft")
    expect(slider).to_have_attribute("aria-valuetext", "1% in colour")

    model = card.locator(".model-name").first
    before, by_router = pixels(card.locator(".after")), model.inner_text()
    other = "people" if not by_router.startswith("people@") else "vehicles"
    card.get_by_role("radio", name=other).check()
    expect(model).to_contain_text(f"{other}@")
    expect(card.locator(".state")).to_have_text(f"Coloured as {other}, as you chose")
    assert pixels(card.locator(".after")) != before
    card.get_by_role("radio", name="auto").check()
    expect(model).to_have_text(by_router)
    assert pixels(card.locator(".after")) == before

    card.get_by_role("button", name="Compare models").click()
    compared = card.get_by_role("figure")
    expect(compared).to_have_count(3)
    expect(compared.nth(0)).to_contain_text("Assembled")
    expect(compared.nth(0)).to_contain_text(by_router)
    expect(compared.nth(1)).to_contain_text("By objects")
    expect(compared.nth(2)).to_contain_text("general@")
    assert pixels(compared.nth(0).locator("img")) != pixels(compared.nth(2).locator("img"))
    shoot(page, "compare")

    with page.expect_download() as download:
        card.get_by_role("link", name="Download horse-colored.png").click()
    assert download.value.suggested_filename == "horse-colored.png"
    with Image.open(download.value.path()) as picture:
        assert (picture.format, picture.size) == ("PNG", SIZE)


def test_the_slider_follows_the_pointer_to_both_edges(page: Page, tmp_path: Path) -> None:
    choose(page, photograph(tmp_path, "horse.jpg"))
    card = card_of(page, "horse.jpg")
    await_colours(card)
    box = card.locator(".stack").bounding_box()
    assert box
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, middle)
    page.mouse.down()
    for share in (0.25, 0.0, 1.0):
        page.mouse.move(box["x"] + box["width"] * share, middle)
        text = f"{round(100 * (1 - share))}% in colour"
        expect(slider_of(card)).to_have_attribute("aria-valuetext", text)
        handle = card.locator(".handle").bounding_box()
        assert handle
        at = handle["x"] + handle["width"] / 2
        assert at == pytest.approx(box["x"] + box["width"] * share, abs=2)
    page.mouse.up()


def test_a_sample_is_a_click_away(page: Page) -> None:
    page.get_by_role("button", name="Rocket").click()
    card = card_of(page, "rocket.jpg")
    await_colours(card)
    # Neither of the scores is that of a label that counts: the router falls back to people.
    expect(card.locator(".state")).to_have_text("The router is unsure; coloured as people")
    expect(card).to_contain_text("The router sees none of them clearly")


def test_a_pasted_photograph_is_coloured(page: Page) -> None:
    send_files_by("paste", page, "body", **{"image.jpg": drawn()})
    await_colours(card_of(page, "image.jpg"))
    send_files_by("paste", page, "body")
    expect(page.get_by_text("The clipboard has no photograph")).to_be_visible()


def test_photographs_are_sent_two_at_a_time_in_order(page: Page, tmp_path: Path) -> None:
    held: list[Route] = []
    released = False

    def hold(route: Route) -> None:
        if released:
            route.continue_()
        else:
            held.append(route)

    page.route("**/classify", hold)
    names = ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    choose(page, *(photograph(tmp_path, name, 100 + i) for i, name in enumerate(names)))
    states = [card_of(page, name).locator(".state") for name in names]
    for state in states[:2]:
        expect(state).to_have_text("Looking at what it shows")
    for state in states[2:]:
        expect(state).to_have_text("Waiting for its turn")
    page.wait_for_timeout(200)
    assert len(held) == 2
    released = True
    for route in held:
        route.continue_()
    for name in names:
        await_colours(card_of(page, name))
    expect(page.get_by_text("4 of 4 coloured")).to_be_visible()


def test_a_tiff_which_the_browser_cannot_show_has_a_before_and_an_after(
    page: Page, tmp_path: Path
) -> None:
    scan = tmp_path / "scan.tiff"
    scan.write_bytes(drawn("TIFF"))
    choose(page, scan)
    card = card_of(page, "scan.tiff")
    await_colours(card)
    slider_of(card).press("Home")
    coloured = colourfulness(card.locator(".stack"))
    slider_of(card).press("End")
    assert colourfulness(card.locator(".stack")) < 1 < coloured
    expect(card.get_by_role("link", name="Download scan-colored.png")).to_be_visible()


def test_a_removed_photograph_leaves_no_object_url_behind(page: Page, tmp_path: Path) -> None:
    page.evaluate(
        """() => {
            const [create, revoke] = [URL.createObjectURL, URL.revokeObjectURL];
            window.alive = new Set();
            URL.createObjectURL = (blob) => {
                const url = create.call(URL, blob);
                window.alive.add(url);
                return url;
            };
            URL.revokeObjectURL = (url) => {
                window.alive.delete(url);
                revoke.call(URL, url);
            };
        }"""
    )
    choose(page, photograph(tmp_path, "a.jpg"), photograph(tmp_path, "b.jpg"))
    for name in ("a.jpg", "b.jpg"):
        await_colours(card_of(page, name))
    assert page.evaluate("window.alive.size") == 4
    page.get_by_role("button", name="Remove a.jpg").click()
    assert page.evaluate("window.alive.size") == 2
    expect(page.get_by_role("heading", name="b.jpg")).to_be_focused()
    page.get_by_role("button", name="Remove b.jpg").click()
    assert page.evaluate("window.alive.size") == 0
    expect(page.get_by_role("heading", name="Your photographs")).to_be_hidden()


def test_a_narrow_screen_does_not_scroll_sideways(
    browser: Browser, server: str, tmp_path: Path, shoot: Shoot
) -> None:
    with visit(browser, server, viewport={"width": 360, "height": 740}, has_touch=True) as page:
        assert fits(page)
        name = "a_very_long_name_without_a_single_space_from_some_archive_0001.jpg"
        choose(page, photograph(tmp_path, name))
        await_colours(card_of(page, name))
        page.get_by_role("button", name="Compare models").click()
        expect(page.get_by_role("figure").nth(1)).to_contain_text("general@")
        assert fits(page)
        shoot(page, "narrow")


def test_the_dark_scheme_has_its_own_colours(browser: Browser, server: str, shoot: Shoot) -> None:
    grounds = {}
    for scheme in ("light", "dark"):
        with visit(browser, server, color_scheme=scheme) as page:
            page.get_by_role("button", name="Portrait of a cat").click()
            await_colours(card_of(page, "chelsea.jpg"))
            grounds[scheme] = page.locator("body").evaluate(
                "body => getComputedStyle(body).backgroundColor.match(/\\d+/g).map(Number)"
            )
            shoot(page, f"{scheme}-sample")
    assert max(grounds["dark"]) < 64 < 192 < min(grounds["light"])


def test_the_keyboard_alone_reaches_everything_and_shows_where_it_is(page: Page) -> None:
    page.get_by_role("button", name="Portrait of a cat").press("Enter")
    await_colours(card_of(page, "chelsea.jpg"))
    page.get_by_role("button", name="Cup of coffee").focus()
    picture = ("slider", "radio")  # the latter chooses the view
    panel = ("remove", "download", "radio", "range", "restore")
    tools = ("variants-toggle", "hints-toggle", "compare")
    for control in (*picture, *panel, *tools):
        page.keyboard.press("Tab")
        reached, outlined = page.evaluate(
            """() => {
                const active = document.activeElement;
                const shown = [active, active.closest("label"), active.closest(".stack")];
                return [
                    `${active.className} ${active.type} ${active.id}`,
                    shown.some((each) => each && getComputedStyle(each).outlineStyle === "solid"),
                ];
            }"""
        )
        assert control in reached
        assert outlined, control


def test_every_control_has_a_name_for_screen_readers(page: Page, tmp_path: Path) -> None:
    choose(page, photograph(tmp_path, "a.jpg"), photograph(tmp_path, "b.jpg"))
    card = card_of(page, "a.jpg")
    await_colours(card)
    card.get_by_role("button", name="Adjust").click()
    card.get_by_role("radio", name="Flicker").check()
    card.get_by_role("button", name="Correct colours").click()
    card.get_by_role("button", name="A point of a.jpg").click()
    expect(card.locator(".hints-list li")).to_have_count(1)
    session = page.context.new_cdp_session(page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    controls = {"button", "slider", "radio", "link", "textbox", "ColorWell", "group"}
    named = [
        (node["role"]["value"], node["name"]["value"])
        for node in nodes
        if not node["ignored"] and node["role"]["value"] in controls
    ]
    assert len(named) > 30
    assert [role for role, name in named if not name] == []
