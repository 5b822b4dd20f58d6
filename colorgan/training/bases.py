"""What a model starts from, decided once for `colorgan train`, jobs/train_all.py and jobs/sweep.py.

A preset's base model is optional; an explicit --start-from is required.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from colorgan.data.dataset import Dataset
from colorgan.errors import ConfigError, Corrupt, NotInStorage
from colorgan.packages.card import ModelCard, find
from colorgan.packages.embedded import EMBEDDED_MODELS, embedded_base
from colorgan.storage import Storage
from colorgan.training.config import TrainingConfig
from colorgan.training.presets import Preset
from colorgan.training.runs import find_base, finished_result


def plan_trainings(
    storage: Storage,
    dataset: Dataset,
    run: str,
    preset: Preset,
    models: Sequence[str],
    overrides: Mapping[str, Any],
    before: Mapping[str, TrainingConfig],
    reuse: bool,
) -> dict[str, TrainingConfig]:
    """The hyper-parameters of models, after those of the models that they start from.

    A model goes on with the base that it began with. Otherwise the base that a preset names is the
    run's own model of that name where the run has it; with `reuse` the latest package of that name,
    where it was trained on the same dataset and has the same architecture; or else a model that is
    trained first. A user's base `embedded` is, for each model, the embedded one of its name, or
    else the embedded general one.

    Args:
        storage: where runs and packages are.
        dataset: what is trained on.
        run: the run's name.
        preset: whose hyper-parameters.
        models: what is to be trained.
        overrides: a user's own hyper-parameters.
        before: those that the run has begun with, by model; see `run_configs`.
        reuse: whether a package of another run serves as a preset's base.

    Returns:
        By model, bases first; `start_from` is empty, a package, or a model of the run.

    Raises:
        ConfigError: a value cannot be used.
        NotInStorage: there is no embedded model to start from.
    """
    named = "start_from" in overrides
    bases: dict[str, TrainingConfig] = {}
    configs: dict[str, TrainingConfig] = {}
    for model in models:
        config = preset.config(model, overrides)
        if config.start_from == EMBEDDED_MODELS:
            config = replace(config, start_from=embedded_base(model).reference)
        if model in before and not named:
            base = before[model].start_from
            config = preset.config(model, {**overrides, "start_from": base})
        base = config.start_from
        if base and "@" not in base and base not in models:
            package = None
            if reuse and not named and base not in before:
                package = _latest_base(storage, dataset, base, config.architecture(model))
            if package:
                config = replace(config, start_from=package.reference)
            else:
                bases[base] = before.get(base) or preset.config(base, overrides)
        configs[model] = config
    return {**bases, **configs}


def _latest_base(
    storage: Storage, dataset: Dataset, model: str, architecture: Any
) -> ModelCard | None:
    try:
        card = find(storage, model)
    except (NotInStorage, Corrupt):
        return None
    fits = card.dataset.get("fingerprint") == dataset.manifest.fingerprint
    return card if fits and card.architecture == architecture else None


def check_bases(
    storage: Storage,
    run: str,
    configs: Mapping[str, TrainingConfig],
) -> None:
    """Check, before anything is trained, that models can start from what they are to start from.

    Args:
        storage: where runs and packages are.
        run: the run's name.
        configs: of all its models.

    Raises:
        ConfigError: a base has another architecture, or the run has not trained it and will not.
        NotInStorage: there is no such package.
    """
    for model, config in configs.items():
        base = config.start_from
        if not base or finished_result(storage, run, model):
            continue
        if base in configs:
            architecture: Any = configs[base].architecture(base)
        else:
            architecture = find_base(storage, run, base).architecture
        if architecture != config.architecture(model):
            raise ConfigError(
                f"{model} cannot start from {base}, a network of another architecture: give "
                "another --start-from, or '' for none"
            )
