"""People who take part in a survey: by hand over HTTP, and in a browser."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from playwright.sync_api import Browser, Locator, Page, Response, expect

from colorgan.evaluation.results import Report
from colorgan.survey import (
    Survey,
)
from serve.survey import COOKIE
from tests.browser import visit
from tests.survey.reports import MODELS


class Person:
    """A participant who asks by hand; knows a picture's model by comparing it with storage's."""

    def __init__(self, address: str, report: Report, survey: Survey, cookie: str = "") -> None:
        self.client = httpx.Client(base_url=f"{address}/survey/{survey.name}", timeout=600)
        self.report = report
        self.survey = survey
        if cookie:
            self.client.headers["Cookie"] = f"{COOKIE}={cookie}"

    @property
    def token(self) -> str:
        return self.client.cookies[COOKIE]

    def asked(self) -> dict[str, Any]:
        response = self.client.get("/questions")
        assert response.status_code == 200, response.text
        document: dict[str, Any] = response.json()
        return document

    def models(self, question: int, tokens: list[str]) -> list[str]:
        photo = self.survey.questions[question - 1].photo
        known = {self.report.picture(photo, model): model for model in MODELS}
        return [known[self.client.get(f"/pictures/{token}").content] for token in tokens]

    def answer(self, question: int, token: str | None, **more: Any) -> httpx.Response:
        return self.client.post("/answers", json={"question": question, "token": token, **more})


def results(address: str, survey: Survey) -> dict[str, Any]:
    response = httpx.get(f"{address}/survey/{survey.name}/results", timeout=600)
    assert response.status_code == 200, response.text
    document: dict[str, Any] = response.json()
    return document


class Visit:
    """A page of a survey, and all that went over its wire."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.responses: list[Response] = []
        page.on("response", lambda response: self.responses.append(response))

    @property
    def choices(self) -> Locator:
        return self.page.get_by_role("button", name="Picture")

    def await_question(self, words: str) -> None:
        expect(self.page.get_by_text(words, exact=True)).to_be_visible()
        expect(self.choices.first).to_be_enabled()

    def shown(self) -> list[str]:
        """The models of the pictures on the screen, by their tints."""
        tints = self.choices.locator("img").evaluate_all(
            """(images) => images.map((image) => {
                const canvas = new OffscreenCanvas(1, 1).getContext("2d");
                canvas.drawImage(image, 0, 0, 1, 1);
                return Array.from(canvas.getImageData(0, 0, 1, 1).data.slice(0, 3));
            })"""
        )
        return [MODELS[tint.index(max(tint))] for tint in tints]

    def traffic(self) -> bytes:
        """Urls, headers and bodies of all requests and answers, in lower case."""
        parts = [self.page.content().encode(), self.page.url.encode()]
        for response in self.responses:
            request = response.request
            parts += [request.url.encode(), (request.post_data or "").encode(), response.body()]
            parts += [json.dumps(part.all_headers()).encode() for part in (request, response)]
        return b"\n".join(parts).lower()


@contextmanager
def take_part(
    browser: Browser, server: str, survey: Survey, failures: bool = False, **context: object
) -> Iterator[Visit]:
    visits: list[Visit] = []

    def watch(page: Page) -> None:
        visits.append(Visit(page))

    with visit(browser, f"{server}/survey/{survey.name}", failures, watch, **context):
        yield visits[0]
