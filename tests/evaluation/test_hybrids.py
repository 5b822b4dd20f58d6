"""Colouring by objects on pictures in which two classes are seen."""

import io
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from colorgan.cli import main
from colorgan.data.dataset import Dataset
from colorgan.errors import ConfigError
from colorgan.evaluation.contestants import find_contestants
from colorgan.evaluation.evaluate import Evaluator, blocks_left, choose_rows, open_evaluation
from colorgan.evaluation.hybrids import (
    REGIONS,
    TRUTH,
    Hybrid,
    HybridConfig,
    draw_hybrids,
    make_mosaics,
    second_of,
    summarize,
)
from colorgan.evaluation.plan import Sample, plan_evaluation
from colorgan.evaluation.results import Evaluation
from colorgan.inference.object_choice import ObjectConfig
from colorgan.inference.router_choice import RouterConfig
from colorgan.packages.embedded import with_embedded
from colorgan.storage import Storage

CLASSES = ("animals", "people", "vehicles")
OBJECTS = ObjectConfig(detector="labels", object_score=0.1)


def test_mosaics_have_two_photographs_in_known_places(scenes: Dataset) -> None:
    config = HybridConfig(kind="beside", pictures=3, size=64)
    for each in make_mosaics(config, scenes, "test", CLASSES):
        assert each.picture.shape == (64, 128, 3) and len(set(each.classes)) == 2
        assert (each.owners[:, :64] == 1).all() and (each.owners[:, 64:] == 2).all()
    config = HybridConfig(kind="within", pictures=3, size=64)
    for each in make_mosaics(config, scenes, "test", CLASSES):
        assert each.picture.shape == (64, 85, 3)
        assert (each.owners == 2).sum() == 32 * 42 and each.owners[0, 0] == 1
    again = [each.picture for each in make_mosaics(config, scenes, "test", CLASSES)]
    assert (again[-1] == each.picture).all()
    with pytest.raises(ConfigError, match="a mosaic needs two of animals"):
        next(make_mosaics(config, scenes, "test", ("animals",)))


def test_a_perfect_detector_finds_both_things_of_a_scene() -> None:
    for each in draw_hybrids(HybridConfig(kind="scenes", pictures=4, size=64)):
        for number, found in enumerate(each.detections(), 1):
            assert found.photo_class == each.classes[number - 1]
            covered = np.zeros_like(each.owners)
            assert found.mask is not None
            found.place.box(*covered.shape).of(covered)[...] = found.mask > 0
            assert (covered == (each.owners == number)).all()


def test_the_second_object_is_the_one_that_the_router_overlooked() -> None:
    hybrid = Hybrid("h", np.zeros((2, 2, 3), np.uint8), np.ones((2, 2), np.uint8), CLASSES[:2])
    assert [second_of(hybrid, each) for each in CLASSES] == [2, 1, 2]


def test_differences_are_paired_by_picture() -> None:
    frame = pd.DataFrame(
        [
            {"picture": picture, "model": model, **dict.fromkeys(REGIONS, value + place)}
            for place, picture in enumerate("abc")
            for model, value in (("general", 4.0), ("objects", 3.0))
        ]
    )
    lines = summarize(frame).set_index(["region", "model", "minus"])
    assert lines.loc[("second object", "general", ""), "mean"] == pytest.approx(5.0)
    pair = lines.loc[("second object", "objects", "general")]
    assert (pair["mean"], pair["low"], pair["high"]) == (-1.0, -1.0, -1.0)
    assert set(lines["pictures"]) == {3}


@pytest.mark.slow
def test_the_command_measures_scenes_and_mosaics(
    scenes: Dataset, embedded: Storage, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = scenes.storage
    command = ["hybrids", "--storage", storage.uri, "--pictures", "3", "--size", "64"]
    options = ["--detector", "labels", "--object-score", "0.1"]
    assert main([*command, *options, "--kind", "scenes"]) == 0
    printed = capsys.readouterr().out
    assert "objects minus assembled" in printed.replace("embedded", "assembled")
    assert "of the second objects' pixels, and took" in printed
    summary = pd.read_csv(io.BytesIO(storage.get("reports/hybrids/hybrids.csv")))
    assert {"gray", "assembled", "general", "objects", TRUTH} == set(summary["model"])
    frame = pd.read_csv(io.BytesIO(storage.get("reports/hybrids/pictures.csv")))
    assert len(frame) == 3 * 5
    own = summary[(summary["model"] == TRUTH) & (summary["region"] == "whole picture")]
    plain = own[own["minus"].isna()]["mean"].item()
    chosen = frame[frame["model"] == TRUTH]["whole picture"]
    assert plain == pytest.approx(chosen.mean(), abs=1e-4)
    assert storage.get("reports/hybrids/pictures.png").startswith(b"\x89PNG")
    run = [*command, *options, "--dataset", "scenes", "--kind", "within", "--json"]
    assert main([*run, "--models", "general", "objects"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert {line["region"] for line in described} == {*REGIONS}
    assert main([*command, "--kind", "beside"]) == 2
    assert "needs --dataset NAME" in capsys.readouterr().err


def test_an_evaluation_takes_objects_as_a_contestant(scenes: Dataset, embedded: Storage) -> None:
    storage = with_embedded(scenes.storage)
    _, _, objects = find_contestants(storage, ["objects"], CLASSES, OBJECTS)
    assert (objects.name, objects.detector, objects.routed) == ("objects", "labels", False)
    assert [each.partition("@")[0] for each in objects.packages] == ["general", *CLASSES]
    dataset = Dataset(storage, scenes.manifest)
    models = ["general", "mine=objects"]
    evaluation, choice = plan_evaluation(
        dataset, Sample("test", 3), models, RouterConfig(), "by-objects", objects=OBJECTS
    )
    assert choice is None, "no router is asked"
    report, _ = open_evaluation(storage, evaluation)
    ((number, rows),) = blocks_left(report, choose_rows(dataset, "test", 3, 0))
    Evaluator(report, RouterConfig(), objects=OBJECTS).evaluate(rows, number)
    part = pd.read_parquet(io.BytesIO(storage.get(report.key("parts/00000.parquet"))))
    assert list(part["model"].unique()) == ["gray", "original", "general", "mine"]
    assert part[part["model"] == "mine"]["l1"].notna().all()


def test_an_evaluation_goes_on_with_the_same_options_of_objects_alone(
    scenes: Dataset, embedded: Storage
) -> None:
    storage = with_embedded(scenes.storage)
    dataset = Dataset(storage, scenes.manifest)

    def planned(objects: ObjectConfig, model: str = "objects") -> Evaluation:
        sample = Sample("test", 3)
        return plan_evaluation(dataset, sample, [model], RouterConfig(), "r", objects=objects)[0]

    evaluation = planned(OBJECTS)
    assert evaluation.options == {"object-score": "0.1"}
    open_evaluation(storage, evaluation)
    assert open_evaluation(storage, planned(OBJECTS))[1]
    for others, name in (
        (ObjectConfig(detector="labels"), "--object-score"),
        (replace(OBJECTS, object_masks="box"), "--object-masks"),
    ):
        with pytest.raises(ConfigError, match=f"another {name}: give the same"):
            open_evaluation(storage, planned(others))
    (found,) = [each for each in evaluation.contestants if each.detector]
    contestants = tuple(
        replace(each, detector="other") if each == found else each
        for each in evaluation.contestants
    )
    with pytest.raises(ConfigError, match="another contestants: give the same"):
        open_evaluation(storage, replace(evaluation, contestants=contestants))
    assert planned(OBJECTS, "general").options == {}
