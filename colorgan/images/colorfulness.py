"""Perceived colourfulness, for arrays as well as tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:  # staging measures arrays and does not import PyTorch
    from torch import Tensor

Pictures = TypeVar("Pictures", "Tensor", npt.NDArray[np.floating])


def colorfulness(rgb: Pictures) -> Pictures:
    """The perceived colourfulness of pictures.

    Hasler and Süsstrunk, "Measuring Colorfulness in Natural Images" (2003), metric M3: people rate
    0 as not colourful, 15 as slightly, 33 as moderately, 59 as quite and 109 as extremely so.

    Args:
        rgb: (batch, 3, height, width) floating point sRGB in [0, 1].

    Returns:
        (batch,), an array or tensor like the input, with the same dtype; 0 for gray.
    """
    scaled = (rgb * 255).reshape(len(rgb), 3, -1)
    red, green, blue = scaled[:, 0], scaled[:, 1], scaled[:, 2]
    first, second = red - green, (red + green) / 2 - blue
    first_mean, second_mean = first.mean(1), second.mean(1)
    # NumPy and PyTorch share the syntax of mean and power, but not of variance.
    variance = ((first - first_mean[:, None]) ** 2 + (second - second_mean[:, None]) ** 2).mean(1)
    found: Pictures = variance**0.5 + 0.3 * (first_mean**2 + second_mean**2) ** 0.5
    return found
