"""Bytes to pixels: decode a photograph fully, or say why it cannot be used.

What comes out is the photograph as its viewer sees it: upright (EXIF orientation applied), in sRGB
(an embedded ICC profile or PNG's gamma applied), 8 bits a channel. Files are judged by content,
never by name; colorgan.images.formats knows the formats.
"""

import hashlib
import io
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile

from colorgan.errors import ImageRejected
from colorgan.images import formats, jpeg, png, tiff, tiff_structure, tones
from colorgan.images.formats import Format
from colorgan.images.scaling import LONGEST, scale

Pixels = npt.NDArray[np.uint8]

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

# How far behind the beginning of a file a JPEG may begin, and any other format behind blanks.
_MAX_LEADING = 128
_JPEG_BEGINS = re.compile(rb"\xff\xd8\xff[\xc0\xc1\xc2\xc4\xdb\xdd\xe0-\xef\xfe]")
_BLANKS = b"\0\t\n\r \xef\xbb\xbf"

# A file of fewer bytes may begin like a picture, and is none.
_SHORTEST = 12

# The share of a JPEG's pixels that may be lost with the file's end.
_MOST_MISSING = 0.01

# The side of the thumbnail that shows whether there is colour, and the rows in its middle.
_THUMBNAIL = 64
_MIDDLE = (24, 40)

