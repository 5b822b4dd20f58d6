import dataclasses
import io
import json
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch

from colorgan.data.dataset import Dataset, open_dataset
from colorgan.errors import ConfigError, NotInStorage
from colorgan.evaluation.contestants import (
    choose_evaluated_router,
    default_models,
    find_contestants,
)
from colorgan.evaluation.evaluate import (
    BLOCK,
    Evaluator,
    SemanticScore,
    blocks_left,
    choose_judge,
    choose_rows,
    collect,
    missing_metrics,
    open_evaluation,
    photo_id,
)
from colorgan.evaluation.results import Evaluation, Report, open_report
from colorgan.evaluation.statistics import ALL_CLASSES
from colorgan.images.decoding import decode
from colorgan.inference.colorizer import Colorizer, grayscale
from colorgan.inference.router_choice import RouterConfig
from colorgan.metrics import FEWEST_PHOTOGRAPHS, ab_l1
from colorgan.models import EMBEDDED, JUDGE
from colorgan.models.unet import UNetGenerator
from colorgan.packages.card import find
from colorgan.packages.weights import Trained, load_generator, publish
from colorgan.training.config import TrainingConfig
from tests.inference.test_router_choice import put_card
from tests.serve.conftest import publish_untrained

MODELS = ("assembled", "general")


def start(scenes: Dataset, name: str = "r", **changes: object) -> tuple[Report, bool]:
    classes = scenes.manifest.classes
    evaluation = Evaluation(
        name=name,
        created="2026-01-01T00:00:00+00:00",
        dataset={"name": "scenes", "fingerprint": scenes.manifest.fingerprint},
        split="test",
        photographs=scenes.count(classes, "test"),
        seed=0,
        classes=classes,
        contestants=find_contestants(scenes.storage, MODELS, classes),
        router="labels",
        classifier=EMBEDDED,
        missing=missing_metrics(),
    )
    return open_evaluation(scenes.storage, dataclasses.replace(evaluation, **changes))


@pytest.fixture
def served(scenes: Dataset) -> Dataset:
    """A dataset beside untrained models of every class and a general one."""
    for seed, model in enumerate((*scenes.manifest.classes, "general")):
        publish_untrained(scenes.storage, model, seed)
    return open_dataset(scenes.storage, "scenes")


def test_every_photograph_is_coloured_and_measured_by_every_contestant(served: Dataset) -> None:
    classes, storage = served.manifest.classes, served.storage
    before = {name: find(storage, name).reference for name in classes}
    for seed, name in enumerate(classes):
        publish_untrained(storage, name, 10 + seed)
    models = (*MODELS, f"before={','.join(before.values())}")
    report, going_on = start(served, contestants=find_contestants(storage, models, classes))
    assert not going_on
    evaluator = Evaluator(report, RouterConfig())
    rows = list(choose_rows(served, "train", FEWEST_PHOTOGRAPHS, 0))
    for number, block in blocks_left(report, iter(rows)):
        evaluator.evaluate(block, number)
    results, sets = collect(report)
    pd.testing.assert_frame_equal(results, open_report(storage, "r").results())
    assert Counter(results["model"]) == dict.fromkeys(
        ("gray", "original", "assembled", "general", "before"), len(rows)
    )
    assert set(results["class"]) == set(classes)
    assert np.isfinite(results.drop(columns=["photo", "source", "class", "model", "sent_to"])).all(
        axis=None
    )

    original = results[results["model"] == "original"]
    assert original["l1"].max() < 1e-4
    assert original["psnr"].min() == 100
    assert original["ssim"].min() == pytest.approx(1)
    assert report.evaluation.judge == JUDGE
    whole = sets[sets["class"] == ALL_CLASSES].set_index("model")
    assert (whole["n"] == len(rows)).all() and (whole["distance"] > 0).all()
    assert whole["hue_distance"].notna().to_dict() == {
        name: name != "gray" for name in ("gray", "assembled", "general", "before")
    }
    assert whole.loc["gray", "colorfulness_ratio"] < 0.1
    assert results[results["model"] == "gray"]["colorfulness"].max() < 2

    # What the table says is what the models make.
    row, rgb = rows[0], decode(rows[0].image).rgb
    lines = results[results["photo"] == photo_id(row)].set_index("model")
    assert lines.loc["assembled", "sent_to"] in classes
    sent_to = str(lines.loc["assembled", "sent_to"])
    made = {"assembled": sent_to, "before": before[sent_to], "general": "general"}
    assert lines.loc["before", "l1"] != pytest.approx(lines.loc["assembled", "l1"], rel=1e-3)
    for name, model in made.items():
        (colored,) = Colorizer(load_generator(storage, find(storage, model)))([rgb])
        pair = torch.from_numpy(np.stack([colored, rgb])).permute(0, 3, 1, 2).float() / 255
        assert lines.loc[name, "l1"] == pytest.approx(ab_l1(pair[:1], pair[1:]).item(), rel=1e-4)
        seen = decode(report.picture(photo_id(row), name)).rgb
        assert np.abs(seen.astype(int) - colored).mean() < 8  # WebP loses some
    gray = decode(report.picture(photo_id(row), "gray")).rgb
    assert np.abs(gray.astype(int) - grayscale(rgb)).mean() < 3


