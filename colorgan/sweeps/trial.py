"""A trial of a sweep: its training, and the evaluations during it."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from colorgan.classes import PhotoClasses
from colorgan.data.batches import PhotoBank
from colorgan.data.dataset import Dataset, open_dataset
from colorgan.data.mapping import batched
from colorgan.errors import ColorganError
from colorgan.evaluation.evaluate import SemanticScore
from colorgan.evaluation.tensorboard import write_events
from colorgan.images.decoding import Pixels, decode, encode_webp
from colorgan.inference.colorizer import Colorizer
from colorgan.metrics import FEWEST_PHOTOGRAPHS, frechet_distance, hue_invariant
from colorgan.models.classifiers import load_classifier
from colorgan.models.generator import Generator
from colorgan.packages.card import find
from colorgan.packages.embedded import with_embedded
from colorgan.packages.weights import load_generator
from colorgan.storage import Storage
from colorgan.sweeps.documents import (
    EvaluatedEpoch,
    History,
    Sweep,
    TrialState,
    read_history,
    read_state,
    write_history,
    write_state,
)
from colorgan.system import device_name
from colorgan.training.checkpoints import Checkpoints
from colorgan.training.config import SpeedConfig
from colorgan.training.loop import Training
from colorgan.training.reading import Reading, least_memory, load_photographs
from colorgan.training.records import EpochRecord
from colorgan.workers import Workers, current_workers

_BATCH = 16


class Judge:
    """Measures a generator's colourings of the validation photographs with a classifier."""

    def __init__(self, val: PhotoBank, name: str) -> None:
        """Load the classifier, and compute its features of the originals.

        Args:
            val: the validation photographs; their groups name their classes.
            name: the classifier's name.

        Raises:
            ColorganError: the classifier's weights are not available.
        """
        self._classifier = load_classifier(name)
        self._val = val
        self._labels = [label for label, _ in val.groups]
        self._score = SemanticScore(PhotoClasses.load(None).synsets)
        self._reference, _ = self._look(list(val.pixels))

    def __call__(self, generator: Generator) -> dict[str, float | None]:
        """Compute the mean semantic score and the Fréchet distances, named as in `EvaluatedEpoch`.

        The score is over the photographs whose class has labels, and None if none has; the
        distances are None if there are fewer photographs than `FEWEST_PHOTOGRAPHS`.
        """
        colorizer = Colorizer(generator)
        colored: list[Pixels] = []
        strong: list[Pixels] = []
        for batch in batched(self._val.pixels, _BATCH):
            made = colorizer(list(batch))
            colored += made
            hues = hue_invariant(_unit(made), _unit(batch))
            strong += list((hues * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy())
        features, probabilities = self._look(colored)
        pairs = zip(probabilities, self._labels, strict=True)
        scores = torch.cat([self._score(line[None], label) for line, label in pairs])
        semantic = scores.nanmean().item()
        found: dict[str, float | None] = {
            "semantic": semantic if math.isfinite(semantic) else None,
            "frechet": None,
            "hue_frechet": None,
        }
        if len(features) >= FEWEST_PHOTOGRAPHS:
            found["frechet"] = frechet_distance(features, self._reference)
            found["hue_frechet"] = frechet_distance(self._look(strong)[0], self._reference)
        return found

    def _look(self, pictures: Sequence[Any]) -> tuple[torch.Tensor, torch.Tensor]:
        view = self._classifier.view
        seen = [
            self._classifier(torch.stack([view(rgb, gray=False) for rgb in batch]))
            for batch in batched(pictures, _BATCH)
        ]
        features, probabilities = zip(*seen, strict=True)
        return torch.cat(features), torch.cat(probabilities)


def _unit(pictures: Sequence[Pixels]) -> torch.Tensor:
    """Stack pictures of one size as (batch, 3, height, width) in [0, 1]."""
    return torch.from_numpy(np.stack(list(pictures))).permute(0, 3, 1, 2).float() / 255


@dataclass(frozen=True)
class TrialRun:
    """A trial, and how to train it.

    Attributes:
        storage: the storage of the sweep.
        sweep: the sweep.
        trial: the trial's name.
        device: the device to train on.
        speed: how to use the device.
        checkpoint_every: epochs between checkpoints; every evaluated epoch also has one.
    """

    storage: Storage
    sweep: Sweep
    trial: str
    device: torch.device
    speed: SpeedConfig
    checkpoint_every: int

    def state(self) -> TrialState:
        """The state of the trial."""
        return read_state(self.storage, self.sweep, self.trial)


def run_trial(run: TrialRun) -> Iterator[EvaluatedEpoch]:
    """Train a trial from its last checkpoint to its last epoch, and evaluate it during training.

    Where PyTorch's process group has several workers, all call this function; the first one
    evaluates and writes to storage, and the others yield nothing.

    The training is the same as that of `colorgan train`: with the same hyper-parameters, it ends
    with the same weights. A trial that has taken over another one's state continues from that, and
    keeps the records of what it did before.

    Args:
        run: the trial, and how to train it.

    Yields:
        Every evaluated epoch, once all its files are in storage.

    Raises:
        ColorganError: the dataset cannot be read, or the training diverged; trial.json records it.
    """
    workers = current_workers()
    with workers.together():
        state = replace(
            run.state(), status="running", device=device_name(run.device), error="", reason=""
        )
    state = workers.of_first(state)
    if workers.first:
        write_state(run.storage, run.sweep, run.trial, state)
    try:
        yield from _train(run, state, workers)
    except ColorganError as error:
        if workers.first:
            failed = replace(run.state(), status="failed", error=str(error))
            write_state(run.storage, run.sweep, run.trial, failed)
        raise


def _train(run: TrialRun, state: TrialState, workers: Workers) -> Iterator[EvaluatedEpoch]:
    storage, sweep, trial = run.storage, run.sweep, run.trial
    config = sweep.config(state.values)
    reading = Reading(run.device, memory=least_memory(workers))
    with workers.together():
        dataset = open_dataset(storage, sweep.dataset["name"])
        train, val = load_photographs(dataset, sweep.model, config, run.speed, reading)
    training = Training(config, train, val, run.device, run.speed, sweep.model, workers)
    checkpoints = Checkpoints(storage, sweep.key("trials", trial))
    with workers.together():
        _restore(run, training, checkpoints, inherit=bool(state.takeovers))
    if not workers.first:
        for _ in training.run():
            pass
        return
    evaluate = _Evaluator(run, dataset, val)
    known = read_history(storage, sweep, trial)
    evaluations = [each for each in known.evaluations if each.epoch <= training.epoch]
    # The history of the networks is the donor's until the trial took them over.
    taken_over = max((each.epoch for each in state.takeovers), default=0)
    own = [each for each in known.epochs if each.epoch <= taken_over]
    for record in training.run():
        records = (*own, *training.history[len(own) :])
        evaluated = None
        if sweep.evaluates(record.epoch, config):
            evaluated = evaluate(training, records)
            evaluations.append(evaluated)
        write_history(storage, sweep, trial, History(records, tuple(evaluations)))
        if record.epoch % run.checkpoint_every == 0 or evaluated:
            checkpoints.save(training.snapshot())
        done = record.epoch == config.epochs
        state = replace(state, epoch=record.epoch, status="done" if done else "running")
        write_state(storage, sweep, trial, state)
        if evaluated:
            yield evaluated
    if state.status != "done":  # it was stopped after its last epoch
        write_state(storage, sweep, trial, replace(state, epoch=training.epoch, status="done"))


def _restore(run: TrialRun, training: Training, checkpoints: Checkpoints, inherit: bool) -> None:
    """Load the networks that a trial continues from: those of its checkpoint, or its base's."""
    checkpoints.restore(training, inherit)
    base = training.config.start_from
    if base and not training.epoch:
        models = with_embedded(run.storage)
        training.start_from(load_generator(models, find(models, base)))


class _Evaluator:
    """Evaluates a trial's generator; stores its weights, its colourings and TensorBoard events."""

    def __init__(self, run: TrialRun, dataset: Dataset, val: PhotoBank) -> None:
        storage, sweep = run.storage, run.sweep
        self._run = run
        self._judge = Judge(val, sweep.classifier) if sweep.classifier else None
        self._photographs = {
            photo: decode(storage.get(sweep.photograph_key(photo, "gray"))).rgb
            for photo in sweep.photographs
        }

    def __call__(self, training: Training, records: Sequence[EpochRecord]) -> EvaluatedEpoch:
        """Evaluate the generator as of the training's latest epoch, the last of the records."""
        record = records[-1]
        generator = training.interpolated()
        pictures = self._color(generator, record.epoch)
        storage, sweep, trial = self._run.storage, self._run.sweep, self._run.trial
        weights = {
            name: tensor.detach().cpu().contiguous()
            for name, tensor in generator.state_dict().items()
        }
        storage.put(sweep.weights_key(trial, record.epoch), save(weights))
        judged = self._judge(generator) if self._judge else {"semantic": None, "frechet": None}
        evaluated = EvaluatedEpoch(
            epoch=record.epoch,
            seconds=sum(each.seconds for each in records),
            val_l1=record.val_l1,
            val_psnr=record.val_psnr,
            colorfulness=record.val_colorfulness,
            **judged,
        )
        # TensorBoard reads a trial's files as one, in the order of their names.
        first = (record.epoch - 1) // sweep.eval_every * sweep.eval_every
        events = write_events(
            values={name: getattr(training.config, name) for name in sweep.trial(trial).values},
            records=records[first:],
            scalars=evaluated.judged,
            pictures=pictures,
        )
        key = sweep.key("tensorboard", trial, f"events.out.tfevents.{record.epoch:05d}")
        storage.put(key, events)
        return evaluated

    def _color(self, generator: Generator, epoch: int) -> dict[str, Pixels]:
        """Colour the sweep's photographs, store them, and return them by name."""
        colorizer = Colorizer(generator)
        pictures = {}
        for photo, rgb in self._photographs.items():
            (pictures[photo],) = colorizer([rgb])
            key = self._run.sweep.picture_key(self._run.trial, epoch, photo)
            self._run.storage.put(key, encode_webp(pictures[photo]))
        return pictures
