"""Colour hints: the colour of a point, spread to what is as light around it.

The spreading is the optimisation of Levin, Lischinski and Weiss, "Colorization using Optimization"
(2004), with the generator's colours as a weak data term. It is solved for the change d of a and b:

    minimise   sum over neighbours r, s of w_rs |d_r - d_s|²  +  sum over r of p_r |d_r|²
    such that  d_r = the hint's a and b - the generator's  at every hint

The weight w_rs falls with the difference of the neighbours in lightness, and the pull p_r towards
no change is stronger where no hint has that lightness. Nothing is trained.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from scipy.ndimage import label
from scipy.sparse import csc_matrix
from scipy.sparse.linalg import splu
from torch import Tensor

from colorgan.errors import ConfigError
from colorgan.images import lab
from colorgan.images.decoding import Pixels
from colorgan.images.scaling import scale
from colorgan.inference.colorizer import Touch, colors_at, resized

MOST_HINTS = 100

Values = npt.NDArray[np.float64]

_SIDE = 112  # the grid of the solve has about as many cells as a square of this side
_FEWEST, _MOST = 8, 448  # cells on a side of the grid
_NEAR = 5.0  # difference of neighbours in L, of 100, at which they hardly share a colour
_ALIKE = 12.0  # difference in L from every hint at which a place is hardly changed
_LEAST_WEIGHT = 1e-4
_PULL = 1e-3  # towards the generator's colours, where a place is as light as a hint
_FAR_PULL = 5e-2  # the same elsewhere
_SPOT = 5.0  # cells around a hint that are drawn to its colour: a point alone spreads hardly at all
_SPOT_PULL = 0.1
_SPOT_EDGE = 4.0  # difference in L from the hint at which a spot ends
_UNSEEN = 0.15 / lab.AB_SCALE  # smaller changes are dropped: what is far stays exactly as it was


@dataclass(frozen=True)
class Hint:
    """The colour of a point of a photograph.

    Only its hue and its chroma count: the point keeps its own lightness, and gets the a and b of
    the colour. If sRGB has no such colour of that lightness, the chroma is reduced until it has.

    Attributes:
        x: column of the point, in pixels of the upright photograph, from 0 at the left.
        y: row of the point, from 0 at the top.
        color: sRGB as #rrggbb.
    """

    x: int
    y: int
    color: str

    def __post_init__(self) -> None:
        """Check the values; raises ConfigError."""
        for name, place in (("x", self.x), ("y", self.y)):
            if type(place) is not int or place < 0:
                raise ConfigError(f"{name} of a hint is a pixel, from 0 on, not {_shown(place)}")
        if not isinstance(self.color, str) or not re.fullmatch("#[0-9a-fA-F]{6}", self.color):
            raise ConfigError(f"{_shown(self.color)} is not a colour: write #rrggbb, as #2a52be")

    @property
    def ab(self) -> Values:
        """The a and b of the colour, (2,) in [-1, 1] as the networks scale them."""
        rgb = [int(self.color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        found = lab.rgb_to_lab(torch.tensor(rgb, dtype=torch.float64)[:, None, None])
        ab: Values = found[1:, 0, 0].numpy() / lab.AB_SCALE
        return ab


def parse_hint(text: str) -> Hint:
    """Parse `x,y,#rrggbb`; raises ConfigError."""
    found = re.fullmatch(r"\s*(\d{1,9})\s*,\s*(\d{1,9})\s*,\s*(#\w+)\s*", text, re.ASCII)
    if not found:
        raise ConfigError(f"{_shown(text)} is not a hint: write x,y,#rrggbb, as 120,80,#2a52be")
    return Hint(int(found[1]), int(found[2]), found[3])


def parse_hints(text: str) -> tuple[Hint, ...]:
    """Parse a JSON array of {"x": 120, "y": 80, "color": "#2a52be"}; raises ConfigError."""
    try:
        given = json.loads(text) if text.strip() else []
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, list):
        raise ConfigError('write a JSON array, as [{"x": 120, "y": 80, "color": "#2a52be"}]')
    hints = tuple(_described(each) for each in given)
    check_hints(hints)
    return hints


def _described(given: Any) -> Hint:
    if not isinstance(given, Mapping) or set(given) != {"x", "y", "color"}:
        raise ConfigError(f"a hint has x, y and color, and nothing else: {_shown(given)}")
    return Hint(**given)


def check_hints(hints: Sequence[Hint], size: tuple[int, int] | None = None) -> None:
    """Check the number of hints, and that they lie in a photograph.

    Args:
        hints: the hints.
        size: the photograph's height and width in pixels, if they are known.

    Raises:
        ConfigError: there are too many, or one lies outside.
    """
    if len(hints) > MOST_HINTS:
        raise ConfigError(f"{len(hints)} hints are more than {MOST_HINTS}: leave some out")
    height, width = size or (math.inf, math.inf)
    for hint in hints:
        if hint.x >= width or hint.y >= height:
            raise ConfigError(
                f"the hint at {hint.x},{hint.y} lies outside of the photograph, which has "
                f"{width} x {height} pixels"
            )


def _shown(given: object) -> str:
    words = repr(given)
    return words if len(words) <= 60 else f"{words[:60]}…"


def apply_hints(
    photograph: Pixels, color: Tensor, hints: Sequence[Hint]
) -> tuple[Tensor, list[Touch]]:
    """Change the colours of a photograph so that they agree with the hints.

    Args:
        photograph: (height, width, 3) uint8 sRGB; any colour in it is ignored.
        color: (2, size, size) float32, its a and b in [-1, 1].
        hints: points in it; of several at one point, the last one counts.

    Returns:
        The changed a and b, of the same shape, and changes of the finished picture around the
        points, which make it exact there: see `recombine`.

    Raises:
        ConfigError: as `check_hints` does.
    """
    height, width = photograph.shape[:2]
    check_hints(hints, (height, width))
    wanted = {
        (hint.y, hint.x): within_gamut(float(lab.lightness(photograph[hint.y, hint.x])), hint.ab)
        for hint in hints
    }
    points, targets = list(wanted), np.array(list(wanted.values()))
    rows, columns = _grid(height, width)
    image = scale(Image.fromarray(photograph), (columns, rows), Image.Resampling.BOX)
    light = lab.lightness(np.asarray(image)).astype(np.float64) * 100
    base = resized(color, rows, columns).numpy().astype(np.float64)
    cells = [
        (2 * y + 1) * rows // (2 * height) * columns + (2 * x + 1) * columns // (2 * width)
        for y, x in points
    ]
    change = torch.from_numpy(_spread(light, base.reshape(2, -1).T, cells, targets))
    changed = (color + resized(change, *color.shape[1:])).clamp(-1, 1)
    radius = max(height / rows, width / columns)
    left = targets - colors_at(changed, height, width, points)
    return changed, [
        _touch(photograph, point, own, _reach(point, points, radius))
        for point, own in zip(points, left, strict=True)
    ]


def within_gamut(light: float, ab: Values) -> Values:
    """Reduce the chroma of a colour until sRGB has it, at a lightness in [0, 1]; keeps the hue."""
    shares = torch.linspace(1, 0, 101, dtype=torch.float64)
    place = torch.stack([torch.full_like(shares, light * 100), *(shares * each for each in ab)])
    place[1:] *= lab.AB_SCALE
    rgb = lab.lab_to_rgb(place[:, None])
    # A colour outside of the gamut is clipped, and so comes back as another one.
    apart = (lab.rgb_to_lab(rgb) - place[:, None]).abs().amax(dim=0)[0]
    share = float(shares[int((apart < 0.5).nonzero()[0])])  # half a level of 255, and less
    return ab * share


def _grid(height: int, width: int) -> tuple[int, int]:
    """The rows and columns of the grid of the solve, in the photograph's proportions."""
    shape = math.sqrt(width / height)
    rows, columns = (
        min(max(round(side), _FEWEST), _MOST) for side in (_SIDE / shape, _SIDE * shape)
    )
    return rows, columns


