"""A trial of a sweep: its training, and the evaluations during it."""

import math
from collections.abc import Iterator, Mapping, Sequence
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
    describe_values,
    read_history,
    read_state,
    write_history,
    write_state,
)
from colorgan.system import device_name
from colorgan.training.checkpoints import Checkpoints
from colorgan.training.config import SpeedConfig
from colorgan.training.loop import Training, load_banks

_BATCH = 16


class Judge:
    """Measures a generator's colourings of the validation photographs with a classifier."""

    def __init__(self, dataset: Dataset, model: str, val: PhotoBank, name: str) -> None:
        """Load the classifier, and compute its features of the originals.

        Args:
            dataset: the dataset of the photographs.
            model: the model whose validation photographs are used.
            val: the same photographs, as squares.
            name: the classifier's name.

        Raises:
            ColorganError: the classifier's weights are not available.
        """
        self._classifier = load_classifier(name)
        self._val = val
        rows = dataset.rows(dataset.model_classes(model), "val")
        self._labels = [row.label for row in rows]
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

    def state(self, trial: str | None = None) -> TrialState:
        """The state of this trial, or of another one of the sweep."""
        return read_state(self.storage, self.sweep, trial or self.trial)

    def checkpoints(self, trial: str | None = None) -> Checkpoints:
        """The checkpoints of this trial, or of another one of the sweep."""
        return Checkpoints(self.storage, self.sweep.key("trials", trial or self.trial))


def run_trial(
    run: TrialRun, values: Mapping[str, Any] | None = None, inherit_from: str = ""
) -> Iterator[EvaluatedEpoch]:
    """Train a trial from its last checkpoint to its last epoch, and evaluate it during training.

    The training is the same as that of `colorgan train`: with the same hyper-parameters, it ends
    with the same weights.

    Args:
        run: the trial, and how to train it.
        values: the trial's values of the varied hyper-parameters, if a scheduler has changed them.
        inherit_from: another trial, whose networks and optimisers the trial takes over instead of
            continuing from its own; ignored if they have already done all epochs.

    Yields:
        Every evaluated epoch, once all its files are in storage.

    Raises:
        ColorganError: the dataset cannot be read, or the training diverged; trial.json records it.
    """
    state = run.state()
    if inherit_from:
        donor = run.state(inherit_from)
        if donor.epoch >= run.sweep.config(values or state.values).epochs:
            values, inherit_from = None, ""  # otherwise nothing would be left to train
    state = replace(
        state,
        status="running",
        device=device_name(run.device),
        error="",
        values=dict(values or state.values),
    )
    write_state(run.storage, run.sweep, run.trial, state)
    try:
        yield from _train(run, state, inherit_from)
    except ColorganError as error:
        failed = replace(run.state(), status="failed", error=str(error))
        write_state(run.storage, run.sweep, run.trial, failed)
        raise


def _train(run: TrialRun, state: TrialState, inherit_from: str) -> Iterator[EvaluatedEpoch]:
    storage, sweep, trial = run.storage, run.sweep, run.trial
    config = sweep.config(state.values)
    dataset = open_dataset(storage, sweep.dataset["name"])
    train, val = load_banks(dataset, sweep.model, config, run.speed)
    training = Training(config, train, val, run.device, run.speed, sweep.model)
    checkpoints = run.checkpoints()
    state = _restore(run, training, checkpoints, state, inherit_from)
    evaluate = _Evaluator(run, dataset, val)
    known = read_history(storage, sweep, trial).evaluations
    evaluations = [each for each in known if each.epoch <= training.epoch]
    for record in training.run():
        evaluated = None
        if sweep.evaluates(record.epoch, config):
            evaluated = evaluate(training)
            evaluations.append(evaluated)
        history = History(tuple(training.history), tuple(evaluations))
        write_history(storage, sweep, trial, history)
        if record.epoch % run.checkpoint_every == 0 or evaluated:
            checkpoints.save(training.snapshot())
        done = record.epoch == config.epochs
        state = replace(state, epoch=record.epoch, status="done" if done else "running")
        write_state(storage, sweep, trial, state)
        if evaluated:
            yield evaluated
    if state.status != "done":  # it was stopped after its last epoch
        write_state(storage, sweep, trial, replace(state, epoch=training.epoch, status="done"))


def _restore(
    run: TrialRun,
    training: Training,
    checkpoints: Checkpoints,
    state: TrialState,
    inherit_from: str,
) -> TrialState:
    """Load the networks that a trial continues from: another trial's, its own, or its base's.

    Returns:
        The trial's state, which records what it has inherited.
    """
    if inherit_from:
        run.checkpoints(inherit_from).restore(training, inherit=True)
        checkpoints.begin_lineage()
        values = describe_values(state.values)
        line = f"epoch {training.epoch} from trial {inherit_from}, with {values}"
        state = replace(state, inherited=(*state.inherited, line))
    else:
        checkpoints.restore(training, inherit=bool(state.inherited))
    base = training.config.start_from
    if base and not training.epoch:
        models = with_embedded(run.storage)
        training.start_from(load_generator(models, find(models, base)))
    return state


class _Evaluator:
    """Evaluates a trial's generator; stores its weights, its colourings and TensorBoard events."""

    def __init__(self, run: TrialRun, dataset: Dataset, val: PhotoBank) -> None:
        storage, sweep = run.storage, run.sweep
        self._run = run
        self._judge = (
            Judge(dataset, sweep.model, val, sweep.classifier) if sweep.classifier else None
        )
        self._photographs = {
            photo: decode(storage.get(sweep.photograph_key(photo, "gray"))).rgb
            for photo in sweep.photographs
        }

    def __call__(self, training: Training) -> EvaluatedEpoch:
        """Evaluate the generator as of the training's latest epoch."""
        record = training.history[-1]
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
            seconds=sum(each.seconds for each in training.history),
            val_l1=record.val_l1,
            val_psnr=record.val_psnr,
            colorfulness=record.val_colorfulness,
            **judged,
        )
        # TensorBoard reads a trial's files as one, in the order of their names.
        first = (record.epoch - 1) // sweep.eval_every * sweep.eval_every
        events = write_events(
            values={name: getattr(training.config, name) for name in sweep.trial(trial).values},
            records=training.history[first:],
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
