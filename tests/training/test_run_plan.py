"""What a run is to train, decided from storage alone."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from colorgan.data.dataset import Dataset
from colorgan.errors import ColorganError, ConfigError, NotInStorage
from colorgan.models import EMBEDDED
from colorgan.packages.weights import Trained, publish
from colorgan.storage import Storage, open_storage
from colorgan.sweeps.documents import open_sweep, read_history, read_state
from colorgan.training.config import TrainingConfig
from colorgan.training.networks import create_generator
from colorgan.training.plan import Base, RunPlan, RunRequest, plan_run
from colorgan.training.presets import Preset, find_preset
from colorgan.training.runs import ModelResult, finished_result, open_run, run_configs
from tests.conftest import stage_scenes

CONFIG = TrainingConfig(size=32, width=4, discriminator_width=4, epochs=4)
PRESET = Preset("", replace(CONFIG, start_from="general"), fine_tuning={"epochs": 2})
BEFORE = Path(__file__).with_name("before")


def request(models: Sequence[str], trains_bases: bool = True, **overrides: Any) -> RunRequest:
    return RunRequest("r", models, PRESET, overrides, trains_bases)


def plan(scenes: Dataset, *models: str, trains_bases: bool = True, **overrides: Any) -> RunPlan:
    return plan_run(scenes.storage, scenes, request(models, trains_bases, **overrides))


def finish(storage: Storage, model: str, package: str) -> None:
    result = ModelResult(model=model, status="done", package=package)
    storage.put(f"runs/r/{model}/result.json", json.dumps(asdict(result)).encode())


def publish_model(scenes: Dataset, model: str, config: TrainingConfig = CONFIG) -> str:
    torch.manual_seed(0)
    classes = scenes.model_classes(model)
    metrics = {"val_l1": 9.0, "val_psnr": 20.0}
    network = create_generator(config, model).eval()
    trained = Trained(network, classes, asdict(config), metrics, 1.0, "cpu")
    return publish(scenes.storage, model, scenes, trained).reference


@pytest.mark.parametrize(
    ("models", "overrides", "stages", "bases"),
    [
        (("general",), {}, (("general",),), {}),
        (
            ("animals", "people"),
            {},
            (("general",), ("animals", "people")),
            {model: Base("general", "preset") for model in ("animals", "people")},
        ),
        (
            ("general", "hypercolumn", "animals"),
            {},
            (("general",), ("hypercolumn", "animals")),
            {"animals": Base("general", "preset")},
        ),
        (("animals", "people"), {"start_from": ""}, (("animals", "people"),), {}),
        (
            ("people", "animals"),
            {"start_from": "people"},
            (("people",), ("animals",)),
            {"animals": Base("people", "named")},
        ),
    ],
)
def test_a_model_is_trained_after_what_it_starts_from(
    scenes: Dataset,
    models: tuple[str, ...],
    overrides: dict[str, Any],
    stages: tuple[tuple[str, ...], ...],
    bases: dict[str, Base],
) -> None:
    keys = scenes.storage.list("")
    found = plan(scenes, *models, **{"backbone": EMBEDDED, **overrides})
    assert found.stages == stages
    assert found.bases == bases
    assert sorted(found.configs) == sorted(model for stage in stages for model in stage)
    for model, config in found.configs.items():
        assert config.start_from == (bases[model].name if model in bases else "")
        assert config.epochs == (2 if model in bases else 4), "what starts from a base is tuned"
    assert not found.finished and not found.going_on
    assert scenes.storage.list("") == keys, "a plan changes nothing"


def test_a_package_of_the_same_dataset_and_architecture_is_the_base_of_a_preset(
    scenes: Dataset,
) -> None:
    package = publish_model(scenes, "general")
    found = plan(scenes, "animals", trains_bases=False)
    assert found.bases == {"animals": Base(package, "latest")}
    assert found.stages == (("animals",),)
    assert found.configs["animals"].epochs == 2
    assert plan(scenes, "animals").stages == (("general",), ("animals",)), "train_all trains it"
    wider = plan(scenes, "animals", trains_bases=False, width=8)
    assert wider.bases == {"animals": Base("general", "preset")}


def test_an_explicit_base_of_one_training_must_exist(scenes: Dataset) -> None:
    with pytest.raises(ConfigError, match="--start-from general: run 'r' has not trained it"):
        plan(scenes, "animals", trains_bases=False, start_from="general")
    with pytest.raises(NotInStorage, match="no version '1' of model 'general'"):
        plan(scenes, "animals", trains_bases=False, start_from="general@1")
    package = publish_model(scenes, "general")
    finish(scenes.storage, "general", package)
    found = plan(scenes, "animals", trains_bases=False, start_from="general")
    assert found.bases == {"animals": Base("general", "named")}
    assert (found.waiting, found.finished["general"].package) == (("animals",), package)


def test_what_the_run_has_trained_is_not_trained_again(scenes: Dataset) -> None:
    storage = scenes.storage
    first = plan(scenes, "animals", "people")
    open_run(storage, "r", first.fingerprint, first.configs)
    finish(storage, "general", publish_model(scenes, "general"))
    finish(storage, "people", "people@1")
    again = plan(scenes, "animals", "people")
    assert again.going_on and again.configs == first.configs
    assert again.stages == (("animals",),) and [*again.finished] == ["general", "people"]
    assert again.bases["animals"] == Base("general", "begun")


def test_a_run_keeps_the_base_that_it_began_with(scenes: Dataset) -> None:
    first = plan(scenes, "animals", start_from="")
    open_run(scenes.storage, "r", first.fingerprint, first.configs)
    again = plan(scenes, "animals")
    assert again.configs == first.configs and not again.bases
    with pytest.raises(ConfigError, match="animals: start_from was , is general"):
        plan(scenes, "animals", start_from="general")
    with pytest.raises(ConfigError, match=r"animals: batch_size was 5, is 2"):
        plan(scenes, "animals", batch_size=2)


def test_a_base_of_another_architecture_is_refused(scenes: Dataset) -> None:
    package = publish_model(scenes, "general", replace(CONFIG, width=8))
    with pytest.raises(ConfigError, match=f"animals cannot start from {package}, a network of an"):
        plan(scenes, "animals", start_from=package)


def test_a_model_without_photographs_is_refused_with_the_way_out(storage: Storage) -> None:
    dataset = stage_scenes(storage, per_class=1)
    with pytest.raises(ColorganError, match=r"has no photograph of class 'animals' in its"):
        plan(dataset, "animals", start_from="")
    with pytest.raises(ConfigError, match="no model 'cats'"):
        plan(dataset, "cats", start_from="")


@pytest.mark.parametrize(
    ("router", "overrides", "head"),
    [
        ("labels", {}, ""),
        ("auto", {}, ""),  # the labels know the classes of the scenes
        ("head", {}, "vgg16"),
        ("head", {"backbone": EMBEDDED}, EMBEDDED),
    ],
)
def test_a_head_is_trained_where_it_is_wanted(
    scenes: Dataset, router: Any, overrides: dict[str, Any], head: str
) -> None:
    wanted = replace(request(["general"], **overrides), router=router)
    assert plan_run(scenes.storage, scenes, wanted).head == head


def test_a_dataset_of_ones_own_classes_has_a_head_trained(storage: Storage) -> None:
    dataset = stage_scenes(storage)
    own = Dataset(storage, replace(dataset.manifest, classes=("animals",)))
    for models, head in ((["animals"], EMBEDDED), (["general"], "")):
        wanted = replace(request(models, start_from=""), router="auto")
        assert plan_run(storage, own, wanted).head == head


def test_a_run_that_was_begun_by_the_version_before_goes_on(scenes: Dataset) -> None:
    """`before` was written by commit dc916a0: `colorgan train --preset best --run best`."""
    storage = scenes.storage
    shutil.copytree(BEFORE / "runs", storage.location("runs"))
    document = json.loads(storage.get("runs/best/run.json"))
    document["dataset"] = scenes.manifest.fingerprint
    storage.put("runs/best/run.json", json.dumps(document).encode())
    overrides = {"size": 64, "width": 4, "discriminator_width": 4, "epochs": 3, "photographs": 8}
    best = find_preset("best")
    then = replace(
        best,  # as it was
        training=replace(
            best.training,
            lambda_coherence=0.0,
            phases="regression:14+critic:0.3+adversarial:5.7",
        ),
        fine_tuning={
            **best.fine_tuning,
            "phases": "critic:0.2+adversarial:8.8",
            "lambda_coherence": 0.0,
        },
    )
    wanted = RunRequest("best", ["animals"], then, overrides, trains_bases=False)
    found = plan_run(storage, scenes, wanted)
    assert found.going_on and not found.stages
    assert [*found.configs] == [*found.finished] == ["general", "animals"]
    assert found.bases == {"animals": Base("general", "begun")}

    # What is written now is what was written then: the version before reads it, too.
    open_run(storage, "best", found.fingerprint, found.configs)
    written = json.loads(storage.get("runs/best/run.json"))
    for model in written["models"].values():  # what is newer has its default, which changes nothing
        newer = {
            "attention": "off",
            "lambda_coherence": 0.0,
            "spectral_norm": False,
            "noise_channels": 0,
            "noise_only": False,
            "lambda_diversity": 0.0,
            "diversity": "nearest",
        }
        assert {name: model.pop(name) for name in newer} == newer
    assert written == document


def test_a_sweep_of_the_version_before_is_read() -> None:
    storage = open_storage(str(BEFORE))
    general = finished_result(storage, "best", "general")
    assert general and general.package
    sweep = open_sweep(storage, "swept")
    assert sweep.training.start_from == general.package
    assert sweep.training.phases == run_configs(storage, "best")["animals"].phases
    assert [read_state(storage, sweep, trial.name).status for trial in sweep.trials] == ["done"] * 2
    for trial in sweep.trials:
        history = read_history(storage, sweep, trial.name)
        assert [record.epoch for record in history.epochs] == [1, 2, 3]
        assert [each.epoch for each in history.evaluations] == [2, 3]
