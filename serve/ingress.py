"""Leads a request through the service: read, decode, route, colour and encode a photograph."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from functools import partial
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from starlette.requests import ClientDisconnect

from colorgan.errors import ConfigError, ImageRejected
from colorgan.images.decoding import Photograph, Pixels
from colorgan.images.encoding import check_size, is_writable
from colorgan.images.metadata import Metadata, read_metadata
from colorgan.images.prints import Restored, restore
from colorgan.images.writing import Original, OutputOptions, Written, write_colored
from colorgan.inference.finishing import place_hints
from colorgan.inference.networks import ModelInfo
from colorgan.inference.prediction import AssembledModel, NoModel, Prediction
from colorgan.inference.router import Route
from colorgan.web.problems import CLIENT_GONE, Problem
from serve.backend import Backend, Busy
from serve.config import Limits
from serve.metrics import Metrics
from serve.parameters import (
    ASSEMBLED,
    AUTO,
    ColorizeParameters,
    Format,
    Parameters,
    acceptable_formats,
    read_parameters,
)
from serve.uploads import Upload, decode_photograph, read_upload

Result = TypeVar("Result")


class Labels:
    """The metric labels of a request, as far as they are known."""

    photo_class = ""
    model = ""


class _Threads:
    """Runs the steps of photographs in threads, and measures them."""

    concurrent = True

    def __init__(self, metrics: Metrics) -> None:
        # Threads keep the event loop free while photographs are decoded and encoded. More threads
        # than cores gain nothing.
        self._pool = ThreadPoolExecutor(os.cpu_count() or 1, "photographs")
        self._metrics = metrics

    def stage(self, name: str) -> AbstractContextManager[None]:
        return self._metrics.stage(name)

    async def run(self, step: Callable[..., Result], *arguments: Any) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._pool, step, *arguments)

    async def together(self, *steps: Awaitable[Any]) -> Sequence[Any]:
        return await asyncio.gather(*steps)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


class PhotographIngress:
    """Reads, decodes and encodes photographs and counts requests; a backend runs the networks."""

    def __init__(self, backend: Backend, limits: Limits) -> None:
        """Take the backend and the limits on requests."""
        self._backend = backend
        self._limits = limits
        self.metrics = Metrics()
        self._threads = _Threads(self.metrics)
        self._model = AssembledModel(backend, self._threads)
        self._room = _Room(limits, self.metrics)

    def close(self) -> None:
        """Shut down the threads."""
        self._threads.close()

    @contextmanager
    def counted(self, endpoint: str) -> Iterator[Labels]:
        """Count the outcome of a request, and turn expected errors into a Problem."""
        labels, status = Labels(), CLIENT_GONE
        try:
            yield labels
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
        except ClientDisconnect:
            raise
        except Exception:
            status = 500
            raise
        finally:
            self.metrics.requests.labels(
                endpoint, labels.photo_class, labels.model, str(status)
            ).inc()

    async def colorize(self, request: Request, labels: Labels) -> Response:
        """Colour a request's photograph; raises Problem, Busy, TimeoutError, ClientDisconnect."""
        query = request.query_params.multi_items()
        read_parameters(ColorizeParameters, query)  # reports errors before the upload
        async with self._uploaded(request) as upload:
            chosen = read_parameters(ColorizeParameters, query, upload.fields)
            formats = [chosen.format] if chosen.format else acceptable_formats(_accept(request))
            if not all(map(is_writable, formats)):
                raise Problem(422, f"format: {chosen.format} is not written here; ask for webp")
            infos = await self._backend.models()
            known = (await self._backend.router()).classes
            _check_names(chosen, infos, known)
            restored = await self._decode(upload, chosen, formats[0] == "tiff")
            photograph = restored.photograph
            _check_hints(chosen, restored)
            picture_format = _fitting(formats, photograph.rgb)
            predicted = await self._predict(restored, chosen, infos, labels)
            with self.metrics.stage("encode"):
                written = await self._threads.run(
                    _encoded, upload.data, photograph, picture_format, predicted, chosen
                )
        notes = _notes((*photograph.notes, *written.notes))
        headers = {"X-Colorgan-Model": predicted.color.model.reference, **notes}
        if predicted.route:
            headers["X-Colorgan-Class"] = predicted.route.photo_class
            headers["X-Colorgan-Score"] = f"{predicted.route.score:.4f}"
        elif labels.model in known:
            headers["X-Colorgan-Class"] = labels.model
        if chosen.format is None:
            headers["Vary"] = "Accept"
        return Response(written.data, media_type=f"image/{picture_format}", headers=headers)

    async def classify(self, request: Request, labels: Labels) -> Response:
        """Route a request's photograph; raises as `colorize` does."""
        query = request.query_params.multi_items()
        read_parameters(Parameters, query)
        async with self._uploaded(request) as upload:
            chosen = read_parameters(Parameters, query, upload.fields)
            restored = await self._decode(upload, chosen)
            router = await self._backend.router()
            with self.metrics.stage("route"):
                square = await self._threads.run(lambda: router.view(restored.seen).numpy())
                route = await self._backend.classify(square)
        labels.photo_class = route.photo_class
        content = {
            "class": route.photo_class,
            "score": route.score,
            "scores": route.scores,
            "label": route.label,
            "router": router.name,
        }
        return JSONResponse(content, headers=_notes(restored.photograph.notes))

    async def models(self) -> dict[str, Any]:
        """The models and the router that are served, as JSON; raises Problem 503."""
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                router, infos = await self._backend.router(), await self._backend.models()
        except Busy as error:
            raise Problem(503, str(error)) from None
        except TimeoutError:
            raise Problem(503, "the models do not answer; try again in a moment") from None
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

    @asynccontextmanager
    async def _uploaded(self, request: Request) -> AsyncIterator[Upload]:
        """Read a request's body, then hold a place and a time limit while it is processed.

        The place is taken after the body has arrived, so slow or stalled clients block nobody.
        """
        limits = self._limits
        with self._room.arriving() as arrived:
            with self.metrics.stage("read"):
                try:
                    async with asyncio.timeout(limits.upload_timeout_s):
                        upload = await read_upload(request, limits.max_bytes, arrived)
                except TimeoutError:
                    raise Problem(
                        408,
                        f"the photograph did not arrive within {limits.upload_timeout_s:g} s: send "
                        "a smaller file, as JPEG, or by a faster connection",
                        {"Connection": "close"},
                    ) from None
            with self._room.place():
                async with asyncio.timeout(limits.timeout_s):
                    yield upload

    async def _decode(self, upload: Upload, chosen: Parameters, deep: bool = False) -> Restored:
        """Decode a photograph, and mend it if the client wants that."""

        def decoded() -> Restored:
            limit = self._limits.max_pixels
            return restore(decode_photograph(upload.data, limit, chosen.page, deep), chosen.restore)

        with self.metrics.stage("decode"):
            return await self._threads.run(decoded)

    async def _predict(
        self,
        restored: Restored,
        chosen: ColorizeParameters,
        infos: Mapping[str, ModelInfo],
        labels: Labels,
    ) -> Prediction:
        """Predict the colours of a photograph; raises Problem 422."""

        def note(routes: Sequence[Route]) -> None:
            labels.photo_class, labels.model = routes[0].photo_class, routes[0].best_class

        if chosen.model != ASSEMBLED or chosen.photo_class != AUTO:
            labels.photo_class = chosen.photo_class
            labels.model = chosen.photo_class if chosen.model == ASSEMBLED else chosen.model
        try:
            (predicted,) = await self._model.predict([restored.seen], labels.model, note)
        except NoModel:
            served = " or ".join(f"model={name}" for name in infos)
            raise Problem(
                422, f"no model of the class {labels.model} is served here: ask for {served}"
            ) from None
        self.metrics.batches.labels(labels.model).observe(predicted.color.batch)
        return predicted.onto(restored)


