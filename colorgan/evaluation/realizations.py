"""Colouring a photograph several times, with the noise of its generator.

It is that of the noise channels, or else dropout, kept at test time, which is pix2pix's noise z.

Isola et al. 2017, section 3.2: "we provide noise only in the form of dropout, applied on several
layers of our generator at both training and test time".
"""

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from colorgan.data.dataset import Dataset
from colorgan.images.decoding import Pixels, decode, resize_short_side
from colorgan.inference.colorizer import Colorizer, grayscale, prepare, recombine
from colorgan.metrics import ab_l1
from colorgan.models.generator import noise_channels

_SIDE = 128  # px: colours have no finer detail, and many pairs are compared


def realize(
    colorizers: Mapping[str, Colorizer],
    dataset: Dataset,
    split: str,
    count: int,
    limit: int = 0,
    seed: int = 0,
) -> pd.DataFrame:
    """Colour the photographs of each class several times with the class's model.

    Args:
        colorizers: the colorizers by class.
        dataset: the dataset of the photographs.
        split: train, val or test.
        count: number of colourings with noise, at least 2.
        limit: maximum number of photographs per class; 0 means all.
        seed: seed of the dropout.

    Returns:
        One line per photograph: source, class, and in Lab units the L1 in ab of gray, of the
        colouring without noise (`still`), of those with noise on average (`mean`), of the
        `best` and the `worst` of them, and of their mean picture (`middle`); `spread` is the mean
        distance between two of them.
    """
    lines = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for label, colorizer in colorizers.items():
            for number, row in enumerate(dataset.rows((label,), split)):
                if limit and number == limit:
                    break
                original = resize_short_side(decode(row.image).rgb, _SIDE)
                drawn = _drawn(colorizer, original, count)
                lines.append(
                    {
                        "source": row.source,
                        "class": label,
                        **_errors(original, colorizer([original])[0], drawn),
                    }
                )
    return pd.DataFrame(lines)


def _drawn(colorizer: Colorizer, original: Pixels, count: int) -> list[Pixels]:
    if not noise_channels(colorizer.generator):
        return colorizer([original] * count, noise=True)
    square, numbers = prepare(original, colorizer.size), tuple(range(2, count + 2))
    (colors,) = colorizer.generate_variants(square[None], [numbers])
    space = colorizer.config.color_space
    return [recombine(original, color, space) for color in colors]


def _errors(original: Pixels, still: Pixels, drawn: list[Pixels]) -> dict[str, float]:
    truth, several = _unit([original]), _unit(drawn)
    errors = ab_l1(several, truth.expand_as(several))
    pairs = list(combinations(range(len(drawn)), 2))
    first, second = zip(*pairs, strict=True)
    return {
        "gray": ab_l1(_unit([grayscale(original)]), truth).item(),
        "still": ab_l1(_unit([still]), truth).item(),
        "mean": errors.mean().item(),
        "best": errors.min().item(),
        "worst": errors.max().item(),
        "middle": ab_l1(several.mean(dim=0, keepdim=True), truth).item(),
        "spread": ab_l1(several[list(first)], several[list(second)]).mean().item(),
    }


def _unit(pictures: list[Pixels]) -> Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
