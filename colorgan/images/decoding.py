"""Bytes to pixels: decodes a photograph completely, or explains why it cannot be used.

The result is the photograph as a viewer shows it: upright (EXIF orientation applied), in sRGB (an
embedded ICC profile or PNG's gamma applied), with 8 bits per channel. Files are identified by
content, never by name; see colorgan.images.formats.
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
from colorgan.images.orientation import orientation_of, upright
from colorgan.images.scaling import LONGEST, scale

Pixels = npt.NDArray[np.uint8]
Levels = npt.NDArray[np.uint16]

MAX_PIXELS = 50_000_000

# Maximum offset in bytes of a JPEG in a file, and of any other format if only blanks precede it.
_MAX_LEADING = 128
_JPEG_BEGINS = re.compile(rb"\xff\xd8\xff[\xc0\xc1\xc2\xc4\xdb\xdd\xe0-\xef\xfe]")
_BLANKS = b"\0\t\n\r \xef\xbb\xbf"

# A file with fewer bytes cannot be a picture, even if it begins like one.
_SHORTEST = 12

# The share of a JPEG's pixels that may be missing if the file is truncated.
_MOST_MISSING = 0.01

# The side of the thumbnail that is tested for colour, and the range of its middle rows.
_THUMBNAIL = 64
_MIDDLE = (24, 40)

# Pillow's messages for files that are intact, but of an unsupported kind.
_UNKNOWN_KIND = re.compile(
    r"unsupported|not supported|unknown (pixel mode|compression)|cannot handle|palette size",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Photograph:
    """A decoded photograph.

    Attributes:
        rgb: (height, width, 3) uint8, sRGB.
        alpha: (height, width) uint8 opacity, or None if the file has no transparency.
        notes: oddities of the file that were tolerated, each a clause without a full stop.
        deep: (height, width) uint16, the sRGB gray level of the same lightness L; None unless it
            was asked for and the file has more than 8 bits per channel.
    """

    rgb: Pixels
    alpha: Pixels | None = None
    notes: tuple[str, ...] = ()
    deep: Levels | None = None


@dataclass(frozen=True)
class _Raster:
    """The decoded content of a file.

    Attributes:
        color: a picture of mode L or RGB, in sRGB.
        alpha: a picture of mode L, or None.
        orientation: the EXIF orientation; 1 once it is upright.
        notes: as those of `Photograph`.
        deep: as that of `Photograph`.
    """

    color: Image.Image
    alpha: Image.Image | None
    orientation: int
    notes: tuple[str, ...] = ()
    deep: Levels | None = None


def decode(
    data: bytes, max_pixels: int = MAX_PIXELS, page: int | None = None, deep: bool = False
) -> Photograph:
    """Decode a still picture in any colour mode.

    Args:
        data: the complete file.
        max_pixels: the maximum number of pixels.
        page: the number of the page, from 1; None for a file with a single page.
        deep: whether to read the lightness of gray files and of TIFFs with 16 bits, where the file
            has more than 8.

    Raises:
        ImageRejected: with the reason "empty", "not an image", "unsupported format" (a known
            format, or a kind of it, that cannot be read here), "too many pixels", "animated",
            "several pages", "no such page" or "truncated".
    """
    raster = _decode(data, max_pixels, page, deep)
    pixels = np.asarray(raster.color)
    if raster.color.mode == "L":
        pixels = _three(pixels)
    alpha = None if raster.alpha is None else np.asarray(raster.alpha)
    return Photograph(pixels, alpha, raster.notes, raster.deep)


def _three(gray: Pixels) -> Pixels:
    """(height, width) gray as three channels, which a very large picture has only once."""
    if gray.size > MAX_PIXELS:
        return np.broadcast_to(gray[..., None], (*gray.shape, 3))
    return np.repeat(gray[..., None], 3, axis=-1)


def decode_image(image: Image.Image) -> Photograph:
    """Convert a Pillow image of any mode in the same way as `decode` converts a file.

    Raises:
        ImageRejected: its file is damaged, or its mode is not supported.
    """
    try:
        image.load()
        raster = _upright(_convert(image, image.info.get("icc_profile"), None), ())
    except (OSError, ValueError) as error:
        raise ImageRejected("not an image", str(error)) from None
    alpha = None if raster.alpha is None else np.asarray(raster.alpha)
    return Photograph(np.asarray(raster.color.convert("RGB")), alpha)


def decode_colors(data: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode a file like `decode`, but to a Pillow image of mode RGB, without copying its pixels.

    The image carries no metadata of the file, such as a comment, which would be saved with it.

    Raises:
        ImageRejected: see `decode`.
    """
    color = _decode(data, max_pixels, None).color
    if color.mode != "RGB":
        color = color.convert("RGB")
    color.info = {}
    return color


