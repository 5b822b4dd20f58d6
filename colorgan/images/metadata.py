"""What a photograph's file says besides its pixels, read for the picture that is made from it.

It is read from any format, and written to any by `colorgan.images.writing`; docs/formats.md says
which format holds what. Damaged metadata is left out.
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from colorgan.errors import ImageRejected
from colorgan.images import formats, png, tiff_structure
from colorgan.images.decoding import locate, open_picture
from colorgan.images.tags import Tags, read_directory, read_exif
from colorgan.images.xmp import clean_xmp

_IPTC_RESOURCE = 0x0404
# The first bytes of IPTC's envelope, application and further records (IIM 4.2).
_IPTC_MARK = 0x1C
_PHOTOSHOP = b"Photoshop 3.0\0"
_MAX_SEGMENT = 65_533  # bytes of a JPEG's segment, besides its marker and its length

# Steps of a PNG's resolution are 1/39 of a dot per inch, so that 600 is read as 599.9988.
_SAME_DPI = 0.02
_LARGEST_DPI = 65_535  # of a JPEG
_ANY_SIZE = 1 << 62


@dataclass(frozen=True)
class Metadata:
    """What a file says about its photograph.

    Attributes:
        tags: the tags of EXIF, and those of a TIFF that describe a photograph.
        iptc: the records of IPTC-IIM; empty if there are none.
        xmp: the packet of XMP; empty if there is none.
        profile: the ICC profile of the file's pixels; empty if there is none.
        dpi: the resolution in dots per inch, horizontal and vertical, of the photograph turned
            upright; or None.
        notes: clauses on what cannot be kept.
    """

    tags: Tags = Tags()
    iptc: bytes = b""
    xmp: bytes = b""
    profile: bytes = b""
    dpi: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()

    def keeping(self, gps: bool) -> "Metadata":
        """What a picture that is made from the photograph may keep.

        Args:
            gps: whether the place where it was taken is kept.
        """
        notes = self.notes
        xmp = clean_xmp(self.xmp, gps) if self.xmp else b""
        if xmp is None:
            notes = (*notes, "its XMP cannot be read and was not kept")
        tags = self.tags if gps else replace(self.tags, gps={})
        return replace(self, tags=tags, xmp=xmp or b"", notes=notes)


def read_metadata(data: bytes, page: int | None = None) -> Metadata:
    """Read what a file says besides its pixels, which are not decoded.

    Args:
        data: the complete file, from which `colorgan.images.decoding.decode` can read a photograph.
        page: the number of a TIFF's page, from 1.
    """
    start, found = locate(data)
    data = data[start:]
    if found is None:
        return Metadata()
    if found is formats.TIFF:
        return _from_tiff(data, page)
    if found is formats.PNG:
        return _from_png(data)
    # Pillow's plugins raise many kinds of exceptions for damaged data.
    try:
        with open_picture(data, found, _ANY_SIZE) as image:
            # Pillow's own reading of these segments stops at the end of the first.
            segments = [data for name, data in getattr(image, "applist", ()) if name == "APP13"]
            return _from_info(image.info, joined_resources(segments))
    except (ImageRejected, Exception):
        return Metadata()


def _from_info(info: Mapping[Any, Any], resources: bytes) -> Metadata:
    tags = read_exif(_bytes(info.get("exif")))
    return Metadata(
        tags,
        trimmed_iptc(photoshop_iptc(resources)),
        _bytes(info.get("xmp")),
        _bytes(info.get("icc_profile")),
        _turned(_resolution(info.get("dpi")), tags) or _resolution(tags.dpi),
    )


def _from_tiff(data: bytes, number: int | None) -> Metadata:
    pages = tiff_structure.read(data).pages
    if not pages:
        return Metadata()
    page = pages[min(number or 1, len(pages)) - 1]
    tags = read_directory(page)

    def content(tag: int) -> bytes:
        return page.value(tag)[2] if tag in page.entries else b""

    iptc = content(tiff_structure.IPTC)
    if not iptc.startswith(bytes([_IPTC_MARK])):
        iptc = photoshop_iptc(content(tiff_structure.PHOTOSHOP))
    return Metadata(
        tags,
        trimmed_iptc(iptc),
        content(tiff_structure.XMP),
        content(tiff_structure.ICC_PROFILE),
        _resolution(tags.dpi),
    )


def _from_png(data: bytes) -> Metadata:
    said = png.read_texts(data)
    tags = read_exif(said.exif or _unpacked(said.texts, "exif") or _unpacked(said.texts, "APP1"))
    iptc = _unpacked(said.texts, "iptc")
    if not iptc.startswith(bytes([_IPTC_MARK])):
        iptc = photoshop_iptc(iptc) or photoshop_iptc(_unpacked(said.texts, "8bim"))
    return Metadata(
        tags,
        trimmed_iptc(iptc),
        said.texts.get(png.XMP, b"") or _unpacked(said.texts, "xmp"),
        png.prepare(data).profile or b"",
        _turned(_resolution(said.dpi), tags) or _resolution(tags.dpi),
    )


def _unpacked(texts: Mapping[str, bytes], kind: str) -> bytes:
    """The bytes of ImageMagick's text chunk "Raw profile type …", in hexadecimal digits."""
    lines = texts.get(f"Raw profile type {kind}", b"").strip().split(b"\n", 2)
    try:
        return bytes.fromhex(lines[2].decode("ascii")) if len(lines) == 3 else b""
    except ValueError:
        return b""


