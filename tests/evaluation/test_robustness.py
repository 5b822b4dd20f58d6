import math

import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Tensor

from colorgan.classes import PhotoClasses
from colorgan.data.dataset import Dataset
from colorgan.errors import ConfigError
from colorgan.evaluation.results import Contestant
from colorgan.evaluation.robustness import (
    RobustnessConfig,
    RobustnessMeasurement,
    class_loss,
    count_flips,
    most_flipped,
    predict,
    summarize,
)
from colorgan.images import lab
from colorgan.inference.colorizer import Colorizer
from colorgan.inference.router import LabelRouter
from colorgan.models.adversarial import Bound, attack
from colorgan.models.architectures import GeneratorConfig
from colorgan.models.unet import UNetGenerator
from tests.inference.test_router import label_router
from tests.models.test_adversarial import pictures, tiny_classifier

CLASSES = ("animals", "people", "vehicles")


def said(photo: str, model: str, words: str, change: str = "colouring") -> dict[str, object]:
    """A prediction: `words` is the class and the label that the classifier says."""
    photo_class, synset = words.split("/")
    return {
        "photo": photo,
        "class": "animals",
        "model": model,
        "change": change,
        "epsilon": 0.0 if change == "colouring" else 4.0,
        "confidence": 0.5,
        "says_class": photo_class,
        "says_synset": synset,
        "says_label": synset,
        "right": float(photo_class == "animals"),
    }


HAND_MADE = (
    *(said("one", "gray", "people/suit"), said("one", "original", "animals/fox")),
    said("one", "general", "animals/dog"),
    said("one", "general", "animals/dog", "noise"),
    said("one", "general", "vehicles/cab", "attack"),
    *(said("two", "gray", "animals/cat"), said("two", "original", "animals/cat")),
    said("two", "general", "animals/cat"),
    said("two", "general", "animals/fox", "noise"),
    said("two", "general", "animals/fox", "attack"),
)


def test_flips_are_counted_against_gray_the_original_and_the_unchanged_picture() -> None:
    frame = count_flips(pd.DataFrame(HAND_MADE)).set_index(["photo", "model", "change"])
    flips = ["class_flips_gray", "label_flips_gray", "class_flips_original", "label_flips_original"]
    assert frame.loc[("one", "general", "colouring"), flips].tolist() == [1, 1, 0, 1]
    assert frame.loc[("two", "general", "colouring"), flips].tolist() == [0, 0, 0, 0]
    gray = frame.loc[("one", "gray", "colouring"), flips].tolist()
    assert math.isnan(gray[0]) and math.isnan(gray[1]) and gray[2:] == [1, 1]
    changed = ["class_flips", "label_flips"]
    assert frame.loc[("one", "general", "noise"), changed].tolist() == [0, 0]
    assert frame.loc[("one", "general", "attack"), changed].tolist() == [1, 1]
    assert frame.loc[("two", "general", "attack"), changed].tolist() == [0, 1]
    assert frame.loc[("one", "general", "colouring"), changed].isna().all()


def test_shares_are_means_over_photographs_and_attack_and_noise_are_compared_in_pairs() -> None:
    summary = summarize(count_flips(pd.DataFrame(HAND_MADE)))
    table = summary.set_index(["model", "change", "measure"])
    general = table.loc["general"]
    assert general.loc[("colouring", "label_flips_original"), "mean"] == 0.5
    assert general.loc[("colouring", "class_flips_original"), "mean"] == 0
    assert general.loc[("attack", "label_flips"), "mean"] == 1
    assert general.loc[("noise", "label_flips"), "mean"] == 0.5
    difference = general.loc[("attack minus noise", "label_flips")]
    assert (difference["mean"], difference["low"], difference["high"]) == (0.5, 0, 1)
    assert (table["photographs"] == 2).all()
    assert ("gray", "colouring", "label_flips_gray") not in table.index
    assert set(summary["class"]) == {"all classes"}


def test_the_most_flipped_photographs_come_first() -> None:
    three = [said("three", "gray", "animals/cat"), said("three", "original", "animals/cat")]
    frame = pd.DataFrame([*HAND_MADE, *three, said("three", "general", "people/suit")])
    assert most_flipped(count_flips(frame), 2) == ["three", "one"]


def test_a_prediction_has_the_routers_class_and_the_classifiers_label() -> None:
    router = label_router({"tabby": 0.9}, {"cab": 0.04, "web site": 0.5})
    views = torch.stack([torch.full((3, 8, 8), level, dtype=torch.uint8) for level in (0, 255)])
    dark, bright = predict(router, views)
    assert (dark.photo_class, dark.label) == ("animals", "tabby")
    assert dark.confidence == pytest.approx(0.9)
    assert (bright.photo_class, bright.label) == ("people", "web site")  # the rule's fallback


def test_every_contestant_is_measured_as_it_is_and_with_changed_colours(scenes: Dataset) -> None:
    router = LabelRouter(tiny_classifier(), PhotoClasses.load())
    contestants = [Contestant("gray", ""), Contestant("original", "")]
    contestants.append(Contestant("general", "general@1"))
    contestants.append(Contestant("mine", "animals@1,people@1,vehicles@1"))
    colorizers = {}
    for seed, name in enumerate(("general@1", "animals@1", "people@1", "vehicles@1")):
        torch.manual_seed(seed)
        colorizers[name] = Colorizer(UNetGenerator(GeneratorConfig(size=32, width=4)))
    config = RobustnessConfig(epsilons="8,2", steps=1, examples=2)
    measurement = RobustnessMeasurement(router, contestants, colorizers, config)
    rows = list(scenes.rows(CLASSES, "test"))[:5]
    frame = measurement.measure(rows)
    assert len(frame) == 5 * 4 * 5  # photographs, contestants, and one colouring and four changes
    assert set(zip(frame["change"], frame["epsilon"], strict=True)) == {
        ("colouring", 0),
        ("noise", 2),
        ("attack", 2),
        ("noise", 8),
        ("attack", 8),
    }
    assert frame["right"].isin((0, 1)).all()
    sheet = measurement.examples(frame, rows)
    assert sheet.shape[0] > 2 * 144 and sheet.shape[1] > 6 * 100
    assert len(Image.fromarray(sheet).getcolors(1 << 20) or []) > 100


def test_an_attack_on_the_class_lowers_its_lead() -> None:
    router = LabelRouter(tiny_classifier(), PhotoClasses.load())
    before, given = pictures(), ["animals", "people", "vehicles"]
    after = attack(before, class_loss(router, given), Bound(8.0))

    def leads(channels: Tensor) -> list[float]:
        routes = router(lab.lab_to_rgb(channels))
        return [lead(route.scores, name) for route, name in zip(routes, given, strict=True)]

    def lead(scores: dict[str, float], name: str) -> float:
        return scores[name] / max(score for other, score in scores.items() if other != name)

    assert all(new < 0.8 * old for new, old in zip(leads(after), leads(before), strict=True))


@pytest.mark.parametrize("epsilons", ("", "a", "0", "2,-1", "200", "nan", "inf"))
def test_bad_bounds_are_refused(epsilons: str) -> None:
    with pytest.raises(ConfigError, match="--epsilons"):
        RobustnessConfig(epsilons=epsilons)
