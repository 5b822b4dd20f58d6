"""A run: the training of one or more models on one dataset, kept in storage so that it can go on.

runs/<run>/run.json                the options it was started with
runs/<run>/<model>/…               checkpoints and history
runs/<run>/<model>/result.json     written once the model is published
"""

import json
import secrets
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import torch

from colorgan.colorizer import Colorizer, grayscale
from colorgan.data.batches import PhotoBank
from colorgan.data.dataset import check_name, open_dataset
from colorgan.errors import ConfigError, Corrupt, NotInStorage
from colorgan.evaluation.contact_sheet import SheetRow, contact_sheet
from colorgan.images.decoding import encode_png
from colorgan.packages import Trained, publish
from colorgan.storage import Storage, open_storage
from colorgan.training import (
    EpochRecord,
    SpeedConfig,
    Training,
    TrainingConfig,
    device_name,
    history_csv,
    load_banks,
)

SAMPLES = 8


@dataclass(frozen=True)
class ModelRun:
    """One model's part of a run: all that a process anywhere needs to train it.

    Attributes:
        storage: the storage's URI.
        dataset: the dataset's name.
        run: the run's name.
        model: a class, or `general`.
        training: what to train.
        speed: how to use the device.
        checkpoint_every: epochs between checkpoints.
    """

    storage: str
    dataset: str
    run: str
    model: str
    training: TrainingConfig
    speed: SpeedConfig
    checkpoint_every: int

    @property
    def folder(self) -> str:
        """The model's folder in storage."""
        return f"runs/{self.run}/{self.model}"


@dataclass(frozen=True)
class ModelResult:
    """What came of a model's part of a run; `package` is empty unless `status` is "done".

    Attributes:
        model: a class, or `general`.
        status: "done", "failed" or "interrupted".
        photographs: in the training split.
        epochs: done.
        started: when this job's training of it began, in seconds since the Unix epoch.
        ended: when it ended.
        seconds: spent training, over all jobs that trained it.
        device: that it was trained on.
        node: address of the machine.
        images_per_second: mean over the epochs.
        val_l1: of the last epoch, in Lab units.
        val_psnr: of the last epoch, in dB.
        package: `model@version`.
        error: the cause of a failure, in a sentence.
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
    package: str | None = None
    error: str | None = None


class Checkpoints(Protocol):
    """Where a training's checkpoints go, and come back from."""

    def restore(self, training: Training) -> None:
        """Bring a fresh training to the last checkpoint, if there is one."""
        ...

    def save(self, training: Training, record: EpochRecord, due: bool) -> None:
        """Take note of an epoch, and keep the training's state when a checkpoint is due."""
        ...


class StorageCheckpoints:
    """Checkpoints as objects in storage; only the last one is kept."""

    def __init__(self, storage: Storage, folder: str) -> None:
        """Keep them under `folder`/checkpoints."""
        self._storage = storage
        self._folder = f"{folder}/checkpoints"
        self._pointer = f"{self._folder}/latest.json"

    def restore(self, training: Training, inherit: bool = False) -> None:
        """Load the checkpoint that the pointer names, if there is one; see `Training.load`."""
        name = self._latest()
        while name:
            try:
                with tempfile.TemporaryDirectory(prefix="colorgan-checkpoint-") as local:
                    for file in ("state.json", "state.safetensors"):
                        self._storage.get_file(f"{self._folder}/{name}/{file}", Path(local) / file)
                    training.load(Path(local), inherit)
                return
            except NotInStorage:
                before, name = name, self._latest()
                if name == before:
                    raise  # not replaced by another training's process, but damaged

    def _latest(self) -> str:
        if not self._storage.exists(self._pointer):
            return ""
        name: str = json.loads(self._storage.get(self._pointer))["name"]
        return name

    def save(self, training: Training, record: EpochRecord, due: bool) -> None:
        """Write the checkpoint, then the pointer, then delete what went before."""
        if not due:
            return
        name = f"epoch-{record.epoch:05d}"
        with tempfile.TemporaryDirectory(prefix="colorgan-checkpoint-") as local:
            training.save(Path(local))
            for file in ("state.json", "state.safetensors"):
                self._storage.put_file(f"{self._folder}/{name}/{file}", Path(local) / file)
        self._storage.put(self._pointer, json.dumps({"name": name}).encode())
        for old in self._storage.folders(self._folder):
            if old != name:
                self._storage.delete(f"{self._folder}/{old}")


