"""What the replicas of the router and of the generators run, apart from the API's imports.

A replica loads its packages when Serve applies its user_config, which names them. When they change,
it loads the new ones beside the old ones and then swaps them: the process stays, requests in flight
end with the old packages, and no second process is started.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from ray import serve

from cluster.code import check_service_code
from colorgan.errors import ConfigError
from colorgan.images.decoding import Pixels
from colorgan.inference.networks import ModelInfo, PredictedColor, Routed, RouterInfo, Square
from colorgan.inference.router import Route
from colorgan.models.detection import Detection
from colorgan.models.noise import FIRST, Numbers
from colorgan.system import return_buffers
from serve.config import Choice, ReplicaSettings
from serve.workers import DetectorInfo, Loading, RouterWorker, Worker

# Serve's default of 0 stops a replica before it starts the next one, which interrupts the service
# of a deployment with one replica.
SURGE_PERCENT = 100

# Time until a replica that could not load its new packages tries again.
_RETRY_SECONDS = 30.0

Loaded = TypeVar("Loaded")


class InPlace(Generic[Loaded]):
    """What a replica has loaded from packages, and replaces when it is to serve others."""

    def __init__(self, load: Callable[[Choice], Loaded], default: Choice | None) -> None:
        """Load nothing yet.

        Args:
            load: loads packages; it is called in a thread.
            default: the packages to load if the settings name none.
        """
        self._load = load
        self._default = default
        self._choice: Choice | None = None
        self._loaded: Loaded | None = None
        self._retry: asyncio.Task[None] | None = None

    @property
    def loaded(self) -> Loaded:
        """What is loaded; raises RuntimeError before the first packages are."""
        if self._loaded is None:
            raise RuntimeError("the replica has loaded no package yet")
        return self._loaded

    async def change(self, choice: Choice | None) -> None:
        """Load packages, and serve the ones before until that is done.

        If they cannot be loaded, the ones before stay, and loading is tried again from time to
        time: Serve would otherwise end the replica, and start one that serves nothing.

        Raises:
            ColorganError: no packages are loaded yet, and these cannot be.
        """
        wanted = choice or self._default
        if wanted is None:
            raise ConfigError(
                "the user_config of the deployment names no packages: deploy the service by "
                "python -m serve.deploy"
            )
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if wanted == self._choice:
            return
        if self._loaded is None:
            await self._swap(wanted)
        elif not await self._try(wanted):
            self._retry = asyncio.create_task(self._try_again(wanted))

    async def _swap(self, choice: Choice) -> None:
        self._loaded = await asyncio.to_thread(self._load, choice)
        self._choice = choice
        await asyncio.to_thread(return_buffers)  # of the packages before, and of loading

    async def _try(self, choice: Choice) -> bool:
        try:
            await self._swap(choice)
        except Exception:
            logging.getLogger(__name__).exception(
                "%s cannot be loaded; the packages before are served, and loading is tried again "
                "in %g s",
                ", ".join(choice.packages),
                _RETRY_SECONDS,
            )
            return False
        return True

    async def _try_again(self, choice: Choice) -> None:
        while True:
            await asyncio.sleep(_RETRY_SECONDS)
            if await self._try(choice):
                return


class Batches:
    """Runs a worker on photographs in batches.

    The photographs that are waiting form the next batch. Waiting for more would delay a single
    photograph.
    """

    def __init__(self, worker: Callable[[], Worker]) -> None:
        """Take a function that returns the worker of the next batch."""

        def classify(photographs: Sequence[Square]) -> list[Route]:
            router = worker()
            assert isinstance(router, RouterWorker)
            return router.classify(photographs)

        def work(jobs: Sequence[tuple[Square, Numbers]]) -> Sequence[Routed | PredictedColor]:
            photographs, numbers = zip(*jobs, strict=True)
            return worker().work(photographs, numbers)

        def detect(pictures: Sequence[Pixels]) -> list[list[Detection]]:
            router = worker()
            assert isinstance(router, RouterWorker)
            return router.detect(pictures)

        self._work = _batched(work)
        self.classify = _batched(classify)
        self.detect = _batched(detect)

    async def work(self, photograph: Square, numbers: Numbers = FIRST) -> Any:
        """Route or colour a square, in the variants of these numbers."""
        return await self._work((photograph, numbers))

    def set(self, settings: ReplicaSettings) -> None:
        """Apply the sizes of batches, where the settings have them."""
        for method in (self._work, self.classify):
            if settings.max_batch_size is not None:
                method.set_max_batch_size(settings.max_batch_size)
            if settings.batch_wait_timeout_s is not None:
                method.set_batch_wait_timeout_s(settings.batch_wait_timeout_s)


def _batched(step: Callable[[list[Any]], Sequence[Any]]) -> Any:
    """A coroutine function of one photograph; Serve keeps a queue for each such function."""

    @serve.batch(max_batch_size=8, batch_wait_timeout_s=0.0)
    async def run(photographs: list[Any]) -> list[Any]:
        return list(await asyncio.to_thread(step, photographs))

    return run


class Replica:
    """A replica of the router or of a generator, which works in batches."""

    def __init__(
        self,
        load: Callable[[Loading, Choice], Worker],
        loading: Loading,
        default: Choice | None,
        code: str,
    ) -> None:
        """Load nothing yet; raises ColorganError if this process has other code.

        Args:
            load: loads the worker.
            loading: how.
            default: the packages to load if the settings name none.
            code: `code_digest` of the application.
        """
        check_service_code(code)
        loading.prepare()
        self._worker = InPlace(lambda choice: load(loading, choice), default)
        self._batches = Batches(lambda: self._worker.loaded)

    async def reconfigure(self, settings: dict[str, Any]) -> None:
        """Apply the deployment's user_config, as ReplicaSettings; raises as `InPlace.change`."""
        chosen = ReplicaSettings(**settings)
        self._batches.set(chosen)
        await self._worker.change(chosen.choice)

    async def info(self) -> RouterInfo | ModelInfo:
        """Describe the worker's router or model."""
        return self._worker.loaded.info

    async def work(self, photograph: Square, numbers: Numbers = FIRST) -> Routed | PredictedColor:
        """Route or colour a square; see `work` of the worker."""
        answer: Routed | PredictedColor = await self._batches.work(photograph, numbers)
        return answer

    async def detector(self) -> DetectorInfo | None:
        """Describe the detector; only replicas of the router may have one."""
        worker = self._worker.loaded
        return worker.detector if isinstance(worker, RouterWorker) else None

    async def detect(self, picture: Pixels) -> list[Detection]:
        """Find the objects of a photograph; only replicas of the router with a detector can."""
        found: list[Detection] = await self._batches.detect(picture)
        return found

    async def classify(self, photograph: Square) -> Route:
        """Route a square without colouring it; only replicas of the router can."""
        route: Route = await self._batches.classify(photograph)
        return route

    async def check_health(self) -> None:
        """Run the network once; raises if that fails."""
        await asyncio.to_thread(self._worker.loaded.check)


WorkerDeployment = serve.deployment(
    max_ongoing_requests=64,
    max_queued_requests=64,
    # These limit the time until the controller replaces a replica that died, or whose machine did.
    health_check_period_s=10,
    health_check_timeout_s=10,
    max_surge_percent=SURGE_PERCENT,
    ray_actor_options={"num_cpus": 0.1},
)(Replica)
