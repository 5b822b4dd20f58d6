"""Conversion of file values to sRGB: ICC profiles, the gamma of PNG, and colour models.

Gray is converted from 16 bits with a table, colour from 8 bits. A profile that is damaged, or whose
colour model differs from that of the pixels, is ignored, as viewers do.
"""

import io
import struct
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

Table = npt.NDArray[np.uint8]
Levels = npt.NDArray[np.uint16]

# libpng also treats a gamma within this share of sRGB's as sRGB.
_SAME_GAMMA = 0.05
_SRGB_GAMMA = 1 / 2.2
# A gamma outside this range is a writer's mistake and would give a black or white picture.
_GAMMAS = (0.1, 10.0)

# Y of linear sRGB, as in colorgan.images.lab.
_LUMINANCE = (0.212671, 0.715160, 0.072169)
# cmsFLAGS_NOOPTIMIZE of Little CMS: tables with 33 steps, its default, are too coarse for 16 bits.
_EXACT = 0x0100


def gray_table(profile: bytes | None = None, gamma: float | None = None) -> Table:
    """A table of the sRGB level for each 16-bit gray level.

    Args:
        profile: an ICC profile, applied if it is for a single gray channel.
        gamma: the exponent with which the file's values are encoded (PNG's gAMA), such as 1/2.2;
            applied if there is no profile.

    Returns:
        (65536,) uint8.
    """
    source = _open(profile)
    if source is not None and _model(source) == "GRAY":
        ramp = Image.fromarray(np.arange(65536, dtype=np.uint16)[None])
        try:
            converted = _transform(source, "I;16").apply(ramp)
        except (ImageCms.PyCMSError, OSError, ValueError):
            converted = None
        if converted is not None:
            return np.asarray(converted)[0, :, 1].copy()
    return (_without_profile(None if source else gamma) * 255).round().astype(np.uint8)


def _without_profile(gamma: float | None) -> npt.NDArray[np.float64]:
    """The sRGB level in [0, 1] of each 16-bit level of a file without a profile."""
    level = np.arange(65536, dtype=np.float64) / 65535
    if gamma is not None and gamma_matters(gamma):
        level = _encode(level ** (1 / gamma))
    return level


def deep_gray_table(profile: bytes | None = None, gamma: float | None = None) -> Levels:
    """`gray_table` with 16 bits: (65536,) uint16, the sRGB level for each 16-bit gray level."""
    source = _open(profile)
    if source is not None and _model(source) == "GRAY":
        ramp = np.arange(65536, dtype=np.uint16)[None]
        converted = _deep_transform(ramp, profile or b"", srgb_profile(), "gray")
        if converted is not None:
            return converted[0, :, 1].copy()
    return (_without_profile(None if source else gamma) * 65535).round().astype(np.uint16)


def deep_lightness(levels: Levels, profile: bytes | None = None) -> Levels:
    """The sRGB gray level, with 16 bits, that has the lightness L of a colour.

    Args:
        levels: (rows, width, 3) uint16, in the file's own colour space.
        profile: an ICC profile, applied if it is for RGB, or for gray and the levels are gray.

    Returns:
        (rows, width) uint16.
    """
    source = _open(profile)
    model = _model(source) if source is not None else ""
    first = levels[..., 0]
    if (first == levels[..., 1]).all() and (first == levels[..., 2]).all():
        if model != "RGB":
            return deep_gray_table(profile)[first]
        ramp = np.repeat(np.arange(65536, dtype=np.uint16)[None, :, None], 3, axis=2)
        converted = _deep_transform(ramp, profile or b"", srgb_profile(), "rgb")
        return first if converted is None else _gray_level(converted)[0][first]
    if model == "RGB":
        converted = _deep_transform(levels, profile or b"", srgb_profile(), "rgb")
        levels = levels if converted is None else converted
    return _gray_level(levels)


def can_write(profile: bytes) -> bool:
    """Whether colours of sRGB can be converted to a profile: it is one of RGB, for both ways."""
    target = _open(profile)
    if target is None or _model(target) != "RGB":
        return False
    try:
        return _transform_to(target) is not None
    except (ImageCms.PyCMSError, OSError, ValueError):
        return False