def test_what_is_done_is_not_done_again(served: Dataset) -> None:
    report, _ = start(served)
    rows = list(choose_rows(served, "test", BLOCK + 1, 0))
    left = list(blocks_left(report, iter(rows)))
    assert [(number, len(block)) for number, block in left] == [(0, BLOCK), (1, 1)]
    Evaluator(report, RouterConfig()).evaluate(left[1][1], 1)
    again, going_on = start(served)
    assert going_on
    assert [number for number, _ in blocks_left(again, iter(rows))] == [0]


def test_a_report_of_an_earlier_colorgan_goes_on_without_a_judge(served: Dataset) -> None:
    report, _ = start(served)
    document = json.loads(report.evaluation.to_json())
    del document["judge"]
    served.storage.put(report.key("evaluation.json"), json.dumps(document).encode())
    again, going_on = start(served)
    assert going_on and again.evaluation.judge == ""
    rows = list(choose_rows(served, "test", 2, 0))
    Evaluator(again, RouterConfig()).evaluate(rows[:1], 0)
    part = again.key("parts/00000.parquet")
    before = pd.read_parquet(io.BytesIO(served.storage.get(part)))
    file = io.BytesIO()  # what that one wrote: features of the router's classifier
    before.assign(features=[np.zeros(4, np.float16)] * len(before)).to_parquet(file)
    served.storage.put(part, file.getvalue())
    Evaluator(again, RouterConfig()).evaluate(rows[1:], 1)
    results, sets = collect(again)
    assert set(results["photo"]) == {photo_id(row) for row in rows}
    assert not any("features" in column for column in results.columns)
    assert sets["distance"].isna().all() and sets["colorfulness_ratio"].notna().all()


