"""The border of a print: the paper around the picture, or the dark edge of a film.

A border is accepted if the picture begins along straight lines: on three sides, or on two that lie
opposite of each other. A bright sky, a white backdrop or a dark room ends along no such line.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter1d

from colorgan.images.decoding import Pixels, to_image

Gray = npt.NDArray[np.uint8]

SHORT = 1024  # pixels; a print with a longer short side is examined at a reduced size first

_WIDEST = 0.3  # of the print's side
_NARROWEST = 2  # lines
_NESTED = 3  # a scanner's lid around the paper around the picture
_PAPER = 0.95  # the share of a line that looks like paper, outside of the picture
_PICTURE = 0.5  # the share that may look like paper where the picture has begun
_SHARP = 0.8  # the share in the first line of a picture whose edge is exactly straight
_TILT = 0.02  # of the print's side, over which an edge that is not quite straight extends
_SMOOTH = 9  # pixels along the edge, over which the grain of the paper is averaged
_GRAIN = 8.0  # levels of 255; what varies more along its outermost lines is no paper
_TOLERANCE = (8.0, 24.0)  # levels of 255, by which paper may differ from its own tone


@dataclass(frozen=True)
class Box:
    """The part of a print within its border.

    Attributes:
        top: its first row.
        bottom: the row after its last one.
        left: its first column.
        right: the column after its last one.
    """

    top: int
    bottom: int
    left: int
    right: int

    def of(self, picture: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The part of a (height, width, ...) array, which shares its memory."""
        return picture[self.top : self.bottom, self.left : self.right]


@dataclass(frozen=True)
class _Edge:
    """Where the paper ends at a side.

    Attributes:
        width: number of lines of paper.
        paper: the tone of the paper, in levels of 255.
        straight: whether the picture begins along a straight line.
    """

    width: int
    paper: float
    straight: bool


def find_border(print_: Pixels) -> Box | None:
    """Find the picture within the border of a print.

    Args:
        print_: (height, width, 3) uint8 sRGB; only its luma counts.

    Returns:
        The picture; None if the print has no border.
    """
    step = reduction(print_)
    image = to_image(print_)
    gray = np.asarray((image.reduce(step) if step > 1 else image).convert("L"))
    box = _find(gray)
    if box is None or step == 1:
        return box
    return _refined(print_, box, gray.shape, step)


def reduction(print_: Pixels, short: int = SHORT) -> int:
    """The factor by which a print's sides are reduced so that the shorter has at most `short`."""
    shortest: int = min(print_.shape[:2])
    return max(1, -(-shortest // short))


def _find(gray: Gray) -> Box | None:
    height, width = gray.shape
    box = whole = Box(0, height, 0, width)
    for _ in range(_NESTED):
        widths = _widths(box.of(gray))
        if widths is None:
            break
        top, bottom, left, right = widths
        box = Box(box.top + top, box.bottom - bottom, box.left + left, box.right - right)
    return None if box == whole else box


def _widths(gray: Gray) -> tuple[int, int, int, int] | None:
    """The widths of a border: top, bottom, left, right; None if there is none."""
    if min(gray.shape) < 8 * _NARROWEST:
        return None
    widths = [0, 0, 0, 0]
    for look in range(2):
        # The corners belong to two sides. The first look does not know yet where they end.
        edges = []
        for side, lines in enumerate(_turned(gray)):
            length = lines.shape[1]
            first, last = (widths[2], widths[3]) if side < 2 else (widths[0], widths[1])
            if not look:
                first = last = length // 5
            edges.append(_edge(lines[:, first : length - last]))
        found = _accepted(edges)
        if found is None:
            return None
        widths = found
    top, bottom, left, right = widths
    return top, bottom, left, right


def _turned(picture: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
    """A picture whose first rows are those of its top, bottom, left and right side."""
    across = picture.swapaxes(0, 1)
    yield from (picture, picture[::-1], across, across[::-1])


def _edge(lines: Gray) -> _Edge | None:
    """Where the paper ends, from the first line on; None if the first lines are no paper."""
    count = len(lines)
    slack = max(1, round(_TILT * count))
    most = round(_WIDEST * count)
    part = uniform_filter1d(lines[: most + slack + 1].astype(np.float32), _SMOOTH, axis=1)
    outermost = part[:_NARROWEST]
    paper = float(np.median(outermost))
    grain = 1.4826 * float(np.median(np.abs(outermost - paper)))
    if grain > _GRAIN:
        return None
    share = (np.abs(part - paper) <= np.clip(4 * grain, *_TOLERANCE)).mean(axis=1)
    inside = np.flatnonzero(share < _PAPER)
    if not inside.size or inside[0] > most:
        return _Edge(most + 1, paper, straight=False)
    first = int(inside[0])
    if first < _NARROWEST:
        return None
    begun = np.flatnonzero(share[first : first + slack + 1] <= _PICTURE)
    if not begun.size:
        return _Edge(first, paper, straight=False)
    return _Edge(first if share[first] <= _SHARP else first + int(begun[0]), paper, straight=True)


def _accepted(edges: list[_Edge | None]) -> list[int] | None:
    """The widths of a border with these edges; None if they do not make one."""
    straight = {side: each for side, each in enumerate(edges) if each and each.straight}
    papers = [each.paper for each in straight.values()]
    if not papers or max(papers) - min(papers) > _TOLERANCE[1]:
        return None
    if len(straight) < 3 and straight.keys() not in ({0, 1}, {2, 3}):
        return None
    widths = [straight[side].width if side in straight else 0 for side in range(4)]
    if len(straight) == 3:
        # The picture is as light as the paper at its fourth side.
        (side,) = {0, 1, 2, 3} - straight.keys()
        last = edges[side]
        if last and abs(last.paper - float(np.median(papers))) <= _TOLERANCE[1]:
            usual = last.width <= 1.25 * max(widths)
            widths[side] = last.width if usual else widths[side ^ 1]
    return widths


def _refined(print_: Pixels, box: Box, reduced: tuple[int, ...], step: int) -> Box:
    """A box of a reduced print, exact in the pixels of the print itself."""
    rows, columns = reduced
    widths = (box.top, rows - box.bottom, box.left, columns - box.right)
    inner = Box(*(each * step for each in (box.top, box.bottom, box.left, box.right)))
    exact = []
    for side, (width, lines) in enumerate(zip(widths, _turned(print_), strict=True)):
        if not width:
            exact.append(0)
            continue
        ends = (inner.left, inner.right) if side < 2 else (inner.top, inner.bottom)
        start = (width - 2) * step
        near = lines[start : (width + 3) * step, slice(*ends)]
        gray = np.asarray(to_image(np.asarray(near)).convert("L"), dtype=np.float32)
        gray = uniform_filter1d(gray, _SMOOTH, axis=1)
        paper = np.median(gray[:step])
        share = (np.abs(gray - paper) <= _TOLERANCE[1]).mean(axis=1)
        exact.append(start + int(np.argmax(share <= (share[0] + share[-1]) / 2)))
    top, bottom, left, right = exact
    height, width = print_.shape[:2]
    return Box(top, height - bottom, left, width - right)
