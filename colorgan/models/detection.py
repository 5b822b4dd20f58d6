"""What a detector finds in a photograph."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from colorgan.images.borders import Box
from colorgan.images.decoding import Pixels


@dataclass(frozen=True)
class Place:
    """A part of a photograph, in fractions of its height and width.

    Attributes:
        top: its upper edge.
        bottom: its lower edge.
        left: its left edge.
        right: its right edge.
    """

    top: float
    bottom: float
    left: float
    right: float

    def expanded(self, share: float) -> "Place":
        """The part with a margin on each side, a share of its own sides, within the photograph."""
        down, across = share * (self.bottom - self.top), share * (self.right - self.left)
        return Place(
            max(0.0, self.top - down),
            min(1.0, self.bottom + down),
            max(0.0, self.left - across),
            min(1.0, self.right + across),
        )

    def box(self, height: int, width: int) -> Box:
        """The pixels of the part, at least one, in a photograph of this size."""
        top = min(int(self.top * height + 0.5), height - 1)
        left = min(int(self.left * width + 0.5), width - 1)
        bottom = min(max(top + 1, int(self.bottom * height + 0.5)), height)
        right = min(max(left + 1, int(self.right * width + 0.5)), width)
        return Box(top, bottom, left, right)


@dataclass(frozen=True)
class Detection:
    """An object that a detector has found; it can be pickled.

    Attributes:
        photo_class: the photo class of the object.
        label: what the detector calls it.
        score: the detector's confidence, in [0, 1].
        place: the box around the object.
        mask: (rows, columns) uint8, the share of the object in each part of the box, of 255; None
            if the detector knows only the box.
    """

    photo_class: str
    label: str
    score: float
    place: Place
    mask: npt.NDArray[np.uint8] | None = None

    def without_mask(self) -> "Detection":
        """The same with its box alone."""
        return replace(self, mask=None)


class Detector(Protocol):
    """Finds objects in photographs.

    Attributes:
        name: its name, for people.
        classes: the photo classes of the objects that it finds.
    """

    name: str
    classes: tuple[str, ...]

    def __call__(self, pictures: Sequence[Pixels]) -> list[list[Detection]]:
        """Find the objects of photographs.

        Args:
            pictures: (height, width, 3) uint8 sRGB each, of any sizes; any colour in them is
                ignored.

        Returns:
            The objects of each photograph, the most certain one first.
        """
        ...
