"""A segmenter that is trained on drawn scenes, whose masks are known exactly."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from colorgan.cli import main
from colorgan.data.masks import MaskedFolder, resize_mask, write_scenes
from colorgan.data.scenes import CLASSES, REGIONS, draw_both
from colorgan.errors import ConfigError
from colorgan.inference.router_choice import StoredModels
from colorgan.metrics import segmentation_confusion, segmentation_scores
from colorgan.models.segmenters import trained_segmenter
from colorgan.packages.card import ModelCard, find
from colorgan.packages.weights import load_fcn, load_generator
from colorgan.storage import Storage, open_storage
from colorgan.training.segmenter import SegmenterTrainingConfig, majority, train_segmenter

CONFIG = SegmenterTrainingConfig(size=64, width=32, epochs=6, batch_size=8, learning_rate=5e-3)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("masks") / "scenes"
    write_scenes(path, 20, seed=1, size=64)
    return path


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Storage, ModelCard]:
    storage = open_storage(str(tmp_path_factory.mktemp("storage")))
    return storage, train_segmenter(storage, MaskedFolder(folder), CONFIG, CPU)


def test_a_segmenter_of_scenes_knows_scenes_that_it_has_not_seen(
    trained: tuple[Storage, ModelCard],
) -> None:
    storage, card = trained
    segmenter = trained_segmenter(card.reference, load_fcn(storage, card))
    confusion = np.zeros((len(REGIONS), len(REGIONS)), np.int64)
    masks = []
    for label in CLASSES:
        for seed in range(10):
            picture, mask = draw_both(label, seed, 64, 85)  # the training's seeds begin at 10 ** 6
            masks.append(resize_mask(mask, 64, 64))
            (seen,) = segmenter([picture])
            confusion += segmentation_confusion(seen, masks[-1], len(REGIONS))
    scores = segmentation_scores(confusion)
    assert scores.pixel_accuracy > majority(np.stack(masks), len(REGIONS)) + 0.4
    assert scores.mean_iou > 0.55


def test_the_card_says_what_it_is_and_what_it_reaches(
    trained: tuple[Storage, ModelCard], folder: Path
) -> None:
    storage, card = trained
    assert find(storage, "segmenter") == card, "it is released"
    assert (card.kind, card.model, card.classes) == ("segmenter", "segmenter", REGIONS)
    assert not card.colors
    assert (card.photographs, card.epochs, card.dataset["name"]) == (48, 6, "scenes")
    assert card.encoder, "the package names its frozen encoder in place of holding it"
    assert card.files["segmenter.safetensors"].bytes < 1_000_000
    for name in ("pixel_accuracy", "class_accuracy", "mean_iou", "weighted_iou"):
        assert 0 < card.metrics[f"val_{name}"] < 1
    assert card.metrics["val_pixel_accuracy"] > card.metrics["val_majority"]
    assert not len(StoredModels(storage)), "it is not the model of a class"
    with pytest.raises(ConfigError, match="is a segmenter, not a model that colours"):
        load_generator(storage, card)


def test_equal_seeds_and_pictures_train_equal_segmenters(folder: Path, storage: Storage) -> None:
    quick = replace(CONFIG, epochs=1)
    one, two = (train_segmenter(storage, MaskedFolder(folder), quick, CPU) for _ in range(2))
    assert one.dataset == two.dataset
    first, second = (load_fcn(storage, card).state_dict() for card in (one, two))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_scenes_are_drawn_and_learned_from_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storage, scenes = str(tmp_path / "storage"), str(tmp_path / "scenes")
    assert main(["scenes", scenes, "--per-class", "5", "--size", "32"]) == 0
    assert "12 scenes for training and 3 for validation" in capsys.readouterr().out
    options = ("--size", "32", "--width", "4", "--epochs", "2")
    assert main(["train-segmenter", "--storage", storage, scenes, *options]) == 0
    captured = capsys.readouterr()
    assert "7 classes from 12 pictures, validation pixel accuracy" in captured.out
    assert "epoch 2: loss" in captured.err
    assert main(["models", "--storage", storage]) == 0
    assert f"32 px, FCN-8s on efficientnet_lite0, {len(REGIONS)} classes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train-segmenter", "FOLDER"), "has no folder SegmentationClass"),
        (("train-segmenter", "FOLDER", "--size", "100"), "--size 100 is not a multiple of 32"),
        (("train-segmenter", "FOLDER", "--epochs", "0"), "--epochs must be at least 1"),
        (("scenes", "FOLDER", "--per-class", "4"), "--per-class must be at least 5"),
        (("scenes", "FOLDER", "--size", "16"), "--size must be at least 32"),
    ],
)
def test_bad_options_are_one_sentence(
    tmp_path: Path, arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(tmp_path) if each == "FOLDER" else each for each in arguments]
    assert main([given[0], "--storage", str(tmp_path / "storage"), *given[1:]]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
