"""One model's training as a Ray Train run: restarted when its process or its machine dies.

Checkpoints are the library's own, in storage; so what one machine began, any other goes on with.
"""

import os
import tempfile
import time
from dataclasses import asdict
from typing import Any

import ray
import ray.train
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.errors import cause
from cluster.planning import Plan
from colorgan.errors import ColorganError
from colorgan.records import EpochRecord
from colorgan.runs import ModelResult, ModelRun, Wish

_ASK_SECONDS = 1.0  # how often a training tells how far it is, and hears what is wished of it

Event = tuple[str, str, Any]  # model, kind, value


@ray.remote(num_cpus=0)
class Board:
    """Collects what the training processes report until the job's driver takes it."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._events: list[Event] = []
        self._wish: Wish | None = None

    def note(self, event: Event) -> Wish | None:
        """Add an event; returns what the driver wishes."""
        self._events.append(event)
        return self._wish

    def take(self) -> list[Event]:
        """Everything since the last call."""
        events, self._events = self._events, []
        return events

    def stop(self) -> None:
        """Wish that every training keeps its last epoch and stops."""
        self._wish = "stop"


def start_board() -> Any:
    """A Board on this machine, so that it dies with the driver and not with a worker's machine."""
    here = ray.get_runtime_context().get_node_id()
    return Board.options(
        scheduling_strategy=NodeAffinitySchedulingStrategy(here, soft=False)
    ).remote()


def fit(spec: ModelRun, plan: Plan, board: Any, retries: int) -> ModelResult:
    """Train one model on the cluster, and wait for it.

    A training process that dies, or meets an error that may pass, is started again, `retries`
    times, and goes on from its last checkpoint; so does a run of the same name whose job died. A
    machine that is taken away after a notice does not count.

    Args:
        spec: what to train.
        plan: on what.
        board: the Board that its progress goes to.
        retries: how often to start a process again that died.

    Returns:
        The result; its status is "failed", with the cause, where the training failed.
    """
    # What Ray Train's controller does not unpickle it need not import: it starts seconds earlier
    # without PyTorch. So it is told no configuration, the loop returns a plain dictionary, and no
    # process group (TorchTrainer's) is set up for a training of one process.
    try:
        with tempfile.TemporaryDirectory(prefix="colorgan-train-") as folder:
            trainer = DataParallelTrainer(
                lambda: asdict(_train_loop(spec, plan, board)),
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
        error = f"Ray Train ended without a result for {spec.model}"
        return ModelResult(model=spec.model, status="failed", error=error)
    return ModelResult(**outcome)


def _train_loop(spec: ModelRun, plan: Plan, board: Any) -> ModelResult:
    """What the training process runs; the others of the job need no PyTorch, and begin sooner."""
    import torch

    from cluster.metrics import TrainingMetrics
    from colorgan.train import train_model

    plan.settle()
    node = ray.util.get_node_ip_address()
    board.note.remote((spec.model, "training", f"{node}, process {os.getpid()}"))
    # Ray shows the process only the GPU that it was given.
    device = torch.device("cuda" if plan.on_gpu else "cpu")
    metrics = TrainingMetrics(spec, device)
    asked = time.monotonic()

    def observe(fraction: float) -> Wish | None:
        nonlocal asked
        if time.monotonic() - asked < _ASK_SECONDS:
            return None
        asked = time.monotonic()
        metrics.refresh()
        wish: Wish | None = ray.get(board.note.remote((spec.model, "step", fraction)))
        if wish is None and ray.train.get_preemption_info():
            return "save"  # the machine is about to be taken away
        return wish

    def record(epoch: EpochRecord) -> None:
        metrics.record(epoch)
        board.note.remote((spec.model, "epoch", epoch))

    try:
        return train_model(spec, device, node, observe, record, metrics.saved)
    except ColorganError as error:
        # A fault that a restart would only meet again is returned, not raised: Ray Train starts
        # again whatever raises or dies.
        return ModelResult(model=spec.model, status="failed", error=str(error))
