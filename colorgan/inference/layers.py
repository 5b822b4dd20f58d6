"""Joining the colours of objects with those of the whole photograph, by feathered masks.

Only a and b are joined: the lightness is the photograph's own, and enters afterwards, in
`recombine`. The share of an object falls from 1 to 0 as half a cosine across its edge, or as a
guided filter (He, Sun and Tang 2010) of the mask, which follows the edges of the lightness.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from scipy.ndimage import distance_transform_edt, uniform_filter
from torch import Tensor

from colorgan.images import lab
from colorgan.images.decoding import Pixels, to_image
from colorgan.images.scaling import scale
from colorgan.inference.colorizer import resized
from colorgan.models.detection import Detection, Place

Edges = Literal["cosine", "guided"]
Weights = npt.NDArray[np.float32]

CANVAS_PIXELS = 2_000_000  # larger photographs' colours are joined at a reduced size
_MARGIN = 0.15  # around the box, in shares of its sides: what the model of an object sees of it
_GRID = 256  # largest side of the grid on which an edge is computed
_SOFT_BOX = 0.2  # the width of an edge, in shares of the short side of the box, without a mask
_SOFT_MASK = 0.06  # the same with a mask
_EPSILON = 1e-3  # of the guided filter: squared differences of lightness, of 1, that are no edges


@dataclass(frozen=True)
class Layer:
    """The colours of an object.

    Attributes:
        place: the part of the photograph that they cover.
        color: (2, size, size) float32, its a and b in [-1, 1].
        weights: (rows, columns) float32 in [0, 1], the object's share in each part of the place.
    """

    place: Place
    color: Tensor
    weights: Weights


def surroundings(detection: Detection) -> Place:
    """The part of a photograph that the model of an object sees and colours."""
    return detection.place.expanded(_MARGIN)


def crop(picture: Pixels, place: Place) -> Pixels:
    """The part of a (height, width, 3) picture at a place."""
    return np.ascontiguousarray(place.box(*picture.shape[:2]).of(picture))


def feathered(detection: Detection, picture: Pixels, edges: Edges = "cosine") -> Weights:
    """The share of an object in each part of its `surroundings`.

    Args:
        detection: the object.
        picture: (height, width, 3) uint8 sRGB, the photograph at any size.
        edges: how the share falls from 1 to 0 at the object's edge.

    Returns:
        (rows, columns) float32 in [0, 1]. An edge that is the photograph's own is not soft.
    """
    part = crop(picture, surroundings(detection))
    rows, columns = part.shape[:2]
    reduction = min(1.0, _GRID / max(rows, columns))
    rows, columns = (max(1, round(length * reduction)) for length in (rows, columns))
    mask = _mask(detection, rows, columns)
    own = detection.place
    around = surroundings(detection)
    short = min(
        rows * (own.bottom - own.top) / (around.bottom - around.top),
        columns * (own.right - own.left) / (around.right - around.left),
    )
    width = (_SOFT_BOX if detection.mask is None else _SOFT_MASK) * short
    if edges == "cosine":
        return raised_cosine(mask >= 0.5, width)
    small = scale(to_image(part), (columns, rows), Image.Resampling.BOX).convert("RGB")
    weights = guided(mask, lab.lightness(np.asarray(small)), max(1, round(width / 2)))
    return weights * _fading(around, rows, columns)


def _fading(around: Place, rows: int, columns: int) -> Weights:
    """Weights that fall to 0 at the edges of a place that are not the photograph's own."""
    ends = ((around.top > 0, around.bottom < 1), (around.left > 0, around.right < 1))
    inside = np.pad(np.ones((rows, columns), bool), [(int(a), int(z)) for a, z in ends])
    width = max(1.0, _MARGIN / 2 * min(rows, columns))
    if inside.all():
        return np.ones((rows, columns), np.float32)
    fallen = np.clip((distance_transform_edt(inside) - 0.5) / width, 0, 1)
    (top, bottom), (left, right) = ends
    within = fallen[int(top) : len(fallen) - bottom, int(left) : fallen.shape[1] - right]
    weights: Weights = (0.5 - 0.5 * np.cos(np.pi * within)).astype(np.float32)
    return weights