def from_srgb(rgb: npt.NDArray[Any], profile: bytes) -> npt.NDArray[Any]:
    """Convert (rows, width, 3) uint8 or uint16 sRGB to a profile for which `can_write` is true."""
    if rgb.dtype == np.uint16:
        converted = _deep_transform(rgb, srgb_profile(), profile, "rgb")
        return rgb if converted is None else converted
    target = _open(profile)
    assert target is not None
    return np.asarray(_transform_to(target).apply(Image.fromarray(rgb)))


@cache
def srgb_profile() -> bytes:
    """The ICC profile of sRGB, always the same bytes."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    # The date on which it was made, and the identity computed from all bytes: 0 means none.
    profile[24:36] = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)
    profile[84:100] = bytes(16)
    return bytes(profile)


def _deep_transform(levels: Levels, source: bytes, target: bytes, model: str) -> Levels | None:
    """Convert uint16 levels between profiles to RGB; None if the profiles do not allow it."""
    # Pillow's interface to the same library converts colours of 8 bits alone.
    import imagecodecs

    try:
        converted: Levels = imagecodecs.cms_transform(
            np.ascontiguousarray(levels),
            source,
            target,
            colorspace=model,
            outcolorspace="rgb",
            outdtype="uint16",
            flags=_EXACT,
        )
    except (imagecodecs.CmsError, ValueError, TypeError):
        return None
    return converted


def _gray_level(rgb: Levels) -> Levels:
    """The gray level that has the luminance Y of an sRGB colour, both with 16 bits."""
    light = _light_table()
    y = sum(share * light[rgb[..., channel]] for channel, share in enumerate(_LUMINANCE))
    return (_encode(np.asarray(y)) * 65535).round().clip(0, 65535).astype(np.uint16)


@cache
def _light_table() -> npt.NDArray[np.float64]:
    """The linear light in [0, 1] of each 16-bit sRGB level (IEC 61966-2-1)."""
    level = np.arange(65536, dtype=np.float64) / 65535
    return np.where(level > 0.04045, ((level + 0.055) / 1.055) ** 2.4, level / 12.92)


def gamma_matters(gamma: float) -> bool:
    """Whether a gamma is plausible and differs from that of sRGB."""
    if not _GAMMAS[0] <= gamma <= _GAMMAS[1]:
        return False
    return abs(gamma / _SRGB_GAMMA - 1) > _SAME_GAMMA


def to_srgb(image: Image.Image, profile: bytes | None, gamma: float | None = None) -> Image.Image:
    """Convert a picture of mode L, RGB, CMYK or LAB to sRGB.

    Args:
        image: a picture with 8 bits per channel.
        profile: an ICC profile, applied if it has the same colour model; a gray profile is also
            applied to an RGB picture whose colours are all gray.
        gamma: as for `gray_table`.

    Returns:
        A picture of mode L for gray, RGB for everything else.
    """
    source = _open(profile)
    if source is not None and _model(source) == "GRAY" and is_gray(image):
        image = image if image.mode == "L" else image.getchannel(0)
    if image.mode == "L":
        return image.point(gray_table(profile, gamma)[:: 65535 // 255].tolist())
    if source is None and image.mode == "LAB":
        source = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    if source is not None:
        try:
            converted = _transform(source, image.mode).apply(image)
        except (ImageCms.PyCMSError, OSError, ValueError):
            converted = None
        if converted is not None:
            return converted
    if image.mode != "RGB":
        image = image.convert("RGB")
    if source is None and gamma is not None and gamma_matters(gamma):
        return image.point(gray_table(None, gamma)[:: 65535 // 255].tolist() * 3)
    return image


def is_gray(image: Image.Image) -> bool:
    """Whether a picture of mode L or RGB has equal channels everywhere."""
    if image.mode != "RGB":
        return image.mode == "L"
    red, green, blue = image.split()
    return red == green == blue


def _open(profile: bytes | None) -> ImageCms.ImageCmsProfile | None:
    if not profile:
        return None
    try:
        return ImageCms.ImageCmsProfile(io.BytesIO(profile))
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None


def _model(profile: ImageCms.ImageCmsProfile) -> str:
    return profile.profile.xcolor_space.strip()


def _transform_to(target: ImageCms.ImageCmsProfile) -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(ImageCms.createProfile("sRGB"), target, "RGB", "RGB")


def _transform(source: ImageCms.ImageCmsProfile, mode: str) -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")


def _encode(light: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Convert linear light to sRGB, both in [0, 1] (IEC 61966-2-1)."""
    return np.where(light > 0.0031308, 1.055 * light ** (1 / 2.4) - 0.055, 12.92 * light)