class _Room:
    """Enforces the limits of one ingress: bytes of request bodies, and photographs in work."""

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self._limits = limits
        self._metrics = metrics
        self._working = 0
        self._bytes = 0

    @contextmanager
    def arriving(self) -> Iterator[Callable[[int], None]]:
        """Admit a body; yields a function to call with each chunk's size; raises Problem 503."""
        if self._working >= self._limits.max_requests:
            raise _full()
        held = 0

        def arrived(size: int) -> None:
            nonlocal held
            if self._bytes + size > self._limits.max_arriving_bytes:
                raise _full()
            held += size
            self._count(size)

        try:
            yield arrived
        finally:
            self._count(-held)

    def _count(self, size: int) -> None:
        self._bytes += size
        self._metrics.arriving.set(self._bytes)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold one of the places for photographs in work; raises Problem 503."""
        if self._working >= self._limits.max_requests:
            raise _full()
        self._working += 1
        self._metrics.in_flight.set(self._working)
        try:
            yield
        finally:
            self._working -= 1
            self._metrics.in_flight.set(self._working)


def _full() -> Problem:
    return Problem(503, "too many photographs at once; try again in a moment")


def _accept(request: Request) -> str:
    return ",".join(request.headers.getlist("accept"))


def _check_names(
    chosen: ColorizeParameters, infos: Mapping[str, ModelInfo], known: Sequence[str]
) -> None:
    """Reject a model or a class that is not served; raises Problem 422."""
    model, photo_class = chosen.model, chosen.photo_class
    if model not in (ASSEMBLED, *infos):
        raise Problem(422, f"model: {model!r} is none of {', '.join((ASSEMBLED, *infos))}")
    if photo_class != AUTO and photo_class not in known:
        raise Problem(422, f"class: {photo_class!r} is none of {', '.join((AUTO, *known))}")
    if photo_class != AUTO and model not in (ASSEMBLED, photo_class):
        raise Problem(
            422,
            f"class: {photo_class!r} chooses among the models of model={ASSEMBLED}, and "
            f"model={model} colours all classes alike; give one of the two",
        )


def _check_hints(chosen: ColorizeParameters, restored: Restored) -> None:
    """Reject hints outside of the photograph, or on its border; raises Problem 422."""
    try:
        place_hints(chosen.hints, restored.photograph.rgb, restored.box)
    except ConfigError as error:
        raise Problem(422, f"hints: {error}") from None


def _fitting(formats: Sequence[Format], rgb: Pixels) -> Format:
    """The first format that supports the picture's size; raises Problem 422."""
    refused = ""
    for each in formats:
        try:
            check_size(each, *rgb.shape[:2])
        except ImageRejected as rejected:
            refused = refused or rejected.detail.partition(";")[0]
        else:
            return each
    raise Problem(422, f"format: the photograph is {refused}; png holds more")


def _encoded(
    data: bytes,
    photograph: Photograph,
    picture_format: Format,
    predicted: Prediction,
    chosen: ColorizeParameters,
) -> Written:
    """Encode a coloured photograph with what the client wants to keep of its file, `data`."""
    keeps = chosen.metadata == "keep"
    options = OutputOptions(picture_format, metadata=keeps)
    metadata = read_metadata(data, chosen.page) if keeps else Metadata()
    original = Original(photograph, metadata, picture_format)
    coloring = partial(predicted.strips, chosen.vividness, chosen.hints, None)
    return write_colored(coloring, original, options)


def _notes(notes: Sequence[str]) -> dict[str, str]:
    """The header with the notes on a file, in ASCII as headers require; empty without notes."""
    words = " ".join("; ".join(notes).split())
    return {"X-Colorgan-Note": words.encode("ascii", "replace").decode()} if words else {}
