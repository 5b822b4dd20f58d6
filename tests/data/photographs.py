"""Photographs of noise in folders, and datasets of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from colorgan.data import staging
from colorgan.data.dataset import SPLITS, Dataset, Row
from colorgan.data.groups import Dropped
from colorgan.data.sources import FolderSource, Source
from colorgan.data.staging import StagingConfig, StagingProgress
from colorgan.images.decoding import Pixels
from colorgan.storage import Storage

SMALL = StagingConfig(size=32, min_side=24, val_share=0.25, test_share=0.25)

ALL_TRAIN = StagingConfig(size=32, min_side=24, val_share=0, test_share=0)


def pixels(seed: int, height: int = 40, width: int = 60) -> Pixels:
    cells = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(cells).resize((width, height), Image.Resampling.BILINEAR))


def save(picture: Pixels, path: Path, container: str = "PNG") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, container)


def photographs(folder: Path, count: int, first: int = 0) -> Path:
    for number in range(first, first + count):
        save(pixels(number), folder / f"{number:03}.png")
    return folder


def all_rows(dataset: Dataset) -> list[Row]:
    classes = dataset.manifest.classes
    return [row for split in SPLITS for row in dataset.rows(classes, split)]


def splits(dataset: Dataset) -> dict[str, str]:
    return {row.sha256: row.split for row in all_rows(dataset)}


def stage(
    source: Source, storage: Storage, name: str, config: StagingConfig, **options: Any
) -> tuple[Dataset, list[Dropped]]:
    staged = staging.stage(source, storage, name, config, **options)
    return staged.dataset, staged.dropped


def stop_after(count: int) -> Callable[[StagingProgress], None]:
    """Stops a staging that has examined so many candidates, or more."""

    def observe(progress: StagingProgress) -> None:
        if progress.examined.total() >= count:
            raise KeyboardInterrupt

    return observe


def names(source: FolderSource) -> list[str]:
    return [
        f"{candidate.label}/{candidate.path.stem}"
        for label in source.classes
        for candidate in source.candidates(label)
    ]
