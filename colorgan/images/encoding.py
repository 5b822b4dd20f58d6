"""Pixels to bytes: encodes a picture in a requested format.

The command line and the HTTP API use the same function, so that quality, transparency and size
limits of a format are the same in both.
"""

import io
from pathlib import PurePath
from typing import Any

import numpy as np
from PIL import Image

from colorgan.errors import ConfigError, ImageRejected
from colorgan.images import formats
from colorgan.images.decoding import Pixels
from colorgan.images.tags import Tags
from colorgan.images.tiff_writing import write_tiff

# The file suffixes of each format, the usual one first.
SUFFIXES = {
    "png": (".png",),
    "jpeg": (".jpg", ".jpeg"),
    "webp": (".webp",),
    "tiff": (".tif", ".tiff"),
    "avif": (".avif",),
}
PICTURE_FORMATS = tuple(SUFFIXES)

# The options of Pillow's encoders. Colours have their full resolution (4:4:4) in JPEG and AVIF.
_ENCODERS: dict[str, dict[str, Any]] = {
    "png": {"compress_level": 1},  # 3 would be 2 % smaller and 25 % slower
    "jpeg": {"quality": 95, "subsampling": 0},
    "webp": {"quality": 90, "method": 2},
    "avif": {"quality": 85, "subsampling": "4:4:4"},
}
# The formats that do not keep every pixel.
LOSSY = tuple(name for name, options in _ENCODERS.items() if "quality" in options)

# Maximum pixels per side, by WebP's header format, by libjpeg (JPEG_MAX_DIMENSION) and by libavif,
# whose decoders take no more by default.
_LONGEST_SIDE = {"webp": 16_383, "jpeg": 65_500, "avif": 32_768}
_BAND = 1 << 20  # pixels composited at a time


def encode(picture_format: str, rgb: Pixels, alpha: Pixels | None = None) -> bytes:
    """Encode a picture as a file.

    Args:
        picture_format: one of PICTURE_FORMATS.
        rgb: (height, width, 3) uint8, sRGB.
        alpha: (height, width) uint8 opacity, or None. JPEG has no opacity, so the picture is
            composited over white.

    Raises:
        ImageRejected: with the reason "too large for the format".
    """
    check_size(picture_format, *rgb.shape[:2])
    if picture_format == "jpeg" and alpha is not None:
        rgb, alpha = composite(rgb, alpha), None
    pixels = rgb if alpha is None else np.dstack([rgb, alpha])
    if picture_format == "tiff":
        return write_tiff([pixels], (rgb.shape[1], rgb.shape[0]), Tags(), {})
    return save(Image.fromarray(pixels), picture_format)


def save(
    image: Image.Image, picture_format: str, quality: int | None = None, **extras: Any
) -> bytes:
    """Encode a picture of mode RGB or RGBA in a format that Pillow writes.

    Args:
        image: the picture.
        picture_format: one of PICTURE_FORMATS, but not TIFF; see `write_tiff`.
        quality: 1 to 100; None for the default of the format.
        extras: further options of Pillow's encoder, as `exif`.
    """
    options = _ENCODERS[picture_format] | ({} if quality is None else {"quality": quality})
    buffer = io.BytesIO()
    image.save(buffer, picture_format.upper(), **options, **extras)
    return buffer.getvalue()


def is_writable(picture_format: str) -> bool:
    """Whether this installation can write a format of PICTURE_FORMATS."""
    return picture_format != "avif" or formats.AVIF.readable


def check_format(picture_format: str) -> None:
    """Raise ConfigError if this installation cannot write a format of PICTURE_FORMATS."""
    if not is_writable(picture_format):
        raise ConfigError(f"this Pillow does not write AVIF: {formats.AVIF.way_out}")


def find_format(name: str) -> str | None:
    """The format for a file name's suffix ("jpeg" for "new.JPG"), or None if it is unknown."""
    suffix = PurePath(name).suffix.lower()
    return next((each for each, known in SUFFIXES.items() if suffix in known), None)


def suffixes() -> str:
    """All suffixes that `find_format` knows, for messages."""
    return ", ".join(suffix for known in SUFFIXES.values() for suffix in known)


def check_size(picture_format: str, height: int, width: int) -> None:
    """Raise ImageRejected "too large for the format" if the format cannot hold the picture."""
    longest = _LONGEST_SIDE.get(picture_format)
    if longest is not None and max(height, width) > longest:
        raise ImageRejected(
            "too large for the format",
            f"{width} x {height}, and {picture_format} holds {longest:,} pixels a side at most; "
            "png and tiff hold more",
        )


def composite(rgb: Pixels, alpha: Pixels, background: int = 255) -> Pixels:
    """Composite a picture over a gray background, white by default, rounded to nearest.

    It works on bands of rows, so that it needs only a few megabytes in addition to the result.

    Args:
        rgb: (height, width, 3) uint8.
        alpha: (height, width) uint8 opacity.
        background: gray level, 0 to 255.
    """
    result = np.empty_like(rgb)
    rows = max(1, _BAND // max(1, rgb.shape[1]))
    for top in range(0, rgb.shape[0], rows):
        band = slice(top, top + rows)
        opacity = alpha[band, :, None].astype(np.uint16)
        # At most 255 * 255 + 127, which fits into 16 bits.
        weighted = rgb[band] * opacity
        weighted += background * (255 - opacity) + 127
        result[band] = weighted // 255
    return result