def _mask(detection: Detection, rows: int, columns: int) -> Weights:
    """The mask of an object on a grid over its surroundings, in [0, 1]."""
    around, own = surroundings(detection), detection.place
    height, width = around.bottom - around.top, around.right - around.left
    inner = Place(
        (own.top - around.top) / height,
        (own.bottom - around.top) / height,
        (own.left - around.left) / width,
        (own.right - around.left) / width,
    ).box(rows, columns)
    mask = np.zeros((rows, columns), np.float32)
    part = inner.of(mask)
    if detection.mask is None:
        part[...] = 1
    else:
        size = (part.shape[1], part.shape[0])
        scaled = scale(Image.fromarray(detection.mask), size, Image.Resampling.BILINEAR)
        part[...] = np.asarray(scaled, np.float32) / 255
    return mask


def raised_cosine(inside: npt.NDArray[np.bool_], width: float) -> Weights:
    """Half a cosine across the edge of a mask.

    Args:
        inside: (rows, columns), whether a cell belongs to the object.
        width: the width of the falling edge, in cells; half of it lies inside.

    Returns:
        (rows, columns) float32 in [0, 1], 0.5 midway between the cells on both sides of the edge.
    """
    if inside.all() or not inside.any():
        return inside.astype(np.float32)
    # The distances are those of cells' centres: the edge is half a cell from both.
    signed = np.where(
        inside, distance_transform_edt(inside) - 0.5, 0.5 - distance_transform_edt(~inside)
    )
    risen = np.clip(signed / max(width, 1e-6) + 0.5, 0, 1)
    weights: Weights = (0.5 - 0.5 * np.cos(np.pi * risen)).astype(np.float32)
    return weights


def guided(mask: Weights, light: Weights, radius: int) -> Weights:
    """The guided filter of a mask by the lightness: within each window, linear in it.

    Args:
        mask: (rows, columns) in [0, 1].
        light: (rows, columns) the lightness in [0, 1].
        radius: half the side of the windows, in cells.

    Returns:
        (rows, columns) float32 in [0, 1].
    """

    def mean(values: Weights) -> Weights:
        averaged: Weights = uniform_filter(values, 2 * radius + 1, mode="nearest")
        return averaged

    mask, light = mask.astype(np.float64), light.astype(np.float64)
    means = mean(light), mean(mask)
    slope = (mean(light * mask) - means[0] * means[1]) / (
        mean(light * light) - means[0] ** 2 + _EPSILON
    )
    offset = means[1] - slope * means[0]
    weights: Weights = np.clip(mean(slope) * light + mean(offset), 0, 1).astype(np.float32)
    return weights


def canvas(height: int, width: int) -> tuple[int, int]:
    """The height and width at which the colours of a photograph of this size are joined."""
    reduction = min(1.0, (CANVAS_PIXELS / (height * width)) ** 0.5)
    return max(1, round(height * reduction)), max(1, round(width * reduction))


def join(color: Tensor, layers: Sequence[Layer], height: int, width: int) -> Tensor:
    """Lay the colours of objects over those of the whole photograph.

    Args:
        color: (2, size, size) float32, a and b of the whole photograph in [-1, 1].
        layers: the objects, each over those before it.
        height: the height of the result.
        width: the width of the result.

    Returns:
        (2, height, width) float32: at each pixel the sum of what is below, times 1 - w, and of the
        layer's colour, times its weight w.
    """
    joined = resized(color, height, width)
    for layer in layers:
        box = layer.place.box(height, width)
        part = joined[:, box.top : box.bottom, box.left : box.right]
        weights = resized(torch.from_numpy(layer.weights)[None], *part.shape[1:])
        part += weights * (resized(layer.color, *part.shape[1:]) - part)
    return joined
