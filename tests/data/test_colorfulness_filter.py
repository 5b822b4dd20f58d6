"""Pale photographs: left out of what is trained on, and of nothing else."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from colorgan import metrics
from colorgan.data import staging
from colorgan.data.sources import FolderSource
from colorgan.data.staging import StagingConfig
from colorgan.errors import ConfigError
from colorgan.images.colorfulness import colorfulness
from colorgan.images.decoding import Pixels
from colorgan.storage import Storage
from tests.conftest import CHECKOUT
from tests.data.photographs import all_rows, pixels, save


def toned(seed: int, chroma: float) -> Pixels:
    """A photograph with a share of its colours."""
    full = pixels(seed).astype(float)
    gray = full.mean(axis=2, keepdims=True)
    return (gray + chroma * (full - gray)).round().astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for split, first in (("train", 0), ("val", 10), ("test", 20)):
        for number in range(first, first + 3):
            save(toned(number, 1), tmp_path / "in" / split / "cats" / f"vivid-{number}.png")
            save(toned(number + 50, 0.1), tmp_path / "in" / split / "cats" / f"pale-{number}.png")
    return tmp_path / "in"


def config(least: float) -> StagingConfig:
    return StagingConfig(size=32, min_side=24, min_colorfulness=least)


def test_pale_photographs_leave_the_training_split_alone(storage: Storage, folder: Path) -> None:
    staged = staging.stage(FolderSource(folder), storage, "cats", config(15))
    assert staged.dataset.manifest.counts["cats"] == {"train": 3, "val": 6, "test": 6}
    assert {Path(row.source).name for row in all_rows(staged.dataset) if row.split == "train"} == {
        "vivid-0.png",
        "vivid-1.png",
        "vivid-2.png",
    }
    assert staged.dataset.manifest.dropped == {"pale": 3}
    assert {Path(drop.source).parts[-3] for drop in staged.dropped} == {"train"}
    for drop in staged.dropped:
        found, least = (
            float(text)
            for text in drop.detail[len("its colourfulness is ") :].split(", less than ")
        )
        assert 3 < found < least == 15


def test_what_content_puts_into_val_and_test_is_not_left_out(
    storage: Storage, tmp_path: Path
) -> None:
    for number in range(24):
        save(toned(number, 0.1), tmp_path / "in" / "cats" / f"{number}.png")
        save(toned(100 + number, 1), tmp_path / "in" / "cats" / f"{100 + number}.png")
    every = staging.stage(FolderSource(tmp_path / "in"), storage, "every", config(0)).dataset
    some = staging.stage(FolderSource(tmp_path / "in"), storage, "some", config(15)).dataset

    def held(dataset: staging.Dataset) -> set[str]:
        return {row.sha256 for row in all_rows(dataset) if row.split != "train"}

    assert held(some) == held(every) != set()
    vivid = Counter(Path(row.source).stem >= "100" for row in some.rows(("cats",), "train"))
    assert list(vivid) == [True]


def test_zero_drops_none(storage: Storage, folder: Path) -> None:
    assert staging.stage(FolderSource(folder), storage, "cats", config(0)).dropped == []


def test_a_class_that_is_all_pale_is_told_the_way_out(storage: Storage, folder: Path) -> None:
    staged = staging.stage(FolderSource(folder), storage, "cats", config(500))
    assert staged.notes == (
        "Dataset 'cats' has no photograph of class 'cats' in its training split. "
        "Lower --min-colorfulness.",
    )


@pytest.mark.parametrize("least", [-1.0, float("nan")])
def test_values_that_are_no_colourfulness(least: float) -> None:
    with pytest.raises(ConfigError, match="--min-colorfulness"):
        config(least)


def test_arrays_and_tensors_have_one_colourfulness() -> None:
    rgb = np.random.default_rng(0).random((3, 3, 20, 30), dtype=np.float32)
    rgb[1] = rgb[1].mean(axis=0)
    red_green = 255 * (rgb[:, 0] - rgb[:, 1])
    yellow_blue = 255 * ((rgb[:, 0] + rgb[:, 1]) / 2 - rgb[:, 2])
    spread = np.hypot(red_green.std(axis=(1, 2)), yellow_blue.std(axis=(1, 2)))
    mean = np.hypot(red_green.mean(axis=(1, 2)), yellow_blue.mean(axis=(1, 2)))
    array, tensor = colorfulness(rgb), metrics.colorfulness(torch.from_numpy(rgb))
    assert array.dtype == np.float32
    np.testing.assert_allclose(array, spread + 0.3 * mean, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(tensor.numpy(), array, rtol=1e-4, atol=1e-3)
    assert metrics.colorfulness is colorfulness


def test_staging_measures_it_without_pytorch() -> None:
    code = "import sys, colorgan.images.colorfulness; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
