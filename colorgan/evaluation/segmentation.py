"""The FCN score: what a segmentation network sees in a colouring, against the original and masks.

Long, Shelhamer and Darrell, "Fully Convolutional Networks for Semantic Segmentation" (2015), give
the metrics; Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks"
(2017), section 3, use such a network as a judge of generated pictures.
"""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from colorgan.data.dataset import Row
from colorgan.data.masks import Mask, MaskedFolder, resize_mask
from colorgan.data.scenes import CLASSES, REGIONS, draw_mask
from colorgan.errors import ConfigError
from colorgan.evaluation.results import ORIGINAL, Report
from colorgan.evaluation.statistics import (
    ALL_CLASSES,
    RESAMPLES,
    Estimate,
    contestants_of,
    groups,
)
from colorgan.images.decoding import Pixels
from colorgan.metrics import class_iou, segmentation_confusion, segmentation_scores
from colorgan.models import EMBEDDED, JUDGE
from colorgan.models.classifiers import package_of
from colorgan.models.segmenters import (
    Segmenter,
    dense_classifier,
    load_segmenter,
    trained_segmenter,
)
from colorgan.names import SEGMENTER
from colorgan.options import Configuration, option
from colorgan.packages.card import find
from colorgan.packages.weights import load_fcn
from colorgan.storage import Storage

TRAINED = "trained"  # the released package of colorgan train-segmenter

# The columns of a part that hold a picture's confusion matrix, by what it is compared with.
CONFUSIONS: Mapping[str, str] = {"original": "fcn_confusion", "masks": "mask_confusion"}

# The titles of the metrics of SegmentationScores.
SCORES: Mapping[str, str] = {
    "pixel_accuracy": "Pixel accuracy",
    "class_accuracy": "Class accuracy",
    "mean_iou": "Mean IoU",
    "weighted_iou": "Frequency-weighted IoU",
}

_ENDS = ("", "_low", "_high")  # of the columns of an estimate

Confusions = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SegmentationConfig(Configuration):
    """The options of the FCN score."""

    segmenter: str = option(
        "",
        "also measure the FCN score, by trained (or segmenter@VERSION), which is made by colorgan "
        f"train-segmenter; by {EMBEDDED} or {JUDGE}, a classifier on each part of the picture; or "
        "by one of torchvision's networks, such as fcn_resnet50",
    )
    segmenter_weights: str = option("", "a file with the weights of torchvision's network")
    masks: str = option(
        "",
        "a folder in PASCAL VOC's layout whose SegmentationClass has masks of the photographs, by "
        "the names of their files; drawn scenes need none",
    )

    def check(self) -> None:
        """Check that the options belong to a segmenter; raises ConfigError."""
        if not self.segmenter and (self.segmenter_weights or self.masks):
            given = "--segmenter-weights" if self.segmenter_weights else "--masks"
            raise ConfigError(f"{given} needs --segmenter NAME")

    def resolve(self, storage: Storage) -> str:
        """The segmenter's name for a report, with the version if it is a package.

        Raises:
            NotInStorage: there is no such package.
        """
        if not self._is_package:
            return self.segmenter
        return find(storage, self.segmenter.replace(TRAINED, SEGMENTER, 1)).reference

    @property
    def _is_package(self) -> bool:
        return self.segmenter.partition("@")[0] in (TRAINED, SEGMENTER)


class FCNScore:
    """Compares what a segmenter sees in colourings with what it sees in the originals, and masks.

    Attributes:
        segmenter: the segmenter.
    """

    def __init__(self, segmenter: Segmenter, masks: Path | None = None) -> None:
        """Take a segmenter.

        Args:
            segmenter: the segmenter.
            masks: a folder as `MaskedFolder` takes it; its classes must be the segmenter's.

        Raises:
            ConfigError: the folder has no masks, or other classes.
        """
        self.segmenter = segmenter
        self._folder = MaskedFolder(masks) if masks else None
        if self._folder and self._folder.classes != segmenter.classes:
            raise ConfigError(
                f"{masks} has masks of {', '.join(self._folder.classes)}, and {segmenter.name} "
                f"knows {', '.join(segmenter.classes)}"
            )

    def __call__(self, made: Mapping[str, Pixels], row: Row) -> dict[str, list[object]]:
        """Measure the pictures of one photograph.

        Args:
            made: the pictures, the original among them, by contestant.
            row: the photograph, by whose source its mask is found.

        Returns:
            By column a value for each picture: the per-photograph metrics fcn_accuracy and fcn_iou
            against the original, mask_accuracy and mask_iou against the mask, and the columns of
            CONFUSIONS, (classes x classes,) int32 each; None where there is no mask.
        """
        seen = self.segmenter(list(made.values()))
        columns = self._columns(
            "fcn", CONFUSIONS["original"], seen, seen[list(made).index(ORIGINAL)]
        )
        mask = self._mask(row)
        if mask is None:
            nothing = ("mask_accuracy", "mask_iou", CONFUSIONS["masks"])
            return columns | {name: [None] * len(seen) for name in nothing}
        truth = resize_mask(mask, *seen.shape[1:])
        return columns | self._columns("mask", CONFUSIONS["masks"], seen, truth)

    def _columns(
        self, name: str, column: str, seen: npt.NDArray[np.uint8], truth: Mask
    ) -> dict[str, list[object]]:
        count = len(self.segmenter.classes)
        confusions = np.stack([segmentation_confusion(each, truth, count) for each in seen])
        scores = segmentation_scores(confusions)
        return {
            f"{name}_accuracy": scores.pixel_accuracy.tolist(),
            f"{name}_iou": scores.mean_iou.tolist(),
            column: list(confusions.reshape(len(seen), -1).astype(np.int32)),
        }

    def _mask(self, row: Row) -> Mask | None:
        """The photograph's mask, at any size; None if there is none."""
        if self._folder:
            return self._folder.mask(Path(row.source).stem)
        label, _, number = row.source.removeprefix("scenes:").partition("/")
        drawn = row.source.startswith("scenes:") and label in CLASSES
        if not drawn or self.segmenter.classes != REGIONS:
            return None
        return draw_mask(label, int(number), row.height, row.width)


