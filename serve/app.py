"""The application on Ray Serve: an ingress -> the router -> one deployment per generator.

    serve run serve.app:build storage=s3://bucket/prefix
    python -m serve.deploy serve/production.yaml

With `one_process`, the ingress runs the router and the generators itself. When other versions of
the models are deployed, the replicas load them in place; see `serve.replicas`. When anything else
has changed, Serve starts each new replica before it stops the old one, which needs twice the
resources.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle

from cluster.code import check_service_code, code_digest
from colorgan.data.mapping import batched
from colorgan.images.decoding import Pixels
from colorgan.inference.networks import ModelInfo, PredictedColor, Routed, RouterInfo, Square
from colorgan.inference.router import Route
from colorgan.models.detection import Detection
from colorgan.models.noise import FIRST, Numbers
from colorgan.names import ROUTER
from colorgan.storage import open_storage
from serve.api import create_api
from serve.backend import INGRESS, Busy, find_parts, loading_of
from serve.config import ApiSettings, Choice, ReplicaSettings, ServeConfig
from serve.replicas import SURGE_PERCENT, Batches, InPlace, WorkerDeployment
from serve.workers import (
    DetectorInfo,
    Loading,
    Workers,
    load_one_generator,
    load_router,
    load_workers,
)

# How long the ingress caches the description of a worker, which an update may change.
_INFO_SECONDS = 5.0

# Time after a request's time limit until the client has its answer.
_ANSWER_SECONDS = 5.0


class HandleBackend:
    """A backend that calls the router and the generators through Serve's handles."""

    def __init__(
        self, router: DeploymentHandle, generators: Mapping[str, DeploymentHandle]
    ) -> None:
        """Take the handles; nothing is called yet."""
        self._router = router
        self._generators = generators
        self._known: (
            tuple[float, tuple[RouterInfo, dict[str, ModelInfo], DetectorInfo | None]] | None
        ) = None

    async def router(self) -> RouterInfo:
        """Describe the router."""
        return (await self._infos())[0]

    async def models(self) -> Mapping[str, ModelInfo]:
        """Describe the models that are served, by name."""
        return (await self._infos())[1]

    async def classify(self, square: Square) -> Route:
        """Route a photograph on a replica."""
        route: Route = await _ask(self._router.classify, square)
        return route

    async def detector(self) -> DetectorInfo | None:
        """Describe the detector of objects; None if there is none."""
        return (await self._infos())[2]

    async def detect(self, pictures: Sequence[Pixels]) -> Sequence[Sequence[Detection]]:
        """Find the objects of photographs on a replica."""
        found: Sequence[Sequence[Detection]]
        found = await asyncio.gather(*(_ask(self._router.detect, each) for each in pictures))
        return found

    async def route(
        self, squares: Sequence[Square], numbers: Sequence[Numbers] = ()
    ) -> Sequence[Routed]:
        """Route photographs, and colour those that the router can, on replicas."""
        routed: Sequence[Routed]
        routed = await asyncio.gather(
            *(_ask(self._router.work, *each) for each in _jobs(squares, numbers))
        )
        return routed

    async def paint(
        self, model: str, squares: Sequence[Square], numbers: Sequence[Numbers] = ()
    ) -> Sequence[PredictedColor]:
        """Colour photographs on replicas, a few at a time: the objects of one may be many."""
        work = self._generators[model].work
        painted: list[PredictedColor] = []
        for some in batched(_jobs(squares, numbers), _AT_ONCE):
            painted += await asyncio.gather(*(_ask(work, *each) for each in some))
        return painted

    async def _infos(self) -> tuple[RouterInfo, dict[str, ModelInfo], DetectorInfo | None]:
        if self._known is None or time.monotonic() - self._known[0] > _INFO_SECONDS:
            router, detector, *models = await asyncio.gather(
                _ask(self._router.info),
                _ask(self._router.detector),
                *(_ask(handle.info) for handle in self._generators.values()),
            )
            named = dict(zip(self._generators, models, strict=True))
            self._known = (time.monotonic(), (router, named, detector))
        return self._known[1]


def _jobs(squares: Sequence[Square], numbers: Sequence[Numbers]) -> list[tuple[Square, Numbers]]:
    """Each photograph with the numbers of its variants."""
    return list(zip(squares, numbers or [FIRST] * len(squares), strict=True))


# Photographs, or parts of one, that wait for a model at the same time; its queue holds 64.
_AT_ONCE = 4

_DIED = "the process that had the photograph died; try again"


async def _ask(method: Any, *arguments: Any) -> Any:
    """Call a deployment; raises Busy if it has no room, or died during the call."""
    try:
        return await method.remote(*arguments)
    except BackPressureError:
        raise Busy("too many photographs wait for this model; try again in a moment") from None
    except RayTaskError:
        raise  # an error inside the worker is a bug, and trying again would not help
    except (RayError, RayServeException):
        raise Busy(_DIED) from None
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise  # the client has disconnected, or the time limit has passed
        raise Busy(_DIED) from None  # Ray cancels calls to a process that died


