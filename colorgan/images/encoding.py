"""Pixels to bytes: encodes a picture in a requested format.

The command line and the HTTP API use the same function, so that quality, transparency and size
limits of a format are the same in both.
"""

import io
from pathlib import PurePath

import numpy as np
from PIL import Image

from colorgan.errors import ImageRejected
from colorgan.images.decoding import Pixels, encode_jpeg, encode_png, encode_webp

# The file suffixes of each format, the usual one first.
SUFFIXES = {
    "png": (".png",),
    "jpeg": (".jpg", ".jpeg"),
    "webp": (".webp",),
    "tiff": (".tif", ".tiff"),
}
PICTURE_FORMATS = tuple(SUFFIXES)

# Maximum pixels per side, by WebP's header format and by libjpeg (JPEG_MAX_DIMENSION).
_LONGEST_SIDE = {"webp": 16_383, "jpeg": 65_500}
_BAND = 1 << 20  # pixels composited at a time
_TIFF_PREDICTOR = 317  # a tag; the value 2 is the difference from the pixel on the left


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
    if picture_format == "png":
        return encode_png(rgb, alpha)
    if picture_format == "webp":
        return encode_webp(rgb, alpha)
    if picture_format == "tiff":
        return _encode_tiff(rgb, alpha)
    return encode_jpeg(rgb if alpha is None else composite(rgb, alpha))


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


def _encode_tiff(rgb: Pixels, alpha: Pixels | None) -> bytes:
    buffer = io.BytesIO()
    pixels = rgb if alpha is None else np.dstack([rgb, alpha])
    Image.fromarray(pixels).save(
        buffer, "TIFF", compression="tiff_adobe_deflate", tiffinfo={_TIFF_PREDICTOR: 2}
    )
    return buffer.getvalue()
