"""How much the variants of a colouring differ, how near the best of them is, and who can tell.

Variants are coloured with other noise; see `colorgan.inference.variants`. The best one by the
original is always nearer than the first, whatever the noise does, so it is compared with the best
of as many plain tints: the first variant with a random shift of a and b of the same size.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Annotated

import numpy as np
import pandas as pd
import torch
from pydantic import Field
from torch import Tensor

from colorgan.data.dataset import Row
from colorgan.errors import ConfigError
from colorgan.evaluation.critics import Critic
from colorgan.evaluation.evaluate import photo_id
from colorgan.evaluation.statistics import bootstrap_mean, groups
from colorgan.images import lab
from colorgan.images.contact_sheet import SheetRow, contact_sheet
from colorgan.images.decoding import Pixels, decode
from colorgan.inference.colorizer import Colorizer, grayscale, prepare, recombine
from colorgan.inference.variants import DEVIATION, MOST_VARIANTS, first_numbers
from colorgan.options import Configuration, Count, NaturalNumber, option

# By measure, in Lab units of a and b except for the last two: what it is.
MEASURES: Mapping[str, str] = {
    "gray": "L1 of the gray photograph",
    "zero": "L1 of variant 1, without noise",
    "mean": "L1 of a variant, on average",
    "middle": "L1 of the mean of all variants' a and b",
    "best": "L1 of the variant that is nearest to the original",
    "worst": "L1 of the variant that is farthest from the original",
    "best_tint": "L1 of the nearest of as many plain tints of variant 1",
    "spread": "mean difference of a and b between two variants",
    "best_minus_zero": "best minus zero",
    "middle_minus_zero": "middle minus zero",
    "best_minus_best_tint": "best minus best tint",
    "tint": "share of the squared difference of two variants that is the same all over the picture",
}


@dataclass(frozen=True)
class DiversityConfig(Configuration):
    """Options of `colorgan variants`."""

    variants: Count = option(8, f"colourings of each photograph, from 2 to {MOST_VARIANTS}")
    deviation: Annotated[float, Field(gt=0)] = option(
        DEVIATION, "standard deviation of the noise; in training it is 1"
    )
    photographs: NaturalNumber = option(
        0, "maximum number of photographs, balanced across classes; 0 takes the whole split"
    )
    seed: NaturalNumber = option(0, "seed of the sample, of the tints and of the intervals")
    examples: Count = option(12, "photographs on the contact sheet, from all classes")

    def check(self) -> None:
        """Check the number of variants; raises ConfigError."""
        if not 2 <= self.variants <= MOST_VARIANTS:
            raise ConfigError(f"--variants {self.variants}: choose from 2 to {MOST_VARIANTS}")


class DiversityMeasurement:
    """Colours photographs in several ways with one model, and measures the variants."""

    def __init__(
        self, colorizer: Colorizer, critics: Mapping[str, Critic], config: DiversityConfig
    ) -> None:
        """Take a colorizer with noise, and by name who is to choose among its variants.

        Raises:
            ConfigError: the generator writes another colour space than Lab.
        """
        if colorizer.config.color_space != "lab":
            raise ConfigError("variants are measured in a and b, so the model must write Lab")
        self.colorizer = colorizer
        colorizer.deviation = config.deviation
        self.critics = critics
        self.config = config
        self._numbers = first_numbers(config.variants)

    def measure(
        self, rows: Sequence[Row], observe: Callable[[int], None] = lambda done: None
    ) -> pd.DataFrame:
        """Measure the variants of photographs.

        Args:
            rows: the photographs.
            observe: called with the number of photographs done.

        Returns:
            One line per photograph: photo, source, class, the MEASURES, and by critic
            `<critic>_choice`, the number of the variant that it prefers, `<critic>`, that variant's
            L1, and `<critic>_minus_chance`, minus the mean L1 of all variants.
        """
        rng = np.random.default_rng(self.config.seed)
        lines: list[dict[str, object]] = []
        for done, row in enumerate(rows, 1):
            square = prepare(decode(row.image).rgb, self.colorizer.size)
            colors = self._colors(square)
            line: dict[str, object] = {"photo": photo_id(row), "source": row.source}
            line |= {"class": row.label, **measured(colors, square, rng)}
            errors = l1(colors, square)
            for name, critic in self.critics.items():
                choice = int(critic(square, colors).argmax())
                line[f"{name}_choice"] = self._numbers[choice]
                line[name] = errors[choice].item()
                line[f"{name}_minus_chance"] = (errors[choice] - errors.mean()).item()
            lines.append(line)
            observe(done)
        return pd.DataFrame(lines)

    def examples(self, rows: Sequence[Row]) -> Pixels:
        """A contact sheet of photographs, evenly from all, with their variants and the original."""
        sheet = []
        count = min(self.config.examples, len(rows))
        for place in np.linspace(0, len(rows) - 1, count).round().astype(int):
            original = decode(rows[place].image).rgb
            colors = self._colors(prepare(original, self.colorizer.size))
            pictures = [recombine(original, each, "lab") for each in colors]
            sheet.append(SheetRow("", [grayscale(original), *pictures, original]))
        headings = ["grayscale", *map(str, self._numbers), "original"]
        return contact_sheet(headings, sheet, 160)

    def _colors(self, square: Tensor) -> Tensor:
        (colors,) = self.colorizer.generate_variants(square[None], [self._numbers])
        return colors


def l1(colors: Tensor, square: Tensor) -> Tensor:
    """The L1 in ab of colourings, (variants,) in Lab units.

    Args:
        colors: (variants, 2, size, size) in [-1, 1].
        square: (3, size, size) uint8 sRGB, the original.
    """
    _, truth = lab.encode(square[None], "lab")
    return (colors - truth).abs().mean(dim=(1, 2, 3)) * lab.AB_SCALE


def measured(colors: Tensor, square: Tensor, rng: np.random.Generator) -> dict[str, float]:
    """The MEASURES of one photograph.

    Args:
        colors: (variants, 2, size, size) in [-1, 1]; the first one is without noise.
        square: (3, size, size) uint8 sRGB, the original.
        rng: draws the directions of the plain tints.
    """
    errors, zero = l1(colors, square), colors[:1]
    moved = (colors[1:] - zero).square().sum(dim=1).mean(dim=(1, 2)).sqrt()
    angles = torch.from_numpy(rng.uniform(0, 2 * np.pi, len(moved))).float()
    shifts = moved[:, None] * torch.stack([angles.cos(), angles.sin()], dim=1)
    tints = torch.cat([zero, zero + shifts[:, :, None, None]])
    first, second = map(list, zip(*combinations(range(len(colors)), 2), strict=True))
    differences = colors[first] - colors[second]
    common = differences.mean(dim=(2, 3)).square().sum(dim=1)
    whole = differences.square().sum(dim=1).mean(dim=(1, 2))
    found = {
        "gray": l1(torch.zeros_like(zero), square).item(),
        "zero": errors[0].item(),
        "mean": errors.mean().item(),
        "middle": l1(colors.mean(dim=0, keepdim=True), square).item(),
        "best": errors.min().item(),
        "worst": errors.max().item(),
        "best_tint": l1(tints, square).min().item(),
        "spread": differences.abs().mean().item() * lab.AB_SCALE,
    }
    found["best_minus_zero"] = found["best"] - found["zero"]
    found["middle_minus_zero"] = found["middle"] - found["zero"]
    found["best_minus_best_tint"] = found["best"] - found["best_tint"]
    found["tint"] = (common.sum() / whole.sum().clamp_min(1e-12)).item()
    return found


def summarize(frame: pd.DataFrame, critics: Sequence[str], seed: int = 0) -> pd.DataFrame:
    """Means over the photographs with their 95 % bootstrap intervals, overall and by class.

    Args:
        frame: as `DiversityMeasurement.measure` returns it.
        critics: the critics' names.
        seed: seed of the bootstrap.

    Returns:
        One line per class (ALL_CLASSES first) and measure: photographs, mean, low, high. The
        measures are MEASURES and each critic's `<critic>` and `<critic>_minus_chance`.
    """
    names = [*MEASURES]
    for critic in critics:
        names += [critic, f"{critic}_minus_chance"]
    lines = []
    for group, part in groups(frame).items():
        for name in names:
            mean = bootstrap_mean(part[name], seed)
            head = {"class": group, "measure": name, "photographs": len(part)}
            lines.append({**head, "mean": mean.mean, "low": mean.low, "high": mean.high})
    return pd.DataFrame(lines)
