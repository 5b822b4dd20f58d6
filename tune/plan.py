"""Plans the trials of a sweep, before anything is trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from colorgan.data.dataset import Dataset, Row
from colorgan.errors import ColorganError, ConfigError
from colorgan.evaluation.evaluate import photo_id
from colorgan.packages.embedded import EMBEDDED_MODELS
from colorgan.storage import Storage
from colorgan.sweeps.documents import (
    Sweep,
    TrialPlan,
    check_trial_base,
    describe_values,
    open_sweep,
    shown_rows,
)
from colorgan.training.config import TrainingConfig
from colorgan.training.plan import RunPlan, RunRequest, plan_run
from colorgan.training.presets import find_preset
from tune.space import SWEEP_PRESETS, Space


@dataclass(frozen=True)
class SweepRequest:
    """A user's request for a sweep.

    Attributes:
        name: the sweep's name.
        preset: name of a preset in `tune.space.SWEEP_PRESETS`.
        overrides: hyper-parameters of every trial that override those of the preset.
        space: the hyper-parameters that the trials vary.
        samples: how often values are drawn from the space.
        model: model to train; the preset's if empty.
        eval_every: number of epochs between evaluations; the preset's if None.
        classifier: classifier that judges the trials; none if empty.
        scheduler: one of `tune.space.SCHEDULERS`.
        metric: one of METRICS, by which the scheduler compares the trials.
    """

    name: str
    preset: str
    overrides: Mapping[str, Any]
    space: Space
    samples: int
    model: str = ""
    eval_every: int | None = None
    classifier: str = ""
    scheduler: str = "none"
    metric: str = "val_l1"


@dataclass(frozen=True)
class SweepPlan:
    """A sweep, and the base model that must be trained before it.

    Attributes:
        sweep: the sweep. `training.start_from` may name a model of `base_run`; `starting_from`
            replaces it by the model's package after the training.
        rows: the photographs that every trial colours.
        base_run: the run of the base model; None if the trials start from a package or from
            scratch.
    """

    sweep: Sweep
    rows: Sequence[Row]
    base_run: RunPlan | None

    def starting_from(self, package: str) -> "SweepPlan":
        """A copy of the plan whose trials start from a package."""
        training = replace(self.sweep.training, start_from=package)
        return replace(self, sweep=replace(self.sweep, training=training), base_run=None)


def plan_sweep(storage: Storage, dataset: Dataset, request: SweepRequest) -> SweepPlan:
    """Plan a sweep; this reads storage and does not change it.

    Raises:
        ConfigError: a value cannot be used, or a trial cannot start from its base model.
        ColorganError: the model has no training photographs, or the classifier cannot be loaded.
    """
    preset = SWEEP_PRESETS[request.preset]
    model = request.model or preset.model
    rows = shown_rows(dataset, model)
    run = plan_run(storage, dataset, _run_request(storage, request, model))
    training = run.configs[model]
    trials = request.space.trials(request.samples, training)
    _check_trials(model, training, trials)
    if request.classifier:
        _check_classifier(request.classifier)
    sweep = Sweep(
        name=request.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        dataset={"name": dataset.manifest.name, "fingerprint": dataset.manifest.fingerprint},
        model=model,
        training=training,
        trials=trials,
        eval_every=request.eval_every or preset.eval_every,
        classifier=request.classifier,
        photographs=tuple(photo_id(row) for row in rows),
        scheduler=request.scheduler,
        metric=request.metric,
    )
    base = training.start_from
    return SweepPlan(sweep, rows, run.only(base) if base in run.configs else None)


def _run_request(storage: Storage, request: SweepRequest, model: str) -> RunRequest:
    """The request for the run that trains the base model of the trials."""
    overrides = {**SWEEP_PRESETS[request.preset].training, **request.overrides}
    if "start_from" in request.space.varied:
        overrides["start_from"] = ""  # each trial has its own
    preset = find_preset(request.preset)
    if overrides.get("start_from"):
        base = preset.config(model, overrides).start_from
        if base and base != EMBEDDED_MODELS:
            check_trial_base(base)
    begun = {}
    if storage.exists(f"runs/{request.name}/sweep.json"):
        begun[model] = open_sweep(storage, request.name).training
    return RunRequest(
        run=f"{request.name}-base",
        models=[model],
        preset=preset,
        overrides=overrides,
        trains_bases=False,
        begun=begun,
    )


def _check_trials(model: str, training: TrainingConfig, trials: Sequence[TrialPlan]) -> None:
    """Check the values of every trial before anything is trained; raises ConfigError."""
    base = training.start_from
    for trial in trials:
        config = replace(training, **trial.values)
        other = config.architecture(model) != training.architecture(model)
        if base and config.start_from == base and other:
            raise ConfigError(
                f"trial {trial.name} ({describe_values(trial.values)}) cannot start from {base}, a "
                "network of another architecture: --start-from '' starts every trial from nothing"
            )


def _check_classifier(name: str) -> None:
    from colorgan.models.classifiers import load_classifier  # imports PyTorch

    try:
        load_classifier(name)
    except ColorganError as error:
        raise ColorganError(f"{error}; or give --classifier none") from None