def _spread(
    light: Values, base: Values, cells: Sequence[int], targets: Values
) -> npt.NDArray[np.float32]:
    """Solve for the change of a and b.

    Args:
        light: (rows, columns) lightness L in [0, 100].
        base: (rows x columns, 2) the colours to change.
        cells: the cell of each hint, row by row.
        targets: (hints, 2) colours at the hints; a cell of several hints gets their mean.

    Returns:
        (2, rows, columns) float32.
    """
    count = light.size
    places, members = np.unique(cells, return_inverse=True)
    wanted = np.zeros((len(places), 2))
    np.add.at(wanted, members, targets)
    wanted /= np.bincount(members)[:, None]
    change = np.zeros((count, 2))
    change[places] = wanted - base[places]
    first, second, weights = _neighbours(light)
    likeness = _likeness(light, places)
    pull = _PULL + _FAR_PULL * (1 - likeness.max(axis=0))
    near = _spots(light, places)
    share = near / np.maximum(near.sum(axis=0), 1e-9)
    spot = _SPOT_PULL * near.max(axis=0)
    drawn = spot[:, None] * (share.T @ wanted - base)
    total = np.bincount(first, weights, count) + np.bincount(second, weights, count) + pull + spot
    own = np.arange(count)
    system = csc_matrix(
        (
            np.concatenate([-weights, -weights, total]),
            (np.concatenate([first, second, own]), np.concatenate([second, first, own])),
        ),
        shape=(count, count),
    )
    free = np.delete(own, places)
    held = system[:, places] @ change[places]
    solver = splu(
        system[free][:, free].tocsc(),
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    change[free] = solver.solve(drawn[free] - held[free])
    seen = np.abs(change).max(axis=1, keepdims=True) / _UNSEEN - 1
    change *= seen.clip(0, 1)
    return change.T.reshape(2, *light.shape).astype(np.float32)


def _likeness(light: Values, places: npt.NDArray[np.intp]) -> Values:
    """How much each cell resembles the cell of each hint in lightness: (hints, cells) in [0, 1]."""
    flat = light.ravel()
    alike: Values = np.exp(-(((flat - flat[places, None]) / _ALIKE) ** 2) / 2)
    return alike


def _spots(light: Values, places: npt.NDArray[np.intp]) -> Values:
    """How much each cell belongs to the spot of each hint: (hints, cells) in [0, 1].

    A spot is the connected part around a hint that is about as light as the hint.
    """
    spots = np.zeros((len(places), light.size))
    reach = math.ceil(2.5 * _SPOT)
    for spot, place in zip(spots, places, strict=True):
        row, column = divmod(int(place), light.shape[1])
        window = tuple(slice(max(0, at - reach), at + reach + 1) for at in (row, column))
        at = row - window[0].start, column - window[1].start
        part = light[window]
        apart = np.abs(part - part[at])
        regions, _ = label(apart < _SPOT_EDGE)
        down, right = np.ogrid[: part.shape[0], : part.shape[1]]
        squared = (down - at[0]) ** 2 + (right - at[1]) ** 2
        near = np.exp(-squared / (2 * _SPOT**2) - (apart / _SPOT_EDGE) ** 2)
        spot.reshape(light.shape)[window] = np.where(regions == regions[at], near, 0)
    return spots


def _neighbours(light: Values) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Values]:
    """All pairs of neighbours, also diagonal ones: their numbers and their weights."""
    rows, columns = light.shape
    number = np.arange(light.size).reshape(rows, columns)
    firsts, seconds, lengths = [], [], []
    for down, right, length in ((0, 1, 1), (1, 0, 1), (1, 1, 2), (1, -1, 2)):
        left = max(0, -right)
        firsts.append(number[: rows - down, left : columns - max(0, right)].ravel())
        seconds.append(number[down:, max(0, right) : columns + min(0, right)].ravel())
        lengths.append(np.full(firsts[-1].size, length))
    first, second = np.concatenate(firsts), np.concatenate(seconds)
    flat = light.ravel()
    alike = np.exp(-(((flat[first] - flat[second]) / _NEAR) ** 2) / 2)
    return first, second, (alike + _LEAST_WEIGHT) / np.concatenate(lengths)


def _reach(point: tuple[int, int], points: Sequence[tuple[int, int]], radius: float) -> float:
    """The radius of a touch, in pixels: it ends before the next hint."""
    return min([max(radius, 1.0), *(math.dist(point, each) for each in points if each != point)])


def _touch(photograph: Pixels, point: tuple[int, int], change: Values, radius: float) -> Touch:
    """The change at a point of the picture, which fades out within the radius."""
    y, x = point
    reach = math.ceil(radius) - 1
    top, left = max(0, y - reach), max(0, x - reach)
    around = photograph[top : y + reach + 1, left : x + reach + 1]
    down, right = np.ogrid[top : top + around.shape[0], left : left + around.shape[1]]
    near = (1 - ((down - y) ** 2 + (right - x) ** 2) / radius**2).clip(0) ** 2
    light = lab.lightness(around) * 100
    apart = light - light[y - top, x - left]
    weight = near * np.exp(-((apart / _NEAR) ** 2) / 2)
    return Touch(top, left, (change[:, None, None] * weight).astype(np.float32))
