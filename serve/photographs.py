"""The routes that colour and classify photographs, and those that report on the service."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from colorgan.web.problems import PROBLEMS
from serve.access import GUARDED
from serve.ingress import PhotographIngress
from serve.parameters import (
    FORMATS,
    ClassifyParameters,
    ColorizeParameters,
    described_body,
    described_parameters,
)

routes = APIRouter()


async def _ingress(request: Request) -> PhotographIngress:
    """The ingress of the application, set by `serve.api.create_api`."""
    ingress: PhotographIngress = request.app.state.ingress
    return ingress


Ingress = Annotated[PhotographIngress, Depends(_ingress)]

_NOTE = {
    "X-Colorgan-Note": {
        "description": "what was odd about the file and was forgiven",
        "schema": {"type": "string"},
    }
}
_BINARY = {"type": "string", "format": "binary"}
_PICTURES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The coloured photograph, at its own size; with the parameter variants, "
        "several of them in a zip or a form",
        "content": {
            **{f"image/{name}": {"schema": _BINARY} for name in FORMATS},
            "application/zip": {"schema": _BINARY},
            "multipart/form-data": {
                "schema": {"type": "object", "additionalProperties": _BINARY},
            },
        },
        "headers": {
            "X-Colorgan-Class": {"schema": {"type": "string"}},
            "X-Colorgan-Score": {"schema": {"type": "number"}},
            "X-Colorgan-Model": {"schema": {"type": "string"}},
            "X-Colorgan-Objects": {
                "description": "with model=objects: JSON, the objects that were coloured, "
                "each with class, label, score and box (left, top, right, bottom in pixels)",
                "schema": {"type": "string"},
            },
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


@routes.post(
    "/colorize",
    responses={**_PICTURES, **PROBLEMS},
    response_class=Response,
    openapi_extra={
        "parameters": described_parameters(ColorizeParameters),
        "requestBody": described_body(ColorizeParameters),
    },
    dependencies=GUARDED,
)
async def colorize(request: Request, ingress: Ingress) -> Response:
    """Colour one photograph.

    Each parameter may be in the query, or in a field of the form before or after the file.
    """
    with ingress.counted("colorize") as labels:
        return await ingress.colorize(request, labels)


@routes.post(
    "/classify",
    responses={**_ROUTES, **_CLASSIFIED},
    response_class=Response,
    openapi_extra={
        "parameters": described_parameters(ClassifyParameters),
        "requestBody": described_body(ClassifyParameters),
    },
    dependencies=GUARDED,
)
async def classify(request: Request, ingress: Ingress) -> Response:
    """Return the class of a photograph."""
    with ingress.counted("classify") as labels:
        return await ingress.classify(request, labels)


@routes.get("/models", responses={401: PROBLEMS[401], 503: PROBLEMS[503]}, dependencies=GUARDED)
async def models(ingress: Ingress) -> dict[str, Any]:
    """List the models and the router that are served."""
    return await ingress.models()


@routes.get("/healthz", responses={503: PROBLEMS[503]})
async def healthz(ingress: Ingress) -> dict[str, str]:
    """Check that the router and the models answer."""
    await ingress.models()
    return {"status": "ok"}


@routes.get("/metrics", response_class=Response, dependencies=GUARDED)
async def metrics(ingress: Ingress) -> Response:
    """Return the Prometheus metrics of this ingress."""
    return Response(ingress.metrics.exposition(), media_type="text/plain; version=0.0.4")
