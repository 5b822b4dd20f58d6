"""A run that is continued with another number of epochs."""

import dataclasses

import pytest
import torch

from colorgan.data.dataset import Dataset
from colorgan.errors import ConfigError
from colorgan.packages.card import find
from colorgan.training.config import SpeedConfig, TrainingConfig
from colorgan.training.continuation import check_epochs
from colorgan.training.model_run import train_model
from colorgan.training.plan import RunPlan, RunRequest, describe, plan_run
from colorgan.training.presets import Preset
from colorgan.training.runs import ModelResult, open_run
from tests.conftest import history_epochs
from tests.training.test_stopping import same_weights
from tests.training.test_training import SMALL, losses, train

CPU = torch.device("cpu")
PRESET = Preset("", dataclasses.replace(SMALL, epochs=2))
IN_PHASES = dataclasses.replace(SMALL, phases="regression+adversarial")


@pytest.mark.parametrize(
    ("config", "stop", "epochs"),
    [
        (SMALL, 2, 3),  # of two epochs, all
        (dataclasses.replace(SMALL, average=0.9), 1, 3),
        (IN_PHASES, 1, 4),  # of two epochs, all of the regression
    ],
)
def test_more_epochs_give_the_training_that_had_them_from_the_beginning(
    config: TrainingConfig, stop: int, epochs: int
) -> None:
    longer = dataclasses.replace(config, epochs=epochs)
    whole = train(longer)
    list(whole.run())
    shorter = train(dataclasses.replace(config, epochs=2))
    files = next(shorter.snapshot().files() for record in shorter.run() if record.epoch == stop)
    continued = train(longer)
    continued.load(files)
    list(continued.run())
    assert same_weights(continued, whole)
    assert losses(continued.history) == losses(whole.history)


@pytest.mark.parametrize(
    ("changes", "epochs", "done", "message"),
    [
        (
            {"phases": "regression+adversarial"},
            60,
            (40, 0),
            "animals has done 40 of 40 epochs.*epoch 21 was adversarial, and of 60 epochs it is "
            "regression. Train 60 epochs in another --run.*--start-from MODEL@VERSION",
        ),
        (
            {"decay_share": 0.5},
            60,
            (30, 0),
            "epoch 21 was adversarial at 99.5 % of the learning rate, and of 60 epochs it is "
            "adversarial. ",
        ),
        ({"phases": "regression+adversarial"}, 30, (15, 6), "epoch 16 was regression, and of 30"),
        ({}, 30, (40, 0), "animals has done 40 epochs: give more"),
        ({}, 30, (30, 1), "animals has done 30 epochs and a part of the next: give more"),
    ],
)
def test_epochs_that_would_have_been_others_are_named(
    changes: dict[str, object], epochs: int, done: tuple[int, int], message: str
) -> None:
    config = dataclasses.replace(TrainingConfig(epochs=epochs), **changes)
    with pytest.raises(ConfigError, match=f"--epochs {epochs}: .*{message}"):
        check_epochs("animals", config, 40, 10, done)


@pytest.mark.parametrize(
    ("changes", "epochs", "done"),
    [
        ({}, 60, (40, 0)),
        ({}, 30, (30, 0)),  # fewer, and no more than are done
        ({"phases": "regression+adversarial"}, 60, (20, 0)),
        ({"phases": "regression+adversarial"}, 30, (15, 0)),
        ({"decay_share": 0.5}, 60, (20, 0)),
    ],
)
def test_until_the_schedules_differ_any_number_will_do(
    changes: dict[str, object], epochs: int, done: tuple[int, int]
) -> None:
    config = dataclasses.replace(TrainingConfig(epochs=epochs), **changes)
    check_epochs("animals", config, 40, 10, done)


def test_a_checkpoint_of_other_epochs_is_refused_where_it_cannot_be_continued() -> None:
    shorter = train(dataclasses.replace(IN_PHASES, epochs=2))
    list(shorter.run())
    with pytest.raises(ConfigError, match="the training has done 2 of 2 epochs"):
        train(dataclasses.replace(IN_PHASES, epochs=4)).load(shorter.snapshot().files())


def plan(scenes: Dataset, *models: str, **overrides: object) -> RunPlan:
    request = RunRequest("r", models, PRESET, overrides, trains_bases=True)
    return plan_run(scenes.storage, scenes, request)


def carry_out(scenes: Dataset, made: RunPlan) -> dict[str, ModelResult]:
    open_run(scenes.storage, "r", made.fingerprint, made.configs, made.continued)
    uri = scenes.storage.uri
    specs = [made.model_run(model, uri, SpeedConfig(), 1) for model in made.waiting]
    return {spec.model: train_model(spec, CPU) for spec in specs}


def test_a_finished_run_continues_with_more_epochs_and_publishes_again(scenes: Dataset) -> None:
    first = carry_out(scenes, plan(scenes, "animals"))["animals"]
    assert first.epochs == 2
    with pytest.raises(ConfigError, match="was started with other options"):
        plan_run(
            scenes.storage,
            scenes,
            RunRequest(
                "r", ("animals",), Preset("", dataclasses.replace(SMALL, epochs=3)), {}, True
            ),
        )
    more = plan(scenes, "animals", epochs=3)
    assert (more.waiting, more.continued, more.going_on) == (("animals",), {"animals": 2}, True)
    assert "animals: continues to 3 epochs; the run was started with 2" in describe(more)
    second = carry_out(scenes, more)["animals"]
    assert second.package and second.package != first.package
    assert second.package == find(scenes.storage, "animals").reference
    assert history_epochs(scenes.storage, "animals") == [1, 2, 3]
    again = plan(scenes, "animals", epochs=3)
    assert (again.waiting, again.continued) == ((), {})
    with pytest.raises(ConfigError, match="--epochs 2: animals has done 3 epochs: give more"):
        plan(scenes, "animals", epochs=2)


def test_a_model_that_has_started_from_another_does_not_outlive_its_change(
    scenes: Dataset,
) -> None:
    based = Preset("", dataclasses.replace(SMALL, epochs=1, start_from="general"))

    def wanted(*models: str, **overrides: object) -> RunPlan:
        request = RunRequest("r", models, based, overrides, trains_bases=True)
        return plan_run(scenes.storage, scenes, request)

    carry_out(scenes, wanted("general", "animals"))
    message = r"animals has started from general as it was with --epochs 1, .* general alone"
    with pytest.raises(ConfigError, match=message):
        wanted("general", "animals", epochs=2)
    assert wanted("general", epochs=2).continued == {"general": 1}
    # The base that is not named stays as it is.
    assert wanted("animals", epochs=2).continued == {"animals": 1}
