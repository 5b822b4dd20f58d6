"""Trainings whose discriminator is given the class of each photograph."""

import dataclasses

import numpy as np
import pytest
import torch

from colorgan.cli import main
from colorgan.data.batches import DevicePhotographs, PhotoBank
from colorgan.data.dataset import Balance, Dataset
from colorgan.data.squares import Group
from colorgan.errors import ConfigError
from colorgan.packages.card import find
from colorgan.training.config import SpeedConfig, TrainingConfig
from colorgan.training.labels import Labels
from colorgan.training.loop import Training, load_banks
from colorgan.training.reading import choose_data
from colorgan.workers import ALONE, Workers
from tests.training.test_phases import bank
from tests.training.test_training import SMALL, banks, losses

CPU = torch.device("cpu")
PROJECTION = dataclasses.replace(SMALL, discriminators="projection", batch_size=3)
CLASSES = ("animals", "people", "vehicles")


@pytest.mark.parametrize("balance", ["none", "classes", "sources"])
@pytest.mark.parametrize("workers", [ALONE, Workers(0, 2), Workers(1, 2), Workers(2, 3)])
def test_each_photograph_of_each_batch_has_its_class(balance: Balance, workers: Workers) -> None:
    """The photographs of a class are all of one gray, so the pixels tell the class."""
    numbers = [2, 0, 0, 1, 2, 2, 0, 1, 2, 2]
    groups: list[Group] = [(CLASSES[number], at % 2) for at, number in enumerate(numbers)]
    pixels = np.full((10, 36, 36, 3), 0, np.uint8) + np.uint8(numbers)[:, None, None, None]
    photographs = PhotoBank(pixels, groups, balance)
    labels = Labels(PROJECTION, "general", photographs, CPU, workers)
    assert labels.classes == CLASSES
    for source in (photographs, DevicePhotographs(photographs, CPU)):
        for epoch in (1, 2):
            labels.begin(epoch)
            rng = np.random.default_rng([PROJECTION.seed, epoch])
            batches = [*source.batches(3, 32, rng, workers=workers)]
            assert len(batches) == 4
            for step, batch in enumerate(batches, 1):
                found = labels.of(step)
                assert found is not None and found.dtype == torch.int64
                assert found.tolist() == batch[:, 0, 0, 0].tolist()


def test_no_labels_are_looked_up_where_nothing_is_given_them() -> None:
    train, _ = banks()  # its classes are not known
    for config, model in (
        (SMALL, "general"),
        (dataclasses.replace(PROJECTION, phases="regression"), "general"),
        (PROJECTION, "hypercolumn"),
    ):
        labels = Labels(config, model, train, CPU, ALONE)
        labels.begin(1)
        assert labels.classes == () and labels.of(1) is None


def test_photographs_without_classes_are_refused() -> None:
    with pytest.raises(ConfigError, match="--discriminators projection: the classes"):
        Training(PROJECTION, *banks(), CPU)


@pytest.mark.parametrize(
    "config",
    [
        PROJECTION,
        dataclasses.replace(PROJECTION, spectral_norm=True),
        dataclasses.replace(SMALL, spectral_norm=True),
        dataclasses.replace(PROJECTION, discriminators="patches+projection:2", norm="batch"),
    ],
)
def test_a_training_goes_on_from_the_middle_of_an_epoch_as_if_it_had_never_stopped(
    config: TrainingConfig,
) -> None:
    whole = Training(config, *banks(groups=True), CPU)
    snapshots = []

    def observe(fraction: float) -> None:
        if whole.position == (2, 1):
            snapshots.append(whole.snapshot())

    records = list(whole.run(observe))
    resumed = Training(config, *banks(groups=True), CPU)
    resumed.load(snapshots[0].files())
    list(resumed.run())
    np.testing.assert_allclose(losses(resumed.history), losses(records), rtol=1e-5)
    other = Training(
        dataclasses.replace(config, spectral_norm=not config.spectral_norm),
        *banks(groups=True),
        CPU,
    )
    with pytest.raises(ConfigError, match="other options"):
        other.load(snapshots[0].files())


def test_the_class_changes_what_is_learned() -> None:
    train, val = banks(groups=True)
    first = Training(PROJECTION, train, val, CPU)
    swapped = PhotoBank(train.pixels, train.groups[::-1])
    second = Training(PROJECTION, swapped, val, CPU)
    assert first.discriminators is not None and second.discriminators is not None
    assert losses(list(first.run())) != losses(list(second.run()))
    embedding = first.discriminators["projection"].embedding.weight
    again = Training(PROJECTION, train, val, CPU).discriminators
    assert again is not None
    assert not torch.equal(embedding, again["projection"].embedding.weight)


def test_it_judges_beside_those_of_best_with_kept_features() -> None:
    config = dataclasses.replace(
        SMALL,
        size=64,
        generator="encoder_unet",
        encoder_rate=0.0,
        norm="batch",
        batch_size=4,
        epochs=1,
        phases="regression+critic+adversarial",
        discriminators="semantic:4+projection",
    )
    training = Training(config, bank(8, 0, groups=True), bank(3, 1), CPU)
    list(training.run())
    assert training.rows  # the photographs came as rows of features
    assert np.isfinite(losses(training.history)[0]).all()


@pytest.mark.parametrize("data", ["auto", "memory"])
def test_photographs_with_classes_are_read_into_memory(scenes: Dataset, data: str) -> None:
    speed = SpeedConfig(data=data)  # type: ignore[arg-type]
    choice = choose_data(scenes, "general", PROJECTION, speed, memory=1000)
    assert not choice.streams
    assert ("a discriminator needs their classes" in choice.reason) == (data == "auto")
    assert choose_data(scenes, "hypercolumn", PROJECTION, SpeedConfig(), memory=1000).streams


def test_a_stream_gives_no_classes(scenes: Dataset) -> None:
    with pytest.raises(ConfigError, match="--data stream does not give the class"):
        choose_data(scenes, "general", PROJECTION, SpeedConfig(data="stream"), memory=2**40)


def test_a_general_model_is_trained_with_its_classes_and_published(scenes: Dataset) -> None:
    config = dataclasses.replace(PROJECTION, epochs=1)
    training = Training(config, *load_banks(scenes, "general", config), CPU, model="general")
    assert training.discriminators is not None
    assert training.discriminators["projection"].embedding.num_embeddings == len(CLASSES)
    command = (
        f"train --dataset scenes --model general --preset small --storage {scenes.storage.uri}"
    )
    options = "--size 32 --width 4 --discriminator-width 4 --epochs 1 --photographs 6"
    conditional = "--discriminators projection --spectral-norm --device cpu"
    assert main(f"{command} {options} {conditional}".split()) == 0
    card = find(scenes.storage, "general")
    assert (card.training["discriminators"], card.training["spectral_norm"]) == ("projection", True)
    assert "adversary on projection (weight 1)" in card.objective
