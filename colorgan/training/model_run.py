"""The training of one model of a run, from its last checkpoint to its package."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import torch

from colorgan.data.batches import PhotoBank
from colorgan.data.dataset import Dataset, open_dataset
from colorgan.images.contact_sheet import SheetRow, contact_sheet
from colorgan.images.decoding import encode_png
from colorgan.inference.colorizer import Colorizer, grayscale
from colorgan.models.generator import Generator
from colorgan.names import HYPERCOLUMN
from colorgan.packages.card import ModelCard
from colorgan.packages.embedded import with_embedded
from colorgan.packages.weights import Trained, load_generator, publish
from colorgan.storage import Storage, open_storage, retry_transient
from colorgan.system import device_name
from colorgan.training.checkpoints import Checkpoints
from colorgan.training.loop import Training, load_banks
from colorgan.training.records import EpochRecord, history_csv
from colorgan.training.runs import ModelResult, ModelRun, Wish, find_base
from colorgan.training.states import Snapshot
from colorgan.training.vividness import enlivened

SAMPLES = 8
_SAY_SECONDS = 10.0


def train_model(
    spec: ModelRun,
    device: torch.device,
    node: str = "",
    observe: Callable[[float], Wish | None] = lambda fraction: None,
    record: Callable[[EpochRecord], None] = lambda record: None,
    saved: Callable[[float], None] = lambda seconds: None,
    say: Callable[[str], None] = lambda line: print(line, flush=True),
) -> ModelResult:
    """Train one model from its last checkpoint to its last epoch, and publish it.

    A storage that goes away for some minutes costs that time and nothing else.

    Args:
        spec: what to train.
        device: where.
        node: address of this machine, for the record.
        observe: called after every step with the fraction of the epoch that is done; what it wishes
            is done before the next step.
        record: called after every epoch.
        saved: called after every checkpoint with the seconds that it took.
        say: called now and then with a line on what is done before the first epoch.

    Returns:
        The result; its status is "stopped" where that was wished.

    Raises:
        ColorganError: the dataset cannot be read, or the training diverged.
    """
    storage = retry_transient(lambda: open_storage(spec.storage))
    dataset = retry_transient(lambda: open_dataset(storage, spec.dataset))
    train, val = retry_transient(lambda: load_banks(dataset, spec.model, spec.training, spec.speed))
    training = Training(spec.training, train, val, device, spec.speed, spec.model)
    checkpoints = Checkpoints(storage, spec.folder)
    retry_transient(lambda: checkpoints.restore(training))
    if not training.epoch and spec.training.start_from:
        base = retry_transient(lambda: find_base(storage, spec.run, spec.training.start_from))
        models = with_embedded(storage)
        training.start_from(retry_transient(lambda: load_generator(models, base)))
        if base.run == spec.run:
            theirs = Checkpoints(storage, f"runs/{base.run}/{base.model}")
            training.oppose_with(retry_transient(theirs.files))
    started = time.time()
    unsaved: Snapshot | None = None

    def keep(snapshot: Snapshot) -> None:
        nonlocal unsaved
        began = time.monotonic()
        history = history_csv(training.history[: snapshot.epoch])
        retry_transient(lambda: storage.put(f"{spec.folder}/history.csv", history))
        retry_transient(lambda: checkpoints.save(snapshot))
        unsaved = None
        saved(time.monotonic() - began)

    def step(fraction: float) -> None:
        wish = observe(fraction)
        if wish and unsaved:
            keep(unsaved)
        if wish == "stop":
            raise _Stopped

    said = time.monotonic()

    def prepare(fraction: float) -> None:
        nonlocal said
        step(0.0)
        if time.monotonic() - said > _SAY_SECONDS:
            said = time.monotonic()
            say(f"{spec.model}: looking at the photographs once, {fraction:.0%} done")

    def result(status: str, **outcome: Any) -> ModelResult:
        history = training.history
        return ModelResult(
            model=spec.model,
            status=status,
            photographs=len(train),
            epochs=len(history),
            started=started,
            ended=time.time(),
            seconds=sum(each.seconds for each in history),
            device=device_name(device),
            node=node,
            images_per_second=(
                sum(each.images_per_second for each in history) / len(history) if history else None
            ),
            objective=spec.training.objective(spec.model),
            **outcome,
        )

    try:
        for epoch in training.run(step, prepare):
            # Kept in memory between checkpoints: a stop may come in the middle of an epoch.
            unsaved = training.snapshot()
            record(epoch)
            if epoch.epoch % spec.checkpoint_every == 0 or epoch.epoch == spec.training.epochs:
                keep(unsaved)
    except _Stopped:
        record_now = training.published()[1] if training.history else None
        return result("stopped", **_errors(asdict(record_now) if record_now else {}))
    card = retry_transient(lambda: _publish(storage, spec, dataset, training, val, device))
    done = result("done", package=card.reference, **_errors(card.metrics))
    line = (json.dumps(asdict(done)) + "\n").encode()
    retry_transient(lambda: storage.put(f"{spec.folder}/result.json", line))
    return done


class _Stopped(Exception):  # noqa: N818 - it reads as what it says
    """The training was asked to stop."""


def _errors(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {name: metrics.get(name) for name in ("val_l1", "val_psnr", "val_colorfulness")}


def _publish(
    storage: Storage,
    spec: ModelRun,
    dataset: Dataset,
    training: Training,
    val: PhotoBank,
    device: torch.device,
) -> ModelCard:
    history = training.history
    generator, record = training.published()
    more: dict[str, float] = {}
    if spec.training.colorfulness and spec.model != HYPERCOLUMN:
        wanted = spec.training.colorfulness
        generator, record, more["vividness"] = enlivened(generator, record, val, wanted)
    metrics = {name: value for name, value in asdict(record).items() if value is not None} | more
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
