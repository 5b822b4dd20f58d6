"""One model's training as a Ray Train run: restarted when its process dies, resumed by its name."""

import os
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.fs
import ray
import ray.train
import torch
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.train.v2.api.exceptions import WorkerGroupError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.planning import Plan
from colorgan.errors import ColorganError
from colorgan.runs import ModelResult, ModelRun, train_model
from colorgan.storage import open_storage
from colorgan.training import EpochRecord, Training

# The seconds that S3 may take; of pyarrow's own 1 and 3, a busy machine fails whole trainings.
_CONNECT_TIMEOUT = 10.0
_REQUEST_TIMEOUT = 60.0

Event = tuple[str, str, Any]  # model, kind, value


@ray.remote(num_cpus=0)
class Board:
    """Collects what the training processes report, until the job's driver takes it."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._events: list[Event] = []

    def note(self, event: Event) -> None:
        """Add an event."""
        self._events.append(event)

    def take(self) -> list[Event]:
        """Everything since the last call."""
        events, self._events = self._events, []
        return events


def start_board() -> Any:
    """A Board on this machine, so that it dies with the driver and not with a worker's machine."""
    here = ray.get_runtime_context().get_node_id()
    return Board.options(
        scheduling_strategy=NodeAffinitySchedulingStrategy(here, soft=False)
    ).remote()


def fit(spec: ModelRun, plan: Plan, board: Any, retries: int) -> ModelResult:
    """Train one model on the cluster, and wait for it.

    A training process that dies, or meets an error that may pass, is started again, `retries`
    times, and goes on from its last checkpoint; so does a run of the same name whose job died.

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
        filesystem, folder = ray_filesystem(open_storage(spec.storage).location(f"runs/{spec.run}"))
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
                name=spec.model,
                storage_path=folder,
                storage_filesystem=filesystem,
                checkpoint_config=CheckpointConfig(num_to_keep=1),
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


def ray_filesystem(location: str) -> tuple[pyarrow.fs.FileSystem, str]:
    """The file system that Ray Train writes a storage's address by, and the path there."""
    filesystem, path = pyarrow.fs.FileSystem.from_uri(location)
    if isinstance(filesystem, pyarrow.fs.S3FileSystem):
        # It cannot be given timeouts by an address.
        filesystem = pyarrow.fs.S3FileSystem(
            region=filesystem.region,
            endpoint_override=os.environ.get("AWS_ENDPOINT_URL_S3")
            or os.environ.get("AWS_ENDPOINT_URL"),
            connect_timeout=_CONNECT_TIMEOUT,
            request_timeout=_REQUEST_TIMEOUT,
        )
    return filesystem, path


def _train_loop(spec: ModelRun, plan: Plan, board: Any) -> ModelResult:
    """What the training process runs."""
    torch.set_num_threads(plan.threads)
    node = ray.util.get_node_ip_address()
    board.note.remote((spec.model, "training", f"{node}, process {os.getpid()}"))
    noted = time.monotonic()

    def observe(fraction: float) -> None:
        nonlocal noted
        if time.monotonic() - noted > 1:
            noted = time.monotonic()
            board.note.remote((spec.model, "step", fraction))

    def record(epoch: EpochRecord) -> None:
        board.note.remote((spec.model, "epoch", epoch))

    # Ray shows the process only the GPU that it was given.
    device = torch.device("cuda" if plan.on_gpu else "cpu")
    try:
        return train_model(spec, device, _RayCheckpoints(), node, observe, record)
    except ColorganError as error:
        # A fault that a restart would only meet again is returned, not raised: Ray Train starts
        # again whatever raises or dies.
        return ModelResult(model=spec.model, status="failed", error=str(error))


class _RayCheckpoints:
    """A training's checkpoints where Ray Train keeps them."""

    def restore(self, training: Training) -> None:
        checkpoint = ray.train.get_checkpoint()
        if checkpoint:
            with checkpoint.as_directory() as folder:
                training.load(Path(folder))

    def save(self, training: Training, record: EpochRecord, due: bool) -> None:
        metrics = dict(vars(record))
        if not due:
            ray.train.report(metrics)
            return
        with tempfile.TemporaryDirectory(prefix="colorgan-checkpoint-") as folder:
            training.save(Path(folder))
            ray.train.report(metrics, checkpoint=Checkpoint.from_directory(folder))


def cause(error: BaseException) -> str:
    """The first fault behind an error of Ray's, in one line."""
    if isinstance(error, WorkerGroupError) and error.worker_failures:
        error = next(iter(error.worker_failures.values()))
    cause = getattr(error, "cause", None) or error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return f"{type(cause).__name__}: {lines[-1] if lines else 'no message'}"
