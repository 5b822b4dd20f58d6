"""Pixels to bytes: a picture in the format that somebody asks for.

The command line and the HTTP API write with the same function, so that a format means the same
in both: its quality, what becomes of transparency, and how large a picture may be.
"""

import io
from pathlib import PurePath

import numpy as np
from PIL import Image

from colorgan.errors import ImageRejected
from colorgan.images.decoding import Pixels, encode_jpeg, encode_png, encode_webp

# The suffixes of a format's files, the usual one first.
SUFFIXES = {
    "png": (".png",),
    "jpeg": (".jpg", ".jpeg"),
    "webp": (".webp",),
    "tiff": (".tif", ".tiff"),
}
PICTURE_FORMATS = tuple(SUFFIXES)

# Pixels a side, by the format's own header (WebP) and by libjpeg (JPEG_MAX_DIMENSION).
_LONGEST_SIDE = {"webp": 16_383, "jpeg": 65_500}
_BAND = 1 << 20  # pixels that are composited at a time
_TIFF_PREDICTOR = 317  # a tag; 2 is the difference to the pixel on the left


def encode(picture_format: str, rgb: Pixels, alpha: Pixels | None = None) -> bytes:
    """A picture's file.

    Args:
        picture_format: one of PICTURE_FORMATS.
        rgb: (height, width, 3) uint8, sRGB.
        alpha: (height, width) uint8 opacity, or None. JPEG knows none: there the picture is
            composited over white.

    Raises:
        ImageRejected: with the reason "too large for the format".
    """
    check_size(picture_format, *rgb.shape[:2])
    if picture_format == "png":
        return encode_png(rgb, alpha)
    if picture_format == "webp":
        return encode_webp(rgb, alpha)
    if picture_format == "tiff":
        return _encode_tiff(rgb, alpha)
    return encode_jpeg(rgb if alpha is None else composite(rgb, alpha))


def find_format(name: str) -> str | None:
    """The format that a file's name asks for by its suffix, or None: "new.JPG" is "jpeg"."""
    suffix = PurePath(name).suffix.lower()
    return next((each for each, known in SUFFIXES.items() if suffix in known), None)


def suffixes() -> str:
    """All that `find_format` knows, for messages."""
    return ", ".join(suffix for known in SUFFIXES.values() for suffix in known)


def check_size(picture_format: str, height: int, width: int) -> None:
    """Raise ImageRejected "too large for the format" where a format holds no such picture."""
    longest = _LONGEST_SIDE.get(picture_format)
    if longest is not None and max(height, width) > longest:
        raise ImageRejected(
            "too large for the format",
            f"{width} x {height}, and {picture_format} holds {longest:,} pixels a side at most; "
            "png and tiff hold more",
        )


def composite(rgb: Pixels, alpha: Pixels, background: int = 255) -> Pixels:
    """A picture over a gray background, white by default, rounded to the nearest.

    Works on bands of rows: beside the result it needs a few megabytes, whatever the picture's size.

    Args:
        rgb: (height, width, 3) uint8.
        alpha: (height, width) uint8 opacity.
        background: 0 to 255.
    """
    result = np.empty_like(rgb)
    rows = max(1, _BAND // max(1, rgb.shape[1]))
    for top in range(0, rgb.shape[0], rows):
        band = slice(top, top + rows)
        opacity = alpha[band, :, None].astype(np.uint16)
        # At most 255 * 255 + 127, which 16 bits hold.
        weighted = rgb[band] * opacity
        weighted += background * (255 - opacity) + 127
        result[band] = weighted // 255
    return result


def _encode_tiff(rgb: Pixels, alpha: Pixels | None) -> bytes:
    buffer = io.BytesIO()
    pixels = rgb if alpha is None else np.dstack([rgb, alpha])
    Image.fromarray(pixels).save(
        buffer, "TIFF", compression="tiff_adobe_deflate", tiffinfo={_TIFF_PREDICTOR: 2}
    )
    return buffer.getvalue()
