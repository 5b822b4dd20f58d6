"""The training of one model of a run, from its last checkpoint to its package."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from colorgan.data.batches import PhotoBank
from colorgan.data.dataset import Dataset, open_dataset
from colorgan.images.contact_sheet import SheetRow, contact_sheet
from colorgan.images.decoding import encode_png
from colorgan.inference.colorizer import Colorizer, grayscale
from colorgan.models.generator import Generator
from colorgan.packages.card import ModelCard
from colorgan.packages.embedded import with_embedded
from colorgan.packages.weights import Trained, load_generator, publish
from colorgan.storage import Storage, open_storage, retry_transient
from colorgan.system import device_name
from colorgan.training.checkpoints import Checkpoints
from colorgan.training.loop import Training, load_banks
from colorgan.training.records import EpochRecord, history_csv
from colorgan.training.runs import ModelResult, ModelRun, StopRequest, find_base
from colorgan.training.states import Snapshot
from colorgan.training.vividness import as_published

SAMPLES = 8
_SAY_SECONDS = 10.0


def train_model(
    spec: ModelRun,
    device: torch.device,
    node: str = "",
    observe: Callable[[float], StopRequest | None] = lambda fraction: None,
    record: Callable[[EpochRecord], None] = lambda record: None,
    saved: Callable[[float], None] = lambda seconds: None,
    say: Callable[[str], None] = lambda line: print(line, flush=True),
) -> ModelResult:
    """Train one model from its last checkpoint to its last epoch, and publish it if it is to be.

    If storage does not answer for some minutes, the training waits and then continues.

    Args:
        spec: what to train.
        device: the device to train on.
        node: address of this machine, for the record.
        observe: called after every step with the fraction of the epoch that is done; a returned
            request is honoured before the next step.
        record: called after every epoch.
        saved: called after every checkpoint with the seconds that it took.
        say: called at intervals with a line about the preparation for the first epoch.

    Returns:
        The result; its status is "stopped" if `observe` asked for that.

    Raises:
        ColorganError: the dataset cannot be read, or the training diverged.
    """
    storage = retry_transient(lambda: open_storage(spec.storage))
    dataset = retry_transient(lambda: open_dataset(storage, spec.dataset))
    train, val = retry_transient(lambda: load_banks(dataset, spec.model, spec.training, spec.speed))
    training = Training(spec.training, train, val, device, spec.speed, spec.model)
    keeper = _Keeper(storage, spec, training, observe, saved, say)
    retry_transient(lambda: keeper.checkpoints.restore(training))
    if not training.epoch and spec.training.start_from:
        _start_from_base(storage, spec, training)
    begun = ModelResult(
        model=spec.model,
        status="training",
        photographs=len(train),
        started=time.time(),
        device=device_name(device),
        node=node,
        objective=spec.training.objective(spec.model),
    )
    try:
        for epoch in training.run(keeper.step, keeper.prepare):
            keeper.hold(training.snapshot())
            record(epoch)
            if epoch.epoch % spec.checkpoint_every == 0 or epoch.epoch == spec.training.epochs:
                keeper.save()
    except _Stopped:
        metrics = asdict(training.published()[1]) if training.history else {}
        return _ended(replace(begun, status="stopped"), training.history, metrics)
    if not spec.publishes:
        metrics = asdict(training.published()[1])
        return _ended(replace(begun, status="done"), training.history, metrics)
    card = retry_transient(lambda: _publish(storage, spec, dataset, training, val, device))
    published = replace(begun, status="done", package=card.reference)
    done = _ended(published, training.history, card.metrics)
    line = (json.dumps(asdict(done)) + "\n").encode()
    retry_transient(lambda: storage.put(f"{spec.folder}/result.json", line))
    return done


class _Stopped(Exception):  # noqa: N818 - it is a request, not an error
    """The training was asked to stop."""


@dataclass
class _Keeper:
    """Saves a training's epochs, and honours requests between steps."""

    storage: Storage
    spec: ModelRun
    training: Training
    observe: Callable[[float], StopRequest | None]
    saved: Callable[[float], None]
    say: Callable[[str], None]

    def __post_init__(self) -> None:
        self.checkpoints = Checkpoints(self.storage, self.spec.folder)
        # Kept in memory between checkpoints: a request may come in the middle of an epoch.
        self._unsaved: Snapshot | None = None
        self._said = time.monotonic()

    def hold(self, snapshot: Snapshot) -> None:
        """Keep the state after an epoch in memory, until it is saved or the next epoch is done."""
        self._unsaved = snapshot

    def save(self) -> None:
        """Save the epoch in memory, unless it has been saved already."""
        snapshot = self._unsaved
        if snapshot is None:
            return
        began = time.monotonic()
        history = history_csv(self.training.history[: snapshot.epoch])
        retry_transient(lambda: self.storage.put(f"{self.spec.folder}/history.csv", history))
        retry_transient(lambda: self.checkpoints.save(snapshot))
        self._unsaved = None
        self.saved(time.monotonic() - began)

    def step(self, fraction: float) -> None:
        """Honour a request made after a step; raises _Stopped."""
        request = self.observe(fraction)
        if request:
            self.save()
        if request == "stop":
            raise _Stopped

    def prepare(self, fraction: float) -> None:
        """Honour requests before the first epoch, and report its preparation at intervals."""
        self.step(0.0)
        if time.monotonic() - self._said > _SAY_SECONDS:
            self._said = time.monotonic()
            self.say(f"{self.spec.model}: looking at the photographs once, {fraction:.0%} done")


