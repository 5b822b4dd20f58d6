"""A survey over HTTP and in browsers, against the application in one process."""

import asyncio
import base64
import json
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import httpx
import psutil
import pytest
from playwright.sync_api import Browser, Locator, Page, Response, expect

from colorgan.evaluation.results import Report
from colorgan.storage import Storage
from colorgan.survey import (
    Survey,
    close_survey,
    create_survey,
    read_answers,
)
from serve.survey import COOKIE, MAX_BODY
from tests.browser import Shoot, fits, visit
from tests.serve.conftest import local_server
from tests.serve.test_api import problem
from tests.test_survey import CLASSES, MODELS, write_report

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def report(models: Storage) -> Report:
    """In the storage of the session's server."""
    return write_report(models, "autumn-report", size=(320, 240))


@pytest.fixture(scope="module")
def client(server: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server, timeout=60) as client:
        yield client


class Person:
    """A participant who asks by hand; knows a picture's model by comparing it with storage's."""

    def __init__(self, address: str, report: Report, survey: Survey, cookie: str = "") -> None:
        self.client = httpx.Client(base_url=f"{address}/survey/{survey.name}", timeout=60)
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

    def answer(self, question: int, token: str) -> httpx.Response:
        return self.client.post("/answers", json={"question": question, "token": token})


def results(address: str, survey: Survey) -> dict[str, Any]:
    response = httpx.get(f"{address}/survey/{survey.name}/results", timeout=60)
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


def test_two_people_answer_in_browsers_and_the_tables_are_right_to_the_vote(
    browser: Browser, server: str, report: Report, shoot: Shoot
) -> None:
    survey = create_survey(report, 18, seed=3)
    cast: Counter[tuple[int, str]] = Counter()
    with take_part(browser, server, survey) as ana, take_part(browser, server, survey) as ben:
        for number in range(1, 19):
            for person in (ana, ben):
                person.await_question(f"{number} of 18")
                shown = person.shown()
                assert sorted(shown) == sorted(MODELS)
                wanted = "assembled" if person is ben else MODELS[number % 3]
                if number == 3:
                    shoot(person.page, "survey_question")
                person.choices.nth(shown.index(wanted)).click()
                cast[number, wanted] += 1
        for person in (ana, ben):
            expect(person.page.get_by_role("heading", name="Thank you")).to_be_visible()
            expect(person.page.get_by_text("Your answers are stored")).to_be_visible()
            traffic = person.traffic()
            assert traffic.count(b"/pictures/") >= 18 * 3
            secrets = (*MODELS, *CLASSES, report.evaluation.name, survey.secret)
            photos = (question.photo for question in survey.questions)
            for word in (*secrets, *photos):
                assert word.encode() not in traffic, word
        shoot(ana.page, "survey_thanks")

    counted = results(server, survey)
    assert (counted["participants"], counted["votes"]) == (2, 36)
    for row in counted["questions"]:
        assert row["votes"] == cast[row["question"], row["model"]], row
    assert len(counted["questions"]) == 54
    # Ben always takes assembled; Ana takes each in turn, so that 12 questions are tied.
    by_model = {row["model"]: row for row in counted["models"]}
    won_lost = ("votes", "won", "won_tied", "lost")
    assert [by_model["assembled"][name] for name in won_lost] == [24, 18, 12, 0]
    for model in ("general", "hypercolumn"):
        assert [by_model[model][name] for name in won_lost] == [6, 6, 6, 12]
    for row in counted["classes"]:
        places = [
            i for i, each in enumerate(survey.questions, 1) if each.photo_class == row["class"]
        ]
        assert row["questions"] == len(places) == 6
        assert row["votes"] == sum(cast[place, row["model"]] for place in places)


def test_the_keyboard_is_enough(browser: Browser, server: str, report: Report) -> None:
    survey = create_survey(report, 4)
    chosen = []
    with take_part(browser, server, survey) as person:
        keyboard = person.page.keyboard
        for number, keys in enumerate(
            (["2"], ["ArrowRight", "Enter"], ["ArrowLeft", "Space"], ["ArrowDown"] * 5 + ["Enter"]),
            1,
        ):
            person.await_question(f"{number} of 4")
            expect(person.page.get_by_role("heading")).to_be_focused()
            chosen.append(person.shown()[(1, 0, 2, 1)[number - 1]])
            for key in keys:
                keyboard.press(key)
        expect(person.page.get_by_role("heading", name="Thank you")).to_be_focused()
    answers = read_answers(report.storage, survey)
    assert [each.model for each in sorted(answers, key=lambda each: each.question)] == chosen


