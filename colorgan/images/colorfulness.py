"""How colourful pictures look to people, of arrays and of tensors alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:  # staging measures arrays, and does without PyTorch
    from torch import Tensor

Pictures = TypeVar("Pictures", "Tensor", npt.NDArray[np.floating])


def colorfulness(rgb: Pictures) -> Pictures:
    """How colourful pictures look to people.

    Hasler and Süsstrunk, "Measuring Colorfulness in Natural Images" (2003), the metric M3: people
    call 0 not colourful, 15 slightly, 33 moderately, 59 quite and 109 extremely so.

    Args:
        rgb: (batch, 3, height, width) floating point sRGB in [0, 1].

    Returns:
        (batch,), 0 for gray; of the same kind and dtype.
    """
    scaled = (rgb * 255).reshape(len(rgb), 3, -1)
    red, green, blue = scaled[:, 0], scaled[:, 1], scaled[:, 2]
    first, second = red - green, (red + green) / 2 - blue
    first_mean, second_mean = first.mean(1), second.mean(1)
    # Means of squares and a root are spelt alike for both kinds; variances are not.
    variance = ((first - first_mean[:, None]) ** 2 + (second - second_mean[:, None]) ** 2).mean(1)
    found: Pictures = variance**0.5 + 0.3 * (first_mean**2 + second_mean**2) ** 0.5
    return found
