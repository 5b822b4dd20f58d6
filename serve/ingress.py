"""Leads a request through the service: read, decode, route, colour and encode a photograph."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from starlette.requests import ClientDisconnect

from colorgan.errors import ConfigError
from colorgan.images.decoding import Pixels
from colorgan.images.encoding import is_writable
from colorgan.images.prints import Restored, restore
from colorgan.inference.finishing import place_hints
from colorgan.inference.networks import ModelInfo
from colorgan.inference.objects import ObjectModel, reduced
from colorgan.inference.prediction import (
    AssembledModel,
    FoundObject,
    NoModel,
    Prediction,
    in_pixels,
)
from colorgan.inference.router import Route
from colorgan.models.noise import FIRST
from colorgan.names import OBJECTS
from colorgan.web.problems import CLIENT_GONE, Problem
from serve.answers import (
    Reduced,
    answer_with_variants,
    described_objects,
    encoded,
    fitting,
    headers_of,
)
from serve.backend import Backend, Busy
from serve.config import Limits
from serve.metrics import Metrics
from serve.parameters import (
    ASSEMBLED,
    AUTO,
    ClassifyParameters,
    ColorizeParameters,
    Container,
    Format,
    Parameters,
    acceptable_container,
    acceptable_formats,
    check_together,
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
            check_together(chosen)
            formats, container = _wanted(chosen, _accept(request))
            infos = await self._backend.models()
            known = (await self._backend.router()).classes
            _check_names(chosen, infos, known, await self._backend.detector() is not None)
            restored = await self._decode(upload, chosen, formats[0] == "tiff")
            photograph = restored.photograph
            _check_hints(chosen, restored)
            if chosen.variants:
                smaller = await self._threads.run(Reduced.of, restored, chosen.hints, chosen.side)
                self._check_sum(smaller.restored.photograph.rgb, chosen.variants)
            else:
                smaller = Reduced(restored, chosen.hints)
            picture_format = fitting(formats, smaller.restored.photograph.rgb)
            predicted = await self._predict(restored, chosen, infos, labels)
            with self.metrics.stage("encode"):
                written = await self._threads.together(
                    *(
                        self._threads.run(
                            encoded, upload.data, smaller, picture_format, each, chosen
                        )
                        for each in predicted.variants()
                    )
                )
        known_class = labels.model if labels.model in known else ""
        headers = {
            **headers_of(predicted.onto(restored), known_class, chosen.model == OBJECTS),
            **_notes((*photograph.notes, *written[0].notes)),
        }
        if chosen.format is None or container:
            headers["Vary"] = "Accept"
        if container:
            pictures = [each.data for each in written]
            return await self._threads.run(
                answer_with_variants, pictures, picture_format, container, headers
            )
        return Response(written[0].data, media_type=f"image/{picture_format}", headers=headers)

    async def classify(self, request: Request, labels: Labels) -> Response:
        """Route a request's photograph; raises as `colorize` does."""
        query = request.query_params.multi_items()
        read_parameters(ClassifyParameters, query)
        async with self._uploaded(request) as upload:
            chosen = read_parameters(ClassifyParameters, query, upload.fields)
            if chosen.objects and await self._backend.detector() is None:
                raise Problem(422, "objects: no detector of objects is served here")
            restored = await self._decode(upload, chosen)
            router = await self._backend.router()
            route = await self._route(restored.seen)
            found = await self._detect(restored) if chosen.objects else ()
        labels.photo_class = route.photo_class
        content: dict[str, Any] = {
            "class": route.photo_class,
            "score": route.score,
            "scores": route.scores,
            "label": route.label,
            "router": router.name,
        }
        if chosen.objects:
            content["objects"] = described_objects(found)
        return JSONResponse(content, headers=_notes(restored.photograph.notes))

    async def models(self) -> dict[str, Any]:
        """The models and the router that are served, as JSON; raises Problem 503."""
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                router, infos = await self._backend.router(), await self._backend.models()
                detector = await self._backend.detector()
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
                    "noise": info.has_noise,
                }
                for info in infos.values()
            ],
            "router": {"name": router.name, "classes": list(router.classes)},
            "detector": detector
            and {"name": detector.name, "classes": [c for c in detector.classes if c in infos]},
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

        if chosen.model == OBJECTS:
            labels.model = OBJECTS
            detector = await self._backend.detector()
            assert detector  # the model's name has been checked
            by_objects = ObjectModel(self._backend, self._threads, detector.edges)
            (predicted,) = await by_objects.predict([restored.seen])
            return predicted
        if chosen.model != ASSEMBLED or chosen.photo_class != AUTO:
            labels.photo_class = chosen.photo_class
            labels.model = chosen.photo_class if chosen.model == ASSEMBLED else chosen.model
        numbers, model, route = chosen.numbers, labels.model, None
        if numbers != FIRST and not model:
            classes = (await self._backend.router()).classes
            if not all(infos[name].has_noise for name in classes if name in infos):
                route = await self._route(restored.seen)  # the one pass would need noise in all
                note([route])
                model = labels.model
        if numbers != FIRST and model in infos and not infos[model].has_noise:
            raise _no_noise(infos[model], chosen, infos)
        try:
            (predicted,) = await self._model.predict([restored.seen], model, note, numbers)
        except NoModel:
            served = " or ".join(f"model={name}" for name in infos)
            raise Problem(
                422, f"no model of the class {labels.model} is served here: ask for {served}"
            ) from None
        if numbers != FIRST and not predicted.color.model.has_noise:  # any more
            raise _no_noise(predicted.color.model, chosen, infos)
        self.metrics.batches.labels(labels.model).observe(predicted.color.batch)
        return replace(predicted, route=predicted.route or route)

    async def _route(self, seen: Pixels) -> Route:
        router = await self._backend.router()
        with self.metrics.stage("route"):
            square = await self._threads.run(lambda: router.view(seen).numpy())
            return await self._backend.classify(square)

    async def _detect(self, restored: Restored) -> Sequence[FoundObject]:
        """The objects of a photograph, whether there is a model of their class or not."""
        picture = await self._threads.run(reduced, restored.seen)
        with self.metrics.stage("detect"):
            (found,) = await self._backend.detect([picture])
        height, width = restored.photograph.rgb.shape[:2]
        return in_pixels(found, height, width, restored.box)

    def _check_sum(self, rgb: Pixels, count: int) -> None:
        """Reject variants that are too large together; raises Problem 413."""
        height, width = rgb.shape[:2]
        if count * height * width > self._limits.max_pixels:
            raise Problem(
                413,
                f"{count} variants of {width} x {height} pixels are more than "
                f"{self._limits.max_pixels:,} pixels together: ask for smaller ones by "
                "side=1024, and then for one of them by variant=2",
            )


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


