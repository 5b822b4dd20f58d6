"""The queue of trainings: many jobs share one cluster in the order in which they were submitted.

Every job asks once a second for a reservation for each of its models. The queue grants reservations
in the order of submission, as many as the cluster can hold together with the machines that its
autoscaler may add. No job overtakes another, so none starves. A model holds nothing while it waits,
so two jobs cannot deadlock. A job that stops polling is presumed dead, and its reservations are
released.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cluster.planning import NodeResources, Plan, fits

_NAME = "colorgan-queue"
_NAMESPACE = "colorgan"
_FORGET_SECONDS = 30.0


@dataclass(frozen=True, order=True)
class Reservation:
    """What one model of a job needs.

    Attributes:
        submitted: when its job was, in seconds since the Unix epoch.
        run: the job's run.
        number: of the model in the run's order.
        model: its name.
        cpus: Ray's CPU share.
        gpus: Ray's GPU share.
    """

    submitted: float
    run: str
    number: int
    model: str
    cpus: float = field(compare=False)
    gpus: float = field(compare=False)

    def __str__(self) -> str:
        """As people are told of it: run/model."""
        return f"{self.run}/{self.model}"


class GpuQueue:
    """The reservations that are held, and those that are waited for."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._heard: dict[str, float] = {}
        self._held: dict[str, set[Reservation]] = {}
        self._wanted: dict[str, set[Reservation]] = {}

    def ask(
        self,
        run: str,
        held: Sequence[Reservation],
        wanted: Sequence[Reservation],
        nodes: Sequence[NodeResources],
        now: float,
    ) -> dict[str, str]:
        """Take note of what a run holds and wants; whatever it does not name, it gives up.

        Args:
            run: who asks.
            held: the places that it was promised before.
            wanted: the places that it wants besides.
            nodes: the machines that there are, or that the autoscaler may add.
            now: in seconds, of a clock that never goes back.

        Returns:
            For each wanted model: empty where it has its place now, or else whom it waits for.
        """
        self._heard[run], self._held[run], self._wanted[run] = now, set(held), set(wanted)
        for silent in [each for each, at in self._heard.items() if now - at > _FORGET_SECONDS]:
            self._drop(silent)
        self._promise(nodes)
        answer = {}
        for place in wanted:
            waits = [*self._all(self._held), *self._before(place)]
            answer[place.model] = (
                "" if place in self._held[run] else ", ".join(str(other) for other in waits)
            )
        if not self._held[run] and not self._wanted[run]:
            self._drop(run)
        return answer

    @property
    def empty(self) -> bool:
        """Whether nobody holds a place or waits for one."""
        return not self._heard

    def _promise(self, nodes: Sequence[NodeResources]) -> None:
        for place in self._all(self._wanted):
            held = [(each.cpus, each.gpus) for each in self._all(self._held)]
            # What fits nowhere, since machines have gone, waits for Ray to find it a machine.
            if held and not fits(nodes, [*held, (place.cpus, place.gpus)]):
                return  # and whoever comes after waits, too
            self._wanted[place.run].discard(place)
            self._held[place.run].add(place)

    def _before(self, place: Reservation) -> list[Reservation]:
        return [other for other in self._all(self._wanted) if other < place]

    def _all(self, places: Mapping[str, set[Reservation]]) -> list[Reservation]:
        return sorted(place for each in places.values() for place in each)

    def _drop(self, run: str) -> None:
        del self._heard[run], self._held[run], self._wanted[run]


class Queue:
    """A run's view of the queue: it asks the cluster's one queue, and remembers what it holds."""

    def __init__(self, run: str, submitted: float, plans: Mapping[str, Plan]) -> None:
        """Name the run, when its job was submitted, and what each of its models needs."""
        self._run = run
        self._places = {
            model: Reservation(submitted, run, number, model, plan.cpus, plan.gpus)
            for number, (model, plan) in enumerate(plans.items())
        }
        self._held: set[str] = set()
        self._actor: Any = None

    def ask(self, wanted: Sequence[str], nodes: Sequence[NodeResources]) -> dict[str, str]:
        """Ask for places, once a second, and at the end for none; see `GpuQueue.ask`."""
        import ray

        held = [self._places[model] for model in sorted(self._held)]
        arguments = (self._run, held, [self._places[model] for model in wanted], nodes)
        try:
            answer: dict[str, str] = ray.get(self._shared_queue().ask.remote(*arguments))
        except ray.exceptions.RayActorError:
            self._actor = None  # its machine has died, or it had nothing to do: ask a new one
            return dict.fromkeys(wanted, "the queue")
        self._held |= {model for model, others in answer.items() if not others}
        return answer

    def leave(self, model: str) -> None:
        """Give a model's place back."""
        self._held.discard(model)

    def _shared_queue(self) -> Any:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        if self._actor is None:
            here = ray.get_runtime_context().get_node_id()
            self._actor = (
                ray.remote(num_cpus=0)(_Actor)
                .options(
                    name=_NAME,
                    namespace=_NAMESPACE,
                    get_if_exists=True,
                    lifetime="detached",
                    scheduling_strategy=NodeAffinitySchedulingStrategy(here, soft=False),
                )
                .remote()
            )
        return self._actor


class _Actor:
    """The queue, as the one actor of the cluster that all jobs ask."""

    def __init__(self) -> None:
        self._queue = GpuQueue()

    def ask(
        self,
        run: str,
        held: Sequence[Reservation],
        wanted: Sequence[Reservation],
        nodes: Sequence[NodeResources],
    ) -> dict[str, str]:
        answer = self._queue.ask(run, held, wanted, nodes, time.monotonic())
        if self._queue.empty:
            import ray

            # The next job starts another, of the code that is installed then.
            ray.actor.exit_actor()
        return answer
