"""Trains the models of a run on the cluster, and shows and records their progress."""

import contextlib
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import psutil

from cluster.connection import cluster_nodes
from cluster.errors import cause
from cluster.job import say, say_table
from cluster.planning import NodeResources, Plan, TrainingOptions
from cluster.queue import Queue
from cluster.waiting import FIRST_S, Patience, is_unplaced, no_room
from colorgan.errors import ColorganError
from colorgan.packages.releases import release_sentence
from colorgan.storage import Storage
from colorgan.training.plan import RunPlan, describe
from colorgan.training.progress import (
    Progress,
    RunProgress,
    format_seconds,
    run_seconds_left,
    write_progress,
)
from colorgan.training.runs import ModelResult, ModelRun, epochs_begun_with
from colorgan.training.summary import RunSummary
from colorgan.training.tracking import Tracking

# Maximum duration of a stop. RAY_JOB_STOP_WAIT_TIME_S, after which Ray kills a job, should be
# longer.
_STOP_SECONDS = 100.0
_RECORD_SECONDS = 2.0
_ESTIMATE_SECONDS = 600.0
_CLOSE_SECONDS = 10.0  # for the storage to take the last progress


def plan_shares(
    plan: RunPlan, options: TrainingOptions, nodes: Sequence[NodeResources]
) -> dict[str, Plan]:
    """The share of the cluster of each model that a run still has to train.

    The models of a stage divide the whole cluster among themselves.

    Raises:
        ConfigError: the cluster cannot run even one model with these options.
    """
    shares: dict[str, Plan] = {}
    for stage in plan.stages:
        shares |= dict.fromkeys(stage, options.share(len(stage), nodes))
    return shares


def train_run(
    storage: Storage,
    plan: RunPlan,
    options: TrainingOptions,
    shares: Mapping[str, Plan],
    tracking: Tracking | None = None,
) -> dict[str, ModelResult]:
    """Train the remaining models of a run; Ray must be connected.

    The first SIGTERM or Ctrl-C lets the models save their state.

    Args:
        storage: storage of the run.
        plan: which models to train, and with which configurations.
        options: how to train on the cluster.
        shares: each model's share of the cluster; see `plan_shares`.
        tracking: the trackers that follow the trainings, if any.

    Returns:
        The result of every model of the run, including those finished earlier, in the order of
        `plan.configs`.
    """
    results = dict(plan.finished)
    if plan.waiting:
        speed, checkpoint_every = options.speed, options.checkpoint_every
        specs = {
            model: plan.model_run(model, storage.uri, speed, checkpoint_every)
            for model in plan.waiting
        }
        trainer = Trainer(storage, plan.run, specs, shares, tracking)
        results |= trainer.train(options.retries, options.max_parallel)
    return {model: results[model] for model in plan.configs}


def announce(
    storage: Storage, plan: RunPlan, preset: str, shares: Mapping[str, Plan], machines: int
) -> None:
    """Say what a run is going to do, and on which share of the cluster."""
    say(
        f"run {plan.run}{' (continuing)' if plan.going_on else ''}: dataset {plan.dataset}, "
        f"preset {preset}, storage {storage.uri}"
    )
    if machines > 1 and not storage.uri.startswith("s3://"):
        say(f"note: every machine of the cluster must see {storage.uri}, or use s3://")
    for line in describe(plan):
        say(line)
    for number, stage in enumerate(plan.stages):
        say(("then " if number else "") + shares[stage[0]].sentence(stage))


def report_run(storage: Storage, summary: RunSummary) -> None:
    """Write the summary of a run, and say what it has trained, and what has failed."""
    key = summary.write(storage)
    say_table(summary.table())
    say(summary.times)
    say(f"summary: {storage.location(key)}")
    for package in summary.packages:
        say(release_sentence(storage, package))
    for failure in summary.failures:
        print(f"error: {failure}", file=sys.stderr, flush=True)
    if summary.failures:
        say(f"run the same command with --run {summary.run} to train what has failed again")


