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
        submitted: when the job was submitted, in seconds since the Unix epoch.
        run: the job's run.
        number: position of the model in the run's order.
        model: name of the model.
        cpus: CPUs that Ray reserves.
        gpus: GPUs that Ray reserves.
    """

    submitted: float
    run: str
    number: int
    model: str
    cpus: float = field(compare=False)
    gpus: float = field(compare=False)

    def __str__(self) -> str:
        """The form shown to users: run/model."""
        return f"{self.run}/{self.model}"


class GpuQueue:
    """The reservations that jobs hold, and those that they wait for."""

    def __init__(self) -> None:
        """Start with an empty queue."""
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
        """Record what a run holds and wants; reservations that it does not name are released.

        Args:
            run: the run that asks.
            held: reservations that were granted to it earlier.
            wanted: further reservations that it requests.
            nodes: machines of the cluster, including those that the autoscaler may add.
            now: seconds of a monotonic clock.

        Returns:
            For each wanted model, an empty string if its reservation is granted, or otherwise the
            reservations that it waits for.
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
        """Whether no run holds or wants a reservation."""
        return not self._heard

    def _promise(self, nodes: Sequence[NodeResources]) -> None:
        for place in self._all(self._wanted):
            held = [(each.cpus, each.gpus) for each in self._all(self._held)]
            # If nothing is held, a reservation is granted even when it does not fit, because
            # machines may have gone: Ray then waits for a machine.
            if held and not fits(nodes, [*held, (place.cpus, place.gpus)]):
                return  # later reservations must not overtake this one
            self._wanted[place.run].discard(place)
            self._held[place.run].add(place)

    def _before(self, place: Reservation) -> list[Reservation]:
        return [other for other in self._all(self._wanted) if other < place]

    def _all(self, places: Mapping[str, set[Reservation]]) -> list[Reservation]:
        return sorted(place for each in places.values() for place in each)

    def _drop(self, run: str) -> None:
        del self._heard[run], self._held[run], self._wanted[run]


class Queue:
    """A run's client of the cluster's queue, which remembers the reservations of the run."""

    def __init__(self, run: str, submitted: float, plans: Mapping[str, Plan]) -> None:
        """Describe the run.

        Args:
            run: name of the run.
            submitted: when its job was submitted, in seconds since the Unix epoch.
            plans: resources of each model, in the order in which they should train.
        """
        self._run = run
        self._places = {
            model: Reservation(submitted, run, number, model, plan.cpus, plan.gpus)
            for number, (model, plan) in enumerate(plans.items())
        }
        self._held: set[str] = set()
        self._actor: Any = None

    def ask(self, wanted: Sequence[str], nodes: Sequence[NodeResources]) -> dict[str, str]:
        """Request reservations for models; see `GpuQueue.ask`.

        A run asks once a second, and at its end with no models, which releases everything.
        """
        import ray

        held = [self._places[model] for model in sorted(self._held)]
        arguments = (self._run, held, [self._places[model] for model in wanted], nodes)
        try:
            answer: dict[str, str] = ray.get(self._shared_queue().ask.remote(*arguments))
        except ray.exceptions.RayActorError:
            self._actor = None  # its machine died, or it ended because it was empty: use a new one
            return dict.fromkeys(wanted, "the queue")
        self._held |= {model for model, others in answer.items() if not others}
        return answer

    def leave(self, model: str) -> None:
        """Release a model's reservation with the next `ask`."""
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
    """The queue as an actor, of which the cluster has one for all jobs."""

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

            # The next job starts a new actor, with the code that is installed by then.
            ray.actor.exit_actor()
        return answer
