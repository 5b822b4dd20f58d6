"""Measuring a training's network on the validation photographs, for the records of epochs."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from colorgan.metrics import (
    FEWEST_PHOTOGRAPHS,
    ab_l1,
    colorfulness,
    colorfulness_ratio,
    frechet_distance,
    psnr,
)
from colorgan.models.classifiers import Classifier
from colorgan.workers import ALONE, Workers


@dataclass(frozen=True)
class Validated:
    """The metrics of a validation; see `colorgan.training.records.EpochRecord`."""

    l1: float
    psnr: float
    colorfulness: float | None
    distance: float | None


class Validation:
    """Measures colourings of one split; the features of the originals are computed once."""

    def __init__(self, classifier: Classifier | None, workers: Workers = ALONE) -> None:
        """Prepare to measure.

        Args:
            classifier: the classifier whose pooled features the Fréchet distance compares, or None.
            workers: the workers, each of which colours its part of the split.
        """
        self._classifier = classifier
        self._workers = workers
        self._originals: Tensor | None = None  # in the first worker alone
        self._looks = True  # whether the originals are still to be looked at

    @torch.no_grad()
    def __call__(self, pairs: Iterable[tuple[Tensor, Tensor]], distance: bool) -> Validated:
        """Measure colourings.

        Args:
            pairs: batches of colourings and their originals, (batch, 3, side, side) sRGB in
                [0, 1]; the same photographs in the same order in every call; those of this worker.
            distance: whether to compute the Fréchet distance, which takes a classifier and at
                least FEWEST_PHOTOGRAPHS photographs.

        Returns:
            The metrics of the photographs of all workers, the same in each.
        """
        distance = distance and self._classifier is not None
        numbers, ours, theirs = [], [], []
        for colored, original in pairs:
            measured = (ab_l1, psnr)
            each = [metric(colored, original) for metric in measured]
            each += [colorfulness(rgb) for rgb in (colored, original)]
            numbers.append(torch.stack(each, dim=1))
            if distance:
                ours.append(self._pooled(colored))
                if self._looks:
                    theirs.append(self._pooled(original))
        if distance and self._looks:
            self._originals, self._looks = self._joined(theirs), False
        table, features = self._joined(numbers), self._joined(ours) if distance else None
        found = None if table is None else self._summary(table, features)
        return self._workers.of_first(found)  # type: ignore[return-value]

    def _summary(self, table: Tensor, features: Tensor | None) -> Validated:
        """The metrics of all photographs.

        Args:
            table: (photographs, 4): L1, PSNR, and the colourfulness of colourings and originals.
            features: the pooled features of the colourings; None without a Fréchet distance.
        """
        table = table.cpu()
        l1, ratio = table[:, :2].mean(dim=0).tolist()
        found = None
        if (
            features is not None
            and self._originals is not None
            and len(table) >= FEWEST_PHOTOGRAPHS
        ):
            found = frechet_distance(features, self._originals)
        colorful = colorfulness_ratio(table[:, 2], table[:, 3])
        return Validated(l1, ratio, colorful if math.isfinite(colorful) else None, found)

    def _joined(self, rows: list[Tensor]) -> Tensor | None:
        """The rows of all workers; None except in the first, or in none if there are no rows."""
        return self._workers.joined(torch.cat(rows) if rows else None)

    def _pooled(self, rgb: Tensor) -> Tensor:
        assert self._classifier is not None
        features, _ = self._classifier((rgb * 255).round().to(torch.uint8))
        return features
