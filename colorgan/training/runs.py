"""A run: the training of one or more models on one dataset, kept in storage so that it can resume.

runs/<run>/run.json                the options that it was started with
runs/<run>/<model>/…               checkpoints and history
runs/<run>/<model>/result.json     written once the model is published
runs/<run>/progress.json           its progress, while a job on a cluster works on it
"""

import json
import secrets
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from colorgan.errors import ConfigError, Corrupt, NotInStorage, StorageUnavailable
from colorgan.names import check_name
from colorgan.packages.card import ModelCard, find
from colorgan.packages.embedded import with_embedded
from colorgan.storage import Storage
from colorgan.training.config import SpeedConfig, TrainingConfig, stored_config

# A request to a training between two steps: to save its state, because its machine may be about to
# disappear, or to save it and stop; or to save it where another number of workers can continue it:
# at once, or after the epoch if that would begin again with them.
StopRequest = Literal["save", "stop", "resize"]


@dataclass(frozen=True)
class ModelRun:
    """One model's part of a run: all that a process on any machine needs to train it.

    Attributes:
        storage: the storage's URI.
        dataset: the dataset's name.
        run: the run's name.
        model: a class, or `general`.
        training: the hyper-parameters.
        speed: how to use the device.
        checkpoint_every: epochs between checkpoints.
        publishes: whether the trained model becomes a package.
        tag: the package's tag, with which it is not released on publishing; may be empty.
    """

    storage: str
    dataset: str
    run: str
    model: str
    training: TrainingConfig
    speed: SpeedConfig
    checkpoint_every: int
    publishes: bool = True
    tag: str = ""

    @property
    def folder(self) -> str:
        """The model's folder in storage."""
        return f"runs/{self.run}/{self.model}"


@dataclass(frozen=True)
class ModelResult:
    """The result of a model's part of a run.

    `package` is None unless `status` is "done" and the run publishes.

    Attributes:
        model: a class, or `general`.
        status: "done", "stopped" or "failed".
        photographs: number of photographs that it was trained on.
        epochs: number of epochs done.
        started: when this job's training of it began, in seconds since the Unix epoch.
        ended: when it ended, likewise.
        seconds: time spent training, over all jobs that trained it.
        device: the device that it was trained on.
        node: address of the machine that it was trained on.
        images_per_second: training photographs per second, mean over the epochs.
        val_l1: validation L1 of the epoch whose state is published, in Lab units.
        val_psnr: validation PSNR of the same epoch, in dB.
        val_colorfulness: colourfulness in the same epoch, as a share of the originals'.
        package: `model@version`.
        error: the cause of a failure, in a sentence.
        objective: the terms of its generator's loss, for people to read.
    """

    model: str
    status: str
    photographs: int | None = None
    epochs: int | None = None
    started: float | None = None
    ended: float | None = None
    seconds: float | None = None
    device: str | None = None
    node: str | None = None
    images_per_second: float | None = None
    val_l1: float | None = None
    val_psnr: float | None = None
    val_colorfulness: float | None = None
    package: str | None = None
    error: str | None = None
    objective: str | None = None


@dataclass(frozen=True)
class HeadResult:
    """The result of the router's head in a run: `router` in summary.json.

    Attributes:
        status: "done", "stopped" or "failed".
        classifier: the classifier whose features it is trained on.
        classes: the classes that it routes to.
        package: `router@version`.
        val_accuracy: share of the validation photographs that it routes to their class.
        error: the cause of a failure, in a sentence.
    """

    status: str
    classifier: str
    classes: tuple[str, ...]
    package: str | None = None
    val_accuracy: float | None = None
    error: str | None = None