def test_the_judge_is_one_that_no_loss_uses_where_it_is_installed(
    served: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert choose_judge("vgg16") == JUDGE
    monkeypatch.setattr("colorgan.evaluation.evaluate.installed", lambda name: name == EMBEDDED)
    assert choose_judge("vgg16") == EMBEDDED
    report, _ = start(served)
    assert report.evaluation.judge == EMBEDDED
    monkeypatch.setattr("colorgan.evaluation.evaluate.installed", lambda name: False)
    assert choose_judge("vgg16") == "vgg16"
    again, going_on = start(served)
    assert going_on and again.evaluation.judge == EMBEDDED, "a report keeps its judge"


def test_a_report_names_the_router_and_the_classifier_that_were_used(served: Dataset) -> None:
    storage, classes = served.storage, served.manifest.classes
    contestants = find_contestants(storage, MODELS, classes)

    def chosen(**options: str) -> tuple[str, str, str]:
        choice = choose_evaluated_router(RouterConfig(**options), storage, served, contestants)
        assert choice
        return choice.config.router, choice.package, choice.classifier

    put_card(storage, "router", 1, classes)  # a head on a classifier called stub
    assert chosen() == ("labels", "", EMBEDDED)
    assert chosen(classifier="vgg16") == ("labels", "", "vgg16")
    assert chosen(router="head") == ("head", "router@1", "stub")
    report, _ = start(served, router="head", router_package="router@1", classifier="stub")
    assert report.evaluation.routing == "head router@1 on stub"
    with pytest.raises(ConfigError, match="another router_package"):
        start(served, router="head", router_package="router@2", classifier="stub")
    single = find_contestants(storage, ["general"], classes)
    assert choose_evaluated_router(RouterConfig(), storage, served, single) is None

    put_card(storage, "router", 1, ("animals", "birds"))
    with pytest.raises(NotInStorage, match="dataset scenes has none for birds"):
        chosen(router="head")


def test_where_nothing_is_routed_no_router_is_loaded_or_named(served: Dataset) -> None:
    single = find_contestants(served.storage, ["general"], served.manifest.classes)
    report, _ = start(served, contestants=single, router="")
    assert report.evaluation.routing == ""
    put_card(served.storage, "router", 1, served.manifest.classes)  # without weights
    (block, *_) = blocks_left(report, choose_rows(served, "test", 2, 0))
    Evaluator(report, RouterConfig(router="head")).evaluate(block[1], block[0])
    results, _ = collect(report)
    assert set(results["sent_to"]) == {""} and results["semantic"].notna().all()


@pytest.mark.parametrize("before", ["labels", "head"])
def test_reports_that_recorded_the_router_otherwise_can_be_written_again(
    served: Dataset, before: str
) -> None:
    """They named labels where nothing was routed, and a head without its package."""
    if before == "labels":
        single = find_contestants(served.storage, ["general"], served.manifest.classes)
        start(served, contestants=single, router="labels")
        _, going_on = start(served, contestants=single, router="")
    else:
        start(served, router="head")
        _, going_on = start(served, router="head", router_package="router@1", classifier="vgg16")
    assert going_on


def test_another_comparison_of_the_same_name_is_refused(served: Dataset) -> None:
    start(served)
    with pytest.raises(ConfigError, match="report 'r' was started with another photographs"):
        start(served, photographs=1)
    publish_untrained(served.storage, "general", 9)
    with pytest.raises(ConfigError, match="another contestants"):
        start(served)


def test_a_sample_is_even_over_the_classes_and_decided_by_its_seed(scenes: Dataset) -> None:
    sample = [photo_id(row) for row in choose_rows(scenes, "train", 7, 0)]
    assert len(set(sample)) == 7
    counts = Counter(row.label for row in choose_rows(scenes, "train", 7, 0))
    assert sorted(counts.values()) == [2, 2, 3]
    assert sample == [photo_id(row) for row in choose_rows(scenes, "train", 7, 0)]
    assert sample != [photo_id(row) for row in choose_rows(scenes, "train", 7, 1)]


def test_the_semantic_score_by_hand() -> None:
    score = SemanticScore({"animals": ["n01440764", "n01443537"], "people": ["n01484850"]})
    probabilities = torch.zeros(2, 1000)
    probabilities[0, :4] = torch.tensor([0.1, 0.3, 0.5, 0.05])  # tench, goldfish, shark, …
    probabilities[1, :4] = torch.tensor([0.6, 0.2, 0.1, 0.05])
    assert score(probabilities, "animals").tolist() == pytest.approx([0.3, 0.6])
    assert score(probabilities, "people").tolist() == pytest.approx([0.5, 0.1])
    assert score(probabilities, "planets").isnan().all()


def test_what_can_be_compared_is_found(scenes: Dataset) -> None:
    storage, classes = scenes.storage, scenes.manifest.classes
    with pytest.raises(
        NotInStorage, match=r"no model in .* to evaluate: train some with python jobs/train_all"
    ):
        default_models(storage, classes)
    publish_untrained(storage, "general")
    assert default_models(storage, classes) == ("general",)
    with pytest.raises(NotInStorage, match="a model of every class"):
        find_contestants(storage, ["assembled"], classes)
    for name in classes:
        publish_untrained(storage, name)
    assert default_models(storage, classes) == ("assembled", "general")
    with pytest.raises(ConfigError, match="two models have the same name"):
        find_contestants(storage, ["general", "general"], classes)


def test_versions_of_a_model_are_compared_under_names_of_their_own(scenes: Dataset) -> None:
    storage, classes = scenes.storage, scenes.manifest.classes
    first = [publish_untrained(storage, name).reference for name in classes]
    for name in classes:
        publish_untrained(storage, name)
    models = ["assembled", f"before={','.join(first)}", f"then={first[0]}"]
    found = {each.name: each for each in find_contestants(storage, models, classes)}
    assert found["before"].packages == tuple(first)
    assert {*found["assembled"].packages}.isdisjoint(first)
    assert [found[name].routed for name in ("assembled", "before", "then")] == [True, True, False]
    with pytest.raises(ConfigError, match=r"an assembled model needs one model of"):
        find_contestants(storage, [f"before={first[0]},{first[1]}"], classes)


def test_a_report_says_what_its_models_learned_by(scenes: Dataset) -> None:
    storage, classes = scenes.storage, scenes.manifest.classes
    phases = ("regression", "regression", "regression+adversarial", "adversarial")
    for name, said in zip((*classes, "general"), phases, strict=True):
        config = TrainingConfig(size=32, width=2, epochs=4, phases=said)
        network = UNetGenerator(config.architecture(name))
        publish(
            storage,
            name,
            scenes,
            Trained(network, classes, dataclasses.asdict(config), {}, 1, "cpu", 4),
        )
    found = {each.name: each for each in find_contestants(storage, MODELS, classes)}
    terms = "L1 (weight 100), adversary on patches (weight 1)"
    assert found["general"].note == f"Learned by: {terms}; adversarial 100 %."
    words = f"L1 (weight 100), no adversary; {terms}; regression 50 %, adversarial 50 %"
    assert found["assembled"].note == f"Learned by: {words}."
    assert found["gray"].note == ""

    # A report of before, which has no such note, is gone on with.
    contestants = tuple(found.values())
    start(scenes, contestants=tuple(dataclasses.replace(each, note="") for each in contestants))
    assert start(scenes, contestants=contestants)[1]
