from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

from colorgan.classes import PhotoClasses, imagenet_labels
from colorgan.data.dataset import Dataset
from colorgan.errors import ConfigError, Corrupt, NotInStorage
from colorgan.inference.assembled import AssembledColorizer
from colorgan.inference.colorizer import Colorizer
from colorgan.inference.router import HeadRouter, LabelRouter, open_router
from colorgan.inference.router_choice import RouterConfig
from colorgan.models.architectures import GeneratorConfig, HeadConfig
from colorgan.models.classifiers import Classifier, load_classifier
from colorgan.models.head import RouterHead
from colorgan.models.unet import UNetGenerator
from colorgan.models.view import View
from colorgan.packages.card import ModelCard, find
from colorgan.packages.weights import Trained, load_generator, load_head, publish
from colorgan.training.router_head import HeadTrainingConfig, embed, train_router

PLACES = {label.name: place for place, label in enumerate(imagenet_labels())}
HALF = (0.5, 0.5, 0.5)
VIEW = View(8, None, Image.Resampling.BILINEAR)


class Brightness(nn.Module):
    """A stub whose probabilities are known: a table, looked up by the picture's brightness."""

    def __init__(self, *table: dict[str, float]) -> None:
        super().__init__()
        logits = torch.full((len(table), 1000), -30.0)
        for row, scores in enumerate(table):
            rest = 1 - sum(scores.values())
            logits[row] = np.log(rest / (1000 - len(scores)))
            for name, score in scores.items():
                logits[row, PLACES[name]] = np.log(score)
        self.logits = nn.Parameter(logits)

    def forward(self, batch: Tensor) -> Tensor:
        brightness = (batch.mean(dim=(1, 2, 3)) + 1) / 2
        return self.logits[(brightness * (len(self.logits) - 1)).round().long()]


def label_router(
    *table: dict[str, float], photo_classes: PhotoClasses | None = None
) -> LabelRouter:
    stub = Classifier("stub", Brightness(*table), VIEW, HALF, HALF)
    return LabelRouter(stub, photo_classes or PhotoClasses.load())


def photograph(brightness: float, height: int = 20, width: int = 30) -> np.ndarray:
    return np.full((height, width, 3), round(brightness * 255), np.uint8)


def route(router: LabelRouter, *photographs: np.ndarray) -> list[tuple[str, float, str | None]]:
    batch = torch.stack([router.prepare(each) for each in photographs])
    return [(r.photo_class, round(r.score, 4), r.label) for r in router(batch)]


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({"tabby": 0.5, "cab": 0.3}, ("animals", 0.5, "tabby")),
        ({"pizza": 0.6, "cab": 0.3, "tabby": 0.1}, ("vehicles", 0.3, "cab")),
        # The best label decides, not the sum of a class's labels.
        ({"tabby": 0.2, "tiger cat": 0.2, "cab": 0.3}, ("vehicles", 0.3, "cab")),
        ({"pizza": 0.9, "cab": 0.0501}, ("vehicles", 0.0501, "cab")),
        ({"pizza": 0.9, "cab": 0.0499, "jean": 0.01}, ("people", 0.01, None)),
        ({"ballplayer": 0.3, "tabby": 0.2}, ("people", 0.3, "ballplayer")),
    ],
)
def test_the_rule_of_the_report(
    scores: dict[str, float], expected: tuple[str, float, str | None]
) -> None:
    assert route(label_router(scores, scores), photograph(0.4)) == [expected]


def test_each_photograph_of_a_batch_is_routed_by_itself() -> None:
    router = label_router({"tabby": 0.9}, {"cab": 0.8}, {"suit": 0.7})
    assert route(router, photograph(0.0), photograph(1.0), photograph(0.5, 40, 9)) == [
        ("animals", 0.9, "tabby"),
        ("people", 0.7, "suit"),
        ("vehicles", 0.8, "cab"),
    ]
    (one,) = router(router.prepare(photograph(0.5))[None])
    assert set(one.scores) == {"animals", "people", "vehicles"}
    assert one.scores["vehicles"] == one.score == max(one.scores.values())


