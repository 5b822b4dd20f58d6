"""A trial of a sweep: its training, and what is looked at on the way."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
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
    in_words,
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
    """What the classifier sees in the validation photographs as a generator colours them."""

    def __init__(self, dataset: Dataset, model: str, val: PhotoBank, name: str) -> None:
        """Load the classifier, and look at the originals.

        Args:
            dataset: the photographs'.
            model: whose validation split it is.
            val: the same photographs, as squares.
            name: the classifier's.

        Raises:
            ColorganError: its weights cannot be had.
        """
        self._classifier = load_classifier(name)
        self._val = val
        rows = dataset.rows(dataset.model_classes(model), "val")
        self._labels = [row.label for row in rows]
        self._score = SemanticScore(PhotoClasses.load(None).synsets)
        self._reference, _ = self._look(list(val.pixels))

    def __call__(self, generator: Generator) -> dict[str, float | None]:
        """The mean semantic score and the Fréchet distances, as `EvaluatedEpoch` names them.

        The score is that of the photographs whose class has labels, None where none has; the
        distances are None where there are fewer photographs than `FEWEST_PHOTOGRAPHS`.
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
    """(batch, 3, height, width) in [0, 1] of pictures of one size."""
    return torch.from_numpy(np.stack(list(pictures))).permute(0, 3, 1, 2).float() / 255


def run_trial(
    storage: Storage,
    sweep: Sweep,
    trial: str,
    device: torch.device,
    speed: SpeedConfig,
    checkpoint_every: int,
    values: Mapping[str, Any] | None = None,
    inherit_from: str = "",
) -> Iterator[EvaluatedEpoch]:
    """Train a trial from its last checkpoint to its last epoch, and look at it on the way.

    It is the training of `colorgan train`: that of the same hyper-parameters ends with the same
    weights.

    Args:
        storage: where the sweep is.
        sweep: the sweep.
        trial: the trial's name.
        device: where to train.
        speed: how to use the device.
        checkpoint_every: epochs between checkpoints; every evaluated epoch has one, too.
        values: what it varies, where a scheduler has changed it.
        inherit_from: a trial to take networks and optimisers over from, instead of its own, unless
            it has reached its last epoch meanwhile.

    Yields:
        Every evaluated epoch, once everything about it is in storage.

    Raises:
        ColorganError: the dataset cannot be read, or the training diverged; trial.json says so.
    """
    state = read_state(storage, sweep, trial)
    if inherit_from:
        donor = read_state(storage, sweep, inherit_from)
        if donor.epoch >= sweep.config(values or state.values).epochs:
            values, inherit_from = None, ""  # with it nothing would be left to train
    state = replace(
        state,
        status="running",
        device=device_name(device),
        error="",
        values=dict(values or state.values),
    )
    write_state(storage, sweep, trial, state)
    try:
        yield from _train(
            storage, sweep, trial, state, device, speed, checkpoint_every, inherit_from
        )
    except ColorganError as error:
        done = read_state(storage, sweep, trial)
        write_state(storage, sweep, trial, replace(done, status="failed", error=str(error)))
        raise


def _train(
    storage: Storage,
    sweep: Sweep,
    trial: str,
    state: TrialState,
    device: torch.device,
    speed: SpeedConfig,
    checkpoint_every: int,
    inherit_from: str,
) -> Iterator[EvaluatedEpoch]:
    config = sweep.config(state.values)
    dataset = open_dataset(storage, sweep.dataset["name"])
    train, val = load_banks(dataset, sweep.model, config, speed)
    training = Training(config, train, val, device, speed, sweep.model)
    checkpoints = Checkpoints(storage, sweep.key("trials", trial))
    if inherit_from:
        donor = Checkpoints(storage, sweep.key("trials", inherit_from))
        donor.restore(training, inherit=True)
        checkpoints.begin_lineage()
        line = f"epoch {training.epoch} from trial {inherit_from}, with {in_words(state.values)}"
        state = replace(state, inherited=(*state.inherited, line))
    else:
        checkpoints.restore(training, inherit=bool(state.inherited))
    if not training.epoch and config.start_from:
        models = with_embedded(storage)
        training.start_from(load_generator(models, find(models, config.start_from)))
    judge = Judge(dataset, sweep.model, val, sweep.classifier) if sweep.classifier else None
    evaluations = [
        each
        for each in read_history(storage, sweep, trial).evaluations
        if each.epoch <= training.epoch
    ]
    shown = {photo: storage.get(sweep.photograph_key(photo, "gray")) for photo in sweep.photographs}
    photographs = {photo: decode(data).rgb for photo, data in shown.items()}
    for record in training.run():
        evaluated = None
        if sweep.evaluates(record.epoch, config):
            evaluated = _evaluate(storage, sweep, trial, training, judge, photographs)
            evaluations.append(evaluated)
        history = History(tuple(training.history), tuple(evaluations))
        write_history(storage, sweep, trial, history)
        if record.epoch % checkpoint_every == 0 or evaluated:
            checkpoints.save(training.snapshot())
        done = record.epoch == config.epochs
        state = replace(state, epoch=record.epoch, status="done" if done else "running")
        write_state(storage, sweep, trial, state)
        if evaluated:
            yield evaluated
    if state.status != "done":  # its last epoch was done before, when it was stopped
        write_state(storage, sweep, trial, replace(state, epoch=training.epoch, status="done"))


def _evaluate(
    storage: Storage,
    sweep: Sweep,
    trial: str,
    training: Training,
    judge: Judge | None,
    photographs: Mapping[str, Any],
) -> EvaluatedEpoch:
    record = training.history[-1]
    generator = training.interpolated()
    colorizer = Colorizer(generator)
    pictures = {}
    for photo, rgb in photographs.items():
        (pictures[photo],) = colorizer([rgb])
        key = sweep.picture_key(trial, record.epoch, photo)
        storage.put(key, encode_webp(pictures[photo]))
    weights = {
        name: tensor.detach().cpu().contiguous() for name, tensor in generator.state_dict().items()
    }
    storage.put(sweep.weights_key(trial, record.epoch), save(weights))
    judged = judge(generator) if judge else {"semantic": None, "frechet": None}
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
    storage.put(sweep.key("tensorboard", trial, f"events.out.tfevents.{record.epoch:05d}"), events)
    return evaluated
