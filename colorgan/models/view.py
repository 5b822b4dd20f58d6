"""Preprocessing of photographs for classifiers, separate from the networks' slow imports."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from colorgan.images import lab
from colorgan.images.decoding import Pixels, resize_square, to_image
from colorgan.images.scaling import scale

# The aspect ratio beyond which a photograph's ends, which the square does not show, are cut off
# before scaling.
_LONGEST = 32


@dataclass(frozen=True)
class View:
    """The preprocessing of a photograph for a classifier, as in torchvision's transforms.

    Attributes:
        side: the side of the network's square input, in pixels.
        resize: the short side to which photographs are scaled before the square is cut from their
            middle, in pixels; None if the whole photograph is scaled to the square.
        filter: the resampling filter.
        light: the input for a photograph without colour: the luma of ITU-R BT.601, or the lightness
            L of the whole photograph, exactly as a generator of this size receives it.
    """

    side: int
    resize: int | None
    filter: Image.Resampling
    light: Literal["luma", "lightness"] = "luma"

    def __call__(self, photograph: Pixels, gray: bool = True) -> Tensor:
        """Prepare a photograph for the network.

        Args:
            photograph: (height, width, 3) uint8 sRGB.
            gray: whether to remove its colour, as in a black-and-white photograph.

        Returns:
            (1, side, side) luma or (3, side, side) sRGB, uint8; or (1, side, side) lightness,
            float32 in [0, 1].
        """
        if gray and self.light == "lightness":
            return torch.from_numpy(lab.lightness(resize_square(photograph, self.side)))[None]
        image = to_image(photograph)
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
        if not gray and image.mode == "L":
            image = image.convert("RGB")
        pixels = np.array(image).reshape(self.side, self.side, -1)
        return torch.from_numpy(pixels).permute(2, 0, 1)


def whole_lightness(side: int) -> View:
    """The input of a generator of this size, and of a classifier that can share its encoder."""
    return View(side, None, Image.Resampling.BICUBIC, "lightness")


def _middle(image: Image.Image, longest: int) -> Image.Image:
    """Cut off the ends of a picture with a side longer than `longest` pixels."""
    # Both ends lose the same amount, so that the middle stays in place.
    left, top = (max(0, length - longest) // 2 for length in image.size)
    if not (left or top):
        return image
    return image.crop((left, top, image.width - left, image.height - top))