class Trainer:
    """Trains models on the cluster, each as soon as the queue grants its reservation."""

    def __init__(
        self,
        storage: Storage,
        run: str,
        specs: Mapping[str, ModelRun],
        plans: Mapping[str, Plan],
        tracking: Tracking | None = None,
    ) -> None:
        """Start the TrainingHost; Ray must be connected.

        Args:
            storage: storage of the run.
            run: name of the run.
            specs: what to train, by model.
            plans: the resources of each model, by model.
            tracking: the trackers that follow the trainings, if any.
        """
        from cluster.training import start_host  # imports Ray: see cluster.connection

        submitted = psutil.Process().create_time()
        self._record = _ProgressRecord(storage, run, submitted)
        self._run, self._specs, self._plans = run, specs, plans
        self._storage, self._tracking = storage, tracking or Tracking()
        self._waiting = list(specs)
        self._running: dict[str, Any] = {}  # Ray's references to the results
        self._began: dict[str, float] = {}
        self._results: dict[str, ModelResult] = {}
        self._starting: dict[str, Patience] = {}
        self._estimate_due = time.monotonic() + FIRST_S
        self._queue = Queue(run, submitted, plans)
        self._host = start_host(len(specs))

    def train(self, retries: int, max_parallel: int | None) -> dict[str, ModelResult]:
        """Train all models; the first SIGTERM or Ctrl-C lets them save their state."""
        import ray

        epochs = {model: spec.training.epochs for model, spec in self._specs.items()}
        begun = epochs_begun_with(self._storage, self._run, epochs)
        with Progress(epochs, begun) as self._progress:
            try:
                while len(self._results) < len(self._specs):
                    self._start(retries, max_parallel or len(self._specs))
                    self._follow()
            except KeyboardInterrupt:
                self._stop()
            except ray.exceptions.RayActorError as error:  # the host died with all trainings
                for model in self._specs.keys() - self._results.keys():
                    self._end(ModelResult(model=model, status="failed", error=cause(error)))
            with contextlib.suppress(ray.exceptions.RayError):
                self._queue.ask([], [])
            self._record.close(self._progress)
        return self._results

    def _start(self, retries: int, max_parallel: int) -> None:
        ready = [model for model in list(self._waiting) if self._may_start(model)]
        places = max_parallel - len(self._running)
        wanted = ready[:places]
        for model in ready[places:]:
            self._progress.state(model, "waiting", f"--max-parallel {max_parallel}")
        for model, others in self._queue.ask(wanted, cluster_nodes()).items():
            if others:
                self._progress.state(model, "waiting", others)
                continue
            self._waiting.remove(model)
            self._progress.state(model, "starting")
            self._tracking.begin(model, asdict(self._specs[model].training))
            self._starting[model] = Patience()
            spec, plan = self._specs[model], self._plans[model]
            self._running[model] = self._host.fit.remote(spec, plan, retries)

    def _may_start(self, model: str) -> bool:
        """Whether the model's base exists; the model fails if the base did not finish."""
        base = self._specs[model].training.start_from
        if base not in self._specs:
            return True
        result = self._results.get(base)
        if result and result.status != "done":
            self._waiting.remove(model)
            error = f"it starts from {base}, which {result.status}"
            self._end(ModelResult(model=model, status="failed", error=error))
        elif not result:
            self._progress.state(model, "waiting", f"for {base}")
        return result is not None and result.status == "done"

    def _follow(self) -> None:
        """Wait for at most a second, and show what has happened since the last call."""
        import ray

        ended: list[Any] = []
        if self._running:
            ended, _ = ray.wait([*self._running.values()], timeout=1)
        else:
            time.sleep(1)
        for model, kind, value in ray.get(self._host.take.remote()):
            self._show(model, kind, value)
        for result in ended:
            self._end(ray.get(result))
        for model, patience in self._starting.items():
            self._explain(model, patience)
        self._estimate()
        self._record.write(self._progress)

    def _show(self, model: str, kind: str, value: Any) -> None:
        if kind == "say":
            self._progress.say(value)
        elif kind == "step":
            self._progress.step(model, value)
        elif kind == "epoch":
            self._progress.epoch(model, value)
            self._tracking.epoch(model, asdict(value))
        elif kind == "restarting":
            self._starting[model] = Patience()
            self._progress.state(model, kind, value)
        else:
            self._starting.pop(model, None)
            self._began.setdefault(model, time.time())
            self._progress.state(model, kind, value)

    def _explain(self, model: str, patience: Patience) -> None:
        """Say why a model that should be training is not, once a minute."""
        seconds = patience.seconds()
        if seconds is None:
            return
        plan = self._plans[model]
        if is_unplaced(plan.cpus, plan.gpus):
            detail = no_room(plan.cpus, plan.gpus, seconds)
        else:
            detail = f"its process has been starting for {format_seconds(seconds)}"
        self._progress.state(model, "starting", detail)

    def _estimate(self) -> None:
        """Say how long the whole run will take: after a minute, and then every ten."""
        left = run_seconds_left(self._progress.rows()) if len(self._specs) > 1 else None
        if left is not None and time.monotonic() > self._estimate_due:
            self._estimate_due = time.monotonic() + _ESTIMATE_SECONDS
            self._progress.say(f"about {format_seconds(left)} to go for all models")

    def _end(self, result: ModelResult) -> None:
        if result.model in self._began:  # a restarted process only knows its own start
            result = replace(result, started=self._began[result.model])
        self._running.pop(result.model, None)
        self._starting.pop(result.model, None)
        self._queue.leave(result.model)
        self._results[result.model] = result
        self._tracking.end(result.model, result.status, self._storage, result.package)
        detail = result.package or result.error or ""
        self._progress.state(result.model, result.status, detail)

    def _stop(self) -> None:
        """Let the running trainings save their state and end."""
        import ray

        say("stopping: the models save their state")
        self._host.stop.remote()
        started = {row.model for row in self._progress.rows() if row.state == "training"}
        deadline = time.monotonic() + _STOP_SECONDS
        # A signal to the whole process group also ends Ray, and with it the trainings.
        with contextlib.suppress(ray.exceptions.RayError):
            while started - self._results.keys() and time.monotonic() < deadline:
                self._follow()
        for model in self._specs.keys() - self._results.keys():
            self._end(ModelResult(model=model, status="stopped"))


