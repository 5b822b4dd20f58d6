"""The application on Ray Serve: an ingress -> the router -> one deployment per generator.

    serve run serve.app:build storage=s3://bucket/prefix
    python -m serve.deploy serve/production.yaml

Each generator is deployed with its package. When the application is deployed with other versions,
Serve starts each new replica before it stops the old one, so the update needs twice the resources.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from fastapi import FastAPI
from ray import serve
from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle

from colorgan.inference.networks import ModelInfo, PredictedColor, Routed, RouterInfo, Square
from colorgan.inference.router import Route
from colorgan.storage import open_storage
from colorgan.system import keep_buffers
from serve.api import create_api
from serve.backend import Busy, find_parts
from serve.config import Limits, ServeConfig
from serve.workers import GeneratorWorker, RouterWorker, Worker

# Serve's default of 0 stops a replica before it starts the next one, which interrupts the service
# of a deployment with one replica.
_SURGE_PERCENT = 100

# How long the ingress caches the description of a worker, which a rolling update may change.
_INFO_SECONDS = 5.0

# Time after a request's time limit until the client has its answer.
_ANSWER_SECONDS = 5.0


@serve.deployment(
    max_ongoing_requests=64,
    max_queued_requests=64,
    # These limit the time until the controller replaces a replica that died, or whose machine did.
    health_check_period_s=10,
    health_check_timeout_s=10,
    max_surge_percent=_SURGE_PERCENT,
    ray_actor_options={"num_cpus": 0.1},
)
class WorkerDeployment:
    """A replica of the router or of a generator, which works in batches."""

    def __init__(self, worker: type[Worker], threads: int, *arguments: Any) -> None:
        torch.set_num_threads(threads)
        keep_buffers()
        self._worker = worker(*arguments)

    def reconfigure(self, settings: dict[str, Any]) -> None:
        """Apply the deployment's user_config: max_batch_size and batch_wait_timeout_s."""
        unknown = settings.keys() - {"max_batch_size", "batch_wait_timeout_s"}
        if unknown:
            raise ValueError(f"user_config has no setting {', '.join(sorted(unknown))}")
        for method in (self.work, self.classify):
            if "max_batch_size" in settings:
                method.set_max_batch_size(settings["max_batch_size"])
            if "batch_wait_timeout_s" in settings:
                method.set_batch_wait_timeout_s(settings["batch_wait_timeout_s"])

    async def info(self) -> RouterInfo | ModelInfo:
        """Describe the worker's router or model."""
        return self._worker.info

    # The photographs that are waiting form the next batch. Waiting for more would delay a single
    # photograph.
    @serve.batch(max_batch_size=8, batch_wait_timeout_s=0.0)
    async def work(self, photographs: list[Square]) -> list[Routed] | list[PredictedColor]:
        """Route or colour squares; see `work` of the worker."""
        return await asyncio.to_thread(self._worker.work, photographs)

    @serve.batch(max_batch_size=8, batch_wait_timeout_s=0.0)
    async def classify(self, photographs: list[Square]) -> list[Route]:
        """Route squares without colouring them; only replicas of the router can."""
        assert isinstance(self._worker, RouterWorker)
        return await asyncio.to_thread(self._worker.classify, photographs)

    async def check_health(self) -> None:
        """Run the network once; raises if that fails."""
        await asyncio.to_thread(self._worker.check)


class HandleBackend:
    """A backend that calls the router and the generators through Serve's handles."""

    def __init__(
        self, router: DeploymentHandle, generators: Mapping[str, DeploymentHandle]
    ) -> None:
        """Take the handles; nothing is called yet."""
        self._router = router
        self._generators = generators
        self._known: tuple[float, RouterInfo, dict[str, ModelInfo]] | None = None

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

    async def route(self, squares: Sequence[Square]) -> Sequence[Routed]:
        """Route photographs, and colour those that the router can, on replicas."""
        routed: Sequence[Routed]
        routed = await asyncio.gather(*(_ask(self._router.work, each) for each in squares))
        return routed

    async def paint(self, model: str, squares: Sequence[Square]) -> Sequence[PredictedColor]:
        """Colour photographs on replicas."""
        work = self._generators[model].work
        painted: Sequence[PredictedColor]
        painted = await asyncio.gather(*(_ask(work, each) for each in squares))
        return painted

    async def _infos(self) -> tuple[RouterInfo, dict[str, ModelInfo]]:
        if self._known is None or time.monotonic() - self._known[0] > _INFO_SECONDS:
            router, *models = await asyncio.gather(
                _ask(self._router.info),
                *(_ask(handle.info) for handle in self._generators.values()),
            )
            named = dict(zip(self._generators, models, strict=True))
            self._known = (time.monotonic(), router, named)
        return self._known[1:]


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


@serve.deployment(
    name="ingress",
    max_ongoing_requests=1000,  # a full ingress answers by itself, with Retry-After
    max_surge_percent=_SURGE_PERCENT,
    ray_actor_options={"num_cpus": 0.1},
)
@serve.ingress()
class Ingress:
    """A replica of the ingress: the API in front of the handles."""

    def __init__(
        self,
        limits: Limits,
        router: DeploymentHandle,
        generators: dict[str, DeploymentHandle],
        storage: str,
    ) -> None:
        torch.set_num_threads(1)  # photographs are decoded and encoded in the ingress's own threads
        keep_buffers()
        self._backend = HandleBackend(router, generators)
        self._limits = limits
        self._storage = open_storage(storage)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Create the API; Serve calls this after it has constructed the replica."""
        return create_api(self._backend, self._limits, self._storage)


def build(config: ServeConfig) -> serve.Application:
    """Build the application with the models that are in storage now.

    Raises:
        ColorganError: there is no model, no router fits the models, or a setting cannot be used.
    """
    storage, parts = open_storage(config.storage), find_parts(config)
    # A replica that is replaced finishes its requests; Serve's default of 20 s would cut some off.
    drain_s = config.limits.request_timeout_s + _ANSWER_SECONDS
    worker = WorkerDeployment.options(  # type: ignore[attr-defined]
        graceful_shutdown_timeout_s=drain_s
    )
    how = (config.device, config.compile)
    router = worker.options(name="router").bind(
        RouterWorker, config.threads, storage.uri, parts.router, parts.cards, *how
    )
    generators = {
        name: worker.options(name=name).bind(
            GeneratorWorker, config.threads, storage.uri, card, *how
        )
        for name, card in parts.cards.items()
    }
    ingress = Ingress.options(  # type: ignore[attr-defined]
        graceful_shutdown_timeout_s=drain_s
    )
    return ingress.bind(config.limits, router, generators, storage.uri)
