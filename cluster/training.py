"""Trains one model as a Ray Train run, which is restarted when its process or machine dies.

A run has one worker, or several that train the model together; if one of these dies, all restart.
Checkpoints are the library's own and are kept in storage, so any machine can continue a training
that another one began.
"""

import os
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.connection import AUTOSCALING
from cluster.errors import cause
from cluster.planning import Plan
from colorgan.errors import ColorganError, WorkerLost
from colorgan.temporary import temporary_folder
from colorgan.training.records import EpochRecord
from colorgan.training.runs import ModelResult, ModelRun, StopRequest

_ASK_SECONDS = 1.0  # interval at which a training reports its progress and receives requests

# Many controllers share one process, and each would configure the process's logging again.
_SETTINGS = {"RAY_TRAIN_ENABLE_CONTROLLER_STRUCTURED_LOGGING": "0"}

Event = tuple[str, str, Any]  # model, kind, value


class TrainingHost:
    """Runs the controllers of a job's trainings, and collects their progress for the driver."""

    def __init__(self, settings: dict[str, str]) -> None:
        """Apply Ray Train's `settings`, which are environment variables."""
        os.environ.update(settings)
        self._events: list[Event] = []
        self._request: StopRequest | None = None
        self._saving: set[str] = set()  # models that have been asked for a checkpoint
        # The import takes a second, during which the driver can do other work.
        import cluster.controllers  # noqa: F401

    def fit(self, spec: ModelRun, plan: Plan, retries: int) -> ModelResult:
        """See the function `fit`."""
        return fit(spec, plan, ray.get_runtime_context().current_actor, retries)

    @ray.method(concurrency_group="progress")
    def note(self, event: Event) -> StopRequest | None:
        """Add an event for the driver, and return what the model is asked for, if anything."""
        self._events.append(event)
        return self._asked(event[0])

    @ray.method(concurrency_group="progress")
    def request(self, model: str) -> StopRequest | None:
        """What a model is asked for, if anything."""
        return self._asked(model)

    def _asked(self, model: str) -> StopRequest | None:
        return self._request or ("resize" if model in self._saving else None)

    @ray.method(concurrency_group="progress")
    def ask_to_save(self, model: str) -> None:
        """Ask a model for a checkpoint, which another number of workers can continue."""
        self._saving.add(model)

    @ray.method(concurrency_group="progress")
    def saved(self, model: str) -> None:
        """Note that a model has written a checkpoint."""
        self._saving.discard(model)

    @ray.method(concurrency_group="progress")
    def has_saved(self, model: str) -> bool:
        """Whether a model has written the checkpoint that it has been asked for."""
        return model not in self._saving

    @ray.method(concurrency_group="progress")
    def take(self) -> list[Event]:
        """The events since the last call."""
        events, self._events = self._events, []
        return events

    @ray.method(concurrency_group="progress")
    def stop(self) -> None:
        """Ask every training to save its last epoch and stop."""
        self._request = "stop"


def start_host(trainings: int) -> Any:
    """Start a TrainingHost for a number of concurrent trainings, and return its actor handle.

    It runs on this machine, so that it dies with the driver and not with a worker's machine.
    """
    here = ray.get_runtime_context().get_node_id()
    settings = {
        name: value
        for name, value in os.environ.items()
        if name.startswith("RAY_TRAIN_") or name == AUTOSCALING
    }
    return (
        ray.remote(num_cpus=0, concurrency_groups={"progress": 1})(TrainingHost)
        .options(
            max_concurrency=trainings,
            scheduling_strategy=NodeAffinitySchedulingStrategy(here, soft=False),
        )
        .remote(_SETTINGS | settings)
    )


