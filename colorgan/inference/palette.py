"""The palette of a reference photograph, and its transfer to a colouring.

A photograph's colours are described as a normal distribution of a and b for each lightness, with
means that are linear in it, so that shadows and lights keep the tints that the reference gives
them. Between two such distributions there is one linear map that moves the colours least: Pitié and
Kokaram, "The Linear Monge-Kantorovitch Linear Colour Mapping for Example-Based Colour Transfer"
(2007).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from colorgan.errors import ConfigError
from colorgan.images import lab
from colorgan.images.decoding import Pixels
from colorgan.images.scaling import scale

Values = npt.NDArray[np.float64]

_SIDE = 256  # the reference is measured at this size
_LEAST_CHROMA = 1.5  # Lab units; a reference below this has no palette
_NOISE = 2.0  # Lab units; spreads of colours below this are not told from noise
_MOST_GAIN = 2.5  # the most by which differences of colours are multiplied


@dataclass(frozen=True)
class Palette:
    """The colours of a photograph, by their lightness.

    Attributes:
        mean: (2,) mean a and b, in Lab units.
        slope: (2,) their change for one standard deviation of the lightness.
        spread: (2, 2) covariance of what remains.
    """

    mean: Values
    slope: Values
    spread: Values

    @classmethod
    def of(cls, reference: Pixels) -> "Palette":
        """Measure a (height, width, 3) uint8 sRGB photograph; raises ConfigError if it is gray."""
        small = scale(Image.fromarray(reference), (_SIDE, _SIDE), Image.Resampling.BOX)
        rgb = torch.from_numpy(np.array(small)).permute(2, 0, 1).double() / 255
        channels = lab.rgb_to_lab(rgb).flatten(1).numpy()
        if np.hypot(channels[1], channels[2]).mean() < _LEAST_CHROMA:
            raise ConfigError("the reference photograph has no colours to take over: it is gray")
        return cls._fitted(channels[0], channels[1:])

    @classmethod
    def _fitted(cls, light: Values, ab: Values) -> "Palette":
        """Fit the distribution to (pixels,) lightness and (2, pixels) colours."""
        mean, level = ab.mean(axis=1), _standardized(light)
        slope = ab @ level / light.size
        rest = ab - mean[:, None] - slope[:, None] * level
        return cls(mean, slope, rest @ rest.T / light.size)

    def transferred(self, light: npt.NDArray[np.float32], color: Tensor) -> Tensor:
        """Give the palette to a colouring.

        Args:
            light: (size, size) the photograph's lightness.
            color: (2, size, size) its a and b in [-1, 1].

        Returns:
            The same shape and dtype.
        """
        flat = light.ravel().astype(np.float64)
        ab = color.reshape(2, -1).numpy().astype(np.float64) * lab.AB_SCALE
        own, level = Palette._fitted(flat, ab), _standardized(flat)
        rest = ab - own.mean[:, None] - own.slope[:, None] * level
        moved = _least_motion(own.spread, self.spread) @ rest
        moved += self.mean[:, None] + self.slope[:, None] * level
        new = torch.from_numpy((moved / lab.AB_SCALE).reshape(color.shape))
        return new.clamp(-1, 1).to(color.dtype)


def _standardized(light: Values) -> Values:
    """The lightness with a mean of 0 and a standard deviation of 1; 0 where all is as light."""
    apart = light - light.mean()
    level: Values = apart / max(float(apart.std()), 1e-6)
    return level


def _least_motion(own: Values, wanted: Values) -> Values:
    """The symmetric matrix that turns one covariance into another: (2, 2)."""
    noise = _NOISE**2 * np.eye(2)
    root = _power(own + noise, 0.5)
    back = _power(own + noise, -0.5)
    turning = back @ _power(root @ (wanted + noise) @ root, 0.5) @ back
    gains, axes = np.linalg.eigh(turning)
    limited: Values = (axes * gains.clip(0, _MOST_GAIN)) @ axes.T
    return limited


def _power(matrix: Values, exponent: float) -> Values:
    values, axes = np.linalg.eigh(matrix)
    raised: Values = (axes * values.clip(1e-12) ** exponent) @ axes.T
    return raised
