"""Planning a run: which models it trains, from which bases, and in which order.

`colorgan train`, jobs/train_all.py and jobs/sweep.py all call `plan_run` before they train.

The base that a model starts from is a dependency of its run: another model of the run, or a
package. It is resolved here and nowhere else, and stored in the model's TrainingConfig, where
checkpoints, packages and runs have always held it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from colorgan.classes import PhotoClasses
from colorgan.data.dataset import Dataset
from colorgan.errors import ConfigError, Corrupt, NotInStorage
from colorgan.inference.router_choice import AUTO, HEAD, LABELS, Kind
from colorgan.models import EMBEDDED
from colorgan.models.architectures import is_base
from colorgan.names import ROUTER
from colorgan.packages.card import ModelCard, find
from colorgan.packages.embedded import EMBEDDED_MODELS, embedded_base
from colorgan.storage import Storage
from colorgan.training.config import SpeedConfig, TrainingConfig, by_objective
from colorgan.training.continuation import check_epochs
from colorgan.training.presets import Preset
from colorgan.training.runs import (
    ModelResult,
    ModelRun,
    find_base,
    finished_result,
    goes_on,
    run_configs,
)

# Why a model starts from its base:
# named     the user's --start-from names it;
# embedded  the user named the models that come with colorgan, and this is the one for the model;
# begun     the run began with it;
# latest    the preset names a model, and this is its released package;
# preset    the preset names a model, and the run trains it.
Origin = Literal["named", "embedded", "begun", "latest", "preset"]

_BASE_TAG = "base"  # of a package that exists because other models of its run start from it


@dataclass(frozen=True)
class Publishing:
    """What becomes of the trained models of a run.

    Attributes:
        publishes: whether they become packages. A model that others of the run start from becomes
            one in any case, with the tag `base` if the others do not.
        tag: a name such as `candidate`; tagged packages are not released on publishing. Empty means
            none.
    """

    publishes: bool = True
    tag: str = ""


@dataclass(frozen=True)
class RunRequest:
    """A user's request for a run.

    Attributes:
        run: the run's name.
        models: classes of the dataset, `general`, `hypercolumn` or `cic`.
        preset: the preset's hyper-parameters.
        overrides: the user's own hyper-parameters, which replace the preset's.
        trains_bases: whether every base model is trained in this run. Otherwise the run takes the
            base of a preset from the released package of that name if that has the same dataset and
            architecture, and an explicit --start-from must exist already.
        router: `head` also trains the router's head, and `labels` does not; `auto` does if the run
            trains class models of a dataset whose classes differ from those of `labels`.
        begun: hyper-parameters of models that were begun outside runs/<run>/run.json, by model.
        publishing: what becomes of the trained models.
    """

    run: str
    models: Sequence[str]
    preset: Preset
    overrides: Mapping[str, Any]
    trains_bases: bool
    router: Kind = LABELS
    begun: Mapping[str, TrainingConfig] = field(default_factory=dict)
    publishing: Publishing = Publishing()

    @property
    def names_base(self) -> bool:
        """Whether the user has given --start-from, even an empty one."""
        return "start_from" in self.overrides


@dataclass(frozen=True)
class Base:
    """The base model that a model starts from.

    Attributes:
        name: a model of the run, or a package as `model@version`.
        origin: why the model starts from it.
    """

    name: str
    origin: Origin


@dataclass(frozen=True)
class RunPlan:
    """The plan of a run.

    Attributes:
        run: the run's name.
        dataset: the dataset's name.
        fingerprint: the dataset's fingerprint.
        configs: the hyper-parameters by model; base models that were not requested come first.
        bases: the bases by model; models without a base are left out.
        finished: the results of models that the run has trained already, by model.
        stages: the models still to be trained. The models of a stage can be trained at the same
            time, once the previous stages are done.
        going_on: whether the run was started before.
        head: the classifier that the router's head is trained on; empty if none is trained.
        publishing: what becomes of the trained models.
        continued: the models that continue with another number of epochs than the run was started
            with, and that number.
    """

    run: str
    dataset: str
    fingerprint: str
    configs: Mapping[str, TrainingConfig]
    bases: Mapping[str, Base]
    finished: Mapping[str, ModelResult]
    stages: tuple[tuple[str, ...], ...]
    going_on: bool
    head: str
    publishing: Publishing = Publishing()
    continued: Mapping[str, int] = field(default_factory=dict)

    @property
    def waiting(self) -> tuple[str, ...]:
        """The models still to be trained, in the order of `configs`."""
        return tuple(model for model in self.configs if model not in self.finished)

    def only(self, model: str) -> "RunPlan":
        """The part of the plan that trains one model alone; its base must exist already."""
        finished = {name: result for name, result in self.finished.items() if name == model}
        return replace(
            self,
            configs={model: self.configs[model]},
            bases={name: base for name, base in self.bases.items() if name == model},
            finished=finished,
            stages=() if finished else ((model,),),
        )

    def model_run(
        self, model: str, storage: str, speed: SpeedConfig, checkpoint_every: int
    ) -> ModelRun:
        """One model's part of the run.

        Args:
            model: one of `configs`.
            storage: the storage's URI.
            speed: how to use the device.
            checkpoint_every: epochs between checkpoints.
        """
        is_base = any(config.start_from == model for config in self.configs.values())
        publishes = self.publishing.publishes
        return ModelRun(
            storage=storage,
            dataset=self.dataset,
            run=self.run,
            model=model,
            training=self.configs[model],
            speed=speed,
            checkpoint_every=checkpoint_every,
            publishes=publishes or is_base,
            tag=self.publishing.tag if publishes else _BASE_TAG,
        )


def plan_run(storage: Storage, dataset: Dataset, request: RunRequest) -> RunPlan:
    """Plan a run; this reads storage and changes nothing.

    A model that the run has begun keeps its base, unless the user names another. If the user gives
    --epochs, it continues with that number; see `continuation`. If the user names
    the base `embedded`, each model starts from the embedded model of its name or, where there is
    none, from the embedded general model.

    Args:
        storage: the storage of runs and packages.
        dataset: the dataset to train on.
        request: the user's request.

    Raises:
        ConfigError: a value is invalid; a model cannot start from its base, which has another
            architecture or does not exist; or the run was started with other options, or with
            another number of epochs that it cannot continue with.
        NotInStorage: there is no such package, or no embedded model to start from.
        ColorganError: a model has no photograph in the training or the validation split.
        Corrupt: the run's files in storage cannot be read.
    """
    begun = {**run_configs(storage, request.run), **request.begun}
    bases = {
        model: base
        for model in request.models
        if (base := _choose_base(storage, dataset, request, begun, model)) is not None
    }
    configs: dict[str, TrainingConfig] = {}
    for base in bases.values():  # base models first
        if "@" not in base.name and base.name not in request.models:
            own = begun.get(base.name) or request.preset.config(base.name, request.overrides)
            configs[base.name] = own
    for model in request.models:
        start_from = bases[model].name if model in bases else ""
        overrides = {**request.overrides, "start_from": start_from}
        configs[model] = request.preset.config(model, overrides)
    for model in configs:
        for split in ("train", "val"):
            dataset.check_split(dataset.model_classes(model), split)
    finished = {
        model: result
        for model in configs
        if (result := finished_result(storage, request.run, model)) is not None
        and (result.epochs is None or result.epochs >= configs[model].epochs)
    }
    continued = _continued(storage, dataset, request, begun, configs)
    _check_bases(storage, request, configs, finished)
    fingerprint = dataset.manifest.fingerprint
    return RunPlan(
        run=request.run,
        dataset=dataset.manifest.name,
        fingerprint=fingerprint,
        configs=configs,
        bases=bases,
        finished=finished,
        going_on=goes_on(storage, request.run, fingerprint, configs, continued),
        stages=_stages({model: configs[model] for model in configs if model not in finished}),
        head=_head_classifier(dataset, request) if request.publishing.publishes else "",
        publishing=request.publishing,
        continued=continued,
    )


def describe(plan: RunPlan) -> Iterator[str]:
    """Lines on a plan for a job's log: objectives, packages to start from, finished models."""
    for objective, models in by_objective(plan.configs).items():
        yield f"{', '.join(models)}: {objective}"
    for model in plan.waiting:
        if "@" in plan.configs[model].start_from:
            yield f"{model}: starts from {plan.configs[model].start_from}"
    yield from continuations(plan)
    for model, result in plan.finished.items():
        yield f"{model}: finished before, {result.package}"
    if not plan.publishing.publishes and plan.waiting:
        yield unpublished(plan)