def _wanted(chosen: ColorizeParameters, accept: str) -> tuple[Sequence[Format], Container | None]:
    """The formats to choose from, and what several pictures are sent in.

    Raises:
        Problem: 406 if the header Accept takes nothing of that, 422 if the format is not written.
    """
    container = acceptable_container(accept) if chosen.variants else None
    formats: Sequence[Format] = ["png"] if container else []
    if chosen.format:
        formats = [chosen.format]
        if not is_writable(chosen.format):
            raise Problem(422, f"format: {chosen.format} is not written here; ask for webp")
    return formats or acceptable_formats(accept), container


def _no_noise(
    info: ModelInfo, chosen: ColorizeParameters, infos: Mapping[str, ModelInfo]
) -> Problem:
    having = " or ".join(f"model={name}" for name, each in infos.items() if each.has_noise)
    return Problem(
        422,
        f"{'variants' if chosen.variants else 'variant'}: the model {info.reference} has no noise, "
        "so it colours a photograph in one way; "
        + (f"ask for {having}" if having else "no model that is served here has noise"),
    )


def _check_names(
    chosen: ColorizeParameters,
    infos: Mapping[str, ModelInfo],
    known: Sequence[str],
    with_objects: bool,
) -> None:
    """Reject a model or a class that is not served; raises Problem 422."""
    model, photo_class = chosen.model, chosen.photo_class
    names = (ASSEMBLED, *infos, *([OBJECTS] if with_objects else []))
    if model not in names:
        raise Problem(422, f"model: {model!r} is none of {', '.join(names)}")
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


def _notes(notes: Sequence[str]) -> dict[str, str]:
    """The header with the notes on a file, in ASCII as headers require; empty without notes."""
    words = " ".join("; ".join(notes).split())
    return {"X-Colorgan-Note": words.encode("ascii", "replace").decode()} if words else {}
