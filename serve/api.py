"""The HTTP API and the page: everything that a request meets before and after the networks."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import torch
from fastapi import Depends, FastAPI, Query, Request
from fastapi.responses import FileResponse, Response

import colorgan
from colorgan.colorizer import VIVID, prepare, recombine
from colorgan.images.decoding import Photograph, Pixels, encode_jpeg, encode_png, encode_webp
from colorgan.router import Route
from colorgan.storage import Storage
from serve.backend import Backend, Busy
from serve.config import Limits
from serve.metrics import Metrics
from serve.pages import PAGE, PAGE_HEADERS, PageFiles
from serve.problems import PROBLEMS, Problem, answer_with_problems
from serve.survey import create_survey_routes
from serve.uploads import decode_photograph, read_photograph
from serve.workers import Painted, Square
from tune.dashboard import create_sweep_routes, mount_sweep_files

API_KEY = "COLORGAN_API_KEY"
ASSEMBLED = "assembled"
AUTO = "auto"
Format = Literal["png", "jpeg", "webp"]

_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {"file": {"type": "string", "format": "binary"}},
            }
        },
        **{
            f"image/{name}": {"schema": {"type": "string", "format": "binary"}}
            for name in ("jpeg", "png", "webp")
        },
    },
}
_PICTURES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The coloured photograph, at its own size",
        "content": {
            f"image/{name}": {"schema": {"type": "string", "format": "binary"}}
            for name in ("png", "jpeg", "webp")
        },
        "headers": {
            "X-Colorgan-Class": {"schema": {"type": "string"}},
            "X-Colorgan-Score": {"schema": {"type": "number"}},
            "X-Colorgan-Model": {"schema": {"type": "string"}},
        },
    }
}

Result = TypeVar("Result")


def create_api(backend: Backend, limits: Limits, storage: Storage | None = None) -> FastAPI:
    """The application.

    Args:
        backend: where photographs are routed and coloured.
        limits: what one client may ask for.
        storage: where surveys and sweeps are; without, none are here.
    """
    ingress = _Ingress(backend, limits)

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
    guarded = [Depends(_check_key)]

    @api.post(
        "/colorize",
        responses={**_PICTURES, **PROBLEMS},
        response_class=Response,
        openapi_extra={"requestBody": _BODY},
        dependencies=guarded,
    )
    async def colorize(
        request: Request,
        model: Annotated[
            str, Query(description="assembled, general, hypercolumn or a class")
        ] = ASSEMBLED,
        photo_class: Annotated[
            str, Query(alias="class", description="auto, or the class for `assembled`")
        ] = AUTO,
        format: Annotated[Format, Query(description="of the picture that comes back")] = "png",
        vividness: Annotated[
            float, Query(ge=0, le=VIVID, description="what the chroma is multiplied by; 0 is gray")
        ] = 1.0,
    ) -> Response:
        """Colour one photograph."""
        with ingress.admitted("colorize") as labels:
            finish = partial(_finish, format=format, vividness=vividness)
            return await ingress.colorize(request, model, photo_class, finish, labels)

    @api.post(
        "/classify",
        responses=PROBLEMS,
        openapi_extra={"requestBody": _BODY},
        dependencies=guarded,
    )
    async def classify(request: Request) -> dict[str, Any]:
        """Say which class a photograph is of."""
        with ingress.admitted("classify") as labels:
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
        return FileResponse(PAGE / "index.html", headers=PAGE_HEADERS)

    api.mount("/page", PageFiles(directory=PAGE), name="page")
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
    if not secrets.compare_digest(given.encode(), expected.encode()):
        raise Problem(
            401,
            "send the API key as `Authorization: Bearer KEY` or `X-API-Key: KEY`",
            {"WWW-Authenticate": "Bearer"},
        )


class _Labels:
    """What is known of a request for its metrics."""

    photo_class = ""
    model = ""


class _Ingress:
    """Decodes, encodes and counts; the networks are the backend's."""

    def __init__(self, backend: Backend, limits: Limits) -> None:
        self._backend = backend
        self._limits = limits
        # Decoding and encoding leave the event loop free; more threads than cores gain nothing.
        self._threads = ThreadPoolExecutor(os.cpu_count() or 1, "photographs")
        self._working = 0
        self.metrics = Metrics()

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    @contextmanager
    def admitted(self, endpoint: str) -> Iterator[_Labels]:
        """Let a request in if there is room, and count how it ends; raises Problem."""
        labels, status = _Labels(), 499  # what nginx calls a client that went away
        try:
            if self._working >= self._limits.max_requests:
                raise Problem(503, "too many photographs at once; try again in a moment")
            self._working += 1
            self.metrics.in_flight.set(self._working)
            try:
                yield labels
            finally:
                self._working -= 1
                self.metrics.in_flight.set(self._working)
            status = 200
        except Problem as problem:
            status = problem.status
            raise
        except Busy as error:
            status = 503
            raise Problem(status, str(error)) from None
        except TimeoutError:
            status = 504
            raise Problem(
                status, f"the photograph took longer than {self._limits.timeout_s:g} s"
            ) from None
        except Exception:
            status = 500
            raise
        finally:
            self.metrics.requests.labels(
                endpoint, labels.photo_class, labels.model, str(status)
            ).inc()

    async def colorize(
        self,
        request: Request,
        model: str,
        photo_class: str,
        finish: Callable[[Photograph, Painted], Response],
        labels: _Labels,
    ) -> Response:
        async with asyncio.timeout(self._limits.timeout_s):
            infos = await self._backend.models()
            known = (await self._backend.router()).classes
            if model not in (ASSEMBLED, *infos):
                raise Problem(422, f"model: {model!r} is none of {', '.join((ASSEMBLED, *infos))}")
            if photo_class != AUTO and photo_class not in known:
                raise Problem(422, f"class: {photo_class!r} is none of {', '.join((AUTO, *known))}")
            photograph = await self._read(request)
            route = None
            if model != ASSEMBLED:
                chosen = model
            elif photo_class != AUTO:
                chosen = photo_class
            else:
                # While the router looks: class models mostly see squares of one size.
                sizes = {infos[name].size for name in known if name in infos}
                route, squares = await asyncio.gather(
                    self._route(photograph.rgb), self._squares(photograph.rgb, sizes)
                )
                chosen = route.best_class
            labels.photo_class = route.photo_class if route else photo_class
            labels.model = chosen
            if chosen not in infos:
                raise Problem(503, f"no model of the class {chosen} is served")
            size = infos[chosen].size
            if route is None:
                squares = await self._squares(photograph.rgb, {size})
            painted = await self._paint(chosen, squares[size])
            with self.metrics.stage("encode"):
                response = await self._in_thread(finish, photograph, painted)
        response.headers["X-Colorgan-Model"] = painted.model.reference
        if route:
            response.headers["X-Colorgan-Class"] = route.photo_class
            response.headers["X-Colorgan-Score"] = f"{route.score:.4f}"
        elif chosen in known:
            response.headers["X-Colorgan-Class"] = chosen
        return response

    async def classify(self, request: Request, labels: _Labels) -> dict[str, Any]:
        async with asyncio.timeout(self._limits.timeout_s):
            photograph = await self._read(request)
            route = await self._route(photograph.rgb)
            router = await self._backend.router()
        labels.photo_class = route.photo_class
        return {
            "class": route.photo_class,
            "score": route.score,
            "scores": route.scores,
            "label": route.label,
            "router": router.name,
        }

    async def models(self) -> dict[str, Any]:
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                router, infos = await self._backend.router(), await self._backend.models()
        except Busy as error:
            raise Problem(503, str(error)) from None
        return {
            "models": [
                {
                    "name": info.name,
                    "model": info.reference,
                    "size": info.size,
                    "color_space": info.color_space,
                }
                for info in infos.values()
            ],
            "router": {"name": router.name, "classes": list(router.classes)},
        }

    async def _read(self, request: Request) -> Photograph:
        with self.metrics.stage("read"):
            data = await read_photograph(request, self._limits.max_bytes)
        with self.metrics.stage("decode"):
            return await self._in_thread(decode_photograph, data, self._limits.max_pixels)

    async def _route(self, rgb: Pixels) -> Route:
        with self.metrics.stage("route"):
            view = (await self._backend.router()).view
            square = await self._in_thread(lambda: view(rgb).numpy())
            return await self._backend.route(square)

    async def _squares(self, rgb: Pixels, sizes: Collection[int]) -> dict[int, Square]:
        """What generators of these sizes see of a photograph, by size."""
        with self.metrics.stage("prepare"):
            made = [
                self._in_thread(lambda size: prepare(rgb, size).numpy(), each) for each in sizes
            ]
            return dict(zip(sizes, await asyncio.gather(*made), strict=True))

    async def _paint(self, model: str, square: Square) -> Painted:
        with self.metrics.stage("paint"):
            painted = await self._backend.paint(model, square)
        self.metrics.batches.labels(model).observe(painted.batch)
        return painted

    async def _in_thread(self, work: Callable[..., Result], *arguments: Any) -> Result:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, work, *arguments)


def _finish(photograph: Photograph, painted: Painted, format: Format, vividness: float) -> Response:
    """Join a photograph with its colours at its own size, and encode it."""
    color = torch.from_numpy(np.array(painted.color)).float()
    rgb = recombine(photograph.rgb, color, painted.model.color_space, vividness)
    return Response(_encode(rgb, photograph.alpha, format), media_type=f"image/{format}")


def _encode(rgb: Pixels, alpha: Pixels | None, format: Format) -> bytes:
    if format == "png":
        return encode_png(rgb, alpha)
    if format == "webp":
        return encode_webp(rgb, alpha)
    if alpha is not None:  # JPEG has none: what is transparent becomes white
        opacity = alpha[..., None] / 255
        rgb = (rgb * opacity + 255 * (1 - opacity)).round().astype(np.uint8)
    return encode_jpeg(rgb)
