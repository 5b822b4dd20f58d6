"""Metrics of sets of photographs: distances between distributions, and a ratio of means."""

import io
import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch

from colorgan.evaluation.results import GRAY, ORIGINAL, Report
from colorgan.evaluation.statistics import (
    Estimate,
    Values,
    bootstrap_bounds,
    contestants_of,
    groups,
    values_of,
)
from colorgan.metrics import (
    FEWEST_PHOTOGRAPHS,
    PairedFrechet,
    colorfulness_ratio,
)

# The columns of a part that hold a classifier's features of a picture, and of the picture with its
# original's mean chroma; each becomes a distance.
FEATURES: Mapping[str, str] = {"distance": "judge_features", "hue_distance": "judge_hue_features"}

# By column of the sets: a title, and an explanation for people.
MEANINGS: Mapping[str, tuple[str, str]] = {
    "distance": (
        "Fréchet distance",
        "How far the coloured photographs as a set are from the originals as a set, in the "
        "features of a classifier (Heusel et al. 2017). The lowest is the best.",
    ),
    "hue_distance": (
        "Hue-invariant Fréchet distance",
        "The same after every colouring has been given the mean chroma of its original: a model "
        "whose distance falls by it is pale, one that stays far has wrong colours. Gray has no "
        "hue, and none of it.",
    ),
    "colorfulness_ratio": (
        "Colourfulness ratio",
        "The mean colourfulness of the colourings (Hasler and Süsstrunk 2003) over that of their "
        "originals: 0 for gray, 1 for as colourful as the originals.",
    ),
}

_NORMAL = 1.959964  # standard errors on either side that hold 95 % of a normal distribution


def describe_sets(parts: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Every contestant's distances from the originals and colourfulness, overall and by class.

    Args:
        parts: the results as `Report.results` returns them and, if there are any, the columns of
            FEATURES, (features,) floating point each, or None for a picture without features.
        seed: seed of the bootstrap.

    Returns:
        One line per class (ALL_CLASSES first) and contestant except the original: class, model, n,
        and for each of MEANINGS the value under its name and the bounds of its 95 % interval as
        NAME_low and NAME_high. A value is NaN if it cannot be computed, as are distances of fewer
        than FEWEST_PHOTOGRAPHS. n is the number of photographs with both the contestant's picture
        and the original.
    """
    lines = []
    for group, part in groups(parts.drop_duplicates(["photo", "model"])).items():
        originals = part[part["model"] == ORIGINAL].set_index("photo")
        for model in contestants_of(part):
            if model == ORIGINAL:
                continue
            own = part[part["model"] == model].set_index("photo")
            both = own.index.intersection(originals.index, sort=True)
            line = {"class": group, "model": model, "n": len(both)}
            for name, column in FEATURES.items():
                estimate = Estimate(math.nan, math.nan, math.nan)
                if column in own and not (model == GRAY and name == "hue_distance"):
                    estimate = _distance(
                        own[column][both], originals[FEATURES["distance"]][both], seed
                    )
                line |= _named(name, estimate)
            lines.append(line | _named("colorfulness_ratio", _ratio(part, model, seed)))
    columns = ["class", "model", "n"]
    columns += [f"{name}{end}" for name in MEANINGS for end in ("", "_low", "_high")]
    return pd.DataFrame(lines, columns=columns)


def _named(name: str, estimate: Estimate) -> dict[str, float]:
    return {name: estimate.mean, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def _distance(ours: pd.Series, theirs: pd.Series, seed: int) -> Estimate:
    there = ours.notna() & theirs.notna()
    if there.sum() < FEWEST_PHOTOGRAPHS:
        return Estimate(math.nan, math.nan, math.nan)
    pair = PairedFrechet(*(_stacked(each[there]) for each in (ours, theirs)))
    distance = pair.distance()
    reach = _NORMAL * pair.standard_error(seed)
    return Estimate(distance, max(0.0, distance - reach), distance + reach)


def _stacked(features: pd.Series) -> torch.Tensor:
    return torch.from_numpy(np.stack(list(features)).astype(np.float32))


def _ratio(part: pd.DataFrame, model: str, seed: int) -> Estimate:
    """The colourfulness ratio with its percentile interval, from photographs drawn in pairs."""
    if "colorfulness" not in part:
        return Estimate(math.nan, math.nan, math.nan)
    wide = values_of(part, "colorfulness").reindex(columns=[model, ORIGINAL]).dropna()
    ours, theirs = wide.to_numpy(dtype=np.float64).T
    ratio = colorfulness_ratio(ours, theirs) if len(wide) else math.nan
    if len(wide) < 2 or not math.isfinite(ratio):
        return Estimate(ratio, math.nan, math.nan)
    with np.errstate(invalid="ignore", divide="ignore"):  # resamples of gray originals
        return Estimate(ratio, *bootstrap_bounds([ours, theirs], _ratio_of_means, seed))


def _ratio_of_means(ours: Values, theirs: Values, axis: int) -> Values:
    ratios: Values = ours.mean(axis=axis) / theirs.mean(axis=axis)
    return ratios


def read_sets(report: Report) -> pd.DataFrame:
    """Read the sets that a report was written with, as `describe_sets` returns them.

    Reports of earlier versions have distances by another definition, which cannot be compared with
    these. For them, and for reports without sets, the columns are returned without lines.
    """
    key = report.key("tables/frechet.csv")
    if report.storage.exists(key):
        frame = pd.read_csv(io.BytesIO(report.storage.get(key)))
        if set(MEANINGS) <= set(frame.columns):
            return frame
    return describe_sets(pd.DataFrame(columns=["photo", "class", "model"]))
