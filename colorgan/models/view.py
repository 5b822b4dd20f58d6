"""What a classifier sees of a photograph; apart from the networks, which take seconds to import."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from colorgan.images.decoding import Pixels


@dataclass(frozen=True)
class View:
    """How a photograph is made ready for a classifier: as torchvision's transforms do it.

    Attributes:
        side: of the square pictures that the network sees, in pixels.
        resize: the short side that photographs are scaled to before the square is cut from their
            middle, in pixels; None where the whole photograph is scaled to the square.
        filter: how they are scaled.
    """

    side: int
    resize: int | None
    filter: Image.Resampling

    def __call__(self, photograph: Pixels, gray: bool = True) -> Tensor:
        """What the network sees of a photograph.

        Args:
            photograph: (height, width, 3) uint8 sRGB.
            gray: take its luma (ITU-R BT.601) alone, as of a black-and-white photograph.

        Returns:
            (1, side, side) uint8, or (3, side, side) in colour.
        """
        image = Image.fromarray(photograph)
        if gray:
            image = image.convert("L")
        if self.resize is None:
            image = image.resize((self.side, self.side), self.filter)
        else:
            short = min(image.size)
            width, height = (int(self.resize * length / short) for length in image.size)
            image = image.resize((width, height), self.filter)
            left, top = round((width - self.side) / 2), round((height - self.side) / 2)
            image = image.crop((left, top, left + self.side, top + self.side))
        pixels = np.array(image).reshape(self.side, self.side, -1)
        return torch.from_numpy(pixels).permute(2, 0, 1)
