"""The survey over HTTP: people choose among unlabelled colourings of photographs.

A participant is identified only by a random token in a cookie. The token of a picture reveals
nothing about its model to anybody but the server. It consists of the question's number, a nonce and
a keyed hash; the server finds the model by trying all models of the question. This only needs the
survey's secret in storage, so any replica can read the tokens of any other, even after a restart.
"""

import asyncio
import hmac
import json
import logging
import random
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Request
from fastapi.responses import FileResponse, JSONResponse, Response

from colorgan.errors import ColorganError, ConfigError, Corrupt, NotInStorage
from colorgan.evaluation.results import Report, open_report
from colorgan.storage import Storage
from colorgan.survey import (
    CANNOT_TELL,
    Survey,
    answered_questions,
    is_participant,
    new_participant,
    open_survey,
    read_answers,
    record_answer,
    tally,
)
from colorgan.web.pages import PAGE_HEADERS
from colorgan.web.problems import PROBLEMS, Problem
from serve.access import GUARDED

COOKIE = "colorgan-participant"
MAX_BODY = 4096

_COOKIE_SECONDS = 180 * 24 * 3600
_PAGE = Path(__file__).parent / "page" / "survey.html"
_QUESTION_BYTES = 2
_NONCE_BYTES = 14
_HASH_BYTES = 32
_TOKEN_LENGTH = (_QUESTION_BYTES + _NONCE_BYTES + _HASH_BYTES) * 4 // 3  # 64, without padding

Result = TypeVar("Result")
Problems = dict[int | str, dict[str, Any]]


def _documented(descriptions: Mapping[int, str]) -> Problems:
    return {
        status: {**PROBLEMS[503], "description": description}
        for status, description in descriptions.items()
    }


_FAULTS = _documented({404: "There is no such survey", 503: "Storage does not answer"})
_BAD_TOKEN = _documented({422: "No token that this participant was given"})
# A cached copy would be stale, because every display has new tokens in a new order.
_FLEETING = {**PAGE_HEADERS, "Cache-Control": "private, no-store"}
# Identifies an undecided answer that is sent again, as a picture's token does the other answers.
_UNDECIDED = "cannot tell"
_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["question", "token"],
                "properties": {
                    "question": {"type": "integer", "description": "its number"},
                    "token": {
                        "type": ["string", "null"],
                        "description": "the chosen picture's; null if the participant cannot tell",
                    },
                    "again": {
                        "type": "boolean",
                        "default": False,
                        "description": "whether it replaces the participant's earlier answer",
                    },
                },
            }
        }
    },
}

routes = APIRouter()


class Surveys:
    """The surveys of a storage. All methods block on storage, so they are called in a thread."""

    def __init__(self, storage: Storage) -> None:
        """Take the storage of the surveys, the answers and the reports."""
        self._storage = storage
        self._reports: dict[str, Report] = {}

    def open(self, name: str) -> Survey:
        """Read a survey's current state; raises Problem 404."""
        try:
            return open_survey(self._storage, name)
        except (ConfigError, NotInStorage):
            raise Problem(404, "there is no survey at this address") from None

    def remaining(self, name: str, participant: str) -> dict[str, Any]:
        """The questions that a participant has not answered, with a token for each picture."""
        survey = self.open(name)
        answered = answered_questions(self._storage, survey, participant)
        remaining = [
            {"question": number, "pictures": _shuffled_tokens(survey, participant, number)}
            for number in range(1, len(survey.questions) + 1)
            if number not in answered and not survey.closed
        ]
        return {
            "closed": bool(survey.closed),
            "total": len(survey.questions),
            "answered": len(answered),
            "questions": remaining,
        }

    def picture(self, name: str, participant: str, token: str) -> bytes:
        """The picture of a token, as WebP; raises Problem 404 or 422."""
        survey = self.open(name)
        number, model = _recognise(survey, participant, token)
        if survey.report not in self._reports:
            self._reports[survey.report] = open_report(self._storage, survey.report)
        return self._reports[survey.report].picture(survey.questions[number - 1].photo, model)

    def answer(
        self, name: str, participant: str, question: int, token: str | None, again: bool
    ) -> bool:
        """Store an answer; returns whether it counts. Raises Problem 404, 409 or 422."""
        survey = self.open(name)
        if survey.closed:
            raise Problem(409, "this survey is closed and takes no more answers")
        if token is None:
            if not participant:
                raise _unknown()
            if not 1 <= question <= len(survey.questions):
                raise Problem(422, f"question: it is from 1 to {len(survey.questions)}")
            mine = (participant, question, CANNOT_TELL, _UNDECIDED)
            return record_answer(self._storage, survey, *mine, replaces=again)
        number, model = _recognise(survey, participant, token)
        if number != question:
            raise Problem(422, f"token: it is not of question {question}")
        mine = (participant, question, model, token)
        return record_answer(self._storage, survey, *mine, replaces=again)

    def results(self, name: str) -> dict[str, Any]:
        """The votes so far."""
        survey = self.open(name)
        counted = tally(survey, read_answers(self._storage, survey))
        return {"survey": survey.name, "closed": bool(survey.closed), **counted.to_dict()}


async def _surveys(request: Request) -> Surveys:
    """The surveys of the application, set by `serve.api.create_api`."""
    surveys: Surveys = request.app.state.surveys
    return surveys


SurveysOfApi = Annotated[Surveys, Depends(_surveys)]


@routes.get("/survey/{survey}", include_in_schema=False)
async def page(survey: str, surveys: SurveysOfApi) -> FileResponse:
    """The page of a survey; raises Problem 404."""
    await _in_thread(surveys.open, survey)
    return FileResponse(_PAGE, headers=PAGE_HEADERS)


