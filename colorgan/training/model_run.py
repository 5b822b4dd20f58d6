"""The training of one model of a run, from its last checkpoint to its package."""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, TypeVar

import torch

from colorgan.data.batches import PhotoBank
from colorgan.data.dataset import Dataset, open_dataset
from colorgan.errors import StorageUnavailable
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
from colorgan.training.loop import Training
from colorgan.training.reading import Reading, least_memory, load_photographs
from colorgan.training.records import EpochRecord, history_csv
from colorgan.training.runs import ModelResult, ModelRun, StopRequest, find_base
from colorgan.training.vividness import as_published
from colorgan.workers import Workers, current_workers, in_step

SAMPLES = 8
_SAY_SECONDS = 10.0
# How long after a requested checkpoint another one is written if it is requested: at least so many
# seconds, and so many times as long as writing it took.
_SAVE_AGAIN_SECONDS = 10.0
_SAVE_AGAIN_RATIO = 4.0
_STOP_PATIENCE_S = 60.0  # how long a training that is asked to stop waits for the storage

Result = TypeVar("Result")


@in_step()
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

    If storage does not answer for some minutes, the training waits and then continues. Where
    PyTorch's process group has several workers, all call this function, and train the model
    together: the first one writes to storage and reports, and the others' result has no package.

    Args:
        spec: what to train.
        device: the device to train on.
        node: address of this machine, for the record.
        observe: called after every step with the fraction of the epoch that is done, and often
            while photographs are read, with 0; a returned request is honoured before the next step,
            by all workers if one of them returns it.
        record: called by the first worker after every epoch.
        saved: called by the first worker after every checkpoint with the seconds that it took.
        say: called by the first worker with a line when the photographs are read, and at intervals
            with one on how far the reading and the preparation for the first epoch are.

    Returns:
        The result; its status is "stopped" if `observe` asked for that.

    Raises:
        WorkerLost: this worker alone has met an error, or another one has gone.
        ColorganError: the dataset cannot be read, or the training diverged; all workers raise it.
    """
    workers = current_workers()
    with workers.together():
        storage = retry_transient(lambda: open_storage(spec.storage))
    keeper = _Keeper(storage, spec, observe, saved, say, workers)
    begun = _begun(spec, device, node)
    try:
        with workers.together():
            dataset = keeper.retry(lambda: open_dataset(storage, spec.dataset))
            reading = Reading(device, keeper.read, keeper.tell, least_memory(workers))
            loading = partial(load_photographs, dataset, spec.model, spec.training, spec.speed)
            banks = keeper.retry(lambda: loading(reading))
        training = Training(spec.training, *banks, device, spec.speed, spec.model, workers)
        begun = replace(begun, photographs=len(banks[0]))
        keeper.follow(training)
        if training.position == (0, 0) and spec.training.start_from:
            with workers.together():
                _start_from_base(storage, spec, training, keeper)
    except _Stopped:
        epochs = keeper.epochs_saved()
        return replace(begun, status="stopped", epochs=epochs, ended=time.time())
    card: ModelCard | None = None
    try:
        for epoch in training.run(keeper.step, keeper.prepare):
            if workers.first:
                record(epoch)
            last = epoch.epoch == spec.training.epochs
            if epoch.epoch % spec.checkpoint_every == 0 or last or keeper.owes:
                keeper.save()
        with workers.together():
            if spec.publishes and workers.first:
                publishing = partial(_publish, storage, spec, dataset, training, banks[1], device)
                card = keeper.retry(publishing)
    except _Stopped:
        metrics = asdict(training.published()[1]) if training.history else {}
        return _ended(replace(begun, status="stopped"), training.history, metrics)
    return _finished(storage, spec, begun, training, card)


def _finished(
    storage: Storage, spec: ModelRun, begun: ModelResult, training: Training, card: ModelCard | None
) -> ModelResult:
    """The result of a training that has done all its epochs; that of a package is stored."""
    metrics = card.metrics if card else asdict(training.published()[1])
    package = card.reference if card else None
    begun = replace(begun, status="done", package=package)
    done = _ended(begun, training.history, metrics)
    if card:
        line = (json.dumps(asdict(done)) + "\n").encode()
        retry_transient(lambda: storage.put(f"{spec.folder}/result.json", line))
    return done


def _begun(spec: ModelRun, device: torch.device, node: str) -> ModelResult:
    return ModelResult(
        model=spec.model,
        status="training",
        started=time.time(),
        device=device_name(device),
        node=node,
        objective=spec.training.objective(spec.model),
    )


# The requests by urgency: of those that several workers make, the greatest is honoured.
_REQUESTS: tuple[StopRequest | None, ...] = (None, "resize", "save", "stop")


class _Stopped(Exception):  # noqa: N818 - it is a request, not an error
    """The training was asked to stop."""


@dataclass
class _Keeper:
    """Saves a training, and honours requests while photographs are read and between steps."""

    storage: Storage
    spec: ModelRun
    observe: Callable[[float], StopRequest | None]
    saved: Callable[[float], None]
    say: Callable[[str], None]
    workers: Workers

    def __post_init__(self) -> None:
        self.checkpoints = Checkpoints(self.storage, self.spec.folder)
        self._training: Training | None = None
        self._saved_at = (0, 0)
        self._next_save = 0.0
        self.owes = False  # whether a checkpoint was requested that has to wait for the epoch's end
        self._said = -math.inf

    def retry(self, work: Callable[[], Result]) -> Result:
        """Use the storage, and wait for it; raises _Stopped if a stop is requested meanwhile."""
        return retry_transient(work, hear=self._wait)

    def epochs_saved(self) -> int:
        """The number of epochs in the last checkpoint; 0 if the storage does not respond."""
        try:
            return retry_transient(self.checkpoints.last, _STOP_PATIENCE_S)
        except StorageUnavailable:
            return 0

    def follow(self, training: Training) -> None:
        """Continue the training from its last checkpoint, and save it from now on.

        Raises:
            RuntimeError: the workers have read different checkpoints.
        """
        with self.workers.together():
            _, begun = self.retry(self.checkpoints.position)
            self.retry(lambda: self.checkpoints.restore(training))
        positions = self.workers.of_all(training.position)
        if len({*positions}) > 1:  # of a process that was cut off, and still writes
            raise RuntimeError(f"the workers continue from different checkpoints: {positions}")
        self._training, self._saved_at = training, training.position
        epoch, step = training.position
        if epoch or step:
            place = f"step {step} of epoch {epoch + 1}" if step else f"epoch {epoch}"
            self.tell(f"continuing after {place}")
        if begun and not step:
            self.tell(f"epoch {epoch + 1} begins again: its photographs come in another order now")

    def save(self, stopping: bool = False) -> None:
        """Save the training as it is now, unless that has been saved already; all workers do.

        Raises _Stopped if a stop is requested while the storage does not respond: the state is then
        that of the last checkpoint. If the training is `stopping`, the storage has a minute.
        """
        training = self._training
        if training is None or training.position == self._saved_at:
            return
        with self.workers.together():
            if self.workers.first:
                self._write(training, stopping)
        self._saved_at = training.position
        self.owes = False

    def _write(self, training: Training, stopping: bool) -> None:
        def retry(work: Callable[[], None]) -> None:
            if stopping:
                retry_transient(work, _STOP_PATIENCE_S)
            else:
                self.retry(work)

        began = time.monotonic()
        snapshot = training.snapshot()
        history = history_csv(training.history)
        retry(lambda: self.storage.put(f"{self.spec.folder}/history.csv", history))
        retry(lambda: self.checkpoints.save(snapshot))
        self.saved(time.monotonic() - began)

    def step(self, fraction: float) -> None:
        """Honour a request that a worker has made after a step; raises _Stopped."""
        # A machine that is about to go asks again and again until it is gone.
        asked, request = time.monotonic(), self.observe(fraction)
        if request != "stop" and asked < self._next_save:
            request = None
        request = _REQUESTS[self.workers.greatest(_REQUESTS.index(request))]
        if request == "stop":
            self._stop()
        if request == "resize" and self._training and self._training.depends_on_workers:
            self.owes = True
        elif request:
            self.save()
            taken = time.monotonic() - asked
            self._next_save = asked + max(_SAVE_AGAIN_SECONDS, _SAVE_AGAIN_RATIO * taken)

    def _stop(self) -> None:
        try:
            self.save(stopping=True)
        except StorageUnavailable as error:
            self.tell(
                f"its state could not be saved, so it continues from its last checkpoint: {error}"
            )
        raise _Stopped

    def _wait(self) -> None:
        """Honour a stop before the first step; the workers do not wait for each other here."""
        if self.observe(0.0) == "stop":
            raise _Stopped

    def read(self, done: int, count: int) -> None:
        """Honour a stop while photographs are read, and report the reading at intervals."""
        self._wait()
        if done < count:
            part = f", {done / count:.0%} done" if done else ""
            self._say_at_times(f"reading {count:,} photographs{part}")

    def prepare(self, fraction: float) -> None:
        """Honour a stop before the first epoch, and report its preparation at intervals."""
        self._wait()
        self._say_at_times(f"looking at the photographs once, {fraction:.0%} done")

    def tell(self, line: str) -> None:
        """Report something about the model, as the first worker."""
        if self.workers.first:
            self.say(f"{self.spec.model}: {line}")

    def _say_at_times(self, line: str) -> None:
        if self.workers.first and time.monotonic() - self._said > _SAY_SECONDS:
            self._said = time.monotonic()
            self.tell(line)


def _start_from_base(storage: Storage, spec: ModelRun, training: Training, keeper: _Keeper) -> None:
    """Start from the base's generator and, if this run trained it, its discriminators."""
    base = keeper.retry(lambda: find_base(storage, spec.run, spec.training.start_from))
    models = with_embedded(storage)
    training.start_from(keeper.retry(lambda: load_generator(models, base)))
    if base.run == spec.run:
        theirs = Checkpoints(storage, f"runs/{base.run}/{base.model}")
        training.oppose_with(keeper.retry(theirs.files))


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
