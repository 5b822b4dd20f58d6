"""The chunks of a PNG that say what its colours mean, and those that must not stop a reader.

Pillow refuses a whole picture whose text or profile inflates beyond 1 MiB. The text is of no use
here, so it is taken out of the file; the profile is inflated here, up to a limit. PNG (Third
Edition), W3C 2025, says what the chunks mean and which of them outranks which.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

SIGNATURE = b"\x89PNG\r\n\x1a\n"

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
        data: the file without the chunks that are of no use.
        profile: the ICC profile that applies, or None.
        gamma: the exponent that applies (gAMA), or None where there is none or another chunk
            outranks it. The primaries (cHRM) are not applied.
        notes: what was odd.
    """

    data: bytes
    profile: bytes | None
    gamma: float | None
    notes: tuple[str, ...]


def prepare(data: bytes) -> Prepared:
    """Take what is of no use out of a PNG, and find out what its colours mean."""
    parts, kept = [], 0
    profile: bytes | None = None
    gamma: float | None = None
    notes: list[str] = []
    is_srgb, other = False, False
    for kind, start, end in _chunks(data):
        content = memoryview(data)[start + 8 : end - 4]
        match kind:
            case b"iCCP":
                profile = _inflate_profile(bytes(content)) or profile
            case b"gAMA" if len(content) == 4:
                gamma = struct.unpack(">I", content)[0] / 100_000
            case b"sRGB":
                is_srgb = True
            case b"cICP" if len(content) == 4:
                is_srgb, other = True, (content[0], content[1]) != _SRGB
        if kind == b"iCCP" or (
            kind in (b"tEXt", b"zTXt", b"iTXt") and not _is_useful(bytes(content))
        ):
            parts.append(data[kept:start])
            kept = end
    if other:
        notes.append("its colours are of another space than sRGB (cICP), and are shown unconverted")
    return Prepared(
        b"".join([*parts, data[kept:]]) if parts else data,
        None if other else profile,
        None if is_srgb else gamma,
        tuple(notes),
    )


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The kind of each whole chunk, and where it starts and ends."""
    start = len(SIGNATURE)
    while start + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, start)
        end = start + 12 + length
        if end > len(data):
            return
        yield kind, start, end
        if kind == b"IEND":
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