class _ProgressRecord:
    """A run's progress in storage, read by `colorgan jobs`."""

    def __init__(self, storage: Storage, run: str, started: float) -> None:
        import ray

        self._storage, self._run, self._started = storage, run, started
        self._job = ray.get_runtime_context().get_job_id()
        self._written, self._writing = 0.0, threading.Thread()

    def write(self, progress: Progress) -> None:
        """Write the progress in the background, at most every two seconds."""
        if time.time() - self._written < _RECORD_SECONDS or self._writing.is_alive():
            return
        self._begin(progress)

    def close(self, progress: Progress) -> None:
        """Write the last progress, and wait until it is written, but not for ever."""
        if self._writing.is_alive():
            self._writing.join(_CLOSE_SECONDS)
        self._begin(progress)
        self._writing.join(_CLOSE_SECONDS)

    def _begin(self, progress: Progress) -> None:
        self._written = time.time()
        rows = tuple(progress.rows())
        record = RunProgress(self._run, self._job, self._started, self._written, rows)
        self._writing = threading.Thread(target=self._put, args=(record,), daemon=True)
        self._writing.start()

    def _put(self, record: RunProgress) -> None:
        # Only `colorgan jobs` reads the record, so trainings continue if it cannot be written.
        with contextlib.suppress(ColorganError):
            write_progress(self._storage, record)
