"""Runs trials on Ray Tune: in parallel, restarted when they die, stopped early by a scheduler.

Everything about a trial is in storage before it is reported to Tune, and a sweep continues from
storage. Tune's own state, which is pickled, is kept only during a job and never read again.
"""

import json
import math
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.fs
import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler, PopulationBasedTraining, TrialScheduler

from cluster.errors import cause
from cluster.planning import Plan
from colorgan.errors import ColorganError
from colorgan.storage import Storage, open_storage
from colorgan.sweeps.documents import (
    METRICS,
    EvaluatedEpoch,
    Sweep,
    open_sweep,
    read_history,
    read_state,
    write_state,
)
from colorgan.sweeps.trial import TrialRun, run_trial
from colorgan.temporary import temporary_folder
from colorgan.training.config import SpeedConfig
from tune.space import Search

_POINTER = "inherit.json"

# S3 timeouts in seconds. With pyarrow's defaults of 1 and 3, whole trials fail on a busy machine.
_CONNECT_TIMEOUT = 10.0
_REQUEST_TIMEOUT = 60.0

Heard = Callable[[str, EvaluatedEpoch], None]


@dataclass(frozen=True)
class TrialRunner:
    """The function that a trial's process runs, with its settings.

    Attributes:
        storage: the storage's URI.
        sweep: the sweep's name.
        speed: how to use the device.
        checkpoint_every: number of epochs between checkpoints.
        plan: resources of each trial.
        replays: whether a trial that an earlier job began reports its previous epochs again, so
            that the scheduler can compare them.
    """

    storage: str
    sweep: str
    speed: SpeedConfig
    checkpoint_every: int
    plan: Plan
    replays: bool

    def __call__(self, config: dict[str, Any]) -> None:
        """Train the trial of a Tune configuration, and report every evaluated epoch."""
        self.plan.apply_to_process()
        storage = open_storage(self.storage)
        sweep = open_sweep(storage, self.sweep)
        name = str(tune.get_context().get_trial_name())
        before = read_state(storage, sweep, name)
        checkpoint = tune.get_checkpoint()
        donor = _donor(checkpoint, name) if checkpoint else ""
        if self.replays and not checkpoint:
            for evaluated in read_history(storage, sweep, name).evaluations:
                if evaluated.epoch <= before.epoch:
                    _report(name, evaluated)
        if before.over:
            return
        # Population-based training passes new values together with another trial's checkpoint.
        values = {key: config["trial"][key] for key in before.values} if donor else None
        device = torch.device("cuda" if self.plan.on_gpu else "cpu")
        run = TrialRun(storage, sweep, name, device, self.speed, self.checkpoint_every)
        try:
            for evaluated in run_trial(run, values, donor):
                _report(name, evaluated)
        except ColorganError:
            return  # trial.json has the error; a restart would meet it again


def _donor(checkpoint: tune.Checkpoint, name: str) -> str:
    """The trial whose state this one must take over, by Tune's checkpoint; empty for its own."""
    with checkpoint.as_directory() as folder:
        donor: str = json.loads((Path(folder) / _POINTER).read_text())["trial"]
    return donor if donor != name else ""


def _report(name: str, evaluated: EvaluatedEpoch) -> None:
    """Report an epoch to Tune; the checkpoint only names the trial whose folder has the state."""
    missing = {metric: float("nan") for metric in METRICS if getattr(evaluated, metric) is None}
    with temporary_folder("report") as folder:
        (folder / _POINTER).write_text(json.dumps({"trial": name}))
        tune.report(
            {**asdict(evaluated), **missing}, checkpoint=tune.Checkpoint.from_directory(folder)
        )


def run_sweep(
    storage: Storage,
    sweep: Sweep,
    runner: TrialRunner,
    search: Search,
    retries: int,
    heard: Heard,
) -> None:
    """Run the unfinished trials of a sweep.

    Args:
        storage: storage of the sweep.
        sweep: the sweep.
        runner: the function that each trial's process runs.
        search: the scheduler, its metric, and the search space.
        retries: how often a trial's process that died is restarted.
        heard: called with a trial's name and the results after each evaluated epoch.

    Raises:
        ConfigError: the scheduler does not support the space.
    """
    states = {plan.name: read_state(storage, sweep, plan.name) for plan in sweep.trials}
    waiting = [plan for plan in sweep.trials if runner.replays or not states[plan.name].over]
    filesystem, folder = _filesystem(storage.location(sweep.key()))
    tuner = tune.Tuner(
        tune.with_resources(
            lambda config: runner(config), {"cpu": runner.plan.cpus, "gpu": runner.plan.gpus}
        ),
        param_space={
            "trial": tune.grid_search(
                [{"name": plan.name, **states[plan.name].values} for plan in waiting]
            )
        },
        tune_config=tune.TuneConfig(
            metric=search.metric,
            mode="min" if METRICS[search.metric] else "max",
            scheduler=_scheduler(search, sweep),
            max_concurrent_trials=runner.plan.at_once,
            # A trial that takes over another trial's values keeps its original name.
            trial_name_creator=lambda trial: trial.config["trial"]["name"],
            trial_dirname_creator=lambda trial: trial.config["trial"]["name"],
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=folder,
            storage_filesystem=filesystem,
            failure_config=tune.FailureConfig(max_failures=retries),
            callbacks=[_Follower(storage, sweep, heard)],
            verbose=0,
        ),
    )
    try:
        tuner.fit()
    finally:
        storage.delete(sweep.key("tune"))


