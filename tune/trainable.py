"""Runs trials on Ray Tune: in parallel, restarted when they die, stopped early by a scheduler.

Everything about a trial is in storage before it is reported to Tune, and a sweep continues from
storage. Tune's own state, which is pickled, is kept only during a job and never read again.
"""

import json
import math
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow.fs
import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from cluster.errors import cause
from cluster.planning import Plan
from cluster.streaming import decoding_on_cluster
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
from colorgan.sweeps.results import standing
from colorgan.sweeps.trial import TrialRun, run_trial
from colorgan.temporary import temporary_folder
from colorgan.training.config import SpeedConfig
from tune.population import Population
from tune.space import Search
from tune.workers import assisted

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
        scheduler: the scheduler, for which a trial that was begun before reports evaluated epochs
            again: asha compares it with all others at all of them, pbt at the last one.
    """

    storage: str
    sweep: str
    speed: SpeedConfig
    checkpoint_every: int
    plan: Plan
    scheduler: str

    def __call__(self, config: dict[str, Any]) -> None:
        """Train the trial of a Tune configuration, and report every evaluated epoch."""
        self.plan.apply_to_process()
        storage = open_storage(self.storage)
        sweep = open_sweep(storage, self.sweep)
        name = str(tune.get_context().get_trial_name())
        before = read_state(storage, sweep, name)
        evaluations = read_history(storage, sweep, name).evaluations
        known = [each for each in evaluations if each.epoch <= before.epoch]
        if self.scheduler == "pbt":
            known = known[-1:]
        elif self.scheduler == "none" or tune.get_checkpoint():
            known = []
        for evaluated in known:
            _report(evaluated)
        if before.over:
            return
        with (
            suppress(ColorganError),  # trial.json has the error; a restart would meet it again
            assisted(self.plan, lambda: self._train(name, lambda evaluated: None)),
        ):
            self._train(name, _report)

    def _train(self, name: str, report: Callable[[EvaluatedEpoch], None]) -> None:
        """Train a trial as one of its workers; only the first one has something to report."""
        storage = open_storage(self.storage)
        device = torch.device("cuda" if self.plan.on_gpu else "cpu")
        sweep = open_sweep(storage, self.sweep)
        run = TrialRun(storage, sweep, name, device, self.speed, self.checkpoint_every)
        with decoding_on_cluster(self.plan):
            for evaluated in run_trial(run):
                report(evaluated)


def _report(evaluated: EvaluatedEpoch) -> None:
    """Report an epoch to Tune, whose checkpoint only names it: the state is in storage."""
    missing = {metric: float("nan") for metric in METRICS if getattr(evaluated, metric) is None}
    with temporary_folder("report") as folder:
        (folder / "epoch.json").write_text(json.dumps({"epoch": evaluated.epoch}))
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
    scheduler = _scheduler(storage, search, sweep, runner.plan.at_once)  # may change the states
    states = {plan.name: read_state(storage, sweep, plan.name) for plan in sweep.trials}
    compares = search.scheduler == "asha"  # with trials that are over, too
    waiting = [plan for plan in sweep.trials if compares or not states[plan.name].over]
    filesystem, folder = _filesystem(storage.location(sweep.key()))
    tuner = tune.Tuner(
        tune.with_resources(lambda config: runner(config), _resources(runner.plan)),
        param_space={
            "trial": tune.grid_search(
                [{"name": plan.name, **states[plan.name].values} for plan in waiting]
            )
        },
        tune_config=tune.TuneConfig(
            metric=search.metric,
            mode="min" if METRICS[search.metric] else "max",
            scheduler=scheduler,
            # Tune would not begin the rest of a population before the first of it are done.
            max_concurrent_trials=None if search.scheduler == "pbt" else runner.plan.at_once,
            trial_name_creator=lambda trial: trial.config["trial"]["name"],
            trial_dirname_creator=lambda trial: trial.config["trial"]["name"],
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=folder,
            storage_filesystem=filesystem,
            failure_config=tune.FailureConfig(max_failures=retries),
            callbacks=[_Follower(storage, sweep, search, heard)],
            verbose=0,
        ),
    )
    try:
        tuner.fit()
    finally:
        storage.delete(sweep.key("tune"))


def _resources(plan: Plan) -> tune.PlacementGroupFactory:
    """What Tune reserves for a trial: one bundle for each of its workers."""
    worker = {"CPU": plan.cpus, **({"GPU": plan.gpus} if plan.gpus else {})}
    return tune.PlacementGroupFactory(
        [worker] * plan.workers, strategy="STRICT_PACK" if plan.together else "PACK"
    )


def _scheduler(
    storage: Storage, search: Search, sweep: Sweep, at_once: int
) -> TrialScheduler | None:
    if search.scheduler == "asha":
        epochs = max(sweep.config(plan.values).epochs for plan in sweep.trials)
        return ASHAScheduler(time_attr="epoch", max_t=epochs, grace_period=sweep.eval_every)
    if search.scheduler == "pbt":
        return Population(storage, sweep, search.space, at_once)
    return None


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
    """Records in trial.json when a scheduler stops a trial or its process dies, and why."""

    def __init__(self, storage: Storage, sweep: Sweep, search: Search, heard: Heard) -> None:
        self._storage = storage
        self._sweep = sweep
        self._search = search
        self._heard = heard
        self._known = {  # which trials may report again
            (plan.name, evaluated.epoch)
            for plan in sweep.trials
            for evaluated in read_history(storage, sweep, plan.name).evaluations
        }

    def __getstate__(self) -> dict[str, Any]:
        """The state without `heard`: Tune stores a copy, which is never called."""
        return {**self.__dict__, "_heard": None}

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        evaluated = evaluated_epoch(result)
        if (str(trial), evaluated.epoch) not in self._known:
            self._known.add((str(trial), evaluated.epoch))
            self._heard(str(trial), evaluated)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        state = read_state(self._storage, self._sweep, str(trial))
        if state.status in ("running", "waiting"):
            where = standing(self._storage, self._sweep, str(trial), self._search.metric)
            reason = f"{self._search.scheduler} stopped it {where}"
            stopped = replace(state, status="stopped", reason=reason)
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
