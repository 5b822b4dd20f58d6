"""The FCN score: what a segmenter sees in colourings, against originals and masks."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from colorgan.data.dataset import Dataset, Row
from colorgan.data.masks import IGNORED, encode_mask
from colorgan.data.scenes import REGIONS, draw_both
from colorgan.errors import ConfigError, NotInStorage
from colorgan.evaluation.evaluate import (
    Evaluator,
    blocks_left,
    choose_rows,
    collect,
    open_evaluation,
)
from colorgan.evaluation.plan import Sample, plan_evaluation
from colorgan.evaluation.report import write_report
from colorgan.evaluation.results import Evaluation
from colorgan.evaluation.segmentation import (
    CONFUSIONS,
    FCNScore,
    SegmentationConfig,
    describe_segmentation,
    read_segmentation,
)
from colorgan.evaluation.statistics import ALL_CLASSES
from colorgan.inference.router_choice import RouterConfig
from colorgan.metrics import segmentation_scores
from colorgan.models.architectures import SegmenterConfig
from colorgan.models.fcn import FCN8s
from colorgan.models.segmenters import Segmenter
from colorgan.packages.weights import Origin, Trained, publish
from colorgan.storage import Storage
from tests.conftest import CHECKOUT
from tests.evaluation.test_evaluate import served as served
from tests.evaluation.test_evaluate import start

CLASSES = ("dark", "red", "green")
RED, GREEN, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 0)


def by_color(classes: tuple[str, ...] = CLASSES) -> Segmenter:
    """A segmenter that knows a pixel by its strongest channel; blue stands for the first class."""

    def score(pictures: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.full_like(pictures[:, :1], 0.5), pictures[:, :2]], dim=1)

    def prepare(rgb: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(rgb).permute(2, 0, 1)

    return Segmenter("by colour", classes, prepare, score, torch.device("cpu"))


def picture(*rows: tuple[tuple[int, int, int], ...]) -> np.ndarray:
    return np.array(rows, np.uint8)


def row(source: str, width: int = 2, height: int = 2) -> Row:
    return Row(b"", "animals", "test", source, width, height, "")


MADE = {
    "original": picture((RED, RED), (GREEN, BLACK)),
    "wrong": picture((RED, GREEN), (GREEN, BLACK)),
    "gray": picture((BLACK, BLACK), (BLACK, BLACK)),
}


def test_a_colouring_is_compared_with_the_original_pixel_by_pixel() -> None:
    measured = FCNScore(by_color())(MADE, row("/photos/one.jpg"))
    assert measured["fcn_accuracy"] == [1, 0.75, 0.25]
    # wrong: dark 1 / 1, red 1 / 2, green 1 / 2; gray: dark 1 / 4, red 0 and green 0.
    assert measured["fcn_iou"] == pytest.approx([1, 2 / 3, 1 / 12])
    found = [each.reshape(3, 3).tolist() for each in measured[CONFUSIONS["original"]]]
    assert found[1] == [[1, 0, 0], [0, 1, 1], [0, 0, 1]]
    assert measured["mask_accuracy"] == measured["mask_iou"] == [None] * 3


def test_masks_of_photographs_are_found_by_the_names_of_their_files(tmp_path: Path) -> None:
    masks = tmp_path / "SegmentationClass"
    masks.mkdir()
    (tmp_path / "labels.txt").write_text("".join(f"{each}\n" for each in CLASSES))
    (masks / "one.png").write_bytes(encode_mask(np.array([[1, 2], [IGNORED, 0]], np.uint8)))
    score = FCNScore(by_color(), tmp_path)
    measured = score(MADE, row("/photos/animals/one.jpg"))
    assert measured["mask_accuracy"] == pytest.approx([2 / 3, 1, 1 / 3])
    assert score(MADE, row("/photos/two.jpg"))["mask_accuracy"] == [None] * 3
    with pytest.raises(ConfigError, match=r"masks of dark, red, green, and by colour knows a, b"):
        FCNScore(by_color(("a", "b", "c")), tmp_path)


def test_drawn_scenes_need_no_masks() -> None:
    original, mask = draw_both("animals", 7, 48, 64)
    score = FCNScore(by_color(REGIONS))
    measured = score({"original": original}, row("scenes:animals/7", 64, 48))
    (seen,) = score.segmenter([original])
    assert measured["mask_accuracy"] == pytest.approx([(seen == mask).mean()])
    other = FCNScore(by_color())({"original": original}, row("scenes:animals/7", 64, 48))
    assert other["mask_accuracy"] == [None], "another segmenter's classes are not the scenes'"


def parts(count: int = 6) -> pd.DataFrame:
    """Confusion matrices of made-up photographs of two classes."""
    generator = np.random.default_rng(0)
    lines = [
        {
            "photo": str(number),
            "class": "animals" if number % 2 else "people",
            "model": model,
            CONFUSIONS["original"]: np.diag([9, 0, 0]).ravel()
            if model == "original"
            else np.append(generator.integers(0, 9, (2, 3)).ravel(), [0, 0, 0]).astype(np.int32),
            CONFUSIONS["masks"]: None,
        }
        for number in range(count)
        for model in ("gray", "original", "general")
    ]
    return pd.DataFrame(lines)


def test_the_metrics_of_a_set_are_those_of_all_pixels_with_an_interval() -> None:
    table = parts()
    scores, per_class = describe_segmentation(table, CLASSES)
    assert set(scores["against"]) == {"original"}
    assert list(scores["class"].unique()) == [ALL_CLASSES, "animals", "people"]
    assert set(scores["model"]) == {"gray", "general"}
    for model in ("gray", "general"):
        own = table[table["model"] == model][CONFUSIONS["original"]]
        total = np.stack(list(own)).sum(axis=0).reshape(3, 3)
        expected = segmentation_scores(total)
        (line,) = scores[(scores["model"] == model) & (scores["class"] == ALL_CLASSES)].to_dict(
            "records"
        )
        for name, value in vars(expected).items():
            assert line[name] == pytest.approx(float(value))
            assert line[f"{name}_low"] < line[name] < line[f"{name}_high"]
        assert line["n"] == 6
    assert set(per_class["class"]) == {"dark", "red", "green"}
    green = per_class[per_class["class"] == "green"]
    assert (green["iou"] == 0).all(), "it is only predicted"


def test_a_set_of_one_photograph_and_a_class_that_is_nowhere() -> None:
    one = parts(1).assign(**{CONFUSIONS["masks"]: [np.diag([4, 0, 0]).ravel()] * 3})
    scores, per_class = describe_segmentation(one, CLASSES)
    masked = scores[scores["against"] == "masks"]
    assert set(masked["model"]) == {"gray", "original", "general"}
    assert (masked["pixel_accuracy"] == 1).all() and (masked["mean_iou_low"] == 1).all()
    assert set(per_class[per_class["against"] == "masks"]["class"]) == {"dark"}


def publish_segmenter(storage: Storage) -> str:
    """A package of a segmenter of scenes with arbitrary weights."""
    torch.manual_seed(0)
    network = FCN8s(SegmenterConfig(64, 8, "efficientnet_lite0", REGIONS))
    metrics = {"val_mean_iou": 0.5}
    trained = Trained(network, REGIONS, {}, metrics, 1.0, "cpu", 1)
    return publish(storage, "segmenter", Origin("scenes", "0f", 48), trained).reference


def test_an_evaluation_has_the_fcn_score_in_its_tables_and_on_its_page(
    served: Dataset, no_figures: None
) -> None:
    reference = publish_segmenter(served.storage)
    options = SegmentationConfig(segmenter="trained")
    sample = Sample("test", 3)
    evaluation, _ = plan_evaluation(served, sample, ["general"], RouterConfig(), "r", options)
    assert (evaluation.segmenter, evaluation.segments) == (reference, REGIONS)
    report, going_on = open_evaluation(served.storage, evaluation)
    assert not going_on
    for number, block in blocks_left(report, choose_rows(served, "test", 3, 0)):
        Evaluator(report, RouterConfig(), segmentation=options).evaluate(block, number)
    results, sets = collect(report)
    own = results[results["model"] == "original"]
    assert (own["fcn_accuracy"] == 1).all() and own["mask_accuracy"].between(0, 1).all()
    assert results[results["model"] == "general"]["fcn_accuracy"].between(0, 1).all()
    assert not set(CONFUSIONS.values()) & set(results.columns)

    write_report(report, results, sets)
    found = read_segmentation(report)
    assert found
    table = pd.read_csv(Path(served.storage.uri) / "reports/r/tables/fcn.csv")
    pd.testing.assert_frame_equal(table, found[0])
    kinds = {(each["against"], each["model"]) for each in table.to_dict("records")}
    assert kinds == {("masks", "original")} | {
        (against, model) for against in ("original", "masks") for model in ("gray", "general")
    }
    numbers = json.loads(served.storage.get(report.key("report.json")))["tables"]
    assert {"fcn", "fcn-classes", "metric-fcn_iou", "metric-mask_accuracy"} <= set(numbers)
    page = served.storage.get(report.key("index.html")).decode()
    assert "FCN score by what is shown" in page and "FCN pixel accuracy on masks" in page
    models = served.storage.get(report.key("tables/contestants.md")).decode()
    assert f"the FCN score is by {reference}" in models
    unmeasured = dataclasses.replace(evaluation, segmenter="", segments=())
    with pytest.raises(ConfigError, match="another segmenter"):
        open_evaluation(served.storage, unmeasured)


def test_an_evaluation_without_a_segmenter_has_no_fcn_score(served: Dataset) -> None:
    report, _ = start(served)
    assert (report.evaluation.segmenter, read_segmentation(report)) == ("", None)
    document = json.loads(report.evaluation.to_json())
    for name in ("segmenter", "segments"):
        del document[name]  # as of a report of before
    served.storage.put(report.key("evaluation.json"), json.dumps(document).encode())
    assert start(served)[1]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"segmenter": "trained"}, NotInStorage, "no model 'segmenter'"),
        ({"segmenter": "vgg16"}, ConfigError, "no segmenter 'vgg16'"),
        ({"segmenter": "fcn_resnet50", "segmenter_weights": "/no.pth"}, ConfigError, "no file /no"),
        ({"segmenter": "efficientnet_lite0", "masks": "/nowhere"}, ConfigError, "has no folder"),
    ],
)
def test_what_cannot_be_used_is_said_before_anything_is_coloured(
    served: Dataset, options: dict[str, str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        plan_evaluation(
            served,
            Sample("test", 1),
            ["general"],
            RouterConfig(),
            "r",
            SegmentationConfig(**options),
        )


@pytest.mark.parametrize("name", ["segmenter_weights", "masks"])
def test_files_without_a_segmenter_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"--{name.replace('_', '-')} needs --segmenter NAME"):
        SegmentationConfig(**{name: "file"})
    assert dataclasses.replace(SegmentationConfig(segmenter="trained"), **{name: "file"})


def test_the_options_that_decide_results_are_recorded_and_kept(
    served: Dataset, tmp_path: Path
) -> None:
    (tmp_path / "SegmentationClass").mkdir()
    (tmp_path / "labels.txt").write_text("other\nanimals\npeople\nvehicles\n")
    table = CHECKOUT / "colorgan" / "classes.toml"
    router = RouterConfig(classes=str(table), weights="w.pth")
    options = SegmentationConfig(segmenter="efficientnet_lite0", masks=str(tmp_path))

    def planned(router: RouterConfig, options: SegmentationConfig) -> Evaluation:
        sample = Sample("test", 1)
        return plan_evaluation(served, sample, ["general"], router, "r", options)[0]

    evaluation = planned(router, options)
    recorded = {"classes": str(table), "weights": "w.pth", "masks": str(tmp_path)}
    report, _ = open_evaluation(served.storage, evaluation)
    document = json.loads(served.storage.get(report.key("evaluation.json")))
    assert document["options"] == recorded
    assert open_evaluation(served.storage, planned(router, options))[1]
    with pytest.raises(ConfigError, match="another --weights: give the same"):
        open_evaluation(served.storage, planned(dataclasses.replace(router, weights=""), options))
    with pytest.raises(ConfigError, match="another --masks: give the same"):
        open_evaluation(served.storage, planned(router, dataclasses.replace(options, masks="")))

    # A report of before, which has none, is gone on with.
    del document["options"]
    served.storage.put(report.key("evaluation.json"), json.dumps(document).encode())
    assert open_evaluation(served.storage, evaluation)[1]
