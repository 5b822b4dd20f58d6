"""The outlines that scenes are drawn from, in units of the drawn object."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.float32]
Shape = npt.NDArray[np.float64]
Colour = tuple[float, float, float]
T = TypeVar("T")

CIRCLE: Shape = np.array(
    [(math.cos(i * math.pi / 12), math.sin(i * math.pi / 12)) for i in range(24)]
)


def ellipse(x: float, y: float, rx: float, ry: float, tilt: float = 0.0) -> Shape:
    """Return an ellipse centred on (x, y), rotated by `tilt` radians."""
    cos, sin = math.cos(tilt), math.sin(tilt)
    turned = CIRCLE[:, :1] * (rx * cos, rx * sin) + CIRCLE[:, 1:] * (-ry * sin, ry * cos)
    return moved(turned, x, y)


def moved(shape: Shape, x: float, y: float) -> Shape:
    """Return the outline moved by (x, y)."""
    return np.add(shape, (x, y))


def box(x0: float, y0: float, x1: float, y1: float, corner: float = 0.0) -> Shape:
    """Return a box, with cut-off corners if `corner` is not 0."""
    if not corner:
        return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
    c = corner
    points = [(x0, y0 + c), (x0 + c, y0), (x1 - c, y0), (x1, y0 + c)]
    points += [(x1, y1 - c), (x1 - c, y1), (x0 + c, y1), (x0, y1 - c)]
    return np.array(points)


def polygon(text: str) -> Shape:
    """Return the outline written as "x,y x,y …"."""
    return np.array([float(number) for number in text.replace(",", " ").split()]).reshape(-1, 2)


def smooth(outline: Shape | str, rounds: int = 2) -> Shape:
    """Round the corners of a closed outline by cutting them (Chaikin's algorithm)."""
    points = polygon(outline) if isinstance(outline, str) else outline
    for _ in range(rounds):
        following = np.concatenate([points[1:], points[:1]])
        cut = np.empty((2 * len(points), 2))
        cut[0::2] = 0.75 * points + 0.25 * following
        cut[1::2] = 0.25 * points + 0.75 * following
        points = cut
    return points


def limb(*joints: tuple[float, float, float]) -> list[Shape]:
    """Return a tapering tube through joints of (x, y, radius)."""
    shapes = [moved(CIRCLE * radius, x, y) for x, y, radius in joints]
    for (x0, y0, r0), (x1, y1, r1) in pairwise(joints):
        length = math.hypot(x1 - x0, y1 - y0) or 1.0
        nx, ny = (y0 - y1) / length, (x1 - x0) / length
        near = [(x0 + nx * r0, y0 + ny * r0), (x1 + nx * r1, y1 + ny * r1)]
        far = [(x1 - nx * r1, y1 - ny * r1), (x0 - nx * r0, y0 - ny * r0)]
        shapes.append(np.array(near + far))
    return shapes


def mirrored(shapes: Sequence[Shape]) -> list[Shape]:
    """Return shapes and their mirror images about x = 0."""
    return [*shapes, *(shape * (-1.0, 1.0) for shape in shapes)]
