"""Every preset makes a training of every model."""

from typing import Any

import pytest

from colorgan.errors import ConfigError
from colorgan.names import CIC, GENERAL, HYPERCOLUMN
from colorgan.training.presets import PRESETS, find_preset

MODELS = ("animals", "people", GENERAL, HYPERCOLUMN, CIC)


@pytest.mark.parametrize("preset", PRESETS)
def test_all_models_can_be_trained_by_it(preset: str) -> None:
    configs = {model: PRESETS[preset].config(model, {}) for model in MODELS}
    for model, config in configs.items():
        if base := config.start_from:
            assert configs[base].start_from == ""
            assert configs[base].architecture(base) == config.architecture(model)


def test_the_report_has_its_own_epochs_for_each_model() -> None:
    assert find_preset("report").config("animals", {}).epochs == 350
    assert find_preset("report").config(GENERAL, {}).epochs == 120
    assert find_preset("report").config("animals", {"epochs": 3}).epochs == 3


def test_what_starts_from_another_model_has_a_schedule_of_its_own() -> None:
    best = find_preset("best")
    general, animals = (best.config(model, {}) for model in (GENERAL, "animals"))
    assert animals.adversarial_rate < general.adversarial_rate
    assert [phase.objective for phase in animals.phase_list] == ["critic", "adversarial"]
    alone = best.config("animals", {"start_from": ""})
    assert (alone.phases, alone.epochs) == (general.phases, general.epochs)
    assert best.config("animals", {"learning_rate": 0.1}).learning_rate == 0.1


def test_what_others_start_from_starts_from_nothing() -> None:
    best = find_preset("best")
    assert best.config("animals", {}).start_from == GENERAL
    for model in (GENERAL, HYPERCOLUMN, CIC):
        assert best.config(model, {}).start_from == ""
    given = {"start_from": "people"}
    assert find_preset("small").config("people", given).start_from == ""
    assert find_preset("small").config("animals", given).start_from == "people"
    given = {"start_from": "hypercolumn@1"}
    assert find_preset("small").config(HYPERCOLUMN, given).start_from == "hypercolumn@1"


def test_a_preset_that_is_none_is_named() -> None:
    with pytest.raises(ConfigError, match="no preset 'beast': choose from report, best, small"):
        find_preset("beast")


@pytest.mark.parametrize(
    ("preset", "model", "overrides", "objective"),
    [
        (
            *("best", GENERAL, {}),
            "L1 (weight 100), perceptual term (weight 120), coherence (weight 400), "
            "adversary on semantic (weight 4), adversary on features (weight 6); regression 74 %, "
            "critic 2 %, adversarial 25 %",
        ),
        (
            *("best", "animals", {"phases": "regression+perceptual"}),
            "L1 (weight 100), perceptual term (weight 120), no adversary",
        ),
        (
            *("best", "animals", {"phases": "regression"}),
            "L1 (weight 100), no adversary",
        ),
        (
            *("small", "animals", {}),
            "L1 (weight 100), adversary on patches (weight 1); adversarial 100 %",
        ),
        (
            *("small", "animals", {"phases": "regression+adversarial", "lambda_l1": 0.5}),
            "L1 (weight 0.5), adversary on patches (weight 1); regression 50 %, adversarial 50 %",
        ),
        ("best", HYPERCOLUMN, {}, "distance of U and V, as they are and blurred"),
        ("best", CIC, {}, "cross-entropy of the bins of a and b, rebalanced for rare colours"),
    ],
)
def test_what_is_trained_is_said(
    preset: str, model: str, overrides: dict[str, Any], objective: str
) -> None:
    assert find_preset(preset).config(model, overrides).objective(model) == objective


def test_what_was_learned_until_an_epoch_is_said() -> None:
    config = find_preset("small").config("animals", {"phases": "regression+adversarial"})
    assert config.objective("animals", 7) == "L1 (weight 100), no adversary"
    words = "adversary on patches (weight 1); regression 70 %, adversarial 30 %"
    assert config.objective("animals", 10) == f"L1 (weight 100), {words}"


def test_what_best_trains_ends_as_a_conditional_gan() -> None:
    for model in (GENERAL, "animals"):
        config = find_preset("best").config(model, {})
        assert config.phase_list[-1].objective == "adversarial"
    assert not any(
        find_preset("best").config(HYPERCOLUMN, {}).objective(HYPERCOLUMN).count(word)
        for word in ("adversary", "perceptual")
    )
