"""CIE L*a*b* (D65, 2 degrees) and sRGB, and what the networks see of them.

A *colour space* names what the generator writes, from the same input, the lightness L:

- ``lab``: the channels a and b; the photograph's own L stays in the result.
- ``rgb``: the three channels of sRGB, as the 2018 report did it.

Inside the networks every channel lies in [-1, 1].
"""

from functools import cache
from typing import Literal

import torch
from torch import Tensor

ColorSpace = Literal["lab", "rgb"]
COLOR_CHANNELS: dict[ColorSpace, int] = {"lab": 2, "rgb": 3}

AB_SCALE = 110.0  # the sRGB gamut lies within a, b in [-108, 99]

# IEC 61966-2-1: linear sRGB to CIE XYZ, and the D65 white point.
_RGB_TO_XYZ = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
_WHITE = (0.95047, 1.0, 1.08883)
_DELTA = 6 / 29


def _mix(matrix: Tensor, channels: Tensor) -> Tensor:
    return torch.einsum("ij,...jhw->...ihw", matrix, channels)


@cache
def _matrix(inverse: bool, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Linear sRGB to XYZ relative to the white point, or back."""
    with torch.inference_mode(False):  # made in inference mode, it would be of no use in training
        white = torch.tensor(_WHITE, dtype=torch.float64)
        matrix = torch.tensor(_RGB_TO_XYZ, dtype=torch.float64) / white[:, None]
        return (torch.linalg.inv(matrix) if inverse else matrix).to(device, dtype)


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """SRGB in [0, 1] to L in [0, 100] and a, b in about [-108, 99].

    Args:
        rgb: (..., 3, height, width), floating point.

    Returns:
        The same shape and dtype.
    """
    linear = torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055).clamp(min=0) ** 2.4, rgb / 12.92)
    xyz = _mix(_matrix(False, rgb.device, rgb.dtype), linear)
    f = torch.where(xyz > _DELTA**3, xyz.clamp(min=0) ** (1 / 3), xyz / (3 * _DELTA**2) + 4 / 29)
    x, y, z = f.unbind(dim=-3)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=-3)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """The inverse of rgb_to_lab; colours outside the sRGB gamut are clipped to [0, 1].

    Args:
        lab: (..., 3, height, width), floating point.

    Returns:
        The same shape and dtype.
    """
    lightness, a, b = lab.unbind(dim=-3)
    y = (lightness + 16) / 116
    f = torch.stack([y + a / 500, y, y - b / 200], dim=-3)
    xyz = torch.where(f > _DELTA, f**3, 3 * _DELTA**2 * (f - 4 / 29))
    linear = _mix(_matrix(True, lab.device, lab.dtype), xyz).clamp(0, 1)
    rgb = torch.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
    return rgb.clamp(0, 1)


def encode(rgb: Tensor, color_space: ColorSpace) -> tuple[Tensor, Tensor]:
    """Split photographs into what the generator sees and what it is to write.

    Args:
        rgb: (batch, 3, height, width) uint8 sRGB.
        color_space: what the generator writes.

    Returns:
        The lightness (batch, 1, height, width) and the colour (batch, 2 or 3, height, width),
        float32 in [-1, 1].
    """
    unit = rgb.float() / 255
    lab = rgb_to_lab(unit)
    lightness = lab[:, :1] / 50 - 1
    color = lab[:, 1:] / AB_SCALE if color_space == "lab" else unit * 2 - 1
    return lightness, color


def decode(lightness: Tensor, color: Tensor, color_space: ColorSpace) -> Tensor:
    """Put lightness and colour together again: the inverse of encode.

    Args:
        lightness: (batch, 1, height, width) in [-1, 1].
        color: (batch, 2 or 3, height, width) in [-1, 1].
        color_space: what `color` holds; with ``rgb`` the lightness is not used.

    Returns:
        (batch, 3, height, width) float32 sRGB in [0, 1].
    """
    if color_space == "rgb":
        return ((color.float() + 1) / 2).clamp(0, 1)
    return lab_to_rgb(torch.cat([(lightness.float() + 1) * 50, color.float() * AB_SCALE], dim=1))
