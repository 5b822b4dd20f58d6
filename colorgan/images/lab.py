"""CIE L*a*b* (D65, 2 degrees) and sRGB, and their scaling for the networks.

A *colour space* names the channels that the generator writes:

- ``lab``: a and b, from the lightness L; the result keeps the photograph's own L.
- ``rgb``: the three channels of sRGB, from L, as in the 2018 report.
- ``yuv``: U and V, from the luma Y (ITU-R BT.601); the result keeps the photograph's own Y.

In the networks, every channel lies in [-1, 1].
"""

from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from colorgan.images.color_spaces import ColorSpace

AB_SCALE = 110.0  # the sRGB gamut lies within a, b in [-108, 99]

# IEC 61966-2-1: linear sRGB to CIE XYZ, and the D65 white point.
_RGB_TO_XYZ = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
_WHITE = (0.95047, 1.0, 1.08883)
_DELTA = 6 / 29

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601; U and V are scaled to [-1, 1] by their maxima

# Steps of linear light in the table of `recolor`: enough for dark values, where sRGB is steep.
_STEPS = 65535

# Halvings of the interval in which the chroma that fits into the gamut is searched.
_HALVINGS = 10


def _mix(matrix: Tensor, channels: Tensor) -> Tensor:
    return torch.einsum("ij,...jhw->...ihw", matrix, channels)


