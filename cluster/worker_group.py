"""The group of processes of one training: as Ray Train's, but started sooner."""

from typing import Any

from ray.train.v2._internal.execution.worker_group import WorkerGroup

# The variables of Ray Train that `cluster.connection`, `cluster.local` and `cluster.training` set.
_OF_CONTROLLERS = (
    "RAY_TRAIN_ENABLE_CONTROLLER_STRUCTURED_LOGGING",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S",
)


class LeanWorkerGroup(WorkerGroup):
    """Training processes that can be workers which Ray has started in advance.

    Ray Train passes its own variables to every training process. One with variables of its own
    cannot be a worker that waits, and imports Ray twice.
    """

    @staticmethod
    def _get_worker_runtime_env(custom_runtime_env: dict[str, Any]) -> dict[str, Any]:
        runtime_env = dict(WorkerGroup._get_worker_runtime_env(custom_runtime_env))
        variables = runtime_env.pop("env_vars")
        kept = {name: value for name, value in variables.items() if name not in _OF_CONTROLLERS}
        return {**runtime_env, "env_vars": kept} if kept else runtime_env
