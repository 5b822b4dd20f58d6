import io
import math

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from colorgan.data.dataset import Dataset
from colorgan.evaluation.routing import (
    REPORT,
    Confusion,
    RoutedPhotograph,
    classifiers_table,
    color_by_every_model,
    confusions_csv,
    confusions_json,
    cost_of_wrong_turns,
    evaluate_router,
    misrouting_examples,
    plot_confusions,
    turns_table,
    worst_routed,
)
from colorgan.inference.colorizer import Colorizer
from colorgan.inference.router import Route
from colorgan.models.architectures import GeneratorConfig
from colorgan.models.classifiers import load_classifier
from colorgan.models.unet import UNetGenerator
from tests.inference.test_router import label_router

CLASSES = ("animals", "people", "vehicles")
SURE = {"tabby": 0.9}


def test_what_follows_from_a_confusion() -> None:
    assert REPORT.accuracy == pytest.approx(0.9067, abs=1e-4)
    assert REPORT.recall == {"animals": 1.0, "people": 0.85, "vehicles": 0.87}
    # Of 200 animals and vehicles 13 were taken for people; of 100 people 15 for something else.
    assert REPORT.type_1_error("people") == pytest.approx(0.065)
    assert REPORT.type_2_error("people") == pytest.approx(0.15)


def test_a_router_is_counted_in_gray_and_in_colour_with_and_without_the_rule(
    scenes: Dataset,
) -> None:
    # Whatever it sees, the label of the stub is the cab's, at 0.04: below the threshold.
    router = label_router({"cab": 0.04}, {"cab": 0.04})
    confusions = {c.name: c for c in evaluate_router(router, scenes, "test")}
    assert list(confusions) == [
        *("gray, 0.05 rule", "gray, no threshold", "colour, 0.05 rule", "colour, no threshold")
    ]
    counts = [scenes.count((label,), "test") for label in CLASSES]
    assert confusions["gray, 0.05 rule"].counts[:, 1].tolist() == counts
    assert confusions["colour, no threshold"].counts[:, 2].tolist() == counts
    described = confusions_json(list(confusions.values()))
    assert described[0]["accuracy"] == counts[1] / sum(counts)
    assert described[0]["people_type_2_error"] == 0


def test_gray_and_colour_are_what_the_router_is_shown(scenes: Dataset) -> None:
    from colorgan.training.router_head import embed

    classifier = load_classifier()
    gray, color = (
        embed(classifier, scenes, CLASSES, "val", gray=gray).features for gray in (True, False)
    )
    assert gray.shape == color.shape
    assert not torch.allclose(gray, color)


def test_the_table_and_the_plot_hold_every_matrix() -> None:
    unsure = Confusion("head", ("a", "b"), ("a", "b", "unsure"), np.array([[1, 0, 2], [0, 3, 0]]))
    table = pd.read_csv(io.BytesIO(confusions_csv([REPORT, unsure])))
    assert len(table) == 9 + 6
    assert table[table["name"] == "head"]["photographs"].sum() == 6
    with Image.open(io.BytesIO(plot_confusions([REPORT, unsure, REPORT, unsure]))) as image:
        assert image.size[0] > 800
        assert len(image.convert("RGB").getcolors(1 << 20) or []) > 50


def test_the_matrices_of_several_classifiers_are_one_table() -> None:
    one = Confusion("gray", ("a", "b"), ("a", "b"), np.array([[3, 1], [2, 4]]))
    unsure = Confusion("gray", ("a", "b"), ("a", "b", "unsure"), np.array([[1, 0, 3], [0, 2, 0]]))
    table = classifiers_table({"first": [one], "second": [unsure]})
    assert list(table.columns) == [
        *("classifier", "seen", "class", "photographs", "-> a", "-> b", "-> unsure"),
        *("recall", "type 1 error", "accuracy"),
    ]
    assert table.to_numpy().tolist() == [
        ["first", "gray", "a", 4, 3, 1, 0, 3 / 4, 2 / 6, 7 / 10],
        ["first", "gray", "b", 6, 2, 4, 0, 4 / 6, 1 / 4, 7 / 10],
        ["second", "gray", "a", 4, 1, 0, 3, 1 / 4, 0, 3 / 6],
        ["second", "gray", "b", 2, 0, 2, 0, 1, 0, 3 / 6],
    ]


def turn(photo_class: str, sent_to: str, hybrid: bool, **errors: float) -> RoutedPhotograph:
    return RoutedPhotograph("s", photo_class, Route(sent_to, 0.5, {}, None), hybrid, errors)


def test_the_cost_of_a_wrong_turn() -> None:
    turns = [
        turn("animals", "animals", False, animals=4, people=6, vehicles=8, gray=10),
        turn("animals", "people", True, animals=5, people=9, vehicles=3, gray=10),
        turn("vehicles", "vehicles", False, animals=7, people=8, vehicles=9, gray=4),
    ]
    table = cost_of_wrong_turns(turns).set_index("photographs of")
    assert table.loc["all", "photographs"] == 3
    assert table.loc["all", "router's model"] == pytest.approx((4 + 9 + 9) / 3)
    assert table.loc["all", "class's model"] == pytest.approx((4 + 5 + 9) / 3)
    wrong = table.loc["router wrong"]
    assert (wrong["photographs"], wrong["gray"], wrong["router's model"]) == (1, 10, 9)
    assert (wrong["class's model"], wrong["best model"], wrong["worst model"]) == (5, 3, 9)
    assert table.loc["hybrid", "photographs"] == 1
    assert table.loc["vehicles", "best model"] == 7
    without = cost_of_wrong_turns(turns[:1]).set_index("photographs of")
    assert math.isnan(without.loc["router wrong", "gray"])


def test_the_dearest_wrong_turns_come_first_and_then_the_hybrids_that_another_model_suits() -> None:
    slight = turn("animals", "animals", True, animals=5, people=4, vehicles=9, gray=1)
    none = turn("animals", "animals", True, animals=5, people=8, vehicles=9, gray=1)
    strong = turn("people", "people", True, animals=9, people=9, vehicles=2, gray=1)
    dear = turn("animals", "people", False, animals=2, people=9, vehicles=1, gray=1)
    cheap = turn("people", "vehicles", True, animals=0, people=8, vehicles=7, gray=1)
    right = turn("people", "people", False, animals=0, people=9, vehicles=9, gray=1)
    given = [right, none, slight, cheap, strong, dear]
    assert worst_routed(given) == [dear, cheap, strong, slight, none]


def test_every_photograph_is_coloured_by_every_model(scenes: Dataset) -> None:
    router = label_router(SURE, {"tabby": 0.5, "cab": 0.2})
    colorizers = {}
    for seed, name in enumerate(CLASSES):
        torch.manual_seed(seed)
        colorizers[name] = Colorizer(UNetGenerator(GeneratorConfig(size=32, width=4)))
    turns = color_by_every_model(router, colorizers, scenes, "test", hybrid_from=0.05)
    assert len(turns) == scenes.count(CLASSES, "test")
    assert {each.sent_to for each in turns} == {"animals"}
    assert all(each.errors.keys() == {*CLASSES, "gray"} for each in turns)
    assert all(len(set(each.errors.values())) == 4 for each in turns)
    assert all(each.hybrid == (each.route.score < 0.6) for each in turns)
    table = turns_table(turns)
    assert table["right"].sum() == scenes.count(("animals",), "test")
    sheet = misrouting_examples(turns, scenes, "test", colorizers)
    assert sheet.ndim == 3 and sheet.shape[1] > 1000
