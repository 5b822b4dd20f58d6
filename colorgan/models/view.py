"""What a classifier sees of a photograph; apart from the networks, which take seconds to import."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from colorgan.images import lab
from colorgan.images.decoding import Pixels, resize_square
from colorgan.images.scaling import scale

# How much longer than its short side a photograph may be before its ends, which the square does not
# show, are cut off before it is scaled.
_LONGEST = 32


@dataclass(frozen=True)
class View:
    """How a photograph is made ready for a classifier: as torchvision's transforms do it.

    Attributes:
        side: of the square pictures that the network sees, in pixels.
        resize: the short side that photographs are scaled to before the square is cut from their
            middle, in pixels; None where the whole photograph is scaled to the square.
        filter: how they are scaled.
        light: what it sees of a photograph without colour: the luma of ITU-R BT.601, or the
            lightness L of the whole photograph, exactly as a generator of this size sees it.
    """

    side: int
    resize: int | None
    filter: Image.Resampling
    light: Literal["luma", "lightness"] = "luma"

    def __call__(self, photograph: Pixels, gray: bool = True) -> Tensor:
        """What the network sees of a photograph.

        Args:
            photograph: (height, width, 3) uint8 sRGB.
            gray: see it without colour, as a black-and-white photograph.

        Returns:
            (1, side, side) luma or (3, side, side) sRGB, uint8; or (1, side, side) lightness,
            float32 in [0, 1].
        """
        if gray and self.light == "lightness":
            return torch.from_numpy(lab.lightness(resize_square(photograph, self.side)))[None]
        image = Image.fromarray(photograph)
        if gray:
            image = image.convert("L")
        if self.resize is None:
            image = scale(image, (self.side, self.side), self.filter)
        else:
            short = min(image.size)
            image = _middle(image, _LONGEST * short)
            width, height = (int(self.resize * length / short) for length in image.size)
            image = image.resize((width, height), self.filter)
            left, top = round((width - self.side) / 2), round((height - self.side) / 2)
            image = image.crop((left, top, left + self.side, top + self.side))
        pixels = np.array(image).reshape(self.side, self.side, -1)
        return torch.from_numpy(pixels).permute(2, 0, 1)


def whole_lightness(side: int) -> View:
    """What a generator of this size sees, and a classifier that may look in its place."""
    return View(side, None, Image.Resampling.BICUBIC, "lightness")


def _middle(image: Image.Image, longest: int) -> Image.Image:
    """A picture without its ends where a side is longer than so many pixels; else itself."""
    # As much is cut from one end as from the other, so that the middle stays the middle.
    left, top = (max(0, length - longest) // 2 for length in image.size)
    if not (left or top):
        return image
    return image.crop((left, top, image.width - left, image.height - top))