def packed(kind: str, content: bytes) -> tuple[str, str]:
    """The name and the text of the chunk that `_unpacked` reads."""
    digits = content.hex()
    rows = (digits[at : at + 72] for at in range(0, len(digits), 72))
    lines = "\n".join(rows)
    return f"Raw profile type {kind}", f"\n{kind}\n{len(content):8}\n{lines}\n"


def photoshop_iptc(resources: bytes) -> bytes:
    """The IPTC records in Photoshop's image resources; empty if there are none."""
    place = len(_PHOTOSHOP) if resources.startswith(_PHOTOSHOP) else 0
    while resources[place : place + 4] == b"8BIM" and place + 12 <= len(resources):
        (number,) = struct.unpack_from(">H", resources, place + 4)
        place += 6 + (resources[place + 6] + 2) // 2 * 2  # a name, of an even number of bytes
        if place + 4 > len(resources):
            break
        (size,) = struct.unpack_from(">I", resources, place)
        if number == _IPTC_RESOURCE:
            return resources[place + 4 : place + 4 + size]
        place += 4 + (size + 1) // 2 * 2
    return b""


def joined_resources(segments: Iterable[bytes]) -> bytes:
    """Photoshop's image resources in the segments APP13 of a JPEG."""
    return b"".join(
        each.removeprefix(_PHOTOSHOP) for each in segments if each.startswith(_PHOTOSHOP)
    )


def photoshop_resources(iptc: bytes) -> bytes:
    """Photoshop's image resources with IPTC records."""
    head = struct.pack(">4sHHI", b"8BIM", _IPTC_RESOURCE, 0, len(iptc))
    return head + iptc + bytes(len(iptc) % 2)


def jpeg_segments(iptc: bytes) -> bytes:
    """The segments APP13 of a JPEG with IPTC records, of which long ones continue in the next."""
    resources = photoshop_resources(iptc) if iptc else b""
    step = _MAX_SEGMENT - len(_PHOTOSHOP)
    pieces = (resources[at : at + step] for at in range(0, len(resources), step))
    return b"".join(
        b"\xff\xed" + struct.pack(">H", 2 + len(_PHOTOSHOP) + len(piece)) + _PHOTOSHOP + piece
        for piece in pieces
    )


def trimmed_iptc(iptc: bytes) -> bytes:
    """IPTC records without the zeros with which some writers fill a TIFF's words."""
    place = 0
    while place + 5 <= len(iptc) and iptc[place] == _IPTC_MARK:
        (size,) = struct.unpack_from(">H", iptc, place + 3)
        if size & 0x8000:  # an extended data set: its size follows, in so many bytes
            length = size & 0x7FFF
            size = length + int.from_bytes(iptc[place + 5 : place + 5 + length], "big")
        place += 5 + size
    return iptc[:place] if place <= len(iptc) else b""


def _resolution(dpi: object) -> tuple[float, float] | None:
    """A resolution as positive numbers, whole ones where it is as good as whole."""
    try:
        across, down = (float(each) for each in dpi)  # type: ignore[attr-defined]
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    if not (0 < across <= _LARGEST_DPI and 0 < down <= _LARGEST_DPI):
        return None
    whole = [
        round(each) if abs(each - round(each)) < _SAME_DPI else each for each in (across, down)
    ]
    return whole[0], whole[1]


def _turned(dpi: tuple[float, float] | None, tags: Tags) -> tuple[float, float] | None:
    return dpi[::-1] if dpi and tags.turns else dpi


def _bytes(value: object) -> bytes:
    if isinstance(value, str):
        return value.encode()
    return bytes(value) if isinstance(value, bytes | bytearray) else b""