def fit(spec: ModelRun, plan: Plan, host: Any, retries: int) -> ModelResult:
    """Train one model on the cluster, and wait until it ends.

    A training process that dies, or meets an error that may be transient, is restarted up to
    `retries` times and continues from its last checkpoint. So does a run of the same name whose job
    died. The loss of a machine after a preemption notice does not count as a retry. The number of
    workers follows what is free, if the plan says so; a training first writes its state, then.

    Args:
        spec: what to train.
        plan: resources of the training, and the number of its workers.
        host: the TrainingHost in whose process this function runs, which receives the progress.
        retries: how often a process that died is restarted.

    Returns:
        The result; its status is "failed", with the cause, if the training failed.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig

    from cluster.controllers import ElasticTrainer, RestartNotice, SharedProcessTrainer

    # Ray Train's controller starts seconds earlier if it does not import PyTorch, so it must not
    # unpickle anything that needs it. The training loop therefore captures its configuration in a
    # closure and returns a plain dictionary, and a process that is never one of several gets no
    # process group, which is all that a TorchTrainer adds.
    trainer_type: Callable[..., SharedProcessTrainer] = SharedProcessTrainer
    if plan.elastic:
        trainer_type = partial(ElasticTrainer, model=spec.model, plan=plan, host=host)
    try:
        with temporary_folder("train") as folder:
            trainer = trainer_type(
                lambda: asdict(_train_loop(spec, plan, host)),
                backend_config=None if plan.most == 1 else _group_config(plan),
                scaling_config=ScalingConfig(
                    num_workers=(plan.workers, plan.most) if plan.elastic else plan.workers,
                    elastic_resize_monitor_interval_s=plan.resize_every,
                    placement_strategy="STRICT_PACK" if plan.together else "PACK",
                    use_gpu=plan.on_gpu,
                    resources_per_worker={
                        "CPU": plan.cpus,
                        **({"GPU": plan.gpus} if plan.on_gpu else {}),
                    },
                ),
                run_config=RunConfig(
                    name=f"{spec.model}-{spec.run}",
                    storage_path=str(folder),  # for Ray Train's own state, which is not read again
                    failure_config=FailureConfig(
                        max_failures=retries, controller_failure_limit=retries
                    ),
                    callbacks=[RestartNotice(spec.model, host, retries)],
                ),
            )
            outcome = trainer.fit().return_value
    except Exception as error:  # the failure of one model must never stop the others
        return ModelResult(model=spec.model, status="failed", error=cause(error))
    if outcome is None:
        cut = f"Ray Train ended without a result for {spec.model}"
        return ModelResult(model=spec.model, status="failed", error=cut)
    return ModelResult(**outcome)


def _group_config(plan: Plan) -> Any:
    from cluster.process_group import group_config  # imports PyTorch

    return group_config(plan)


def _train_loop(spec: ModelRun, plan: Plan, host: Any) -> ModelResult:
    """The code of the training process; others start sooner because they do not import PyTorch."""
    import ray.train
    import torch

    from cluster.metrics import TrainingMetrics
    from cluster.streaming import decoding_on_cluster
    from colorgan.training.model_run import train_model
    from colorgan.workers import current_workers

    workers = current_workers()
    try:
        with workers.together():
            plan.apply_to_process()
    except ColorganError as error:
        return ModelResult(model=spec.model, status="failed", error=str(error))
    places = workers.of_all((ray.util.get_node_ip_address(), os.getpid()))
    node = ", ".join(dict.fromkeys(address for address, _ in places))
    if workers.first:
        processes = [f"{address}, process {number}" for address, number in places]
        host.note.remote((spec.model, "training", " and ".join(processes)))
    # The GPU that Ray has assigned is the current one.
    device = torch.device("cuda" if plan.on_gpu else "cpu")
    metrics = TrainingMetrics(spec, device) if workers.first else None
    asked = time.monotonic()

    def observe(fraction: float) -> StopRequest | None:
        nonlocal asked
        if time.monotonic() - asked < _ASK_SECONDS:
            return None
        asked = time.monotonic()
        if metrics:
            metrics.refresh()
            answer = host.note.remote((spec.model, "step", fraction))
        else:
            answer = host.request.remote(spec.model)
        request: StopRequest | None = ray.get(answer)
        if request != "stop" and _is_preempted():
            return "save"  # the machine is about to be taken away
        return request

    def record(epoch: EpochRecord) -> None:
        if metrics:
            metrics.record(epoch)
        host.note.remote((spec.model, "epoch", epoch))

    def say(line: str) -> None:
        host.note.remote((spec.model, "say", line))

    def saved(seconds: float) -> None:
        host.saved.remote(spec.model)
        if metrics:
            metrics.saved(seconds)

    try:
        with decoding_on_cluster(plan):
            return train_model(spec, device, node, observe, record, saved, say)
    except WorkerLost:
        raise  # the others wait for this worker until Ray Train restarts them all
    except ColorganError as error:
        # A restart would meet the same error, so it is returned and not raised: Ray Train restarts
        # whatever raises or dies.
        return ModelResult(model=spec.model, status="failed", error=str(error))


def _is_preempted() -> bool:
    """Whether the machine of a worker is about to be taken away.

    `ray.train.get_preemption_info` would wait for the other workers, which ask at other times.
    """
    from ray.train.v2._internal.execution.context import get_train_context

    return get_train_context().preemption_context.preemption_info is not None