def test_threshold_and_fallback_are_the_files(tmp_path: Path) -> None:
    path = tmp_path / "classes.toml"
    path.write_text(
        'threshold = 0.5\nfallback = "landscapes"\n'
        '[classes.cats]\nn02123045 = "tabby"\n[classes.landscapes]\nn09468604 = "valley"\n'
    )
    scores = ({"tabby": 0.49, "cab": 0.5}, {"tabby": 0.51})
    router = label_router(*scores, photo_classes=PhotoClasses.load(path))
    assert router.classes == ("cats", "landscapes")
    assert [r[0] for r in route(router, photograph(0.0), photograph(1.0))] == ["landscapes", "cats"]


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return load_classifier()


def test_a_trained_head_learns_the_datasets_classes_and_is_a_package(
    scenes: Dataset, classifier: Classifier
) -> None:
    card = train_router(scenes, classifier, HeadTrainingConfig(), "cpu", "r")
    assert (card.model, card.kind, card.classes) == ("router", "router", scenes.manifest.classes)
    assert card.photographs == scenes.count(scenes.manifest.classes, "train")
    assert card.metrics["val_accuracy"] > 0.9
    router = open_router(RouterConfig(router="head"), scenes.storage)
    rows = list(scenes.rows(scenes.manifest.classes, "test"))
    from colorgan.images.decoding import decode

    routes = router(torch.stack([router.prepare(decode(row.image).rgb) for row in rows]))
    right = [each.photo_class == row.label for each, row in zip(routes, rows, strict=True)]
    assert np.mean(right) > 0.85
    assert all(sum(each.scores.values()) == pytest.approx(1, abs=1e-5) for each in routes)
    assert all(each.label is None for each in routes)


def test_a_head_that_learned_from_worn_copies_is_right_about_more_of_them(
    scenes: Dataset, classifier: Classifier
) -> None:
    classes = scenes.manifest.classes
    clean, hardened = (
        train_router(scenes, classifier, HeadTrainingConfig(worn=copies), "cpu")
        for copies in (0, 1)
    )
    assert hardened.training["worn"] == 1
    assert clean.metrics.keys() == {"val_accuracy", "val_cross_entropy"}
    assert hardened.metrics["val_accuracy"] > 0.9
    assert hardened.metrics.keys() - clean.metrics.keys() == {"val_accuracy_worn"}
    # Copies of other numbers than those that it learned from.
    prints = [embed(classifier, scenes, classes, "test", copy=number) for number in (7, 8)]

    def rights(card: ModelCard) -> int:
        router = open_router(RouterConfig(head=card.reference), scenes.storage)
        return sum(
            route.photo_class == classes[target]
            for part in prints
            for route, target in zip(
                router.decide(part.features, part.probabilities), part.targets.tolist(), strict=True
            )
        )

    assert rights(hardened) > rights(clean)


