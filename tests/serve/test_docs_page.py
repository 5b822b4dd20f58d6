"""The API's documentation in a browser, which may ask nobody but the service."""

import httpx
from playwright.sync_api import Browser, expect

from tests.browser import Shoot, visit


def test_the_documentation_is_whole_without_any_other_server(
    browser: Browser, server: str, shoot: Shoot
) -> None:
    with visit(browser, f"{server}/docs") as page:  # which checks whom the page asks
        expect(page.get_by_role("heading", name="colorgan")).to_be_visible()
        operation = page.locator("#operations-default-colorize_colorize_post")
        operation.locator(".opblock-summary-control").click()
        expect(operation.get_by_role("button", name="Try it out")).to_be_visible()
        shoot(page, "docs")


def test_the_description_of_the_api_is_not_sent_to_swaggers_validator(server: str) -> None:
    # Swagger shows no validator's badge on localhost, so a browser here cannot tell.
    assert '"validatorUrl": null' in httpx.get(f"{server}/docs").text
    assert httpx.get(f"{server}/redoc").status_code == 404
