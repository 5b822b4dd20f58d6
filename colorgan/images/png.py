"""Reads the colour chunks of a PNG, and removes chunks that would stop Pillow.

Pillow refuses a picture whose text or profile inflates beyond 1 MiB, or with a damaged ancillary
chunk. Therefore only the chunks that it needs are passed on to it. The colour chunks are read here,
with a separate limit. PNG (Third Edition), W3C 2025, defines the chunks and their precedence.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_PIXELS = (b"IDAT", b"fdAT")
# Kept besides critical chunks, whose names begin with a capital letter.
_NEEDED = (b"tRNS", b"eXIf", b"acTL", b"fcTL", b"fdAT")
_MAX_PROFILE = 16 << 20
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
XMP = "XML:com.adobe.xmp"  # the keyword of the text that holds XMP
# Text chunks that may hold the orientation. Pillow reads them up to this size.
_USEFUL_TEXT = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0", b"Raw profile type APP1\0")
_MAX_TEXT = 1 << 20
# The (colour primaries, transfer function) of sRGB in cICP, by ITU-T H.273.
_SRGB = (1, 13)


@dataclass(frozen=True)
class Prepared:
    """A PNG that Pillow can read, and the meaning of its colours.

    Attributes:
        data: the file with only the chunks that are needed.
        profile: the ICC profile that applies, or None.
        gamma: the exponent that applies (gAMA), or None if there is none or another chunk takes
            precedence. The primaries (cHRM) are not applied.
        hidden: the transparent gray level (tRNS), scaled to 0 to 255, or None. It is needed because
            Pillow compares the unscaled level with scaled samples if these have fewer than 8 bits.
        notes: oddities of the file that were tolerated.
    """

    data: bytes
    profile: bytes | None
    gamma: float | None
    hidden: int | None
    notes: tuple[str, ...]


def prepare(data: bytes) -> Prepared:
    """Remove unneeded chunks from a PNG, and read the meaning of its colours."""
    parts = [SIGNATURE]
    profile: bytes | None = None
    gamma: float | None = None
    hidden: int | None = None
    depth = kind_of_color = 0
    notes: list[str] = []
    is_srgb, other, end = False, False, len(SIGNATURE)
    name = b""
    for name, start, end in _chunks(data):
        content = bytes(memoryview(data)[start + 8 : end - 4]) if name not in _PIXELS else b""
        match name:
            case b"IHDR" if len(content) == 13:
                depth, kind_of_color = content[8], content[9]
            case b"iCCP":
                profile = _inflate_profile(content) or profile
            case b"gAMA" if len(content) == 4:
                gamma = struct.unpack(">I", content)[0] / 100_000
            case b"sRGB":
                is_srgb = True
            case b"cICP" if len(content) == 4:
                is_srgb, other = True, (content[0], content[1]) != _SRGB
            case b"tRNS" if kind_of_color == 0 and depth < 8 and len(content) == 2:
                hidden = struct.unpack(">H", content)[0] * 255 // (2**depth - 1)
        is_text = name in _TEXTS
        if name[:1].isupper() or name in _NEEDED or (is_text and _is_useful(content)):
            parts.append(data[start:end])
    if other:
        notes.append("its colours are in another space than sRGB (cICP), and are shown unconverted")
    if name != b"IEND":
        notes.append("the end of the file is missing")
        parts += _end(data[end:])
    return Prepared(
        b"".join(parts),
        None if other else profile,
        None if is_srgb else gamma,
        hidden,
        tuple(notes),
    )


@dataclass(frozen=True)
class Said:
    """What a PNG says besides its pixels.

    Attributes:
        exif: the block of EXIF (eXIf); empty if there is none.
        texts: the texts that may hold EXIF, IPTC or XMP, by keyword.
        dpi: the resolution in dots per inch, horizontal and vertical (pHYs), or None.
    """

    exif: bytes
    texts: dict[str, bytes]
    dpi: tuple[float, float] | None


def read_texts(data: bytes) -> Said:
    """Read what a PNG says besides its pixels; a damaged or very large text is left out."""
    exif, texts, dpi = b"", {}, None
    for name, start, end in _chunks(data):
        if name in _PIXELS:
            continue
        content = bytes(memoryview(data)[start + 8 : end - 4])
        if name == b"eXIf":
            exif = content
        elif name == b"pHYs" and len(content) == 9:
            across, down, unit = struct.unpack(">IIB", content)
            dpi = (across * 0.0254, down * 0.0254) if unit == 1 else dpi
        elif name in _TEXTS:
            keyword, _, rest = content.partition(b"\0")
            if keyword == XMP.encode() or keyword.startswith(b"Raw profile type "):
                texts[keyword.decode("latin-1")] = _text(name, rest)
    return Said(exif, texts, dpi)


def _text(name: bytes, rest: bytes) -> bytes:
    """The text of a chunk after its keyword; empty if it is damaged or too large."""
    is_packed = name == b"zTXt" or (name == b"iTXt" and rest[:1] == b"\1")
    # The compression's method; in iTXt also its flag before, and language and translation after.
    text = rest[1:] if name == b"zTXt" else rest
    if name == b"iTXt":
        text = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    if not is_packed:
        return text
    inflate = zlib.decompressobj()
    try:
        text = inflate.decompress(text, _MAX_PROFILE)
    except zlib.error:
        return b""
    return text if inflate.eof else b""


def _end(rest: bytes) -> list[bytes]:
    """The chunks that complete a truncated file: the remaining pixel data, and the final chunk."""
    content = rest[8 : 8 + struct.unpack(">I", rest[:4])[0]] if rest[4:8] == b"IDAT" else b""
    return [_chunk(b"IDAT", content), _chunk(b"IEND", b"")] if content else [_chunk(b"IEND", b"")]


def _chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The name, start and end of each complete chunk."""
    start = len(SIGNATURE)
    while start + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, start)
        end = start + 12 + length
        if end > len(data):
            return
        yield name, start, end
        if name == b"IEND":
            return
        start = end


def _inflate_profile(content: bytes) -> bytes | None:
    """The profile of an iCCP chunk; None if it is damaged or implausibly large."""
    name, _, packed = content.partition(b"\0")
    inflate = zlib.decompressobj()
    try:
        profile = inflate.decompress(packed[1:], _MAX_PROFILE)
    except zlib.error:
        return None
    return profile if inflate.eof and 0 < len(name) < 80 else None


def _is_useful(content: bytes) -> bool:
    """Whether a text may hold the orientation and is small enough for Pillow to read."""
    if not content.startswith(_USEFUL_TEXT):
        return False
    _, _, rest = content.partition(b"\0")
    if len(rest) > _MAX_TEXT:
        return False
    packed = rest.find(b"\x78")  # the start of a zlib stream, if the text is compressed
    for start in {packed, rest.find(b"\x78", packed + 1)} - {-1}:
        inflate = zlib.decompressobj()
        try:
            inflate.decompress(rest[start:], _MAX_TEXT - 1)
        except zlib.error:
            continue
        return not inflate.unconsumed_tail
    return True
