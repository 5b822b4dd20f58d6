"""A training whose number of workers follows the resources that are free.

Ray Train's elastic policy decides when a number is looked for, and has the group of workers started
anew with it. What the number is, is decided here: Ray's autoscaling coordinator, which the policy
would ask, divides the machines among those that asked it, learns of a machine that has died up to
20 seconds later, and knows nothing of what other jobs, services and trainings use.

Before a group is ended, its training is asked to write its state where another number of workers
can continue it, so that it loses the steps of a few seconds at most.
"""

import socket
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray.train import ScalingConfig
from ray.train.v2._internal.execution.callback import WorkerGroupCallback
from ray.train.v2._internal.execution.context import TrainRunContext
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.scaling_policy import (
    ElasticScalingPolicy,
    NoopDecision,
    ResizeDecision,
    ScalingDecision,
)
from ray.train.v2._internal.execution.worker_group import (
    WorkerGroupPollStatus,
    WorkerGroupState,
)
from ray.util import placement_group_table

from cluster.connection import may_grow
from cluster.planning import Need, NodeResources, Plan, workers_with_room
from cluster.worker_group import LeanWorkerGroup

# How long more workers than a training must have wait for the room that was there a moment ago.
_GROWTH_SECONDS = 30.0

_ANSWER_SECONDS = 2.0  # within which a machine accepts a connection

_UNPLACED = ("PENDING", "RESCHEDULING")


class ElasticPolicy(ElasticScalingPolicy):
    """As many workers as there is room for, between the plan's smallest and greatest number."""

    # The trainings of this process whose workers start: what each needs, and its placement group,
    # which is empty until it has one.
    _starting: dict[str, tuple[Sequence[Need], str]] = {}  # noqa: RUF012 - shared by all trainings
    _lock = threading.Lock()  # two must not take the same room

    def __init__(self, scaling_config: ScalingConfig, model: str, plan: Plan, host: Any) -> None:
        """Take what is trained, its plan, and the TrainingHost in whose process this runs."""
        super().__init__(scaling_config)
        self._model, self._plan, self._host = model, plan, host
        self._group: str = ""  # the ID of the placement group
        self._workers = 0
        self._asked = False  # for a checkpoint
        with self._lock:
            self._starting[model] = plan.reservations, ""

    def make_decision_for_non_running_worker_group(self) -> ScalingDecision:
        """Start with as many workers as there is room for, or wait for room for the fewest."""
        self._maybe_send_resource_request()
        self._asked = False
        with self._lock:
            return self._resized(self._count())

    def make_decision_for_running_worker_group(
        self, worker_group_state: WorkerGroupState, worker_group_status: WorkerGroupPollStatus
    ) -> ScalingDecision:
        """Change the number of workers if there is room for another, after a checkpoint."""
        self._maybe_send_resource_request()
        self.leave()
        if not self._asked:
            decision: ScalingDecision = super().make_decision_for_running_worker_group(
                worker_group_state, worker_group_status
            )
            if isinstance(decision, ResizeDecision):
                self._asked = True
                ray.get(self._host.ask_to_save.remote(self._model))
            return NoopDecision()
        if not ray.get(self._host.has_saved.remote(self._model)):
            return NoopDecision()
        self._asked = False
        with self._lock:
            number = self._count()
            return NoopDecision() if number == self._workers else self._resized(number)

    def _resized(self, number: int) -> ResizeDecision:
        self._starting[self._model] = [(self._plan.cpus, self._plan.gpus)] * number, ""
        if self._workers not in (0, number):
            now = f"{number} worker{'s' * (number > 1)} from now on, {self._workers} before"
            self._host.note.remote((self._model, "restarting", now))
        self._workers = number
        return self._get_resize_decision(number)

    def _get_reserved_resources(self) -> dict[str, dict[str, float]]:
        return {}  # those of the coordinator are not asked for

    def _count_possible_workers(self, reserved_resources: Any) -> int:
        with self._lock:
            return self._count()

    def _count(self) -> int:
        table = placement_group_table()
        starting = [each for model, each in self._starting.items() if model != self._model]
        known = {self._group, *(group for _, group in starting)}
        others: list[Sequence[Need]] = [
            _missing(group)
            for name, group in table.items()
            if name not in known and group["state"] in _UNPLACED
        ]
        others += [
            needs for needs, group in starting if table.get(group, {}).get("state") != "CREATED"
        ]
        return workers_with_room(self._plan, _free(table.get(self._group)), others)

    def ask_with(self, group: str) -> None:
        """Note the ID of the placement group that asks for the workers' room."""
        self._group = group
        with self._lock:
            self._starting[self._model] = self._starting[self._model][0], group

    def leave(self) -> None:
        """Note that the workers have started, or that the training has ended."""
        with self._lock:
            self._starting.pop(self._model, None)

    # On a cluster that can start machines, Ray's policy asks it for the greatest number.

    def after_controller_start(self, train_run_context: TrainRunContext) -> None:
        """Ask for machines, if there is an autoscaler."""
        if may_grow():
            super().after_controller_start(train_run_context)

    def _maybe_send_resource_request(self) -> None:
        if self._coordinator_client:
            super()._maybe_send_resource_request()