def _start_from_base(storage: Storage, spec: ModelRun, training: Training) -> None:
    """Start from the base's generator and, if this run trained it, its discriminators."""
    base = retry_transient(lambda: find_base(storage, spec.run, spec.training.start_from))
    models = with_embedded(storage)
    training.start_from(retry_transient(lambda: load_generator(models, base)))
    if base.run == spec.run:
        theirs = Checkpoints(storage, f"runs/{base.run}/{base.model}")
        training.oppose_with(retry_transient(theirs.files))


def _ended(
    begun: ModelResult, history: Sequence[EpochRecord], metrics: Mapping[str, Any]
) -> ModelResult:
    """The result of a training that ends now.

    Args:
        begun: the result as known at the beginning, with its final status.
        history: the epochs done.
        metrics: the metrics of the epoch whose state is published.
    """
    speed = sum(each.images_per_second for each in history) / len(history) if history else None
    return replace(
        begun,
        epochs=len(history),
        ended=time.time(),
        seconds=sum(each.seconds for each in history),
        images_per_second=speed,
        val_l1=metrics.get("val_l1"),
        val_psnr=metrics.get("val_psnr"),
        val_colorfulness=metrics.get("val_colorfulness"),
    )


def _publish(
    storage: Storage,
    spec: ModelRun,
    dataset: Dataset,
    training: Training,
    val: PhotoBank,
    device: torch.device,
) -> ModelCard:
    history = training.history
    generator, metrics = as_published(*training.published(), spec.model, spec.training, lambda: val)
    return publish(
        storage,
        spec.model,
        dataset,
        Trained(
            generator,
            classes=dataset.model_classes(spec.model),
            training=asdict(spec.training),
            metrics=metrics,
            seconds=sum(each.seconds for each in history),
            device=device_name(device),
            epochs=len(history),
            objective=spec.training.objective(spec.model, len(history)),
            run=spec.run,
            folder=spec.folder,
            extra={"history.csv": history_csv(history), "samples.png": _samples(generator, val)},
            tag=spec.tag,
        ),
    )


def _samples(generator: Generator, val: PhotoBank) -> bytes:
    """A PNG of the first validation photographs: grayscale, coloured, original."""
    originals = list(val.pixels[:SAMPLES])
    colored = Colorizer(generator)(originals)
    rows = [
        SheetRow("", (grayscale(original), result, original))
        for original, result in zip(originals, colored, strict=True)
    ]
    headings = ("grayscale", "coloured", "original")
    return encode_png(contact_sheet(headings, rows, min(val.pixels.shape[1], 256), columns=2))