def test_an_answer_that_the_network_swallows_is_sent_again_and_a_reload_goes_on(
    browser: Browser, server: str, report: Report, shoot: Shoot
) -> None:
    survey = create_survey(report, 3)
    with take_part(browser, server, survey, failures=True) as person:
        page = person.page
        person.await_question("1 of 3")
        first = person.shown()
        page.route("**/answers", lambda route: route.abort())
        person.choices.nth(1).click()
        expect(page.get_by_role("alert")).to_contain_text("be reached. Nothing is lost")
        expect(page.get_by_role("button", name="Try again")).to_be_focused()
        shoot(page, "survey_trouble")
        assert read_answers(report.storage, survey) == []
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_be_visible()
        page.unroute("**/answers")
        page.get_by_role("button", name="Try again").click()
        person.await_question("2 of 3")
        expect(page.get_by_role("alert")).to_be_hidden()
        assert [each.model for each in read_answers(report.storage, survey)] == [first[1]]

        page.reload()
        person.await_question("2 of 3")
        pictures = [response for response in person.responses if "/pictures/" in response.url]
        page.wait_for_load_state("networkidle")
        assert len(pictures) >= 3 + 3 + 3, "what comes next is fetched beforehand"
        page.context.clear_cookies()
        person.choices.nth(0).click()
        expect(page.get_by_role("alert")).to_contain_text("allow cookies")
        page.get_by_role("button", name="Try again").click()
        person.await_question("1 of 3")

        close_survey(report.storage, survey.name)
        person.choices.nth(0).click()
        expect(page.get_by_role("heading", name="This survey is closed")).to_be_visible()
        page.reload()
        expect(page.get_by_role("heading", name="This survey is closed")).to_be_visible()
    assert len(read_answers(report.storage, survey)) == 1


def test_a_picture_that_does_not_come_is_asked_for_again(
    browser: Browser, server: str, report: Report
) -> None:
    survey = create_survey(report, 2)
    with take_part(browser, server, survey, failures=True) as person:
        person.await_question("1 of 2")
        person.page.route("**/pictures/*", lambda route: route.abort())
        person.page.reload()
        expect(person.page.get_by_role("alert")).to_be_visible()
        person.page.unroute("**/pictures/*")
        person.page.get_by_role("button", name="Try again").click()
        person.await_question("1 of 2")


@pytest.mark.parametrize(
    ("name", "context"),
    [
        (
            "survey_phone",
            {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True},
        ),
        ("survey_phone_dark", {"viewport": {"width": 360, "height": 640}, "color_scheme": "dark"}),
        ("survey_wide_dark", {"viewport": {"width": 1600, "height": 900}, "color_scheme": "dark"}),
    ],
)
def test_all_pictures_fit_the_screen(
    browser: Browser,
    server: str,
    report: Report,
    shoot: Shoot,
    name: str,
    context: dict[str, object],
) -> None:
    with take_part(browser, server, create_survey(report, 2), **context) as person:
        person.await_question("1 of 2")
        shoot(person.page, name)
        assert fits(person.page)
        boxes = [choice.bounding_box() for choice in person.choices.all()]
        stacked = person.page.evaluate("innerWidth") < 768
        for before, after in pairwise(boxes):
            assert before and after
            apart = "y" if stacked else "x"
            size = "height" if stacked else "width"
            assert after[apart] >= before[apart] + before[size]
            for side in ("width", "height"):
                assert after[side] == pytest.approx(before[side], abs=0.1)
        if context.get("has_touch"):
            person.choices.nth(2).tap()
            person.await_question("2 of 2")


def test_what_a_participant_is_given_says_nothing_of_the_model(server: str, report: Report) -> None:
    survey = create_survey(report, 3)
    person = Person(server, report, survey)
    displays = [person.asked()["questions"][0]["pictures"] for _ in range(12)]
    orders = [person.models(1, tokens) for tokens in displays]
    assert all(sorted(order) == sorted(MODELS) for order in orders)
    assert len({tuple(order) for order in orders}) > 1, "the order differs between displays"
    tokens = [token for display in displays for token in display]
    assert len(set(tokens)) == 36, "no token comes twice"
    raw = [base64.urlsafe_b64decode(token) for token in tokens]
    assert len({each[2:16] for each in raw}) == len({each[16:] for each in raw}) == 36
    pictures = [person.client.get(f"/pictures/{token}") for token in displays[0]]
    assert all(each.headers["cache-control"] == "private, no-store" for each in pictures)
    assert all(each.headers["content-type"] == "image/webp" for each in pictures)
    headers = [{**each.headers, "content-length": "", "date": ""} for each in pictures]
    assert headers[0] == headers[1] == headers[2]


