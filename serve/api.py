"""The HTTP API and the page: its addresses, and who is let in."""

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.responses import FileResponse, Response

import colorgan
from colorgan.storage import Storage
from colorgan.web.methods import answer_head_and_options
from colorgan.web.pages import PAGE_HEADERS, PageFiles, mount_shared_files
from colorgan.web.problems import PROBLEMS, Problem, answer_with_problems
from serve.backend import Backend
from serve.config import Limits
from serve.ingress import PhotographIngress
from serve.parameters import (
    FORMATS,
    ColorizeParameters,
    Parameters,
    described_body,
    described_parameters,
)
from serve.survey import create_survey_routes
from tune.dashboard import create_sweep_routes, mount_sweep_files

API_KEY = "COLORGAN_API_KEY"

_PAGE = Path(__file__).parent / "page"

_NOTE = {
    "X-Colorgan-Note": {
        "description": "what was odd about the file and was forgiven",
        "schema": {"type": "string"},
    }
}
_PICTURES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The coloured photograph, at its own size",
        "content": {
            f"image/{name}": {"schema": {"type": "string", "format": "binary"}} for name in FORMATS
        },
        "headers": {
            "X-Colorgan-Class": {"schema": {"type": "string"}},
            "X-Colorgan-Score": {"schema": {"type": "number"}},
            "X-Colorgan-Model": {"schema": {"type": "string"}},
            **_NOTE,
        },
    }
}
_ROUTES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The class, the score of every class, and the label that won",
        "content": {"application/json": {"schema": {"type": "object"}}},
        "headers": _NOTE,
    }
}
_CLASSIFIED = {status: PROBLEMS[status] for status in PROBLEMS if status != 406}


def create_api(backend: Backend, limits: Limits, storage: Storage | None = None) -> FastAPI:
    """The application.

    Args:
        backend: where photographs are routed and coloured.
        limits: what one client may ask for.
        storage: where surveys and sweeps are; without, none are here.
    """
    ingress = PhotographIngress(backend, limits)

    @asynccontextmanager
    async def lifespan(api: FastAPI) -> AsyncIterator[None]:
        yield
        ingress.close()

    api = FastAPI(
        title="colorgan",
        version=colorgan.__version__,
        description="Colours black-and-white photographs with class-specific conditional GANs.",
        lifespan=lifespan,
    )
    answer_with_problems(api)
    answer_head_and_options(api)
    guarded = [Depends(_check_key)]

    @api.post(
        "/colorize",
        responses={**_PICTURES, **PROBLEMS},
        response_class=Response,
        openapi_extra={
            "parameters": described_parameters(ColorizeParameters),
            "requestBody": described_body(ColorizeParameters),
        },
        dependencies=guarded,
    )
    async def colorize(request: Request) -> Response:
        """Colour one photograph.

        Each parameter may stand in the query, or in a field of the form before or after the file.
        """
        with ingress.counted("colorize") as labels:
            return await ingress.colorize(request, labels)

    @api.post(
        "/classify",
        responses={**_ROUTES, **_CLASSIFIED},
        response_class=Response,
        openapi_extra={
            "parameters": described_parameters(Parameters),
            "requestBody": described_body(Parameters),
        },
        dependencies=guarded,
    )
    async def classify(request: Request) -> Response:
        """Say which class a photograph is of."""
        with ingress.counted("classify") as labels:
            return await ingress.classify(request, labels)

    @api.get("/models", responses={401: PROBLEMS[401], 503: PROBLEMS[503]}, dependencies=guarded)
    async def models() -> dict[str, Any]:
        """What is served."""
        return await ingress.models()

    @api.get("/healthz", responses={503: PROBLEMS[503]})
    async def healthz() -> dict[str, str]:
        """Whether the router and the models answer."""
        await ingress.models()
        return {"status": "ok"}

    @api.get("/metrics", response_class=Response, dependencies=guarded)
    async def metrics() -> Response:
        """Prometheus metrics of this ingress."""
        return Response(ingress.metrics.exposition(), media_type="text/plain; version=0.0.4")

    if storage is not None:
        api.include_router(create_survey_routes(storage, PAGE_HEADERS, guarded))
        api.include_router(create_sweep_routes(storage, guarded))
        mount_sweep_files(api)

    @api.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(_PAGE / "index.html", headers=PAGE_HEADERS)

    mount_shared_files(api)
    api.mount("/page", PageFiles(directory=_PAGE), name="page")
    return api


def _check_key(request: Request) -> None:
    """Let in who has the key, where there is one; raises Problem 401."""
    expected = os.environ.get(API_KEY, "")
    if not expected:
        return
    given = request.headers.get("x-api-key", "")
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        given = token
    # Starlette reads headers as Latin-1, whatever they are: so they become the bytes again that the
    # client sent. Those are UTF-8 from most clients, and Latin-1 from some.
    sent = given.encode("latin-1")
    spellings = [os.fsencode(expected)]
    with suppress(UnicodeEncodeError):
        spellings.append(expected.encode("latin-1"))
    if not any(secrets.compare_digest(sent, spelling) for spelling in spellings):
        raise Problem(
            401,
            "send the API key as `Authorization: Bearer KEY` or `X-API-Key: KEY`",
            {"WWW-Authenticate": "Bearer"},
        )