def _scheduler(search: Search, sweep: Sweep) -> TrialScheduler | None:
    space = search.space
    epochs = max(sweep.config(plan.values).epochs for plan in sweep.trials)
    if search.scheduler == "asha":
        return ASHAScheduler(time_attr="epoch", max_t=epochs, grace_period=sweep.eval_every)
    if search.scheduler == "pbt":
        return SeededPopulationBasedTraining(
            time_attr="epoch",
            perturbation_interval=sweep.eval_every,
            hyperparam_mutations={"trial": space.mutations(sweep.training.seed)},
            custom_explore_fn=lambda config: {**config, "trial": space.valid(config["trial"])},
            seed=sweep.training.seed,
        )
    return None


class SeededPopulationBasedTraining(PopulationBasedTraining):
    """Population-based training with a seed; Ray's scheduler draws from the global random state."""

    def __init__(self, seed: int, **options: Any) -> None:
        """Take the seed, and the options of Ray's scheduler."""
        super().__init__(**options)
        self._drawn = random.Random(seed).getstate()

    def on_trial_add(self, *args: Any, **options: Any) -> None:
        """Draw the values that a new trial lacks."""
        with self._seeded():
            super().on_trial_add(*args, **options)

    def on_trial_result(self, *args: Any, **options: Any) -> str:
        """Let the trial continue, or take over another trial's state with newly drawn values."""
        with self._seeded():
            return str(super().on_trial_result(*args, **options))

    @contextmanager
    def _seeded(self) -> Iterator[None]:
        """Use the scheduler's own random state inside a `with` block."""
        outside = random.getstate()
        random.setstate(self._drawn)
        try:
            yield
        finally:
            self._drawn = random.getstate()
            random.setstate(outside)


def evaluated_epoch(result: dict[str, Any]) -> EvaluatedEpoch:
    """The epoch of a result reported to Tune, with None for metrics that are NaN there."""
    values = {name: result[name] for name in EvaluatedEpoch.__dataclass_fields__}
    missing = {
        name: None
        for name, value in values.items()
        if isinstance(value, float) and math.isnan(value)
    }
    return EvaluatedEpoch(**{**values, **missing})


class _Follower(tune.Callback):
    """Records in trial.json when a scheduler stops a trial or its process dies."""

    def __init__(self, storage: Storage, sweep: Sweep, heard: Heard) -> None:
        self._storage = storage
        self._sweep = sweep
        self._heard = heard

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        self._heard(str(trial), evaluated_epoch(result))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        state = read_state(self._storage, self._sweep, str(trial))
        if state.status in ("running", "waiting"):
            stopped = replace(state, status="stopped")
            write_state(self._storage, self._sweep, str(trial), stopped)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        state = read_state(self._storage, self._sweep, str(trial))
        error = trial.get_error()
        words = cause(error) if error else "its process died"
        failed = replace(state, status="failed", error=words)
        write_state(self._storage, self._sweep, str(trial), failed)


def _filesystem(location: str) -> tuple[pyarrow.fs.FileSystem, str]:
    """The file system through which Tune writes to a location in storage, and the path there."""
    filesystem, path = pyarrow.fs.FileSystem.from_uri(location)
    if isinstance(filesystem, pyarrow.fs.S3FileSystem):
        # A URI cannot set timeouts.
        filesystem = pyarrow.fs.S3FileSystem(
            region=filesystem.region,
            endpoint_override=os.environ.get("AWS_ENDPOINT_URL_S3")
            or os.environ.get("AWS_ENDPOINT_URL"),
            connect_timeout=_CONNECT_TIMEOUT,
            request_timeout=_REQUEST_TIMEOUT,
        )
    return filesystem, path
