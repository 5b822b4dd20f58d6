"""Conversion of file values to sRGB: ICC profiles, the gamma of PNG, and colour models.

Gray is converted from 16 bits with a table, colour from 8 bits. A profile that is damaged, or whose
colour model differs from that of the pixels, is ignored, as viewers do.
"""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

Table = npt.NDArray[np.uint8]

# libpng also treats a gamma within this share of sRGB's as sRGB.
_SAME_GAMMA = 0.05
_SRGB_GAMMA = 1 / 2.2
# A gamma outside this range is a writer's mistake and would give a black or white picture.
_GAMMAS = (0.1, 10.0)


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
    level = np.arange(65536, dtype=np.float64) / 65535
    if source is None and gamma is not None and gamma_matters(gamma):
        level = _encode(level ** (1 / gamma))
    return (level * 255).round().astype(np.uint8)


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


def _transform(source: ImageCms.ImageCmsProfile, mode: str) -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")


def _encode(light: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Convert linear light to sRGB, both in [0, 1] (IEC 61966-2-1)."""
    return np.where(light > 0.0031308, 1.055 * light ** (1 / 2.4) - 0.055, 12.92 * light)