def test_the_participant_is_a_cookie_of_one_survey(server: str, report: Report) -> None:
    survey = create_survey(report, 3)
    address = f"{server}/survey/{survey.name}"
    assert "set-cookie" not in httpx.get(address).headers
    cookie = httpx.get(f"{address}/questions").headers["set-cookie"]
    for part in ("HttpOnly", "SameSite=strict", f"Path=/survey/{survey.name}", f"{COOKIE}="):
        assert part in cookie
    kept = httpx.get(f"{address}/questions", headers={"Cookie": f"{COOKIE}={'a' * 32}"})
    assert f"{COOKIE}={'a' * 32};" in kept.headers["set-cookie"]
    for odd in ("a" * 31, "A" * 32, "..%2F..%2Fx", '"' + "a" * 32 + "x"):
        given = httpx.get(f"{address}/questions", headers={"Cookie": f"{COOKIE}={odd}"})
        assert given.status_code == 200 and odd not in given.headers["set-cookie"]


def test_a_second_answer_of_the_same_participant_counts_once(server: str, report: Report) -> None:
    survey = create_survey(report, 2)
    person = Person(server, report, survey)
    tokens = person.asked()["questions"][0]["pictures"]
    first, other, _ = person.models(1, tokens)
    assert person.answer(1, tokens[0]).json() == {"question": 1, "counted": True}
    assert person.answer(1, tokens[1]).json() == {"question": 1, "counted": False}
    votes = {row["model"]: row["votes"] for row in results(server, survey)["models"]}
    assert votes[first] == 1 and votes[other] == 0 and sum(votes.values()) == 1
    asked = person.asked()
    assert (asked["answered"], asked["total"]) == (1, 2)
    assert [each["question"] for each in asked["questions"]] == [2]


def test_of_answers_at_the_same_time_one_is_told_that_it_counts(
    server: str, report: Report
) -> None:
    survey = create_survey(report, 12)
    people = [Person(server, report, survey)]
    questions = people[0].asked()["questions"]
    people += [Person(server, report, survey, people[0].token) for _ in range(2)]
    with ThreadPoolExecutor(3) as threads:
        for question in questions:
            tokens = question["pictures"]
            tasks = [
                threads.submit(person.answer, question["question"], token)
                for person, token in zip(people, tokens, strict=True)
            ]
            counted = [task.result(60).json()["counted"] for task in tasks]
            assert sum(counted) == 1
            first = tokens[counted.index(True)]
            again = people[0].answer(question["question"], first)
            assert again.json()["counted"], "it may be sent again"
            votes = results(server, survey)["questions"]
            (model,) = people[0].models(question["question"], [first])
            assert [
                row["model"]
                for row in votes
                if row["question"] == question["question"] and row["votes"]
            ] == [model]


def test_what_is_no_answer_is_refused_in_words(server: str, report: Report) -> None:
    survey = create_survey(report, 2)
    person, other = Person(server, report, survey), Person(server, report, survey)
    own, foreign = person.asked()["questions"], other.asked()["questions"]
    token = own[0]["pictures"][0]
    elsewhere = Person(server, report, create_survey(report, 2), person.token)
    altered = ("B" if token[0] == "A" else "A") + token[1:]
    cut = token[:-1]
    bad = (foreign[0]["pictures"][0], altered, cut, token + "A", "", "é" * 64, "=" * 64, "-" * 64)
    for each in bad:
        problem(person.answer(1, each), 422, "allow cookies")
        if each:
            problem(person.client.get(f"/pictures/{each}"), 422, "allow cookies")
    problem(person.answer(2, token), 422, "not of question 2")
    problem(elsewhere.answer(1, token), 422, "allow cookies")
    nobody = httpx.Client(base_url=person.client.base_url)
    problem(nobody.get(f"/pictures/{token}"), 422, "allow cookies")
    for body in (b"", b"[]", b"{", b'{"question": 1}', b"\xff", b"[" * 4000, b'{"question": {}}'):
        problem(person.client.post("/answers", content=body), 422, "question")
    for question in ("1", True, 1.0, None):
        document = {"question": question, "token": token}
        problem(person.client.post("/answers", json=document), 422, "is a number")
    problem(person.client.post("/answers", content=b" " * (MAX_BODY + 1)), 413, "4,096 bytes")
    assert read_answers(report.storage, survey) == []
    assert person.answer(1, token).json()["counted"]


