"""Pages in a real browser: Debian's chromium, driven by Playwright."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

Shoot = Callable[[Page, str], None]

# A time limit that a loaded machine keeps, too; what is asserted comes within a second.
PATIENCE_MS = 300_000


# A whole session's would keep its event loop running beside those of other tests.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("pages are tested in Debian's chromium, which is not installed")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def shoot(tmp_path_factory: pytest.TempPathFactory) -> Shoot:
    """Takes a screenshot, also into the folder that $COLORGAN_SCREENSHOTS names."""
    folder = Path(os.environ.get("COLORGAN_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))

    def take(page: Page, name: str) -> None:
        page.screenshot(path=folder / f"{name}.png", full_page=True)

    return take


@contextmanager
def visit(
    browser: Browser,
    url: str,
    failures: bool = False,
    watch: Callable[[Page], object] = lambda page: None,
    **context: object,
) -> Iterator[Page]:
    """A page, which must say nothing on the console and ask nobody but its own origin.

    Args:
        browser: the browser.
        url: the page's.
        failures: requests may fail, which the browser says on the console itself.
        watch: called with the page before it is loaded.
        context: of the browser: see Playwright's new_context.
    """
    options = {"viewport": {"width": 1280, "height": 800}, "reduced_motion": "reduce", **context}
    visited = browser.new_context(**options)  # type: ignore[arg-type]
    visited.set_default_timeout(PATIENCE_MS)
    page = visited.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    watch(page)
    try:
        page.goto(url)
        yield page
        if failures:
            said = [text for text in said if not text.startswith("Failed to load resource")]
        assert not said
        urls = [url.removeprefix("blob:") for url in asked if not url.startswith("data:")]
        assert {_origin(each) for each in urls} == {_origin(url)}
    finally:
        visited.close()


def _origin(url: str) -> str:
    parts = urlsplit(url)
    # A file has no origin but itself: what lies beside it must not be loaded either.
    return url.split("#")[0] if parts.scheme == "file" else f"{parts.scheme}://{parts.netloc}"


def fits(page: Page) -> bool:
    """Whether the page needs no sideways scrolling."""
    fitting: bool = page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    return fitting