class Asking(WorkerGroupCallback):
    """Brings a policy to the groups of workers that follow it."""

    def __init__(self, policy: ElasticPolicy) -> None:
        """Take the policy."""
        self.policy = policy


class _ElasticGroup(LeanWorkerGroup):
    """A group of workers that does not wait long for room that another has taken."""

    def __init__(self, train_run_context: TrainRunContext, *arguments: Any, **named: Any) -> None:
        super().__init__(train_run_context, *arguments, **named)
        # With the fewest workers it waits for room, and so for a machine that the cluster starts.
        if self._worker_group_context.num_workers > train_run_context.scaling_config.min_workers:
            self._worker_group_start_timeout_s = _GROWTH_SECONDS

    def _create_placement_group(self, *arguments: Any) -> Any:
        handle = super()._create_placement_group(*arguments)
        for callback in self._callbacks:
            if isinstance(callback, Asking):
                callback.policy.ask_with(handle.placement_group.id.hex())
        return handle


class ElasticController(TrainController):
    """The controller of a training that follows an `ElasticPolicy`."""

    worker_group_cls = _ElasticGroup


def _free(own: Mapping[str, Any] | None) -> list[NodeResources]:
    """What is free on each machine, where what a placement group has counts as free.

    Nothing is free on machines that are about to be taken away, or that do not answer.
    """
    state = ray._private.state.state
    available, leaving = state.available_resources_per_node(), state.get_draining_nodes() or {}
    free = []
    for name, node in _alive().items():
        address = node["NodeManagerAddress"], node["NodeManagerPort"]
        if name not in leaving and _answers(*address):
            parts = [available.get(name, {}), *_bundles_on(name, own)]
            cpus, gpus = (sum(part.get(kind, 0.0) for part in parts) for kind in ("CPU", "GPU"))
            free.append(NodeResources(cpus, gpus))
    return free


def _bundles_on(node: str, group: Mapping[str, Any] | None) -> list[dict[str, float]]:
    """What a placement group has on a machine."""
    if group is None or group["state"] == "REMOVED":
        return []
    places = group["bundles_to_node_id"]
    return [bundle for number, bundle in group["bundles"].items() if places[number] == node]


def _alive() -> dict[str, dict[str, Any]]:
    """What Ray says of the machines that it believes to be alive, by their IDs."""
    return {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}


def _answers(address: str, port: int) -> bool:
    """Whether a machine is there; Ray learns of its death a quarter of a minute later."""
    try:
        socket.create_connection((address, port), _ANSWER_SECONDS).close()
        return True
    except OSError:
        return False


def _missing(group: Mapping[str, Any]) -> list[Need]:
    """What a placement group waits for."""
    alive = _alive()
    needs = [
        (bundle.get("CPU", 0.0), bundle.get("GPU", 0.0))
        for number, bundle in group["bundles"].items()
        if group["bundles_to_node_id"][number] not in alive
    ]
    if group["strategy"] == "STRICT_PACK":
        return [(sum(cpus for cpus, _ in needs), sum(gpus for _, gpus in needs))]
    return needs
