"""From the values of a file to sRGB: ICC profiles, the gamma of PNG, and colour models.

Gray is converted from 16 bits by a table, colour from 8 bits. A profile that is damaged, or that is
of another colour model than the pixels, is ignored, as viewers do.
"""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

Table = npt.NDArray[np.uint8]

# Within this share of the gamma of sRGB, libpng takes a picture as sRGB, too.
_SAME_GAMMA = 0.05
_SRGB_GAMMA = 1 / 2.2
# A gamma beyond these is a mistake of the writer, and would leave black or white.
_GAMMAS = (0.1, 10.0)


def gray_table(profile: bytes | None = None, gamma: float | None = None) -> Table:
    """The sRGB level of each gray level of 16 bits.

    Args:
        profile: an ICC profile, applied if it is of one gray channel.
        gamma: the exponent that the file's values are encoded with (PNG's gAMA), such as 1/2.2;
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
    """Whether a gamma is a credible one, and another than that of sRGB."""
    if not _GAMMAS[0] <= gamma <= _GAMMAS[1]:
        return False
    return abs(gamma / _SRGB_GAMMA - 1) > _SAME_GAMMA


def to_srgb(image: Image.Image, profile: bytes | None, gamma: float | None = None) -> Image.Image:
    """A picture of mode L, RGB, CMYK or LAB in sRGB.

    Args:
        image: 8 bits a channel.
        profile: an ICC profile, applied if it is of the same colour model; one of gray is applied
            to colours that are all gray.
        gamma: as for gray_table.

    Returns:
        Mode L for gray, RGB for everything else.
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
    """Whether the channels of a picture of mode L or RGB are the same everywhere."""
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
    """Linear light to sRGB, both in [0, 1] (IEC 61966-2-1)."""
    return np.where(light > 0.0031308, 1.055 * light ** (1 / 2.4) - 0.055, 12.92 * light)