def test_unknown_and_closed_surveys_are_said_to_be_so(
    client: httpx.Client, server: str, report: Report
) -> None:
    for name in ("none", "..", "%2e%2e", "a%2Fb", "-", "x" * 200):
        for path in ("", "/questions", "/pictures/x", "/results"):
            response = client.get(f"/survey/{name}{path}", follow_redirects=False)
            if response.status_code != 200 or "colorgan" not in response.text:  # `..` is the page
                problem(response, 404, "")
        problem(client.post(f"/survey/{name}/answers", json={"question": 1, "token": "x"}), 404, "")
    problem(client.get("/survey/none"), 404, "there is no survey at this address")
    survey = create_survey(report, 2)
    person = Person(server, report, survey)
    token = person.asked()["questions"][0]["pictures"][0]
    close_survey(report.storage, survey.name)
    problem(person.answer(1, token), 409, "closed and takes no more answers")
    asked = person.asked()
    assert asked["closed"] and asked["questions"] == []
    assert results(server, survey)["closed"]
    page = client.get(f"/survey/{survey.name}")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"


def test_two_hundred_people_answering_at_once_lose_no_answer(server: str, report: Report) -> None:
    survey = create_survey(report, 18)
    base = f"{server}/survey/{survey.name}"
    pictures = {
        report.picture(question.photo, model): model
        for question in survey.questions
        for model in MODELS
    }
    chosen: Counter[tuple[int, str]] = Counter()

    async def answer(session: aiohttp.ClientSession, place: int) -> None:
        async with session.get(f"{base}/questions") as response:
            cookies = {COOKIE: response.cookies[COOKIE].value}
            questions = (await response.json())["questions"]
        for question in (questions[place % 18], questions[(place + 7) % 18]):
            token = question["pictures"][0]
            async with session.get(f"{base}/pictures/{token}", cookies=cookies) as response:
                model = pictures[await response.read()]
            body = {"question": question["question"], "token": token}
            async with session.post(f"{base}/answers", json=body, cookies=cookies) as response:
                assert response.status == 200 and (await response.json())["counted"]
            chosen[question["question"], model] += 1

    async def everybody() -> None:
        async with aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(), connector=aiohttp.TCPConnector(limit=200)
        ) as session:
            await asyncio.gather(*(answer(session, place) for place in range(200)))

    with ThreadPoolExecutor(1) as thread:  # the browsers' own event loop is in this one
        thread.submit(asyncio.run, everybody()).result(120)
    assert sum(chosen.values()) == 400
    counted = results(server, survey)
    assert (counted["participants"], counted["votes"]) == (200, 400)
    for row in counted["questions"]:
        assert row["votes"] == chosen[row["question"], row["model"]]


def process_at(address: str) -> psutil.Process:
    """The server of an address, which this test has started."""
    port = str(urlsplit(address).port)
    (found,) = (p for p in psutil.Process().children() if p.cmdline()[-2:] == ["--port", port])
    return found


def test_a_server_that_is_killed_midway_loses_no_answer_and_its_successor_goes_on(
    models: Storage, report: Report
) -> None:
    survey = create_survey(report, 18)
    acknowledged: dict[tuple[str, int], str] = {}
    people: list[tuple[Person, dict[int, str]]] = []
    enough = threading.Event()

    def answer_all(person: Person, tokens: dict[int, str]) -> None:
        for question, token in tokens.items():
            try:
                response = person.answer(question, token)
            except httpx.HTTPError:
                return
            assert response.status_code == 200
            acknowledged[person.token, question] = token
            if len(acknowledged) >= 20:
                enough.set()

    with local_server(models) as address:
        for _ in range(4):
            person = Person(address, report, survey)
            questions = person.asked()["questions"]
            people.append((person, {each["question"]: each["pictures"][0] for each in questions}))
        with ThreadPoolExecutor(4) as threads:
            done = [threads.submit(answer_all, *each) for each in people]
            assert enough.wait(60)
            process_at(address).kill()
            for each in done:
                each.result(60)
    assert 20 <= len(acknowledged) < 72, "it was killed midway"
    stored = {(each.participant, each.question) for each in read_answers(models, survey)}
    assert stored >= set(acknowledged)

    with local_server(models, COLORGAN_API_KEY="sesame") as address:
        for before, tokens in people:
            person = Person(address, report, survey, before.token)
            remaining = person.asked()["questions"]
            theirs = {question for who, question in stored if who == before.token}
            assert {each["question"] for each in remaining} == set(tokens) - theirs
            for each in remaining:
                # What the first server gave, its successor understands.
                assert person.answer(each["question"], tokens[each["question"]]).status_code == 200
        wanted = f"{address}/survey/{survey.name}/results"
        problem(httpx.get(wanted), 401, "API key")
        counted = httpx.get(wanted, headers={"X-API-Key": "sesame"}, timeout=60).json()
        assert httpx.get(f"{address}/survey/{survey.name}").status_code == 200
    assert (counted["participants"], counted["votes"]) == (4, 72)
    assert all(
        sum(row["votes"] for row in counted["questions"] if row["question"] == number) == 4
        for number in range(1, 19)
    )