@cache
def _matrix(inverse: bool, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Linear sRGB to XYZ relative to the white point, or back."""
    with torch.inference_mode(False):  # training cannot use tensors made in inference mode
        white = torch.tensor(_WHITE, dtype=torch.float64)
        matrix = torch.tensor(_RGB_TO_XYZ, dtype=torch.float64) / white[:, None]
        return (torch.linalg.inv(matrix) if inverse else matrix).to(device, dtype)


def _to_light(rgb: Tensor) -> Tensor:
    """Convert sRGB to linear light, both in [0, 1]."""
    return torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055).clamp(min=0) ** 2.4, rgb / 12.92)


def _to_srgb(light: Tensor) -> Tensor:
    """Convert linear light to sRGB, both in [0, 1]."""
    # Clamped, because the power has no finite gradient at zero, and torch.where passes on the NaN.
    steep = 1.055 * light.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(light > 0.0031308, steep, 12.92 * light)


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """Convert sRGB in [0, 1] to L in [0, 100] and a, b in about [-108, 99].

    Args:
        rgb: (..., 3, height, width), floating point.

    Returns:
        The same shape and dtype.
    """
    xyz = _mix(_matrix(False, rgb.device, rgb.dtype), _to_light(rgb))
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
    return _to_srgb(_lab_to_light(lab).clamp(0, 1)).clamp(0, 1)


def in_gamut(lab: Tensor) -> Tensor:
    """Whether sRGB has a colour, so that `lab_to_rgb` keeps its lightness.

    Args:
        lab: (..., 3, height, width), floating point, as `rgb_to_lab` returns it.

    Returns:
        (..., 1, height, width) bool.
    """
    light = _lab_to_light(lab)
    return ((light >= 0) & (light <= 1)).all(dim=-3, keepdim=True)


def _lab_to_light(lab: Tensor) -> Tensor:
    """Convert Lab to linear sRGB, which lies in [0, 1] within the gamut."""
    lightness, a, b = lab.unbind(dim=-3)
    y = (lightness + 16) / 116
    f = torch.stack([y + a / 500, y, y - b / 200], dim=-3)
    xyz = torch.where(f > _DELTA, f**3, 3 * _DELTA**2 * (f - 4 / 29))
    return _mix(_matrix(True, lab.device, lab.dtype), xyz)


def encode(rgb: Tensor, color_space: ColorSpace) -> tuple[Tensor, Tensor]:
    """Split photographs into the generator's input and its target.

    Args:
        rgb: (batch, 3, height, width) uint8 sRGB.
        color_space: the colour space that the generator writes.

    Returns:
        The lightness, or the luma for ``yuv``, (batch, 1, height, width), and the colour
        (batch, 2 or 3, height, width), both float32 in [-1, 1].
    """
    unit = rgb.float() / 255
    if color_space == "yuv":
        red, green, blue = unit.unbind(dim=1)
        luma = _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue
        u, v = (blue - luma) / (1 - _LUMA[2]), (red - luma) / (1 - _LUMA[0])
        return luma[:, None] * 2 - 1, torch.stack([u, v], dim=1)
    lab = rgb_to_lab(unit)
    lightness = lab[:, :1] / 50 - 1
    color = lab[:, 1:] / AB_SCALE if color_space == "lab" else unit * 2 - 1
    return lightness, color


def decode(lightness: Tensor, color: Tensor, color_space: ColorSpace) -> Tensor:
    """Combine lightness and colour into photographs: the inverse of `encode`.

    Args:
        lightness: (batch, 1, height, width) in [-1, 1].
        color: (batch, 2 or 3, height, width) in [-1, 1].
        color_space: the colour space of `color`; for ``rgb`` the lightness is not used.

    Returns:
        (batch, 3, height, width) float32 sRGB in [0, 1].
    """
    if color_space == "rgb":
        return ((color.float() + 1) / 2).clamp(0, 1)
    if color_space == "yuv":
        luma = (lightness[:, 0].float() + 1) / 2
        u, v = color.float().unbind(dim=1)
        red, blue = luma + v * (1 - _LUMA[0]), luma + u * (1 - _LUMA[2])
        green = (luma - _LUMA[0] * red - _LUMA[2] * blue) / _LUMA[1]
        return torch.stack([red, green, blue], dim=1).clamp(0, 1)
    return lab_to_rgb(torch.cat([(lightness.float() + 1) * 50, color.float() * AB_SCALE], dim=1))


@cache
def _tables() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Lookup tables for luminance and sRGB.

    Returns:
        (3, 256), the contribution of each level of each sRGB channel to the luminance Y, and
        (_STEPS + 1,), the sRGB level for each step of linear light.
    """
    level = torch.arange(256, dtype=torch.float64) / 255
    light = torch.arange(_STEPS + 1, dtype=torch.float64) / _STEPS
    shares = _to_light(level)[:, None] * torch.tensor(_RGB_TO_XYZ[1], dtype=torch.float64)
    levels = (_to_srgb(light) * 255).round().to(torch.uint8)
    return shares.float().T.contiguous().numpy(), levels.numpy()


def lightness(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """A photograph's lightness L, with lookup tables.

    It takes a third of the time of `encode` and differs by at most 1e-6.

    Args:
        rgb: (..., 3) uint8 sRGB.

    Returns:
        (...) float32 in [0, 1].
    """
    level: npt.NDArray[np.float32] = _cube_root(rgb) * 1.16 - 0.16
    return level


def _cube_root(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """The function f(Y) of CIE Lab: the cube root of the luminance Y, or a line near black."""
    shares, _ = _tables()
    light = shares[0].take(rgb[..., 0])
    light += shares[1].take(rgb[..., 1])
    light += shares[2].take(rgb[..., 2])
    root: npt.NDArray[np.float32] = np.where(
        light > _DELTA**3, np.cbrt(light), light / (3 * _DELTA**2) + 4 / 29
    )
    return root


def recolor(rgb: npt.NDArray[np.uint8], ab: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Replace a photograph's colours but keep its L: `encode` and `decode` in one, with tables.

    It takes a third of their time, and no channel differs by more than one level.

    Args:
        rgb: (height, width, 3) uint8 sRGB; its own colour is ignored.
        ab: (2, height, width) float32 in [-1, 1], as a network writes it.

    Returns:
        (height, width, 3) uint8 sRGB.
    """
    _, levels = _tables()
    y = _cube_root(rgb)
    f = np.stack([y + ab[0] * (AB_SCALE / 500), y, y - ab[1] * (AB_SCALE / 200)])
    xyz = np.where(f > _DELTA, f * f * f, 3 * _DELTA**2 * (f - 4 / 29))
    matrix = _matrix(True, torch.device("cpu"), torch.float32).numpy()
    light = matrix @ xyz.reshape(3, -1).astype(np.float32, copy=False)
    np.clip(light, 0, 1, out=light)
    light *= _STEPS
    light += 0.5
    planes = levels.take(light.astype(np.int32)).reshape(3, *rgb.shape[:2])
    return np.ascontiguousarray(planes.transpose(1, 2, 0))


def recolor_deep(
    levels: npt.NDArray[np.uint16], ab: npt.NDArray[np.float32]
) -> npt.NDArray[np.uint16]:
    """`recolor` with 16 bits, which keeps L in every pixel.

    A colour outside the sRGB gamut is brought into it by less chroma, where `recolor` clips its
    channels, which changes its lightness.

    Args:
        levels: (height, width) uint16, the sRGB gray level of the photograph's L.
        ab: (2, height, width) float32 in [-1, 1], as a network writes it.

    Returns:
        (height, width, 3) uint16 sRGB.
    """
    y = _deep_cube_roots()[levels]
    a, b = ab[0] * np.float32(AB_SCALE / 500), ab[1] * np.float32(-AB_SCALE / 200)
    light = _light(y, a, b)
    outside = ((light < 0) | (light > 1)).any(axis=0)
    if outside.any():
        light[:, outside] = _in_gamut(y[outside], a[outside], b[outside])
    np.clip(light, 0, 1, out=light)
    steep = 1.055 * np.maximum(light, np.float32(0.0031308)) ** np.float32(1 / 2.4) - 0.055
    rgb = np.where(light > 0.0031308, steep, 12.92 * light)
    return np.ascontiguousarray((rgb * 65535 + 0.5).astype(np.uint16).transpose(1, 2, 0))


@cache
def _deep_cube_roots() -> npt.NDArray[np.float32]:
    """f(Y) of CIE Lab for each 16-bit sRGB gray level: (65536,)."""
    light = _to_light(torch.arange(65536, dtype=torch.float64) / 65535)
    root = torch.where(light > _DELTA**3, light ** (1 / 3), light / (3 * _DELTA**2) + 4 / 29)
    return root.float().numpy()


def _light(
    y: npt.NDArray[np.float32], a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Linear sRGB, (3, ...), of f(Y) and the differences of f(X) and f(Z) from it."""
    f = np.stack([y + a, y, y + b])
    xyz = np.where(f > _DELTA, f * f * f, 3 * _DELTA**2 * (f - 4 / 29))
    matrix = _matrix(True, torch.device("cpu"), torch.float32).numpy()
    light = matrix @ xyz.reshape(3, -1).astype(np.float32, copy=False)
    return light.reshape(f.shape)


def _in_gamut(
    y: npt.NDArray[np.float32], a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Linear sRGB, (3, pixels), of colours whose chroma is reduced until they lie in [0, 1]."""
    share, step = np.zeros_like(y), np.float32(0.5)
    for _ in range(_HALVINGS):
        light = _light(y, a * (share + step), b * (share + step))
        share += step * ((light >= 0) & (light <= 1)).all(axis=0)
        step /= 2
    return _light(y, a * share, b * share)
