"""One model's training as a Ray Train run: restarted when its process or its machine dies.

Checkpoints are the library's own, in storage; so what one machine began, any other goes on with.
"""

import os
import tempfile
import time
from dataclasses import asdict
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.errors import cause
from cluster.planning import Plan
from colorgan.errors import ColorganError
from colorgan.training.records import EpochRecord
from colorgan.training.runs import ModelResult, ModelRun, StopRequest

_ASK_SECONDS = 1.0  # how often a training tells how far it is, and hears what is asked of it

# Of one process's many controllers each would set up the process's logging for itself.
_SETTINGS = {"RAY_TRAIN_ENABLE_CONTROLLER_STRUCTURED_LOGGING": "0"}

Event = tuple[str, str, Any]  # model, kind, value


class TrainingHost:
    """Runs the controllers of a job's trainings, and collects what these report for the driver."""

    def __init__(self, settings: dict[str, str]) -> None:
        """Begin with no training; `settings` are Ray Train's, as environment variables."""
        os.environ.update(settings)
        self._events: list[Event] = []
        self._request: StopRequest | None = None
        # The import takes a second, in which the driver has other things to do.
        import cluster.controllers  # noqa: F401

    def fit(self, spec: ModelRun, plan: Plan, retries: int) -> ModelResult:
        """See the function `fit`."""
        return fit(spec, plan, ray.get_runtime_context().current_actor, retries)

    @ray.method(concurrency_group="progress")
    def note(self, event: Event) -> StopRequest | None:
        """Add an event; returns what the driver asks for."""
        self._events.append(event)
        return self._request

    @ray.method(concurrency_group="progress")
    def take(self) -> list[Event]:
        """Everything since the last call."""
        events, self._events = self._events, []
        return events

    @ray.method(concurrency_group="progress")
    def stop(self) -> None:
        """Ask every training to save its last epoch and to stop."""
        self._request = "stop"


def start_host(trainings: int) -> Any:
    """A TrainingHost for so many trainings at once.

    It is on this machine, so that it dies with the driver and not with a worker's machine.
    """
    here = ray.get_runtime_context().get_node_id()
    settings = {name: value for name, value in os.environ.items() if name.startswith("RAY_TRAIN_")}
    return (
        ray.remote(num_cpus=0, concurrency_groups={"progress": 1})(TrainingHost)
        .options(
            max_concurrency=trainings,
            scheduling_strategy=NodeAffinitySchedulingStrategy(here, soft=False),
        )
        .remote(_SETTINGS | settings)
    )


def fit(spec: ModelRun, plan: Plan, host: Any, retries: int) -> ModelResult:
    """Train one model on the cluster, and wait for it.

    A training process that dies, or meets an error that may pass, is started again, `retries`
    times, and goes on from its last checkpoint; so does a run of the same name whose job died. A
    machine that is taken away after a notice does not count.

    Args:
        spec: what to train.
        plan: on what.
        host: the TrainingHost in whose process this is, and that its progress goes to.
        retries: how often to start a process again that died.

    Returns:
        The result; its status is "failed", with the cause, where the training failed.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig

    from cluster.controllers import SharedProcessTrainer

    # What Ray Train's controller does not unpickle it need not import: it starts seconds earlier
    # without PyTorch. So it is told no configuration, the loop returns a plain dictionary, and no
    # process group (TorchTrainer's) is set up for a training of one process.
    try:
        with tempfile.TemporaryDirectory(prefix="colorgan-train-") as folder:
            trainer = SharedProcessTrainer(
                lambda: asdict(_train_loop(spec, plan, host)),
                scaling_config=ScalingConfig(
                    num_workers=1,
                    use_gpu=plan.on_gpu,
                    resources_per_worker={
                        "CPU": plan.cpus,
                        **({"GPU": plan.gpus} if plan.on_gpu else {}),
                    },
                ),
                run_config=RunConfig(
                    name=f"{spec.model}-{spec.run}",
                    storage_path=folder,  # of Ray Train's own notes, which nobody reads again
                    failure_config=FailureConfig(
                        max_failures=retries, controller_failure_limit=retries
                    ),
                ),
            )
            outcome = trainer.fit().return_value
    except Exception as error:  # one model's failure, whatever it is, must not stop the others
        return ModelResult(model=spec.model, status="failed", error=cause(error))
    if outcome is None:
        cut = f"Ray Train ended without a result for {spec.model}"
        return ModelResult(model=spec.model, status="failed", error=cut)
    return ModelResult(**outcome)


def _train_loop(spec: ModelRun, plan: Plan, host: Any) -> ModelResult:
    """What the training process runs; the others of the job need no PyTorch, and begin sooner."""
    import ray.train
    import torch

    from cluster.metrics import TrainingMetrics
    from colorgan.training.model_run import train_model

    plan.apply_to_process()
    node = ray.util.get_node_ip_address()
    host.note.remote((spec.model, "training", f"{node}, process {os.getpid()}"))
    # Ray shows the process only the GPU that it was given.
    device = torch.device("cuda" if plan.on_gpu else "cpu")
    metrics = TrainingMetrics(spec, device)
    asked = time.monotonic()

    def observe(fraction: float) -> StopRequest | None:
        nonlocal asked
        if time.monotonic() - asked < _ASK_SECONDS:
            return None
        asked = time.monotonic()
        metrics.refresh()
        request: StopRequest | None = ray.get(host.note.remote((spec.model, "step", fraction)))
        if request is None and ray.train.get_preemption_info():
            return "save"  # the machine is about to be taken away
        return request

    def record(epoch: EpochRecord) -> None:
        metrics.record(epoch)
        host.note.remote((spec.model, "epoch", epoch))

    try:
        return train_model(spec, device, node, observe, record, metrics.saved)
    except ColorganError as error:
        # A fault that a restart would only meet again is returned, not raised: Ray Train starts
        # again whatever raises or dies.
        return ModelResult(model=spec.model, status="failed", error=str(error))
