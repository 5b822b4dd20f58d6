"""Ray Train without the processes that a training of one process does not need.

For every run, Ray Train starts a controller, a dataset manager, a placement group cleaner, a
synchronisation actor and the training process, and for all of them an autoscaling coordinator. Each
takes 1.5 s of a core to start and 1 % of one while it waits: its main thread looks for signals a
hundred times a second. Here only the synchronisation actor and the training process are a run's
own, the controllers of all runs are threads of one actor, and the others do not exist.
"""

import asyncio
from typing import Any

from ray.train import Result
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.execution.callback import RayTrainCallback
from ray.train.v2._internal.execution.context import TrainRunContext
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.scaling_policy.fixed import FixedScalingPolicy
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer


class SharedProcessTrainer(DataParallelTrainer):
    """A DataParallelTrainer whose controller runs in the thread that calls `fit`.

    The thread must be one of an actor's: the training processes are given the actor's handle as
    that of their controller. They die with the actor, and the job's placement groups with the job.
    """

    def _create_default_callbacks(self) -> list[RayTrainCallback]:
        # There is no Ray dataset, and `_release` does what the cleaner would.
        unneeded = (DatasetsCallback, PlacementGroupCleanerCallback)
        callbacks: list[RayTrainCallback] = super()._create_default_callbacks()
        return [callback for callback in callbacks if not isinstance(callback, unneeded)]

    def _initialize_and_run_controller(self, **options: Any) -> Result:
        options["scaling_policy"] = _PlacementGroupOnly(self.scaling_config)
        controller = TrainController(**options)
        try:
            asyncio.run(controller.run())
        finally:
            _release(controller)
        return controller.get_result()


class _PlacementGroupOnly(FixedScalingPolicy):
    """Always one process; its placement group alone tells the autoscaler what it needs."""

    def after_controller_start(self, train_run_context: TrainRunContext) -> None:
        """Register with no autoscaling coordinator."""

    def _maybe_send_resource_request(self) -> None:
        pass


def _release(controller: TrainController) -> None:
    """End the training process of a controller that failed, and give its resources back."""
    group = controller.get_worker_group()
    if group and group.has_started():
        group.shutdown()
