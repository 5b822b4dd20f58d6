"""A survey over HTTP, against the application in this process."""

import asyncio
import base64
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import aiohttp
import httpx
import psutil
import pytest

from colorgan.evaluation.results import Report
from colorgan.storage import Storage
from colorgan.survey import (
    close_survey,
    create_survey,
    read_answers,
)
from serve.survey import COOKIE, MAX_BODY
from tests.serve.conftest import local_server
from tests.serve.exchange import problem
from tests.serve.participants import Person, results
from tests.survey.reports import MODELS
from tests.warm.client import WarmStart


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
            counted = [task.result(600).json()["counted"] for task in tasks]
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
        thread.submit(asyncio.run, everybody()).result(600)
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


@pytest.mark.slow
def test_a_server_that_is_killed_midway_loses_no_answer_and_its_successor_goes_on(
    warm: WarmStart, models: Storage, report: Report
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

    with local_server(models, **warm.variables) as address:
        for _ in range(4):
            person = Person(address, report, survey)
            questions = person.asked()["questions"]
            people.append((person, {each["question"]: each["pictures"][0] for each in questions}))
        with ThreadPoolExecutor(4) as threads:
            done = [threads.submit(answer_all, *each) for each in people]
            assert enough.wait(600)
            process_at(address).kill()
            for each in done:
                each.result(600)
    assert 20 <= len(acknowledged) < 72, "it was killed midway"
    stored = {(each.participant, each.question) for each in read_answers(models, survey)}
    assert stored >= set(acknowledged)

    with local_server(models, **warm.variables, COLORGAN_API_KEY="sesame") as address:
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
        counted = httpx.get(wanted, headers={"X-API-Key": "sesame"}, timeout=600).json()
        assert httpx.get(f"{address}/survey/{survey.name}").status_code == 200
    assert (counted["participants"], counted["votes"]) == (4, 72)
    assert all(
        sum(row["votes"] for row in counted["questions"] if row["question"] == number) == 4
        for number in range(1, 19)
    )


def test_a_participant_may_be_undecided_and_change_an_answer(server: str, report: Report) -> None:
    survey = create_survey(report, 2)
    person = Person(server, report, survey)
    problem(person.answer(1, None), 422, "allow cookies")
    first, second = (each["pictures"] for each in person.asked()["questions"])
    counted = {"question": 1, "counted": True}
    assert person.answer(1, None).json() == person.answer(1, None).json() == counted
    assert not person.answer(1, first[0]).json()["counted"], "without `again` the first counts"
    assert results(server, survey)["undecided"] == 1
    assert person.answer(1, first[0], again=True).json() == counted
    assert person.answer(2, second[0]).json()["counted"]
    assert person.answer(2, None, again=True).json()["counted"]
    (model,) = person.models(1, first[:1])
    votes = {row["model"]: row["votes"] for row in results(server, survey)["models"]}
    assert votes == {**dict.fromkeys(MODELS, 0), model: 1}
    assert results(server, survey)["undecided"] == 1
    problem(person.answer(3, None), 422, "from 1 to 2")
    problem(person.answer(1, first[0], again="yes"), 422, "`again` is true or false")