def test_worn_copies_are_the_same_at_every_call_and_differ_from_each_other(
    scenes: Dataset, classifier: Classifier
) -> None:
    classes = scenes.manifest.classes
    plain, first, again, second = (
        embed(classifier, scenes, classes, "val", copy=copy).features for copy in (0, 1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.allclose(first, second) and not torch.allclose(first, plain)


def head(classifier: Classifier, *biases: float, temperature: float = 1.0) -> RouterHead:
    names = tuple("abcdef"[: len(biases)])
    config = HeadConfig(classifier.name, classifier.fingerprint(), 1280, names, temperature)
    made = RouterHead(config)
    with torch.no_grad():
        made.linear.weight.zero_()
        made.linear.bias.copy_(torch.tensor(biases))
    return made


def test_a_head_is_unsure_below_its_threshold(classifier: Classifier) -> None:
    made, features = head(classifier, 0.0, 1.0), torch.zeros(1, 1280)
    (sure,) = HeadRouter(classifier, made).decide(features, features)
    (unsure,) = HeadRouter(classifier, made, unsure_below=0.8).decide(features, features)
    assert (sure.photo_class, unsure.photo_class) == ("b", "unsure")
    assert sure.score == unsure.score == pytest.approx(1 / (1 + np.exp(-1)))
    assert unsure.best_class == "b"


def test_the_temperature_tempers(classifier: Classifier) -> None:
    features = torch.zeros(1, 1280)
    router = HeadRouter(classifier, head(classifier, 0.0, 3.0, temperature=3.0))
    assert router.decide(features, features)[0].score == pytest.approx(1 / (1 + np.exp(-1)))


def test_a_head_on_other_weights_is_refused(classifier: Classifier) -> None:
    made = head(classifier, 0.0, 1.0)
    other = Classifier("x", Brightness({}, {}), VIEW, HALF, HALF)
    with pytest.raises(ConfigError, match="trained on other weights"):
        HeadRouter(other, made)


def test_packages_of_the_two_kinds_are_not_confused(
    scenes: Dataset, classifier: Classifier
) -> None:
    def trained(network: RouterHead | UNetGenerator) -> Trained:
        return Trained(network, ("animals",), {}, {}, 1.0, "cpu")

    publish(scenes.storage, "router", scenes, trained(head(classifier, 0.0, 1.0)))
    generator = UNetGenerator(GeneratorConfig(size=32, width=2))
    publish(scenes.storage, "animals", scenes, trained(generator))
    loaded = load_head(scenes.storage, find(scenes.storage, "router"))
    assert torch.equal(loaded.linear.bias, torch.tensor([0.0, 1.0]))
    with pytest.raises(ConfigError, match="is a router, not a model that colours"):
        load_generator(scenes.storage, find(scenes.storage, "router"))
    with pytest.raises(ConfigError, match="is a generator, not a router"):
        load_head(scenes.storage, find(scenes.storage, "animals"))
    card = find(scenes.storage, "router")
    weights = f"models/router/{card.version}/router.safetensors"
    scenes.storage.put(weights, scenes.storage.get(weights)[:-5])
    with pytest.raises(Corrupt, match="bytes instead of"):
        load_head(scenes.storage, card)


def test_no_head_yet_is_named(scenes: Dataset) -> None:
    with pytest.raises(NotInStorage, match="no model 'router'"):
        open_router(RouterConfig(router="head"), scenes.storage)


def test_the_assembled_model_colours_each_photograph_with_its_classs_generator() -> None:
    router = label_router({"tabby": 0.9}, {"suit": 0.8}, {"cab": 0.8})
    colorizers = {}
    for seed, name in enumerate(router.classes):
        torch.manual_seed(seed)
        colorizers[name] = Colorizer(UNetGenerator(GeneratorConfig(size=32, width=4)))
    assembled = AssembledColorizer(router, colorizers)
    photographs = [photograph(1.0), photograph(0.0, 33, 21), photograph(0.5), photograph(1.0, 8, 8)]
    colored = assembled(photographs)
    assert [each.model for each in colored] == ["vehicles", "animals", "people", "vehicles"]
    for each, original in zip(colored, photographs, strict=True):
        (expected,) = colorizers[each.model]([original])
        np.testing.assert_allclose(each.rgb, expected.astype(int), atol=1)
    assert assembled([]) == []


def crossword(path: Path, seed: int) -> Path:
    """A picture that ImageNet's classifiers take for a crossword puzzle, on coloured paper."""
    rng = np.random.default_rng(seed)
    paper = tuple(int(value) for value in rng.integers(150, 256, 3))
    image = Image.new("RGB", (300, 300), paper)
    draw = ImageDraw.Draw(image)
    for place in range(11):
        draw.line((20, 20 + 26 * place, 280, 20 + 26 * place), fill=(0, 0, 0), width=2)
        draw.line((20 + 26 * place, 20, 20 + 26 * place, 280), fill=(0, 0, 0), width=2)
    for row, column in rng.integers(0, 10, (30, 2)):
        corner = (20 + 26 * int(column), 20 + 26 * int(row))
        draw.rectangle((*corner, corner[0] + 26, corner[1] + 26), fill=(0, 0, 0))
    image.save(path)
    return path
