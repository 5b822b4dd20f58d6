"""Ray Train without the processes that single-process training does not need.

For every run, Ray Train starts a controller, a dataset manager, a placement group cleaner, a
synchronisation actor and the training process, and one autoscaling coordinator for all of them.
Each process takes 1.5 s of a core to start and 1 % of a core while it waits, because its main
thread checks for signals a hundred times per second. Here each run has only its synchronisation
actor and its training process. The controllers of all runs are threads of one actor, and the other
processes are not started.
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
        controller = TrainController(**options)
        try:
            asyncio.run(controller.run())
        finally:
            _release(controller)
        return controller.get_result()


class _PlacementGroupOnly(FixedScalingPolicy):
    """A fixed size of one process, whose placement group is the only request to the autoscaler."""

    def after_controller_start(self, train_run_context: TrainRunContext) -> None:
        """Skip the registration with the autoscaling coordinator."""

    def _maybe_send_resource_request(self) -> None:
        pass


def _release(controller: TrainController) -> None:
    """End the training process of a failed controller, and release its resources."""
    group = controller.get_worker_group()
    if group and group.has_started():
        group.shutdown()