def new_run_name(kind: str) -> str:
    """A new run's name: the kind, the time (UTC), and a few random digits."""
    return f"{kind}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def open_run(
    storage: Storage,
    run: str,
    fingerprint: str,
    models: Mapping[str, TrainingConfig],
    continued: Collection[str] = (),
) -> bool:
    """Start a run, or continue one that has the same options.

    Further models can be added to a run later; the models that it has keep their options.

    Args:
        storage: the storage of the runs.
        run: the run's name.
        fingerprint: the dataset's fingerprint.
        models: the hyper-parameters of each model.
        continued: the models that may have another number of epochs than before; see
            `RunPlan.continued`.

    Returns:
        Whether the run had been started before.

    Raises:
        ConfigError: the run was started with other options; the message names those that differ.
    """
    going_on = goes_on(storage, run, fingerprint, models, continued)
    configs = {**run_configs(storage, run), **models}
    document = {
        "dataset": fingerprint,
        "models": {model: asdict(config) for model, config in configs.items()},
    }
    storage.put(_options_key(run), json.dumps(document, indent=2).encode())
    return going_on


def goes_on(
    storage: Storage,
    run: str,
    fingerprint: str,
    models: Mapping[str, TrainingConfig],
    continued: Collection[str] = (),
) -> bool:
    """Whether a run was started before; the arguments are those of `open_run`.

    Raises:
        ConfigError: the run was started with other options; the message names those that differ.
    """
    key = _options_key(run)
    if not storage.exists(key):
        return False
    before: dict[str, Any] = json.loads(storage.get(key))
    del before["models"]
    differences = _differences(before, {"dataset": fingerprint})
    for model, known in run_configs(storage, run).items():
        if model in models:
            if model in continued:
                known = replace(known, epochs=models[model].epochs)
            found = _differences(asdict(known), asdict(models[model]))
            differences += [f"{model}: {difference}" for difference in found]
    if differences:
        raise ConfigError(
            f"run {run!r} was started with other options ({'; '.join(differences)}): "
            "give the same ones to continue it, or another --run"
        )
    return True


def _options_key(run: str) -> str:
    return f"runs/{check_name('run', run)}/run.json"


def run_configs(storage: Storage, run: str) -> dict[str, TrainingConfig]:
    """The hyper-parameters that a run was started with, by model; empty for a new run.

    Raises:
        Corrupt: run.json cannot be read.
    """
    key = _options_key(run)
    if not storage.exists(key):
        return {}
    try:
        models: dict[str, Any] = json.loads(storage.get(key))["models"]
        return {model: stored_config(fields) for model, fields in models.items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        raise Corrupt(f"{key} cannot be read: choose another --run") from None


def _differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    return [
        f"{name} was {before.get(name)}, is {now.get(name)}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]


def finished_result(storage: Storage, run: str, model: str) -> ModelResult | None:
    """The result of a model that the run has already trained, or None; raises Corrupt."""
    key = f"runs/{run}/{model}/result.json"
    if not storage.exists(key):
        return None
    try:
        return ModelResult(**json.loads(storage.get(key)))
    except (ValueError, TypeError):
        raise Corrupt(f"{key} cannot be read: choose another --run") from None


def epochs_begun_with(storage: Storage, run: str, models: Iterable[str]) -> dict[str, int]:
    """The number of epochs that each model continues after; 0 for one that begins.

    It is for progress alone: it is read from the history that is stored with every checkpoint, and
    a storage that does not respond counts as empty.
    """
    done = {}
    for model in models:
        history = b""
        with suppress(NotInStorage, StorageUnavailable):
            history = storage.get(f"runs/{run}/{model}/history.csv")
        done[model] = max(0, len(history.splitlines()) - 1)
    return done


def find_base(storage: Storage, run: str, reference: str) -> ModelCard:
    """The package that a training starts from, by reference or by the name of a model of the run.

    Raises:
        ConfigError: the run has not trained that model.
        NotInStorage: there is no such package.
    """
    if "@" not in reference:
        result = finished_result(storage, run, reference)
        if not (result and result.package):
            raise ConfigError(
                f"--start-from {reference}: run {run!r} has not trained it; train {reference} with "
                f"the same --run first, or give a package, such as {reference}@VERSION, or "
                "'' for none"
            )
        reference = result.package
    return find(with_embedded(storage), reference)
