"""A colouring to a file: its format, its depth, and what it keeps of the original's own things.

The command line, jobs and the HTTP API use the same function. docs/formats.md says which format
keeps what.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, PngImagePlugin

from colorgan.errors import ConfigError, ImageRejected
from colorgan.images import formats, tiff_structure, tones
from colorgan.images.decoding import MAX_PIXELS, Levels, Photograph, decode, locate
from colorgan.images.encoding import (
    LOSSY,
    SUFFIXES,
    check_format,
    check_size,
    composite,
    find_format,
    is_writable,
    save,
)
from colorgan.images.metadata import (
    Metadata,
    jpeg_segments,
    packed,
    photoshop_resources,
    read_metadata,
)
from colorgan.images.png import XMP
from colorgan.images.tiff_writing import write_tiff

Strip = npt.NDArray[Any]
# The colouring in strips of rows; of 16 bits, if it is given the photograph's lightness.
Coloring = Callable[[Levels | None], Iterable[Strip]]

SAME = "same"
# HEIC is lossy, and its encoders are not free; all others that are not written are lossless.
_SAME = {
    formats.JPEG: "jpeg",
    formats.HEIC: "jpeg",
    formats.WEBP: "webp",
    formats.TIFF: "tiff",
    formats.AVIF: "avif",
}

_MAX_SEGMENT = 65_533  # bytes of a JPEG's segment, besides its marker
_XMP_HEAD = 29  # bytes before XMP in its segment


@dataclass(frozen=True)
class OutputOptions:
    """How a colouring is written.

    Attributes:
        picture_format: one of PICTURE_FORMATS, or `same` for the photograph's own.
        quality: 1 to 100, for the formats that lose something; None for each format's default.
        metadata: whether EXIF, IPTC, XMP and the resolution are kept, and an ICC profile written.
        gps: whether the place where the photograph was taken is kept too.
        profile: whether colours are converted back to the photograph's own ICC profile.
        max_pixels: the maximum number of pixels of a photograph.
    """

    picture_format: str = "png"
    quality: int | None = None
    metadata: bool = True
    gps: bool = False
    profile: bool = False
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        """Check the values; raises ConfigError."""
        if self.picture_format != SAME:
            check_format(self.picture_format)
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise ConfigError("--quality must lie between 1 and 100")
        if self.quality is not None and self.picture_format not in (*LOSSY, SAME):
            raise ConfigError(
                f"{self.picture_format} keeps every pixel: --quality is for {', '.join(LOSSY)}"
            )
        if self.max_pixels < 1:
            raise ConfigError("--max-pixels must be at least 1")

    def suffix(self, name: str) -> str:
        """The suffix of the colouring of a photograph's file of this name."""
        if self.picture_format != SAME:
            return SUFFIXES[self.picture_format][0]
        own = PurePath(name).suffix
        found = next((each for each in formats.FORMATS if own.lower() in each.suffixes), None)
        known = SUFFIXES[_nearest(found)]
        return own if own.lower() in known else known[0]

    def format_of(self, data: bytes, target: str = "") -> str:
        """The format of the colouring of a file.

        Args:
            data: the photograph's file, of which the beginning suffices.
            target: the name of the colouring's file; empty if it has none.
        """
        if self.picture_format != SAME:
            return self.picture_format
        return find_format(target) or _nearest(locate(data)[1])


def _nearest(found: formats.Format | None) -> str:
    """The format of PICTURE_FORMATS that is a file's own, or else comes nearest."""
    nearest = "png" if found is None else _SAME.get(found, "png")
    return nearest if is_writable(nearest) else "png"


@dataclass(frozen=True)
class Original:
    """A photograph to colour, and what its file says.

    Attributes:
        photograph: the decoded photograph.
        metadata: what its file says besides; empty if metadata is dropped.
        picture_format: the format of its colouring, one of PICTURE_FORMATS.
    """

    photograph: Photograph
    metadata: Metadata
    picture_format: str


@dataclass(frozen=True)
class Written:
    """An encoded colouring.

    Attributes:
        data: the complete file.
        notes: clauses on what could not be kept.
    """

    data: bytes
    notes: tuple[str, ...] = ()


def read_original(
    data: bytes, options: OutputOptions, page: int | None = None, target: str = ""
) -> Original:
    """Read a photograph whose colouring is written by `write_colored`.

    Args:
        data: the complete file.
        options: how the colouring is written.
        page: the number of the page, from 1; None for a file with a single page.
        target: the name of the colouring's file; empty if it has none.

    Raises:
        ImageRejected: as `decode`, and "too large for the format".
    """
    picture_format = options.format_of(data, target)
    try:
        deep = picture_format == "tiff"
        photograph = decode(data, options.max_pixels, page, deep)
    except MemoryError:
        raise ImageRejected("too many pixels", "for the memory of this machine") from None
    check_size(picture_format, *photograph.rgb.shape[:2])
    metadata = read_metadata(data, page) if options.metadata else Metadata()
    return Original(photograph, metadata, picture_format)