def _decode(data: bytes, max_pixels: int, page: int | None, deep: bool = False) -> _Raster:
    """Decode a file to an upright picture; raises ImageRejected."""
    if not data:
        raise ImageRejected("empty", "the file has no bytes")
    start, found = locate(data)
    if found is None:
        raise ImageRejected("not an image", f"none of {formats.readable_names()}")
    if not found.readable:
        raise ImageRejected("unsupported format", f"{found}: {found.way_out}")
    notes = (f"{start} bytes before the picture were skipped",) if start else ()
    # Pillow's decoders raise many kinds of exceptions for damaged data, TypeError among them.
    try:
        raster = _read(data[start:] if start else data, found, max_pixels, page, deep)
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


def locate(data: bytes) -> tuple[int, Format | None]:
    """The offset of the picture in a file, normally 0, and its format, or None if it has none."""
    found = formats.identify(data)
    if found is not None:
        return 0, found
    blanks = len(data) - len(data[: _MAX_LEADING + 1].lstrip(_BLANKS) + data[_MAX_LEADING + 1 :])
    if 0 < blanks <= _MAX_LEADING and (found := formats.identify(data[blanks:])) is not None:
        return blanks, found
    begins = _JPEG_BEGINS.search(data, 0, _MAX_LEADING + 4)
    return (begins.start(), formats.JPEG) if begins else (0, None)


def _read(data: bytes, found: Format, max_pixels: int, page: int | None, deep: bool) -> _Raster:
    if found is formats.TIFF:
        return _read_tiff(data, max_pixels, page, deep)
    if page is not None and page != 1:
        raise ImageRejected("no such page", f"--page {page}: the file has one page")
    profile = gamma = None
    notes: tuple[str, ...] = ()
    hidden = None
    if found is formats.PNG:
        prepared = png.prepare(data)
        data, hidden, notes = prepared.data, prepared.hidden, prepared.notes
        profile, gamma = prepared.profile, prepared.gamma
    with open_picture(data, found, max_pixels) as image:
        # Phones append a second picture (a preview or a gain map) to the first one.
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
        return _convert(image, profile, gamma, notes, deep)


def _read_tiff(data: bytes, max_pixels: int, number: int | None, deep: bool) -> _Raster:
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
            with open_picture(tiff_structure.with_first(page), formats.TIFF, max_pixels) as image:
                image.load()
                return _convert(image, image.info.get("icc_profile"), None)
        picture = tiff.read(page, layout, max_pixels, deep)
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
    orientation = page.number(tiff_structure.ORIENTATION, 1)
    return _Raster(color, alpha, orientation, picture.notes, picture.deep)


def open_picture(data: bytes, found: Format, max_pixels: int) -> ImageFile.ImageFile:
    """Open a file with the plugin of its format only, so that the plugin's own message is kept.

    Raises:
        ImageRejected: "too many pixels".
        Exception: the file is damaged; there are many kinds.
    """
    if found is formats.HEIC:
        import pillow_heif  # the extra heif

        opener: Callable[..., ImageFile.ImageFile] = pillow_heif.HeifImageFile
    else:
        Image.preinit()  # the most common plugins; importing all of them takes longer
        if found.plugin not in Image.OPEN:
            Image.init()
        opener = Image.OPEN[found.plugin][0]
    image = opener(io.BytesIO(data), "")
    # The size in the header is checked first, because a decompression bomb must not be decoded.
    try:
        _check_size(image.width, image.height, max_pixels)
    except ImageRejected:
        image.close()
        raise
    if found is formats.TIFF:  # with memory of its own, Pillow does not check the size by itself
        image.im = Image.new(image.mode, getattr(image, "_tile_size", image.size)).im
    return image


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageRejected("too many pixels", f"{width} x {height}, more than {max_pixels:,}")


def _convert(
    image: Image.Image,
    profile: bytes | None,
    gamma: float | None,
    notes: tuple[str, ...] = (),
    deep: bool = False,
) -> _Raster:
    """Convert a loaded picture of any mode to sRGB."""
    orientation = orientation_of(image)
    if image.mode.startswith("I;16"):
        levels = np.asarray(image, dtype=np.uint16)
        color = Image.fromarray(tones.gray_table(profile, gamma)[levels])
        hidden = image.info.get("transparency")
        alpha = None
        if isinstance(hidden, int):
            alpha = Image.fromarray((levels != hidden).astype(np.uint8) * np.uint8(255))
        depths = tones.deep_gray_table(profile, gamma)[levels] if deep else None
        return _Raster(color, alpha, orientation, notes, depths)
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


def _upright(raster: _Raster, notes: tuple[str, ...]) -> _Raster:
    color, alpha, deep = raster.color, raster.alpha, raster.deep
    if raster.orientation != 1:
        color = upright(color, raster.orientation)
        alpha = alpha and upright(alpha, raster.orientation)
        if deep is not None:
            deep = np.asarray(upright(Image.fromarray(deep), raster.orientation))
    return _Raster(color, alpha, 1, notes, deep)