def new_run_name(kind: str) -> str:
    """A name that no run has had: the kind, the time (UTC), and a few random digits."""
    return f"{kind}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def open_run(
    storage: Storage, run: str, trainer: str, fingerprint: str, models: dict[str, TrainingConfig]
) -> bool:
    """Start a run, or go on with one of the same options.

    A run may be given further models later; those that it has keep their options.

    Args:
        storage: where runs are kept.
        run: the run's name.
        trainer: the command, since each keeps its checkpoints in its own way.
        fingerprint: of the dataset.
        models: the hyper-parameters of each model.

    Returns:
        Whether the run had been started before.

    Raises:
        ConfigError: it was started with other options; the message names those that differ.
    """
    key = f"runs/{check_name('run', run)}/run.json"
    options: dict[str, Any] = {"trainer": trainer, "dataset": fingerprint}
    configs = {model: asdict(config) for model, config in models.items()}
    known: dict[str, Any] = {}
    going_on = storage.exists(key)
    if going_on:
        try:
            before: dict[str, Any] = json.loads(storage.get(key))
            known = before.pop("models")
            differences = _differences(before, options)
            for model in known.keys() & configs.keys():
                found = _differences(known[model], configs[model])
                differences += [f"{model}: {difference}" for difference in found]
        except (ValueError, TypeError, KeyError, AttributeError):
            raise Corrupt(f"{key} cannot be read: choose another --run") from None
        if differences:
            raise ConfigError(
                f"run {run!r} was started with other options ({'; '.join(differences)}): "
                "give the same ones to go on with it, or another --run"
            )
    storage.put(key, (json.dumps({**options, "models": known | configs}, indent=2)).encode())
    return going_on


def _differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    return [
        f"{name} was {before.get(name)}, is {now.get(name)}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]


def finished_result(storage: Storage, run: str, model: str) -> ModelResult | None:
    """The result of a model that the run has trained and published already."""
    key = f"runs/{run}/{model}/result.json"
    if not storage.exists(key):
        return None
    try:
        return ModelResult(**json.loads(storage.get(key)))
    except (ValueError, TypeError):
        raise Corrupt(f"{key} cannot be read: choose another --run") from None


def train_model(
    spec: ModelRun,
    device: torch.device,
    checkpoints: Checkpoints,
    node: str = "",
    observe: Callable[[float], None] = lambda fraction: None,
    record: Callable[[EpochRecord], None] = lambda record: None,
) -> ModelResult:
    """Train one model from its last checkpoint to its last epoch, and publish it.

    Args:
        spec: what to train.
        device: where.
        checkpoints: where its state is kept.
        node: address of this machine, for the record.
        observe: called after every step with the fraction of the epoch that is done.
        record: called after every epoch.

    Raises:
        ColorganError: the dataset cannot be read, or the training diverged.
    """
    storage = open_storage(spec.storage)
    dataset = open_dataset(storage, spec.dataset)
    train, val = load_banks(dataset, spec.model, spec.training, spec.speed)
    training = Training(spec.training, train, val, device, spec.speed, spec.model)
    checkpoints.restore(training)
    started = time.time()
    for epoch in training.run(observe):
        due = epoch.epoch % spec.checkpoint_every == 0 or epoch.epoch == spec.training.epochs
        record(epoch)
        if due:
            storage.put(f"{spec.folder}/history.csv", history_csv(training.history))
        checkpoints.save(training, epoch, due)
    ended = time.time()
    history, last = training.history, training.history[-1]
    card = publish(
        storage,
        spec.model,
        dataset,
        Trained(
            training.generator,
            classes=dataset.model_classes(spec.model),
            training=asdict(spec.training),
            metrics=asdict(last),
            seconds=sum(r.seconds for r in history),
            device=device_name(device),
            epochs=len(history),
            run=spec.run,
            extra={"history.csv": history_csv(history), "samples.png": _samples(training, val)},
        ),
    )
    result = ModelResult(
        model=spec.model,
        status="done",
        photographs=card.photographs,
        epochs=card.epochs,
        started=started,
        ended=ended,
        seconds=card.seconds,
        device=card.device,
        node=node,
        images_per_second=sum(r.images_per_second for r in history) / len(history),
        val_l1=last.val_l1,
        val_psnr=last.val_psnr,
        package=card.reference,
    )
    storage.put(f"{spec.folder}/result.json", (json.dumps(asdict(result)) + "\n").encode())
    return result


def _samples(training: Training, val: PhotoBank) -> bytes:
    """A PNG of the first validation photographs: grayscale, coloured, original."""
    originals = list(val.pixels[:SAMPLES])
    colored = Colorizer(training.generator)(originals)
    rows = [
        SheetRow("", (grayscale(original), result, original))
        for original, result in zip(originals, colored, strict=True)
    ]
    headings = ("grayscale", "coloured", "original")
    return encode_png(contact_sheet(headings, rows, min(val.pixels.shape[1], 256), columns=2))
