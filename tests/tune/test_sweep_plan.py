"""What a sweep is to train, decided from storage alone."""

import json
from dataclasses import asdict
from typing import Any

import pytest

from colorgan.data.dataset import Dataset
from colorgan.errors import ColorganError, ConfigError
from colorgan.packages.card import find
from colorgan.sweeps.documents import create_sweep
from colorgan.training.presets import find_preset
from colorgan.training.runs import ModelResult
from tests.serve.conftest import publish_untrained
from tune.plan import SweepPlan, SweepRequest, plan_sweep
from tune.space import Space

SIZES = {"size": 64, "width": 4, "discriminator_width": 4, "epochs": 3}


def plan(scenes: Dataset, preset: str = "best", **more: Any) -> SweepPlan:
    space = more.pop("space", Space({"lambda_l1": (50.0, 100.0)}, {}))
    overrides = {**SIZES, **more.pop("overrides", {})}
    request = SweepRequest("s", preset, overrides, space, 1, model="animals", **more)
    return plan_sweep(scenes.storage, scenes, request)


def test_the_model_that_trials_start_from_is_trained_first_in_a_run_of_its_own(
    scenes: Dataset,
) -> None:
    found = plan(scenes)
    assert found.base_run and found.base_run.run == "s-base"
    assert [*found.base_run.configs] == ["general"]
    assert found.base_run.stages == (("general",),)
    assert found.sweep.training.start_from == "general"
    assert found.sweep.training.phases == find_preset("best").fine_tuning["phases"]
    assert [trial.values for trial in found.sweep.trials] == [
        {"lambda_l1": 50.0},
        {"lambda_l1": 100.0},
    ]
    assert found.sweep.eval_every == 1, "the preset's"
    assert not scenes.storage.folders("runs"), "a plan changes nothing"

    result = ModelResult(model="general", status="done", package="general@1")
    scenes.storage.put("runs/s-base/general/result.json", json.dumps(asdict(result)).encode())
    again = plan(scenes)
    assert again.base_run and again.base_run.finished == {"general": result}
    assert not again.base_run.stages
    begun = again.starting_from("general@1")
    assert begun.base_run is None and begun.sweep.training.start_from == "general@1"


def test_a_sweep_goes_on_from_the_package_that_it_began_with(scenes: Dataset) -> None:
    package = publish_untrained(scenes.storage, "general").reference
    sizes = find(scenes.storage, "general").architecture
    overrides = {"size": sizes.size, "width": sizes.width, "generator": "unet"}
    overrides |= {"norm": sizes.norm, "discriminators": "patches"}
    first = plan(scenes, "small", overrides={**overrides, "start_from": package}, eval_every=2)
    assert first.sweep.training.start_from == package and first.base_run is None
    assert not create_sweep(scenes.storage, first.sweep, first.rows)
    again = plan(scenes, "small", overrides=overrides, eval_every=2)
    assert create_sweep(scenes.storage, again.sweep, again.rows)
    assert again.sweep.training == first.sweep.training


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"overrides": {"start_from": "general"}}, "a trial needs a package, as general@VERSION"),
        (
            {"space": Space({"width": (4, 8)}, {})},
            r"trial 02 \(width 8\) cannot start from general",
        ),
        ({"space": Space({}, {})}, "nothing to sweep"),
        ({"space": Space({"size": (33,)}, {})}, "size"),
    ],
)
def test_what_cannot_be_swept_is_refused_before_anything_is_trained(
    scenes: Dataset, more: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(scenes, **more)


def test_trials_that_vary_their_base_have_none_in_common(scenes: Dataset) -> None:
    found = plan(scenes, space=Space({"start_from": ("", "general@1")}, {}))
    assert found.base_run is None and found.sweep.training.start_from == ""


def test_a_classifier_that_cannot_be_loaded_is_refused_with_the_way_out(scenes: Dataset) -> None:
    with pytest.raises(ColorganError, match="or give --classifier none"):
        plan(scenes, classifier="nothing")