# What Pillow's words begin with, or hold, when a file is whole and of a kind that it does not know.
_UNKNOWN_KIND = re.compile(
    r"unsupported|not supported|unknown (pixel mode|compression)|cannot handle|palette size",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Photograph:
    """A decoded photograph.

    Attributes:
        rgb: (height, width, 3) uint8, sRGB.
        alpha: (height, width) uint8 opacity, or None where the file has no transparency.
        notes: what was odd about the file and was forgiven, each a clause without a full stop.
    """

    rgb: Pixels
    alpha: Pixels | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Raster:
    """What a file shows.

    Attributes:
        color: mode L or RGB, sRGB.
        alpha: mode L, or None.
        orientation: EXIF's; 1 once it is upright.
        notes: a photograph's.
    """

    color: Image.Image
    alpha: Image.Image | None
    orientation: int
    notes: tuple[str, ...] = ()


def decode(data: bytes, max_pixels: int = MAX_PIXELS, page: int | None = None) -> Photograph:
    """Decode a still picture in any colour mode.

    Args:
        data: the whole file.
        max_pixels: the most pixels that it may have.
        page: which of a file's pages, from 1; None where it has but one.

    Raises:
        ImageRejected: with the reason "empty", "not an image", "unsupported format" (a known
            format, or a kind of it, that cannot be read here), "too many pixels", "animated",
            "several pages", "no such page" or "truncated".
    """
    raster = _decode(data, max_pixels, page)
    pixels = np.asarray(raster.color)
    if raster.color.mode == "L":
        pixels = np.repeat(pixels[..., None], 3, axis=-1)
    alpha = None if raster.alpha is None else np.asarray(raster.alpha)
    return Photograph(pixels, alpha, raster.notes)


def decode_image(image: Image.Image) -> Photograph:
    """A picture of Pillow's in any mode, as `decode` gives that of a file.

    Raises:
        ImageRejected: its file is damaged, or its mode is not known.
    """
    try:
        image.load()
        raster = _upright(_convert(image, image.info.get("icc_profile"), None), ())
    except (OSError, ValueError) as error:
        raise ImageRejected("not an image", str(error)) from None
    alpha = None if raster.alpha is None else np.asarray(raster.alpha)
    return Photograph(np.asarray(raster.color.convert("RGB")), alpha)


def decode_colors(data: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """What `decode` gives as `rgb`, as a picture of mode RGB, which Pillow works on without a copy.

    It has nothing else of the file, such as its comment, which would be saved with it.

    Raises:
        ImageRejected: as `decode`.
    """
    color = _decode(data, max_pixels, None).color
    if color.mode != "RGB":
        color = color.convert("RGB")
    color.info = {}
    return color


def _decode(data: bytes, max_pixels: int, page: int | None) -> _Raster:
    """What a file shows, upright; raises ImageRejected."""
    if not data:
        raise ImageRejected("empty", "the file has no bytes")
    start, found = _locate(data)
    if found is None:
        raise ImageRejected("not an image", f"none of {formats.readable_names()}")
    if not found.readable:
        raise ImageRejected("unsupported format", f"{found}: {found.way_out}")
    notes = (f"{start} bytes before the picture were skipped",) if start else ()
    # On damaged data Pillow's decoders raise a dozen kinds of exceptions, TypeError among them.
    try:
        raster = _read(data[start:], found, max_pixels, page)
        return _upright(raster, notes + raster.notes)
    except ImageRejected:
        raise
    except Image.DecompressionBombError:
        raise ImageRejected("too many pixels", f"more than {max_pixels:,}") from None
    except Exception as error:
        if len(data) < _SHORTEST or (start and found is not formats.JPEG):
            raise ImageRejected("not an image", f"none of {formats.readable_names()}") from None
        if _UNKNOWN_KIND.search(str(error)):
            raise ImageRejected(
                "unsupported format", f"{found} of an unusual kind, {error}: {formats.SAVE_ANEW}"
            ) from None
        raise ImageRejected("truncated", f"{found}: {error}") from None


def _locate(data: bytes) -> tuple[int, Format | None]:
    """Where the picture begins, which is 0 for all but odd files, and its format."""
    found = formats.identify(data)
    if found is not None:
        return 0, found
    blanks = len(data) - len(data[: _MAX_LEADING + 1].lstrip(_BLANKS) + data[_MAX_LEADING + 1 :])
    if 0 < blanks <= _MAX_LEADING and (found := formats.identify(data[blanks:])) is not None:
        return blanks, found
    begins = _JPEG_BEGINS.search(data, 0, _MAX_LEADING + 4)
    return (begins.start(), formats.JPEG) if begins else (0, None)


def _read(data: bytes, found: Format, max_pixels: int, page: int | None) -> _Raster:
    if found is formats.TIFF:
        return _read_tiff(data, max_pixels, page)
    if page is not None and page != 1:
        raise ImageRejected("no such page", f"--page {page}: the file has one page")
    profile = gamma = None
    notes: tuple[str, ...] = ()
    hidden = None
    if found is formats.PNG:
        prepared = png.prepare(data)
        data, hidden, notes = prepared.data, prepared.hidden, prepared.notes
        profile, gamma = prepared.profile, prepared.gamma
    with _open(data, found, max_pixels) as image:
        # Telephones write a second picture (a preview, a gain map) behind the first one.
        several = found in (formats.JPEG, formats.HEIC)
        frames = 1 if several else getattr(image, "n_frames", 1)
        if frames > 1:
            raise ImageRejected("animated", f"{frames} frames")
        try:
            image.load()
        except OSError:
            mended = jpeg.complete(data, _MOST_MISSING) if found is formats.JPEG else None
            if mended is None:
                raise
            return _convert(
                mended, mended.info.get("icc_profile"), None, ("the end of the file is missing",)
            )
        if hidden is not None:
            image.info["transparency"] = hidden
        if found is not formats.PNG:
            profile = image.info.get("icc_profile")
        return _convert(image, profile, gamma, notes)


def _read_tiff(data: bytes, max_pixels: int, number: int | None) -> _Raster:
    pages = tiff_structure.read(data).pages
    if number is None and len(pages) > 1:
        raise ImageRejected("several pages", f"{len(pages)} pages; --page N colours one of them")
    if number is not None and not 1 <= number <= max(1, len(pages)):
        has = f"{len(pages)} pages" if len(pages) > 1 else "one page"
        raise ImageRejected("no such page", f"--page {number}: the file has {has}")
    if not pages:
        raise OSError("it has no picture")
    page = pages[number - 1 if number else 0]
    _check_size(page.number(tiff_structure.WIDTH), page.number(tiff_structure.HEIGHT), max_pixels)
    layout = tiff.layout_of(page)
    try:
        if layout is None:
            with _open(tiff.with_first(page), formats.TIFF, max_pixels) as image:
                image.load()
                return _convert(image, image.info.get("icc_profile"), None)
        picture = tiff.read(page, layout, max_pixels)
    except (OSError, RuntimeError, SyntaxError, KeyError) as error:
        compression = tiff.unusual_compression(page)
        if compression and not isinstance(error, Image.DecompressionBombError):
            raise ImageRejected(
                "unsupported format", f"TIFF compressed with {compression}: {formats.SAVE_ANEW}"
            ) from None
        raise
    color = Image.fromarray(picture.color)
    if color.mode == "RGB":
        color = tones.to_srgb(color, page.content(tiff_structure.ICC_PROFILE))
    alpha = None if picture.alpha is None else Image.fromarray(picture.alpha)
    return _Raster(color, alpha, page.number(tiff_structure.ORIENTATION, 1), picture.notes)


def _open(data: bytes, found: Format, max_pixels: int) -> ImageFile.ImageFile:
    """Open a file with the one plugin of its format, whose own words say what it does not like."""
    if found is formats.HEIC:
        import pillow_heif  # the extra heif

        opener: Callable[..., ImageFile.ImageFile] = pillow_heif.HeifImageFile
    else:
        Image.preinit()  # the commonest plugins; all of them take a while to import
        if found.plugin not in Image.OPEN:
            Image.init()
        opener = Image.OPEN[found.plugin][0]
    image = opener(io.BytesIO(data), "")
    # The header's word is enough to refuse: a decompression bomb must not be decoded first.
    try:
        _check_size(image.width, image.height, max_pixels)
    except ImageRejected:
        image.close()
        raise
    return image


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageRejected("too many pixels", f"{width} x {height}, more than {max_pixels:,}")


def _convert(
    image: Image.Image, profile: bytes | None, gamma: float | None, notes: tuple[str, ...] = ()
) -> _Raster:
    """A loaded picture of any mode in sRGB."""
    orientation = _orientation(image)
    if image.mode.startswith("I;16"):
        levels = np.asarray(image, dtype=np.uint16)
        color = Image.fromarray(tones.gray_table(profile, gamma)[levels])
        hidden = image.info.get("transparency")
        alpha = None
        if isinstance(hidden, int):
            alpha = Image.fromarray((levels != hidden).astype(np.uint8) * np.uint8(255))
        return _Raster(color, alpha, orientation, notes)
    alpha = None
    if image.has_transparency_data:
        whole = image.convert("RGBA")
        alpha = whole.getchannel("A")
        image = whole.convert("RGB")
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode not in ("RGB", "L", "CMYK", "LAB"):
        image = image.convert("RGB")
    return _Raster(tones.to_srgb(image, profile, gamma), alpha, orientation, notes)


def _orientation(image: Image.Image) -> int:
    # ImageOps.exif_transpose also writes the other tags back, and fails on those that are odd.
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception:  # damaged EXIF says nothing about the orientation
        orientation = None
    return orientation if isinstance(orientation, int) else 1


def _upright(raster: _Raster, notes: tuple[str, ...]) -> _Raster:
    method = _UPRIGHT.get(raster.orientation)
    color, alpha = raster.color, raster.alpha
    if method is not None:
        color = color.transpose(method)
        alpha = alpha and alpha.transpose(method)
    return _Raster(color, alpha, 1, notes)


def _image(picture: Pixels | Image.Image) -> Image.Image:
    return picture if isinstance(picture, Image.Image) else Image.fromarray(picture)


def content_hash(picture: Pixels | Image.Image) -> str:
    """SHA-256 (hex) of the pixels and their shape: the same picture in any lossless container.

    Args:
        picture: (height, width, 3) uint8, or the same as a picture of mode RGB.
    """
    rgb = np.ascontiguousarray(picture)
    digest = hashlib.sha256(struct.pack("<II", *rgb.shape[:2]))
    digest.update(rgb.data)
    return digest.hexdigest()


def is_grayscale(picture: Pixels | Image.Image, tolerance: int = 12) -> bool:
    """Whether a photograph has no colour to learn from.

    It has none when fewer than 1 % of its pixels have channels that differ by more than `tolerance`
    (of 255), which leaves room for the colour noise of JPEG in a scanned grayscale photograph.

    Args:
        picture: (height, width, 3) uint8, or the same as a picture of mode RGB.
        tolerance: as above.
    """
    image = _image(picture)
    # The middle of the thumbnail, a quarter of the work, is enough for most photographs. Its levels
    # may be 2 from the whole thumbnail's, for Pillow chooses which direction it rounds first.
    top, bottom = (image.height * row / _THUMBNAIL for row in _MIDDLE)
    if max(image.size) <= LONGEST:
        size = (_THUMBNAIL, _MIDDLE[1] - _MIDDLE[0])
        box = (0, top, image.width, bottom)
        if _is_colorful(image.resize(size, Image.Resampling.BOX, box), tolerance + 4):
            return False
    whole = scale(image, (_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX)
    return not _is_colorful(whole, tolerance)


def _is_colorful(thumbnail: Image.Image, tolerance: int) -> bool:
    """Whether it, or a part of it, has colour in as many pixels as 1 % of the whole one."""
    red, green, blue = np.moveaxis(np.asarray(thumbnail), -1, 0)
    # Over the last axis itself, which is short, NumPy would take four times as long.
    spread = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    return int(np.count_nonzero(spread > tolerance)) / _THUMBNAIL**2 >= 0.01


def resize_short_side(rgb: Pixels, size: int) -> Pixels:
    """Scale so that the short side is `size` pixels; a smaller photograph stays as it is."""
    return rgb if min(rgb.shape[:2]) <= size else np.asarray(shrink(_image(rgb), size))


def shrink(image: Image.Image, size: int) -> Image.Image:
    """As `resize_short_side`, of a picture of Pillow's to another, or itself."""
    width, height = image.size
    short = min(height, width)
    if short <= size:
        return image
    target = (max(size, round(width * size / short)), max(size, round(height * size / short)))
    return scale(image, target, Image.Resampling.LANCZOS)


def resize_square(rgb: Pixels, size: int) -> Pixels:
    """The whole photograph as a `size` x `size` square, as pix2pix feeds its generator."""
    if rgb.shape[:2] == (size, size):
        return rgb
    return np.asarray(scale(Image.fromarray(rgb), (size, size), Image.Resampling.BICUBIC))


def encode_jpeg(picture: Pixels | Image.Image, quality: int = 95) -> bytes:
    """A JPEG without chroma subsampling, because colour is what is learned from it.

    Args:
        picture: (height, width, 3) uint8, or the same as a picture of mode RGB.
        quality: libjpeg's, 1 to 100.
    """
    buffer = io.BytesIO()
    _image(picture).save(buffer, "JPEG", quality=quality, subsampling=0)
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
