"""Ray Train without the processes that colorgan's training does not need.

For every run, Ray Train starts a controller, a dataset manager, a placement group cleaner, a
synchronisation actor and the training process, and one autoscaling coordinator for all of them.
Each process takes 1.5 s of a core to start and 1 % of a core while it waits, because its main
thread checks for signals a hundred times per second. Here each run has only its synchronisation
actor and its training processes. The controllers of all runs are threads of one actor, and the
other processes are not started.
"""

import asyncio
from typing import Any

from ray.exceptions import RayActorError
from ray.train import Result, UserCallback
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError
from ray.train.v2._internal.execution.callback import RayTrainCallback
from ray.train.v2._internal.execution.context import TrainRunContext
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.scaling_policy.fixed import FixedScalingPolicy
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from cluster.elastic import Asking, ElasticController, ElasticPolicy
from cluster.errors import cause
from cluster.planning import Plan
from cluster.worker_group import LeanWorkerGroup

# What gloo says when the process at the other end has died.
_LOST = ("Connection closed by peer", "Connection reset by peer")


class SharedProcessTrainer(DataParallelTrainer):
    """A DataParallelTrainer whose controller runs in the thread that calls `fit`.

    The thread must belong to an actor: the training processes receive the actor's handle as the
    handle of their controller. They die with the actor, and the job's placement groups with the
    job.
    """

    def _create_default_callbacks(self) -> list[RayTrainCallback]:
        # There is no Ray dataset, and `_release` replaces the cleaner.
        unneeded = (DatasetsCallback, PlacementGroupCleanerCallback)
        callbacks: list[RayTrainCallback] = super()._create_default_callbacks()
        return [callback for callback in callbacks if not isinstance(callback, unneeded)]

    def _initialize_and_run_controller(self, **options: Any) -> Result:
        options["scaling_policy"] = _PlacementGroupOnly(self.scaling_config)
        return self._run(_Controller(**options))

    def _run(self, controller: TrainController) -> Result:
        try:
            asyncio.run(controller.run())
        finally:
            _release(controller)
        return controller.get_result()


class ElasticTrainer(SharedProcessTrainer):
    """A trainer whose number of workers follows the resources that are free."""

    def __init__(self, *arguments: Any, model: str, plan: Plan, host: Any, **named: Any) -> None:
        """Take what SharedProcessTrainer takes, what is trained, its plan, and the TrainingHost."""
        super().__init__(*arguments, **named)
        self._policy = ElasticPolicy(self.scaling_config, model, plan, host)

    def _initialize_and_run_controller(self, **options: Any) -> Result:
        options["scaling_policy"] = self._policy
        options["callbacks"] = [*options["callbacks"], Asking(self._policy)]
        try:
            return self._run(ElasticController(**options))
        finally:
            self._policy.leave()


class _Controller(TrainController):
    worker_group_cls = LeanWorkerGroup


class RestartNotice(UserCallback):
    """Tells the driver that a training process is restarted, and why."""

    def __init__(self, model: str, host: Any, retries: int) -> None:
        """Take the model, the TrainingHost, and how often its process is restarted."""
        self._model, self._host, self._retries = model, host, retries
        self._failures = 0

    def after_exception(
        self, run_context: TrainRunContext, worker_exceptions: dict[int, Exception]
    ) -> None:
        """Add an event unless this was the last attempt."""
        self._failures += 1
        if self._failures > self._retries:
            return
        errors = worker_exceptions.values()
        died = any(map(_is_death, errors))
        why = "the worker died" if died else cause(next(iter(errors)))
        attempt = f"attempt {self._failures + 1} of {self._retries + 1}"
        self._host.note.remote((self._model, "restarting", f"after {why}, {attempt}"))


def _is_death(error: Exception) -> bool:
    """Whether an error says that a worker has died: its own death, or another one's loss of it."""
    died = isinstance(error, WorkerHealthCheckFailedError | RayActorError)
    return died or any(words in str(error) for words in _LOST)


class _PlacementGroupOnly(FixedScalingPolicy):
    """A fixed number of processes, whose placement group is the only request to the autoscaler."""

    def after_controller_start(self, train_run_context: TrainRunContext) -> None:
        """Skip the registration with the autoscaling coordinator."""

    def _maybe_send_resource_request(self) -> None:
        pass


def _release(controller: TrainController) -> None:
    """End the training process of a failed controller, and release its resources."""
    group = controller.get_worker_group()
    if group and group.has_started():
        group.shutdown()