def unpublished(plan: RunPlan) -> str:
    """A sentence on a run that does not publish its models."""
    bases = {config.start_from for config in plan.configs.values()}
    needed = [model for model in plan.waiting if model in bases]
    but = f"; {', '.join(needed)}, from which others start, is published, not released"
    return (
        f"the models are not published: the same command with --run {plan.run} and without "
        f"--no-publish publishes them{but if needed else ''}"
    )


def continuations(plan: RunPlan) -> Iterator[str]:
    """A line on every model that continues with another number of epochs."""
    for model, before in plan.continued.items():
        epochs = plan.configs[model].epochs
        yield f"{model}: continues to {epochs} epochs; the run was started with {before}"


def trained_first(base: str, start: str) -> str:
    """A sentence on why a base model is trained before the models that were requested.

    Args:
        base: the base model.
        start: the models that start from it, with the verb, as "animals starts".
    """
    return (
        f"{base} is trained first, since {start} from it in this preset; --start-from "
        f"{base}@VERSION starts from a package instead, --start-from '' from scratch"
    )


def _choose_base(
    storage: Storage,
    dataset: Dataset,
    request: RunRequest,
    begun: Mapping[str, TrainingConfig],
    model: str,
) -> Base | None:
    """The base of a requested model; None if it has none."""
    config = request.preset.config(model, request.overrides)
    if config.start_from == EMBEDDED_MODELS:
        return Base(embedded_base(model).reference, "embedded")
    if request.names_base:
        return Base(config.start_from, "named") if config.start_from else None
    if model in begun:
        name = begun[model].start_from
        return Base(name, "begun") if name else None
    if not config.start_from:
        return None
    reuses = not request.trains_bases
    if reuses and not {config.start_from} & {*begun, *request.models}:
        architecture = config.architecture(model)
        package = _latest_package(storage, dataset, config.start_from, architecture)
        if package:
            return Base(package.reference, "latest")
    return Base(config.start_from, "preset")