class OneProcess:
    """A backend that runs the router and the generators in this process, in batches."""

    def __init__(self, loading: Loading, default: Choice | None) -> None:
        """Load nothing yet; see InPlace for `default`."""
        self._workers = InPlace[Workers](lambda choice: load_workers(loading, choice), default)
        self._router = Batches(lambda: self._workers.loaded.router)
        self._generators: dict[str, Batches] = {}
        self._settings = ReplicaSettings()

    async def change(self, settings: ReplicaSettings) -> None:
        """Apply the user_config of the deployment; raises as `InPlace.change`."""
        self._settings = settings
        for batches in (self._router, *self._generators.values()):
            batches.set(settings)
        await self._workers.change(settings.choice)

    async def check(self) -> None:
        """Run every network once; raises if that fails."""
        workers = self._workers.loaded
        await asyncio.to_thread(workers.router.check)
        for generator in workers.generators.values():
            await asyncio.to_thread(generator.check)

    async def router(self) -> RouterInfo:
        """Describe the router."""
        return self._workers.loaded.router.info

    async def models(self) -> Mapping[str, ModelInfo]:
        """Describe the models that are served, by name."""
        return {name: worker.info for name, worker in self._workers.loaded.generators.items()}

    async def classify(self, square: Square) -> Route:
        """Route a photograph."""
        route: Route = await self._router.classify(square)
        return route

    async def detector(self) -> DetectorInfo | None:
        """Describe the detector of objects; None if there is none."""
        return self._workers.loaded.router.detector

    async def detect(self, pictures: Sequence[Pixels]) -> Sequence[Sequence[Detection]]:
        """Find the objects of photographs."""
        found: Sequence[Sequence[Detection]]
        found = await asyncio.gather(*(self._router.detect(each) for each in pictures))
        return found

    async def route(
        self, squares: Sequence[Square], numbers: Sequence[Numbers] = ()
    ) -> Sequence[Routed]:
        """Route photographs, and colour those that the router can."""
        routed: Sequence[Routed]
        routed = await asyncio.gather(
            *(self._router.work(*each) for each in _jobs(squares, numbers))
        )
        return routed

    async def paint(
        self, model: str, squares: Sequence[Square], numbers: Sequence[Numbers] = ()
    ) -> Sequence[PredictedColor]:
        """Colour photographs."""
        if model not in self._generators:
            batches = Batches(lambda: self._workers.loaded.generators[model])
            batches.set(self._settings)
            self._generators[model] = batches
        work = self._generators[model].work
        painted: Sequence[PredictedColor]
        painted = await asyncio.gather(*(work(*each) for each in _jobs(squares, numbers)))
        return painted


@serve.deployment(
    name=INGRESS,
    max_ongoing_requests=1000,  # a full ingress answers by itself, with Retry-After
    max_surge_percent=SURGE_PERCENT,
    ray_actor_options={"num_cpus": 0.1},
)
@serve.ingress()
class Ingress:
    """A replica of the ingress: the API in front of a backend."""

    def __init__(
        self,
        settings: ApiSettings,
        loading: Loading,
        code: str,
        router: DeploymentHandle | None,
        generators: dict[str, DeploymentHandle],
        default: Choice | None = None,
    ) -> None:
        """Load nothing yet; raises ColorganError if this process has other code.

        Args:
            settings: those of the API.
            loading: how networks are loaded, if this process runs them.
            code: `code_digest` of the application.
            router: the deployment of the router; None if this process runs all networks.
            generators: the deployments of the generators, by model.
            default: the packages to load in this process if the settings name none.
        """
        check_service_code(code)
        loading.prepare()
        self._settings = settings
        self._storage = open_storage(loading.storage)
        self._networks = OneProcess(loading, default) if router is None else None
        self._backend = self._networks or HandleBackend(router, generators)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Create the API; Serve calls this after it has constructed the replica."""
        settings = self._settings
        return create_api(self._backend, settings.limits, self._storage, settings.browser_models)

    async def reconfigure(self, settings: dict[str, Any]) -> None:
        """Apply the deployment's user_config, as ReplicaSettings; raises as `InPlace.change`."""
        chosen = ReplicaSettings(**settings)
        if self._networks:
            await self._networks.change(chosen)

    async def check_health(self) -> None:
        """Run the networks of this process once; raises if that fails."""
        if self._networks:
            await self._networks.check()


def build(config: ServeConfig) -> serve.Application:
    """Build the application with the models that are in storage now, or those of `config.served`.

    Raises:
        ColorganError: there is no model, no router fits the models, a setting cannot be used, or
            this process has other code than the one that deploys.
    """
    if config.code:
        check_service_code(config.code)
    code = code_digest()
    names, choices = config.served, dict[str, Choice]()
    if not names:
        parts = find_parts(config)
        names, choices = tuple(parts.cards), parts.choices(config.one_process)
    # A replica that is replaced finishes its requests; Serve's default of 20 s would cut some off.
    drain_s = config.limits.request_timeout_s + _ANSWER_SECONDS
    loading = loading_of(config)
    ingress = Ingress.options(  # type: ignore[attr-defined]
        graceful_shutdown_timeout_s=drain_s, user_config={}
    )
    if config.one_process:
        return ingress.bind(config.api, loading, code, None, {}, choices.get(INGRESS))
    # Serve applies a user_config, by which a replica loads its packages, only if there is one.
    worker = WorkerDeployment.options(graceful_shutdown_timeout_s=drain_s, user_config={})
    router = worker.options(name=ROUTER).bind(load_router, loading, choices.get(ROUTER), code)
    generators = {
        name: worker.options(name=name).bind(load_one_generator, loading, choices.get(name), code)
        for name in names
    }
    # Photographs are decoded and encoded in the ingress's own threads.
    alone = replace(loading, threads=1)
    return ingress.bind(config.api, alone, code, router, generators)
