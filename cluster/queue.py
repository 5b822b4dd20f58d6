"""The queue of trainings: many jobs share one cluster in the order in which they were submitted.

Every job asks once a second for a reservation for each of its models. The queue grants reservations
in the order of submission, as many as the cluster can hold together with the machines that its
autoscaler may add. No job overtakes another, so none starves, with one exception: a model that
needs no GPU does not wait for one that waits for a GPU, if the other will still find the CPUs that
it needs. A model holds nothing while it waits, so two jobs cannot deadlock. A job that stops
polling is presumed dead, and its reservations are released.
"""

import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from cluster.planning import NodeResources, Plan, fits

# The number changes with the messages: jobs of another version must not speak to this queue.
_NAME = "colorgan-queue-3"
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
        job: identifies the job, because runs of two storages may have the same name.
        cpus: CPUs that Ray reserves on one machine.
        gpus: GPUs that Ray reserves on the same machine.
        times: how often Ray reserves these, on any machines.
    """

    submitted: float
    run: str
    number: int
    model: str
    job: str
    cpus: float = field(compare=False)
    gpus: float = field(compare=False)
    times: int = field(compare=False, default=1)


class GpuQueue:
    """The reservations that jobs hold, and those that they wait for."""

    def __init__(self, forget_s: float = _FORGET_SECONDS) -> None:
        """Start with an empty queue, which forgets jobs that have not asked for so long."""
        self._forget_s = forget_s
        self._heard: dict[str, float] = {}
        self._held: dict[str, set[Reservation]] = {}
        self._wanted: dict[str, set[Reservation]] = {}

    def ask(
        self,
        job: str,
        held: Sequence[Reservation],
        wanted: Sequence[Reservation],
        nodes: Sequence[NodeResources],
        now: float,
    ) -> dict[str, str]:
        """Record what a job holds and wants; reservations that it does not name are released.

        Args:
            job: the job that asks.
            held: reservations that were granted to it earlier.
            wanted: further reservations that it requests.
            nodes: machines of the cluster, including those that the autoscaler may add.
            now: seconds of a monotonic clock.

        Returns:
            For each wanted model, an empty string if its reservation is granted, or otherwise what
            it waits for, in words.
        """
        self._heard[job], self._held[job], self._wanted[job] = now, set(held), set(wanted)
        self.forget(now)
        self._promise(nodes)
        answer = {}
        for place in wanted:
            answer[place.model] = "" if place in self._held[job] else self._waits_for(place)
        if not self._held[job] and not self._wanted[job]:
            self._drop(job)
        return answer

    def forget(self, now: float) -> None:
        """Release the reservations of jobs that have stopped asking."""
        for silent in [each for each, at in self._heard.items() if now - at > self._forget_s]:
            self._drop(silent)

    @property
    def empty(self) -> bool:
        """Whether no job holds or wants a reservation."""
        return not self._heard

    def _promise(self, nodes: Sequence[NodeResources]) -> None:
        first: Reservation | None = None  # of those that wait
        for place in self._all(self._wanted):
            holders = self._all(self._held)
            # If nothing is held, a reservation is granted even when it does not fit, because
            # machines may have gone: Ray then waits for a machine.
            free = not holders or fits(nodes, _needs([*holders, place]))
            if first is not None:
                # Only one that needs no GPU may pass, and only if `first` fits beside it.
                beside = [each for each in holders if not each.gpus]
                passes = first.gpus and not place.gpus
                free = bool(free and passes and fits(nodes, _needs([first, *beside, place])))
            if free:
                self._wanted[place.job].discard(place)
                self._held[place.job].add(place)
            elif first is None:
                first = place

    def _waits_for(self, place: Reservation) -> str:
        """What a reservation waits for: those before it in the queue, and who trains."""
        before = len([other for other in self._all(self._wanted) if other < place])
        holders = self._all(self._held)
        if any(other.run == place.run and other.job != place.job for other in holders):
            return (
                f"an earlier job of run {place.run} holds a place, which is released "
                f"{self._forget_s:.0f} s after its end"
            )
        runs = list(dict.fromkeys(other.run for other in holders))
        training = f"run{'s' * (len(runs) > 1)} {_listed(runs)} {'is' if len(runs) == 1 else 'are'}"
        line = f"{before} ahead" if before else "next in the queue"
        return f"{line}; {training} training" if runs else line

    def _all(self, places: Mapping[str, set[Reservation]]) -> list[Reservation]:
        return sorted(place for each in places.values() for place in each)

    def _drop(self, job: str) -> None:
        del self._heard[job], self._held[job], self._wanted[job]


def _needs(places: Sequence[Reservation]) -> list[tuple[float, float]]:
    return [(place.cpus, place.gpus) for place in places for _ in range(place.times)]


def _listed(names: Sequence[str]) -> str:
    """At most two names in words."""
    if len(names) > 2:
        return f"{names[0]}, {names[1]} and {len(names) - 2} more"
    return " and ".join(names)


class Queue:
    """A run's client of the cluster's queue, which remembers the reservations of the run."""

    def __init__(self, run: str, submitted: float, plans: Mapping[str, Plan]) -> None:
        """Describe the run.

        Args:
            run: name of the run.
            submitted: when its job was submitted, in seconds since the Unix epoch.
            plans: resources of each model, in the order in which they should train.
        """
        self._job = uuid.uuid4().hex
        self._places = {}
        for number, (model, plan) in enumerate(plans.items()):
            needs = plan.reservations
            self._places[model] = Reservation(
                submitted, run, number, model, self._job, *needs[0], times=len(needs)
            )
        self._held: set[str] = set()
        self._actor: Any = None

    def ask(self, wanted: Sequence[str], nodes: Sequence[NodeResources]) -> dict[str, str]:
        """Request reservations for models; see `GpuQueue.ask`.

        A run asks once a second, and at its end with no models, which releases everything.
        """
        import ray

        # Plain values: the queue may have been started by a job of another checkout.
        held = [asdict(self._places[model]) for model in sorted(self._held)]
        further = [asdict(self._places[model]) for model in wanted]
        arguments = (self._job, held, further, [asdict(node) for node in nodes])
        try:
            answer: dict[str, str] = ray.get(self._shared_queue().ask.remote(*arguments))
        except ray.exceptions.RayActorError:
            self._actor = None  # its machine died, or it ended because it was empty: use a new one
            return dict.fromkeys(wanted, "the queue starts")
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
                .remote(_FORGET_SECONDS)
            )
        return self._actor


class _Actor:
    """The queue as an actor, of which the cluster has one for all jobs.

    It is detached, because any of its jobs may end first, and ends itself when no job is left, even
    if the last one was killed.
    """

    def __init__(self, forget_s: float) -> None:
        import ray

        self._queue = GpuQueue(forget_s)
        self._lock = threading.Lock()
        itself = ray.get_runtime_context().current_actor
        threading.Thread(target=self._watch, args=(itself, forget_s), daemon=True).start()

    def ask(
        self,
        job: str,
        held: Sequence[dict[str, Any]],
        wanted: Sequence[dict[str, Any]],
        nodes: Sequence[dict[str, float]],
    ) -> dict[str, str]:
        with self._lock:
            answer = self._queue.ask(
                job,
                [Reservation(**place) for place in held],
                [Reservation(**place) for place in wanted],
                [NodeResources(**node) for node in nodes],
                time.monotonic(),
            )
            empty = self._queue.empty
        if empty:
            import ray

            # The next job starts a new actor, with the code that is installed by then.
            ray.actor.exit_actor()
        return answer

    def _watch(self, itself: Any, forget_s: float) -> None:
        """Forget the jobs that have stopped asking, and end when none is left."""
        import ray

        time.sleep(forget_s)  # time for the job that started it to ask
        while True:
            with self._lock:
                self._queue.forget(time.monotonic())
                if self._queue.empty:
                    ray.kill(itself)  # exit_actor would wait for this thread's own calls
                    return
            time.sleep(forget_s / 10)