def _latest_package(
    storage: Storage, dataset: Dataset, model: str, architecture: Any
) -> ModelCard | None:
    """The released package of a model, if it has this dataset and architecture."""
    try:
        card = find(storage, model)
    except (NotInStorage, Corrupt):
        return None
    fits = card.dataset.get("fingerprint") == dataset.manifest.fingerprint
    return card if fits and is_base(card.architecture, architecture) else None


def _check_bases(
    storage: Storage,
    request: RunRequest,
    configs: Mapping[str, TrainingConfig],
    finished: Mapping[str, ModelResult],
) -> None:
    """Check that every model still to be trained can start from its base.

    Raises:
        ConfigError: a base has another architecture, or the run neither has trained it nor will.
        NotInStorage: there is no such package.
    """
    for model, config in configs.items():
        base = config.start_from
        if not base or model in finished:
            continue
        must_exist = request.names_base and not request.trains_bases and model in request.models
        if base in configs and not must_exist:
            architecture: Any = configs[base].architecture(base)
        else:
            architecture = find_base(storage, request.run, base).architecture
        if not is_base(architecture, config.architecture(model)):
            raise ConfigError(
                f"{model} cannot start from {base}, a network of another architecture: give "
                "another --start-from, or '' for none"
            )


def _continued(
    storage: Storage,
    dataset: Dataset,
    request: RunRequest,
    begun: Mapping[str, TrainingConfig],
    configs: Mapping[str, TrainingConfig],
) -> dict[str, int]:
    """The models whose --epochs the user has changed, and the number that they had before.

    Raises:
        ConfigError: a model cannot continue with the new number.
    """
    if "epochs" not in request.overrides:
        return {}
    changed = {
        model: begun[model].epochs
        for model, config in configs.items()
        if model in begun and begun[model].epochs != config.epochs
    }
    if not changed:
        return {}
    from colorgan.training.checkpoints import Checkpoints  # imports PyTorch

    for model, config in configs.items():
        done = Checkpoints(storage, f"runs/{request.run}/{model}").position()
        base = config.start_from
        if base in changed and any(done):
            raise ConfigError(
                f"--epochs {configs[base].epochs}: {model} has started from {base} as it was with "
                f"--epochs {changed[base]}, and would have started from another one: continue "
                f"{base} alone, or give another --run"
            )
        if model in changed:
            count = dataset.count(dataset.model_classes(model), "train")
            photographs = min(count, config.photographs or count)
            steps = math.ceil(photographs / config.batch_size)
            check_epochs(model, config, changed[model], steps, done)
    return changed


def _stages(configs: Mapping[str, TrainingConfig]) -> tuple[tuple[str, ...], ...]:
    """Divide models into stages; each is in the last stage before all models that start from it."""
    stages: list[tuple[str, ...]] = []
    left = dict(configs)
    while left:
        bases = {config.start_from for config in left.values()}
        stage = tuple(model for model in left if model not in bases)
        if not stage:
            raise ConfigError(
                f"{' and '.join(left)} start from one another: give another --start-from, or '' "
                "for none"
            )
        stages.insert(0, stage)
        left = {model: config for model, config in left.items() if model not in stage}
    return tuple(stages)


def _head_classifier(dataset: Dataset, request: RunRequest) -> str:
    """The classifier that the router's head is trained on; empty if no head is trained."""
    classes = {*dataset.manifest.classes}
    if request.router == AUTO:
        known = {*PhotoClasses.load().names}
        if classes == known or classes.isdisjoint(request.models):
            return ""
        if "backbone" not in request.overrides:
            return EMBEDDED  # it needs no download
    elif request.router != HEAD:
        return ""
    return request.preset.config(ROUTER, request.overrides).backbone
