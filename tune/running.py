"""Runs a sweep: trains the base model, runs the trials, and reports the results."""

import logging
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict

from cluster.connection import cluster_nodes, connected
from cluster.job import end_stopped, say, say_table, working_on
from cluster.planning import TrainingOptions
from cluster.trainer import plan_shares, train_run
from cluster.waiting import wait_for_place
from colorgan.errors import ColorganError
from colorgan.packages.releases import release_sentence
from colorgan.storage import Storage
from colorgan.storage.lease import Lease
from colorgan.sweeps.documents import EvaluatedEpoch, Sweep, mark_interrupted, read_state
from colorgan.sweeps.publishing import publish_epoch
from colorgan.sweeps.results import (
    best_epoch,
    epoch_line,
    failures,
    trials_table,
    write_results,
)
from colorgan.training.plan import trained_first
from colorgan.training.progress import format_seconds
from colorgan.training.runs import open_run
from colorgan.training.tracking import Tracking, package_files
from tune.plan import SweepPlan
from tune.space import Search

# Ray Tune reads these from the environment.
_TUNE_SETTINGS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # they would write log files besides colorgan's
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # on Ctrl-C, it would end as if the sweep had finished
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # failed trials do not report metrics
    "RAY_AIR_NEW_OUTPUT": "0",  # the new output prints its own tables
}


def train_base(
    storage: Storage, plan: SweepPlan, options: TrainingOptions, address: str | None
) -> SweepPlan:
    """Train the base model of a sweep, unless there is none or its run has already trained it.

    Args:
        storage: storage of runs and packages.
        plan: plan of the sweep.
        options: how to train on the cluster.
        address: address of the Ray cluster; see `connected`.

    Returns:
        The plan, in which the trials start from a package or from scratch.

    Raises:
        ColorganError: the training failed.
    """
    run, package = plan.base_run, plan.sweep.training.start_from
    if run is None:
        if package:
            say(f"the trials start from {package}")
        return plan
    (base,) = run.configs
    result = run.finished.get(base)
    if not result:
        say(trained_first(base, "the trials start"))
        with connected(address):
            shares = plan_shares(run, options, cluster_nodes())
            with working_on(storage, "run", run.run):
                open_run(storage, run.run, run.fingerprint, run.configs)
                result = train_run(storage, run, options, shares)[base]
            if result.status == "stopped":
                end_stopped("--sweep", plan.sweep.name)
    if not result.package:
        raise ColorganError(f"{base}, from which the trials start, failed: {result.error}")
    say(f"the trials start from {result.package}")
    return plan.starting_from(result.package)


def run_trials(
    storage: Storage,
    sweep: Sweep,
    search: Search,
    options: TrainingOptions,
    address: str | None,
    lease: Lease,
    tracking: Tracking,
) -> None:
    """Run the unfinished trials of a sweep, and print the results of each evaluated epoch.

    Args:
        storage: storage of the sweep.
        sweep: the sweep.
        search: how to search its space.
        options: how to train each trial.
        address: address of the Ray cluster; see `connected`.
        lease: the sweep's lease, to which the progress is reported.
        tracking: the trackers that follow the trials.
    """
    os.environ.update(_TUNE_SETTINGS)
    # Tune would warn that its own files are missing.
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    with connected(address):
        from tune.trainable import TrialRunner, run_sweep  # imports Ray: see cluster.connection

        plan = options.share(len(sweep.trials), cluster_nodes())
        say(plan.sentence([trial.name for trial in sweep.trials], "trial"))
        runner = TrialRunner(
            storage.uri,
            sweep.name,
            options.speed,
            options.checkpoint_every,
            plan,
            search.scheduler,
        )
        epochs = {each.name: read_state(storage, sweep, each.name).epoch for each in sweep.trials}
        total = sum(sweep.config(each.values).epochs for each in sweep.trials)
        lease.report("epochs", sum(epochs.values()), total)
        wait_for_place(plan.cpus, plan.gpus, say, lease.wait_for)
        started = time.time()

        def heard(trial: str, evaluated: EvaluatedEpoch) -> None:
            epochs[trial] = max(epochs[trial], evaluated.epoch)
            lease.report("epochs", sum(epochs.values()), total)
            say(f"trial {trial}: {epoch_line(storage, sweep, trial, evaluated)}")
            tracking.epoch(trial, asdict(evaluated))
            tracking.pictures(trial, lambda: _samples(storage, sweep, trial, evaluated.epoch))

        for each in sweep.trials:
            if not read_state(storage, sweep, each.name).over:
                tracking.begin(each.name, asdict(sweep.config(each.values)))
        try:
            run_sweep(storage, sweep, runner, search, options.retries, heard)
        except KeyboardInterrupt:
            mark_interrupted(storage, sweep)
            _end_tracking(storage, sweep, tracking)
            tracking.close()
            end_stopped("--sweep", sweep.name)  # Tune's threads cannot be interrupted
        say(f"trained in {format_seconds(time.time() - started)}")


def report_sweep(
    storage: Storage,
    sweep: Sweep,
    metric: str,
    publishes: bool,
    tracking: Tracking,
    tag: str = "",
) -> list[str]:
    """Print the trials and their failures, write results.csv, and publish the best epoch.

    Args:
        storage: storage of the sweep.
        sweep: the sweep.
        metric: one of METRICS; determines the best epoch.
        publishes: whether to publish the best epoch as a package.
        tracking: the trackers that follow the trials, which also get the package.
        tag: the package's tag; may be empty.

    Returns:
        A sentence for every failed trial.

    Raises:
        ColorganError: no trial has the metric, so nothing can be published.
    """
    say_table(trials_table(storage, sweep))
    say(f"results: {storage.location(write_results(storage, sweep))}")
    failed = failures(storage, sweep)
    for failure in failed:
        print(failure, file=sys.stderr, flush=True)
    best = best_epoch(storage, sweep, metric)
    if best:
        epoch, value = best.evaluated.epoch, getattr(best.evaluated, metric)
        say(f"best by {metric}: trial {best.trial}, epoch {epoch}, {value:.4g}")
    if publishes:
        if best is None:
            raise ColorganError(f"no trial has a {metric}: there is nothing to publish")
        card = publish_epoch(storage, sweep.name, best.trial, best.evaluated.epoch, tag)
        say(f"published {card.reference}")
        say(release_sentence(storage, card.reference))
        tracking.pictures(best.trial, lambda: package_files(storage, card.reference))
    _end_tracking(storage, sweep, tracking)
    return failed


def _samples(storage: Storage, sweep: Sweep, trial: str, epoch: int) -> Mapping[str, bytes]:
    """A trial's colourings after an evaluated epoch, by file name."""
    keys = {photo: sweep.picture_key(trial, epoch, photo) for photo in sweep.photographs}
    return {f"epoch-{epoch:05d}/{photo}.webp": storage.get(key) for photo, key in keys.items()}


def _end_tracking(storage: Storage, sweep: Sweep, tracking: Tracking) -> None:
    for each in sweep.trials:
        tracking.end(each.name, read_state(storage, sweep, each.name).status, storage)
