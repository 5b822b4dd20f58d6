"""The chunks of a PNG that say what its colours mean, and those that must not stop a reader.

Pillow refuses a whole picture whose text or profile inflates beyond 1 MiB, or one of whose chunks
beside the picture is damaged. Only the chunks that it needs are left in the file for it. What the
colours mean is read here, with a limit of its own. PNG (Third Edition), W3C 2025, says what the
chunks mean and which of them outranks which.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

SIGNATURE = b"\x89PNG\r\n\x1a\n"

# Beside those whose kinds begin with a capital letter, which no reader may leave out.
_PIXELS = (b"IDAT", b"fdAT")
_NEEDED = (b"tRNS", b"eXIf", b"acTL", b"fcTL", b"fdAT")
_MAX_PROFILE = 16 << 20
# Of the text chunks, these may hold the orientation. Pillow reads them up to this size.
_USEFUL_TEXT = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0", b"Raw profile type APP1\0")
_MAX_TEXT = 1 << 20
# (colour primaries, transfer function) of sRGB in cICP, by ITU-T H.273
_SRGB = (1, 13)


@dataclass(frozen=True)
class Prepared:
    """A PNG that Pillow reads, and what is said of its colours.

    Attributes:
        data: the file with the chunks that are needed.
        profile: the ICC profile that applies, or None.
        gamma: the exponent that applies (gAMA), or None where there is none or another chunk
            outranks it. The primaries (cHRM) are not applied.
        hidden: the level, of 255, of the gray that is transparent (tRNS), or None. Pillow compares
            the stored level with the scaled one where a sample has fewer than 8 bits.
        notes: what was odd.
    """

    data: bytes
    profile: bytes | None
    gamma: float | None
    hidden: int | None
    notes: tuple[str, ...]


def prepare(data: bytes) -> Prepared:
    """Leave what is of no use out of a PNG, and find out what its colours mean."""
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
        is_text = name in (b"tEXt", b"zTXt", b"iTXt")
        if name[:1].isupper() or name in _NEEDED or (is_text and _is_useful(content)):
            parts.append(data[start:end])
    if other:
        notes.append("its colours are of another space than sRGB (cICP), and are shown unconverted")
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


def _end(rest: bytes) -> list[bytes]:
    """What closes a file that was cut: the pixels that there are, and the last chunk."""
    content = rest[8 : 8 + struct.unpack(">I", rest[:4])[0]] if rest[4:8] == b"IDAT" else b""
    return [_chunk(b"IDAT", content), _chunk(b"IEND", b"")] if content else [_chunk(b"IEND", b"")]


def _chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The name of each whole chunk, and where it starts and ends."""
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
    """The profile of an iCCP chunk; None where it is damaged or larger than any is."""
    name, _, packed = content.partition(b"\0")
    inflate = zlib.decompressobj()
    try:
        profile = inflate.decompress(packed[1:], _MAX_PROFILE)
    except zlib.error:
        return None
    return profile if inflate.eof and 0 < len(name) < 80 else None


def _is_useful(content: bytes) -> bool:
    """Whether a text may hold the orientation, and is of a size that Pillow reads."""
    if not content.startswith(_USEFUL_TEXT):
        return False
    _, _, rest = content.partition(b"\0")
    if len(rest) > _MAX_TEXT:
        return False
    packed = rest.find(b"\x78")  # where a stream of zlib begins, if the text is compressed
    for start in {packed, rest.find(b"\x78", packed + 1)} - {-1}:
        inflate = zlib.decompressobj()
        try:
            inflate.decompress(rest[start:], _MAX_TEXT - 1)
        except zlib.error:
            continue
        return not inflate.unconsumed_tail
    return True
