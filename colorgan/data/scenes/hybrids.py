"""Hybrid scenes: one picture with the objects of two classes, each of whose places is known.

The objects of a second, smaller scene stand in a first one, beside its own, as far as that leaves
room. Their colours are those of their class, and the surroundings those of the first one.
"""

from dataclasses import dataclass
from itertools import permutations

import numpy as np
import numpy.typing as npt

from colorgan.data.scenes import CLASSES, draw_both
from colorgan.data.scenes.canvas import REGIONS

OBJECT_OF = {"animals": "animal", "people": "person", "vehicles": "vehicle"}
PAIRS: tuple[tuple[str, str], ...] = tuple(permutations(CLASSES, 2))
SMALLEST = 48  # pixels, the least height of a hybrid
_SMALLER = 0.7  # the height of the second scene, of the first one's
_DISTANT = 1_000_003  # between the numbers of the scenes of a hybrid


@dataclass(frozen=True)
class HybridScene:
    """A scene with objects of two classes.

    Attributes:
        picture: (height, width, 3) uint8 sRGB.
        regions: (height, width) uint8, indices into REGIONS.
        owners: (height, width) uint8: 1 where the first class's objects are, 2 where the second's
            are, 0 elsewhere.
    """

    picture: npt.NDArray[np.uint8]
    regions: npt.NDArray[np.uint8]
    owners: npt.NDArray[np.uint8]


def draw_hybrid(
    labels: tuple[str, str], seed: int, height: int = 286, width: int = 382
) -> HybridScene:
    """Draw hybrid number `seed` of two classes.

    Args:
        labels: two of CLASSES; the surroundings are the first one's.
        seed: determines the picture.
        height: in pixels, at least SMALLEST.
        width: in pixels, at least SMALLEST.
    """
    first, second = (REGIONS.index(OBJECT_OF[label]) for label in labels)
    picture, regions = draw_both(labels[0], seed, height, width)
    small = round(height * _SMALLER), round(width * _SMALLER)
    other, its_regions = draw_both(labels[1], seed + _DISTANT, *small)
    rows, columns = np.nonzero(its_regions == second)
    box = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
    cut, shape = other[box], its_regions[box] == second
    top = height - len(cut)  # it stands at the lower edge, nearer than the first object
    own = (regions == first)[top:]
    # The place where it covers the least of the first object; of equal ones, one at an end.
    covered = [
        int((own[:, left : left + cut.shape[1]] & shape).sum())
        for left in range(width - cut.shape[1] + 1)
    ]
    ends = range(len(covered)) if seed % 2 else range(len(covered) - 1, -1, -1)
    left = min(ends, key=covered.__getitem__)
    part = slice(top, top + len(cut)), slice(left, left + cut.shape[1])
    picture[part][shape] = cut[shape]
    regions[part][shape] = second
    owners = np.zeros_like(regions)
    owners[regions == first] = 1
    owners[part][shape] = 2
    return HybridScene(picture, regions, owners)