def write_colored(coloring: Coloring, original: Original, options: OutputOptions) -> Written:
    """Encode a colouring, with what it keeps of the photograph's file.

    Args:
        coloring: as `Prediction.strips`, with the vividness chosen.
        original: the photograph, as `read_original` returns it.
        options: how it is written, the same as in `read_original`.
    """
    photograph, picture_format = original.photograph, original.picture_format
    height, width = photograph.rgb.shape[:2]
    kept = original.metadata.keeping(options.gps)
    notes = list(kept.notes)
    profile = b""
    if options.metadata:
        profile = tones.srgb_profile()
        if options.profile and kept.profile:
            if tones.can_write(kept.profile):
                profile = kept.profile
            else:
                notes.append("its ICC profile is not one of RGB; the colouring is in sRGB")
    is_srgb = profile in (b"", tones.srgb_profile())
    tags = kept.tags.describing(width, height, is_srgb, kept.dpi)
    opaque = picture_format == "jpeg"
    colored = coloring(photograph.deep if picture_format == "tiff" else None)
    strips = _finished(colored, photograph, opaque, b"" if is_srgb else profile)
    if picture_format == "tiff":
        blocks = {
            tiff_structure.XMP: kept.xmp,
            tiff_structure.IPTC: kept.iptc,
            tiff_structure.ICC_PROFILE: profile,
        }
        return Written(write_tiff(strips, (width, height), tags, blocks), tuple(notes))
    image = _assembled(strips, width, height)
    said = {"icc_profile": profile, **_SAID[picture_format](replace(kept, tags=tags), notes)}
    data = save(image, picture_format, options.quality, **{k: v for k, v in said.items() if v})
    return Written(data, tuple(notes))


def _assembled(strips: Iterable[Strip], width: int, height: int) -> Image.Image:
    """A picture of its strips, which exists only once in memory."""
    image, top = None, 0
    for strip in strips:
        part = Image.fromarray(strip)
        if len(strip) == height:
            return part
        image = image or Image.new(part.mode, (width, height))
        image.paste(part, (0, top))
        top += len(strip)
    assert image is not None  # a photograph has at least one pixel
    return image


def _finished(
    strips: Iterable[Strip], photograph: Photograph, opaque: bool, profile: bytes
) -> Iterator[Strip]:
    """Strips in the colours of a profile (none for sRGB), with the photograph's opacity."""
    top = 0
    for strip in strips:
        rows = slice(top, top + len(strip))
        top = rows.stop
        if photograph.alpha is not None and opaque:
            strip = composite(strip, photograph.alpha[rows])
        if profile:
            strip = tones.from_srgb(strip, profile)
        if photograph.alpha is not None and not opaque:
            full = np.iinfo(strip.dtype).max // 255
            strip = np.dstack([strip, photograph.alpha[rows].astype(strip.dtype) * full])
        yield strip


def _jpeg_extras(kept: Metadata, notes: list[str]) -> dict[str, Any]:
    extras: dict[str, Any] = {"dpi": kept.dpi}
    if not kept.tags.is_empty:
        extras["exif"] = b"Exif\0\0" + kept.tags.to_exif()
    extras["xmp"] = kept.xmp
    for name, head in (("exif", 0), ("xmp", _XMP_HEAD)):
        if len(extras.get(name, b"")) > _MAX_SEGMENT - head:
            notes.append(f"its {name.upper()} is too long for a JPEG and was not kept")
            del extras[name]
    extras["extra"] = jpeg_segments(kept.iptc)
    return extras


def _png_extras(kept: Metadata, notes: list[str]) -> dict[str, Any]:
    texts = PngImagePlugin.PngInfo()
    if kept.xmp:
        texts.add_itxt(XMP, kept.xmp.decode())
    if kept.iptc:
        texts.add_text(*packed("iptc", photoshop_resources(kept.iptc)), zip=True)
    exif = b"" if kept.tags.is_empty else kept.tags.to_exif()
    return {"exif": exif, "dpi": kept.dpi, "pnginfo": texts}


def _webp_extras(kept: Metadata, notes: list[str]) -> dict[str, Any]:
    if kept.iptc:
        notes.append("its IPTC was not kept, for which the format has no place")
    # EXIF is the only place for the resolution.
    exif = kept.tags.to_exif() if kept.dpi or not kept.tags.is_empty else b""
    return {"exif": exif, "xmp": kept.xmp}


def _avif_extras(kept: Metadata, notes: list[str]) -> dict[str, Any]:
    # Pillow takes the orientation out of EXIF, and rewrites all of it where there is one.
    return _webp_extras(replace(kept, tags=kept.tags.without_orientation()), notes)


_SAID: dict[str, Callable[[Metadata, list[str]], dict[str, Any]]] = {
    "jpeg": _jpeg_extras,
    "png": _png_extras,
    "webp": _webp_extras,
    "avif": _avif_extras,
}