def open_score(
    name: str,
    storage: Storage,
    synsets: Mapping[str, Sequence[str]],
    config: SegmentationConfig,
    device: torch.device | None = None,
) -> FCNScore:
    """Load the FCN score of a report.

    Args:
        name: as `SegmentationConfig.resolve` returns it.
        storage: the storage of a trained segmenter's package.
        synsets: the labels of the photo classes, for a dense classifier.
        config: the files of weights and masks.
        device: the device for the network.

    Raises:
        ColorganError: the segmenter or the masks cannot be read, or do not fit each other.
    """
    weights, masks = (
        Path(each) if each else None for each in (config.segmenter_weights, config.masks)
    )
    if package_of(name):
        segmenter = dense_classifier(synsets, name, device)
    elif name.partition("@")[0] == SEGMENTER:
        card = find(storage, name)
        segmenter = trained_segmenter(card.reference, load_fcn(storage, card), device)
    else:
        segmenter = load_segmenter(name, weights, device)
    return FCNScore(segmenter, masks)


def describe_segmentation(
    parts: pd.DataFrame, classes: Sequence[str], seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The metrics of all pixels of a set, with the intervals of a bootstrap over photographs.

    As in Long et al. 2015, they are those of one confusion matrix for all photographs, not the mean
    of the photographs' own.

    Args:
        parts: photo, class, model and the columns of CONFUSIONS.
        classes: the segmenter's classes.
        seed: seed of the bootstrap.

    Returns:
        Two frames, both with the columns against (a key of CONFUSIONS), class, model and n, and
        without the original against itself. The first has a line for each class of photographs
        (ALL_CLASSES first), and the values of SCORES under their names, with the bounds of their
        95 % intervals as NAME_low and NAME_high. The second has one for each class of pixels that
        occurs anywhere, with iou, iou_low and iou_high over all photographs.
    """
    scores, per_class = [], []
    parts = parts.drop_duplicates(["photo", "model"])
    for against, column in CONFUSIONS.items():
        for group, part in groups(parts).items():
            for model in contestants_of(parts):
                own = part[part["model"] == model][column].dropna()
                if not len(own) or (model == ORIGINAL and against == "original"):
                    continue
                head = {"against": against, "class": group, "model": model, "n": len(own)}
                matrices = np.stack(list(own)).astype(np.float64)
                total, drawn = _resampled(matrices.reshape(len(own), *2 * [len(classes)]), seed)
                measured, spread = (segmentation_scores(each) for each in (total, drawn))
                named = {
                    name: _estimate(getattr(measured, name), getattr(spread, name))
                    for name in SCORES
                }
                scores.append(head | _columns(named))
                if group == ALL_CLASSES:
                    ious = zip(classes, class_iou(total), class_iou(drawn).T, strict=True)
                    per_class += [
                        {**head, "class": label} | _columns({"iou": _estimate(iou, each)})
                        for label, iou, each in ious
                        if np.isfinite(iou)
                    ]
    head_columns = ["against", "class", "model", "n"]
    frames = ((scores, tuple(SCORES)), (per_class, ("iou",)))
    first, second = (
        pd.DataFrame(
            lines,
            columns=head_columns + [f"{name}{end}" for name in names for end in _ENDS],
        )
        for lines, names in frames
    )
    return first, second


def read_segmentation(report: Report) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """Describe a report's parts as `describe_segmentation` does; None if it has no FCN score."""
    if not report.evaluation.segmenter:
        return None
    columns = ["photo", "class", "model", *CONFUSIONS.values()]
    parts = [
        pd.read_parquet(io.BytesIO(report.storage.get(key)), columns=columns)
        for key in report.storage.list(report.key("parts"))
    ]
    table = pd.concat(parts, ignore_index=True)
    return describe_segmentation(table, report.evaluation.segments)


def _resampled(matrices: Confusions, seed: int) -> tuple[Confusions, Confusions]:
    """The sum of confusion matrices, and the sums of bootstrap samples of them (Efron 1979).

    Args:
        matrices: (photographs, classes, classes).
        seed: seed of the samples.

    Returns:
        (classes, classes), and (RESAMPLES, classes, classes).
    """
    count = len(matrices)
    # How often each photograph is drawn, which is all that a sum depends on.
    times = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), RESAMPLES)
    drawn = times.astype(np.float64) @ matrices.reshape(count, -1)
    return matrices.sum(axis=0), drawn.reshape(RESAMPLES, *matrices.shape[1:])


def _estimate(value: npt.ArrayLike, drawn: Confusions) -> Estimate:
    known = drawn[np.isfinite(drawn)]
    if not len(known):
        return Estimate(float(np.asarray(value)), math.nan, math.nan)
    low, high = np.quantile(known, [0.025, 0.975])
    return Estimate(float(np.asarray(value)), float(low), float(high))


def _columns(named: Mapping[str, Estimate]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, each in named.items():
        found |= dict(
            zip((f"{name}{end}" for end in _ENDS), (each.mean, each.low, each.high), strict=True)
        )
    return found