# This route sets the cookie, not the page: a browser that follows a link from elsewhere, such as an
# e-mail, requests the page without its SameSite=Strict cookies and would get a new identity.
@routes.get("/survey/{survey}/questions", responses=_FAULTS)
async def questions(request: Request, surveys: SurveysOfApi, survey: str) -> JSONResponse:
    """List the questions that a participant has not answered; needs no API key.

    Each question has one token per picture, in an order that changes with every display.
    """
    participant = _participant(request) or new_participant()
    remaining = await _in_thread(surveys.remaining, survey, participant)
    response = JSONResponse(remaining, headers=_FLEETING)
    response.set_cookie(
        COOKIE,
        participant,
        max_age=_COOKIE_SECONDS,
        path=f"/survey/{survey}",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return response


@routes.get(
    "/survey/{survey}/pictures/{token}",
    response_class=Response,
    responses={
        200: {
            "description": "The picture",
            "content": {"image/webp": {"schema": {"type": "string", "format": "binary"}}},
        },
        **_FAULTS,
        **_BAD_TOKEN,
    },
)
async def picture(request: Request, surveys: SurveysOfApi, survey: str, token: str) -> Response:
    """Return the picture of a token to its participant; needs no API key."""
    data = await _in_thread(surveys.picture, survey, _participant(request), token)
    return Response(data, headers=_FLEETING, media_type="image/webp")


@routes.post(
    "/survey/{survey}/answers",
    responses={
        **_FAULTS,
        **_BAD_TOKEN,
        **_documented({409: "The survey is closed", 413: "Too many bytes"}),
    },
    openapi_extra={"requestBody": _BODY},
)
async def answer(request: Request, surveys: SurveysOfApi, survey: str) -> JSONResponse:
    """Answer a question; needs no API key.

    The first answer counts, even of two simultaneous ones; `counted` says whether this one does. An
    answer that is sent with `again` takes its place, as after going back to the question. Repeating
    an answer gives the same result. The answer is stored before the response is sent.
    """
    question, token, again = _read_answer(await _read_body(request))
    arguments = (survey, _participant(request), question, token, again)
    counted = await _in_thread(surveys.answer, *arguments)
    return JSONResponse({"question": question, "counted": counted}, headers=_FLEETING)


@routes.get(
    "/survey/{survey}/results",
    responses={**_FAULTS, 401: PROBLEMS[401]},
    dependencies=GUARDED,
)
async def results(survey: str, surveys: SurveysOfApi) -> JSONResponse:
    """Return the votes so far; requires the API key if one is set."""
    return JSONResponse(await _in_thread(surveys.results, survey), headers=_FLEETING)


async def _in_thread(work: Callable[..., Result], *arguments: Any) -> Result:
    """Run blocking work in a thread, off the event loop; raises Problem 503 for storage errors."""
    try:
        return await asyncio.to_thread(work, *arguments)
    except (Corrupt, NotInStorage):
        raise  # trying again would not help
    except ColorganError:
        logging.getLogger("colorgan.serve").exception("storage does not answer")
        raise Problem(503, "the survey's storage does not answer; try again in a moment") from None


def _participant(request: Request) -> str:
    """The participant of a request; empty for a new one, or if the cookie is invalid."""
    participant = request.cookies.get(COOKIE, "")
    return participant if is_participant(participant) else ""


def _shuffled_tokens(survey: Survey, participant: str, number: int) -> list[str]:
    tokens = []
    for model in survey.questions[number - 1].models:
        start = number.to_bytes(_QUESTION_BYTES) + secrets.token_bytes(_NONCE_BYTES)
        signed = start + _hash(survey, participant, model, start)
        tokens.append(urlsafe_b64encode(signed).decode())
    random.SystemRandom().shuffle(tokens)
    return tokens


def _recognise(survey: Survey, participant: str, token: str) -> tuple[int, str]:
    """The question and the model of a token; raises Problem 422."""
    unknown = _unknown()
    if not participant or len(token) != _TOKEN_LENGTH or not token.isascii():
        raise unknown
    try:
        signed = urlsafe_b64decode(token)
    except ValueError:
        raise unknown from None
    start, given = signed[:-_HASH_BYTES], signed[-_HASH_BYTES:]
    number = int.from_bytes(start[:_QUESTION_BYTES])
    if not 1 <= number <= len(survey.questions):
        raise unknown
    # All models are tried, so that the response time does not reveal the model.
    matching = [
        model
        for model in survey.questions[number - 1].models
        if hmac.compare_digest(given, _hash(survey, participant, model, start))
    ]
    if not matching:
        raise unknown
    return number, matching[0]


def _unknown() -> Problem:
    return Problem(
        422,
        "token: it was not given to you by this survey; allow cookies for this address and load "
        "the page again",
    )


def _hash(survey: Survey, participant: str, model: str, start: bytes) -> bytes:
    message = start + "\0".join((survey.name, participant, model)).encode()
    return hmac.digest(bytes.fromhex(survey.secret), message, "sha256")


async def _read_body(request: Request) -> bytes:
    """The body, within its limit; raises Problem 413."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise Problem(413, f"an answer has no more than {MAX_BODY:,} bytes")
    return body


def _read_answer(body: bytes) -> tuple[int, str | None, bool]:
    """The question, the token and `again` of an answer's JSON; raises Problem 422."""
    try:
        document = json.loads(body)
        question, token = document["question"], document["token"]
        again = document.get("again", False)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise Problem(422, "body: send JSON with `question` and `token`") from None
    if type(question) is not int or not isinstance(token, str | None):
        raise Problem(422, "body: `question` is a number and `token` a text or null")
    if not isinstance(again, bool):
        raise Problem(422, "body: `again` is true or false")
    return question, token, again
