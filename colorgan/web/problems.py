"""Errors as RFC 9457 problem documents, without stack traces and without a 500 for bad input."""

import logging
from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from colorgan.web.methods import allowed_methods

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1
CLIENT_GONE = 499  # nginx's status for a client that has disconnected


class Problem(Exception):  # noqa: N818 - the RFC's term
    """An error response.

    Attributes:
        status: HTTP status.
        detail: a sentence that says what is wrong and what to do.
        headers: additional response headers.
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        if status in (429, 503):
            self.headers.setdefault("Retry-After", str(RETRY_AFTER_S))

    def response(self) -> Response:
        """The response with the problem document."""
        title = HTTPStatus(self.status).phrase
        content = {"type": "about:blank", "title": title, "status": self.status}
        return JSONResponse(
            {**content, "detail": self.detail}, self.status, self.headers, MEDIA_TYPE
        )


def answer_with_problems(api: FastAPI) -> None:
    """Let an API answer every error with a problem document."""

    @api.exception_handler(Problem)
    async def problem(request: Request, error: Problem) -> Response:
        return error.response()

    @api.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(allowed_methods(api.routes, request.scope))
        return Problem(error.status_code, str(error.detail), headers).response()

    @api.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=CLIENT_GONE)  # the client does not receive it

    @api.exception_handler(RequestValidationError)
    async def validation(request: Request, error: RequestValidationError) -> Response:
        faults = [f"{fault['loc'][-1]}: {fault['msg']}" for fault in error.errors()]
        return Problem(422, "; ".join(faults)).response()

    @api.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> Response:
        logging.getLogger("colorgan.serve").exception("an unexpected error occurred")
        return Problem(500, "the server failed at this request; its log says why").response()


PROBLEMS: dict[int | str, dict[str, object]] = {
    status: {
        "description": description,
        "content": {
            MEDIA_TYPE: {
                "schema": {
                    "type": "object",
                    "required": ["type", "title", "status", "detail"],
                    "properties": {
                        "type": {"type": "string"},
                        "title": {"type": "string"},
                        "status": {"type": "integer"},
                        "detail": {"type": "string"},
                    },
                }
            }
        },
    }
    for status, description in (
        (400, "Not an image, or a damaged one"),
        (401, "The API key is missing or wrong"),
        (406, "The service supports no format in Accept"),
        (408, "The body did not arrive in time"),
        (413, "Too many bytes or pixels"),
        (415, "A type that is not supported"),
        (422, "A bad parameter"),
        (503, "Too busy; Retry-After says when to come back"),
        (504, "It took too long"),
    )
}
