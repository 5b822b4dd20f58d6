"""The page's whole story in a browser, against a server of untrained models."""

import base64
import io
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, Route, expect

from colorgan.data.scenes import draw_scene
from colorgan.storage import Storage
from tests.browser import Shoot, fits, visit
from tests.serve.conftest import local_server

pytestmark = pytest.mark.slow

SIZE = (160, 120)
API = "**/{classify,colorize,models}*"


@pytest.fixture
def page(browser: Browser, server: str) -> Iterator[Page]:
    with visit(browser, server) as page:
        yield page


@pytest.fixture
def failing_page(browser: Browser, server: str) -> Iterator[Page]:
    with visit(browser, server, failures=True) as page:
        yield page


def drawn(format: str = "JPEG", seed: int = 102) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(draw_scene("animals", seed, SIZE[1], SIZE[0])).save(buffer, format)
    return buffer.getvalue()


def photograph(folder: Path, name: str, seed: int = 102) -> Path:
    path = folder / name
    path.write_bytes(drawn("JPEG", seed))
    return path


def bomb(path: Path) -> Path:
    """A true PNG of 60 megapixels in a few kilobytes: one bit a pixel, all of them black."""
    width, height = 10_000, 6_000

    def chunk(name: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + checksum

    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(bytes(height * (1 + width // 8))))
        + chunk(b"IEND", b"")
    )
    return path


def send_files_by(event: str, page: Page, target: str, **files: bytes) -> None:
    """Let an event happen that carries files, as the browser makes it for drops and pastes."""
    page.evaluate(
        """([event, target, files]) => {
            const data = new DataTransfer();
            for (const [name, text] of Object.entries(files)) {
                const bytes = Uint8Array.from(atob(text), (each) => each.charCodeAt(0));
                data.items.add(new File([bytes], name, { type: "image/jpeg" }));
            }
            const options = { bubbles: true, cancelable: true };
            const carrier = event === "paste"
                ? new ClipboardEvent(event, { ...options, clipboardData: data })
                : new DragEvent(event, { ...options, dataTransfer: data });
            document.querySelector(target).dispatchEvent(carrier);
        }""",
        [event, target, {name: base64.b64encode(data).decode() for name, data in files.items()}],
    )


def choose(page: Page, *paths: Path) -> None:
    page.get_by_label("Choose photographs").set_input_files(paths)


def card_of(page: Page, name: str) -> Locator:
    return page.get_by_role("article", name=name, exact=True)


def await_colours(card: Locator) -> None:
    expect(card.locator(".state")).to_contain_text("Coloured")
    expect(card.get_by_role("slider")).to_be_visible()


def pixels(image: Locator) -> list[int]:
    """A small version of what an <img> shows, as RGBA."""
    return image.evaluate(
        """async (image) => {
            await image.decode();
            const canvas = new OffscreenCanvas(32, 24).getContext("2d");
            canvas.drawImage(image, 0, 0, 32, 24);
            return Array.from(canvas.getImageData(0, 0, 32, 24).data);
        }"""
    )


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
    browser: Browser, models: Storage
) -> None:
    key = "schlüssel-鍵"
    with (
        local_server(models, COLORGAN_API_KEY=key) as address,
        visit(browser, address, failures=True) as page,
    ):
        field = page.get_by_label("This server wants an API key.")
        field.fill(key)
        field.press("Enter")
        expect(page.get_by_text("Models served here")).to_be_visible()


def chroma(image: Locator) -> float:
    """The mean distance of the channels of what an <img> shows."""
    rgb = np.reshape(pixels(image), (-1, 4))[:, :3]
    return float(np.ptp(rgb, axis=1).mean())


def colourfulness(element: Locator) -> float:
    """The mean distance of an element's channels on the screen, clear of its tags and edges."""
    screen = np.array(Image.open(io.BytesIO(element.screenshot())).convert("RGB"), int)
    height, width, _ = screen.shape
    middle = screen[height // 4 : height // 3, width // 8 : -width // 8]
    return float((middle.max(axis=2) - middle.min(axis=2)).mean())


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
    assert len(shares) == 3 and all(text.endswith("%") for text in shares)
    widths = card.locator(".class:not(.auto) .bar").evaluate_all(
        "bars => bars.map((bar) => getComputedStyle(bar, '::after').width)"
    )
    assert len(set(widths)) > 1, "the bars have their shares' lengths"
    expect(card.get_by_role("radio", name="auto")).to_be_checked()

    slider, stack = card.get_by_role("slider"), card.locator(".stack")
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
    expect(compared).to_have_count(2)
    expect(compared.nth(0)).to_contain_text("Assembled")
    expect(compared.nth(0)).to_contain_text(by_router)
    expect(compared.nth(1)).to_contain_text("general@")
    assert pixels(compared.nth(0).locator("img")) != pixels(compared.nth(1).locator("img"))
    shoot(page, "compare")

    with page.expect_download() as download:
        card.get_by_role("link", name="Download horse-colored.png").click()
    assert download.value.suggested_filename == "horse-colored.png"
    with Image.open(download.value.path()) as picture:
        assert (picture.format, picture.size) == ("PNG", SIZE)


def test_the_colours_can_be_gentler_and_more_vivid(page: Page, shoot: Shoot) -> None:
    send_files_by("drop", page, ".dropzone", **{"horse.jpg": drawn()})
    card = card_of(page, "horse.jpg")
    await_colours(card)
    strength = {}
    for name in ("gentler", "as painted", "more vivid"):
        before = card.locator(".after").get_attribute("src")
        card.get_by_label("Colours").select_option(name)
        expect(card.locator(".after")).not_to_have_attribute("src", str(before))
        expect(card).to_have_attribute("aria-busy", "false")
        strength[name] = chroma(card.locator(".after"))
    assert strength["gentler"] < strength["as painted"] < strength["more vivid"]
    shoot(page, "vivid")


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
        expect(card.get_by_role("slider")).to_have_attribute("aria-valuetext", text)
        handle = card.locator(".handle").bounding_box()
        assert handle
        at = handle["x"] + handle["width"] / 2
        assert at == pytest.approx(box["x"] + box["width"] * share, abs=2)
    page.mouse.up()


def test_a_sample_is_a_click_away(page: Page) -> None:
    page.get_by_role("button", name="Rocket").click()
    await_colours(card_of(page, "rocket.jpg"))


def test_a_pasted_photograph_is_coloured(page: Page) -> None:
    send_files_by("paste", page, "body", **{"image.jpg": drawn()})
    await_colours(card_of(page, "image.jpg"))
    send_files_by("paste", page, "body")
    expect(page.get_by_text("The clipboard holds no photograph")).to_be_visible()


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


def test_a_tiff_which_the_browser_cannot_show_has_a_before_and_an_after(
    page: Page, tmp_path: Path
) -> None:
    scan = tmp_path / "scan.tiff"
    scan.write_bytes(drawn("TIFF"))
    choose(page, scan)
    card = card_of(page, "scan.tiff")
    await_colours(card)
    card.get_by_role("slider").press("Home")
    coloured = colourfulness(card.locator(".stack"))
    card.get_by_role("slider").press("End")
    assert colourfulness(card.locator(".stack")) < 1 < coloured
    expect(card.get_by_role("link", name="Download scan-colored.png")).to_be_visible()


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
        field = page.get_by_label("This server wants an API key.")
        field.fill("guess")
        field.press("Enter")
        field = page.get_by_label("The server did not take that key.")
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


def test_a_name_is_text_and_never_markup(page: Page) -> None:
    name = "<img src=x onerror=alert(1)>.jpg"
    send_files_by("drop", page, "body", **{name: drawn()})
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    await_colours(page.get_by_role("article"))


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
    for control in ("slider", "remove", "radio", "select", "download", "compare"):
        page.keyboard.press("Tab")
        reached, outlined = page.evaluate(
            """() => {
                const active = document.activeElement;
                const shown = [active, active.closest("label"), active.closest(".stack")];
                return [
                    active.className || active.type,
                    shown.some((each) => each && getComputedStyle(each).outlineStyle === "solid"),
                ];
            }"""
        )
        assert control in reached
        assert outlined, control