def _image(picture: Pixels | Image.Image) -> Image.Image:
    return picture if isinstance(picture, Image.Image) else Image.fromarray(picture)


def content_hash(picture: Pixels | Image.Image) -> str:
    """SHA-256 (hex) of the pixels and their shape, equal for any lossless format of a picture.

    Args:
        picture: (height, width, 3) uint8, or a Pillow image of mode RGB.
    """
    rgb = np.ascontiguousarray(picture)
    digest = hashlib.sha256(struct.pack("<II", *rgb.shape[:2]))
    digest.update(rgb.data)
    return digest.hexdigest()


def is_grayscale(picture: Pixels | Image.Image, tolerance: int = 12) -> bool:
    """Whether a photograph has no colour to learn from.

    This is the case if fewer than 1 % of the pixels of its thumbnail have channels that differ by
    more than `tolerance`, which allows for JPEG's colour noise in a scanned grayscale photograph.

    Args:
        picture: (height, width, 3) uint8, or a Pillow image of mode RGB.
        tolerance: the largest difference between a gray pixel's channels, of 255.
    """
    image = _image(picture)
    # The middle of the thumbnail, a quarter of the work, is enough for most photographs. Its levels
    # may differ by 2 from the whole thumbnail's, because Pillow chooses the axis it rounds first.
    top, bottom = (image.height * row / _THUMBNAIL for row in _MIDDLE)
    if max(image.size) <= LONGEST:
        size = (_THUMBNAIL, _MIDDLE[1] - _MIDDLE[0])
        box = (0, top, image.width, bottom)
        if _is_colorful(image.resize(size, Image.Resampling.BOX, box), tolerance + 4):
            return False
    whole = scale(image, (_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX)
    return not _is_colorful(whole, tolerance)


def _is_colorful(thumbnail: Image.Image, tolerance: int) -> bool:
    """Whether a thumbnail, or a part of one, has as many coloured pixels as 1 % of a whole one."""
    red, green, blue = np.moveaxis(np.asarray(thumbnail), -1, 0)
    # NumPy's max over the short last axis would take four times as long.
    spread = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    return int(np.count_nonzero(spread > tolerance)) / _THUMBNAIL**2 >= 0.01


def resize_short_side(rgb: Pixels, size: int) -> Pixels:
    """Scale so that the short side is `size` pixels; a smaller photograph is left unchanged."""
    return rgb if min(rgb.shape[:2]) <= size else np.asarray(shrink(_image(rgb), size))


def shrink(image: Image.Image, size: int) -> Image.Image:
    """`resize_short_side` for Pillow images; a smaller image is returned as it is."""
    width, height = image.size
    short = min(height, width)
    if short <= size:
        return image
    target = (max(size, round(width * size / short)), max(size, round(height * size / short)))
    return scale(image, target, Image.Resampling.LANCZOS)


def resize_square(rgb: Pixels, size: int) -> Pixels:
    """Scale the whole photograph to a `size` x `size` square, as pix2pix does for its generator."""
    return resize(rgb, size, size)


def resize(rgb: Pixels, height: int, width: int) -> Pixels:
    """Scale a (…, …, 3) photograph to (height, width, 3), in memory bounded by its own size."""
    if rgb.shape[:2] == (height, width):
        return rgb
    scaled = np.asarray(scale(to_image(rgb), (width, height), Image.Resampling.BICUBIC))
    return scaled if scaled.ndim == 3 else np.repeat(scaled[..., None], 3, axis=-1)


def to_image(rgb: Pixels) -> Image.Image:
    """A Pillow image of mode RGB, or L of a gray picture whose channels are the same memory."""
    return Image.fromarray(rgb if rgb.strides[2] else rgb[..., 0])


def encode_jpeg(picture: Pixels | Image.Image, quality: int = 95) -> bytes:
    """Encode a JPEG without chroma subsampling, because models learn its colours.

    Args:
        picture: (height, width, 3) uint8, or a Pillow image of mode RGB.
        quality: libjpeg's quality, 1 to 100.
    """
    buffer = io.BytesIO()
    _image(picture).save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def encode_png(rgb: Pixels, alpha: Pixels | None = None) -> bytes:
    """Encode a PNG from (height, width, 3) uint8 pixels and an optional (height, width) alpha."""
    buffer = io.BytesIO()
    pixels = rgb if alpha is None else np.dstack([rgb, alpha])
    # Level 3 would be 2 % smaller and 25 % slower.
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def encode_webp(rgb: Pixels, alpha: Pixels | None = None, quality: int = 90) -> bytes:
    """Encode a WebP from (height, width, 3) uint8 pixels and an optional (height, width) alpha."""
    buffer = io.BytesIO()
    pixels = rgb if alpha is None else np.dstack([rgb, alpha])
    Image.fromarray(pixels).save(buffer, "WEBP", quality=quality, method=2)
    return buffer.getvalue()
