"""Bytes to pixels: decode a photograph fully, or say why it cannot be used.

What comes out is the photograph as its viewer sees it: upright (EXIF orientation applied), in sRGB
(an embedded ICC profile applied), 8 bits a channel. Files are judged by content, never by name.
"""

import hashlib
import io
import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, UnidentifiedImageError

from colorgan.errors import ImageRejected

Pixels = npt.NDArray[np.uint8]

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
MAX_PIXELS = 50_000_000

# The EXIF tag of the orientation, and what turns each of its values upright.
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Photograph:
    """A decoded photograph.

    Attributes:
        rgb: (height, width, 3) uint8, sRGB.
        alpha: (height, width) uint8 opacity, or None where the file has no transparency.
        notes: sentences on what was odd about the file, for its user.
    """

    rgb: Pixels
    alpha: Pixels | None = None
    notes: tuple[str, ...] = ()


def decode(data: bytes, max_pixels: int = MAX_PIXELS, page: int | None = None) -> Photograph:
    """Decode a still image of one of FORMATS in any colour mode.

    Raises:
        ImageRejected: with the reason "not an image", "too many pixels", "animated" or "truncated".
    """
    # On damaged data Pillow's decoders raise a dozen kinds of exceptions, TypeError among them.
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise ImageRejected("not an image", f"none of {', '.join(FORMATS)}") from None
    except Image.DecompressionBombError:
        raise ImageRejected("too many pixels", f"more than {max_pixels:,}") from None
    except Exception as error:
        raise ImageRejected("truncated", f"the header is damaged: {error}") from None
    with image:
        # The header's word is enough to refuse: a decompression bomb must not be decoded first.
        if image.width * image.height > max_pixels:
            raise ImageRejected(
                "too many pixels", f"{image.width} x {image.height}, more than {max_pixels:,}"
            )
        try:
            # Telephones write MPO: a JPEG with a second picture (a preview, a gain map) behind it.
            frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
            if frames > 1:
                if page is None:
                    raise ImageRejected("animated", f"{frames} frames")
                if page > frames:
                    raise ImageRejected("no such page", f"{frames} pages")
                image.seek(page - 1)
            image.load()
            return _photograph(image)
        except ImageRejected:
            raise
        except Exception as error:
            raise ImageRejected("truncated", str(error)) from None


def _photograph(image: Image.Image) -> Photograph:
    profile = image.info.get("icc_profile")
    upright = _upright(image)
    if upright.mode.startswith("I;16"):
        # 16-bit grayscale: Pillow's own conversion would clip at 255 instead of scaling.
        gray = (np.asarray(upright, dtype=np.uint16) >> 8).astype(np.uint8)
        return Photograph(np.stack([gray] * 3, axis=-1))
    if upright.mode in ("I", "F"):
        values = np.asarray(upright, dtype=np.float64)
        scale = 65535.0 if upright.mode == "I" else max(float(values.max(initial=0.0)), 1.0)
        gray = (values.clip(0, scale) * (255 / scale)).round().astype(np.uint8)
        return Photograph(np.stack([gray] * 3, axis=-1))
    alpha = None
    if upright.has_transparency_data:
        upright = upright.convert("RGBA")
        alpha = np.asarray(upright.getchannel("A"))
        upright = upright.convert("RGB")
    elif upright.mode not in ("RGB", "L", "CMYK"):
        upright = upright.convert("RGB")
    return Photograph(np.asarray(_to_srgb(upright, profile)), alpha)


def _upright(image: Image.Image) -> Image.Image:
    # ImageOps.exif_transpose also writes the other tags back, and fails on those that are odd.
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception:  # damaged EXIF says nothing about the orientation
        orientation = None
    method = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if method is None else image.transpose(method)


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Apply an embedded ICC profile where it fits the picture; a damaged one is ignored."""
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(
                image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
        except (ImageCms.PyCMSError, OSError, ValueError):
            converted = None
        if converted is not None:
            return converted
    return image.convert("RGB")


def content_hash(rgb: Pixels) -> str:
    """SHA-256 (hex) of the pixels and their shape: the same picture in any lossless container."""
    digest = hashlib.sha256(struct.pack("<II", *rgb.shape[:2]))
    digest.update(np.ascontiguousarray(rgb).data)
    return digest.hexdigest()


def is_grayscale(rgb: Pixels, tolerance: int = 12) -> bool:
    """Whether a photograph has no colour to learn from.

    It has none when fewer than 1 % of its pixels have channels that differ by more than `tolerance`
    (of 255), which leaves room for the colour noise of JPEG in a scanned grayscale photograph.
    """
    thumbnail = Image.fromarray(rgb).resize((64, 64), Image.Resampling.BOX)
    channels = np.asarray(thumbnail, dtype=np.int16)
    spread = channels.max(axis=-1) - channels.min(axis=-1)
    return float((spread > tolerance).mean()) < 0.01


def resize_short_side(rgb: Pixels, size: int) -> Pixels:
    """Scale so that the short side is `size` pixels; a smaller photograph stays as it is."""
    height, width = rgb.shape[:2]
    short = min(height, width)
    if short <= size:
        return rgb
    target = (max(size, round(width * size / short)), max(size, round(height * size / short)))
    return np.asarray(Image.fromarray(rgb).resize(target, Image.Resampling.LANCZOS))


def resize_square(rgb: Pixels, size: int) -> Pixels:
    """The whole photograph as a `size` x `size` square, as pix2pix feeds its generator."""
    if rgb.shape[:2] == (size, size):
        return rgb
    return np.asarray(Image.fromarray(rgb).resize((size, size), Image.Resampling.BICUBIC))


def encode_jpeg(rgb: Pixels, quality: int = 95) -> bytes:
    """A JPEG without chroma subsampling, because colour is what is learned from it."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def encode_png(rgb: Pixels, alpha: Pixels | None = None) -> bytes:
    """A PNG of (height, width, 3) uint8 pixels, with the (height, width) alpha where given."""
    buffer = io.BytesIO()
    pixels = rgb if alpha is None else np.dstack([rgb, alpha])
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)  # 3: 2 % smaller, 25 % slower
    return buffer.getvalue()


def encode_webp(rgb: Pixels, alpha: Pixels | None = None, quality: int = 90) -> bytes:
    """A WebP of (height, width, 3) uint8 pixels, with the (height, width) alpha where given."""
    buffer = io.BytesIO()
    pixels = rgb if alpha is None else np.dstack([rgb, alpha])
    Image.fromarray(pixels).save(buffer, "WEBP", quality=quality, method=2)
    return buffer.getvalue()
