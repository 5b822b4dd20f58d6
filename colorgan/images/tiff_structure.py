"""The directories of a TIFF: pages, reduced copies of pages, and raw data.

A TIFF is a chain of directories, each of which describes one raster; a directory may have children
(SubIFDs). TIFF 6.0 (1992), BigTIFF (2007), TIFF/EP (ISO 12234-2) and DNG 1.7 define the tags.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

# The first four bytes of TIFF and BigTIFF in both byte orders; the last two are common mistakes.
MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"MM*\0", b"II\0*")

# A file with more directories than this is malicious, or a film.
_MAX_DIRECTORIES = 4096
_MAX_VALUES = 1 << 24  # per tag; even the largest picture has fewer strips

# The format characters of struct for the types of values; a rational number has two.
_LETTERS = {
    1: "B",
    2: "B",
    3: "H",
    4: "I",
    5: "II",
    6: "b",
    7: "B",
    8: "h",
    9: "i",
    10: "ii",
    11: "f",
    12: "d",
    13: "I",
    16: "Q",
    17: "q",
    18: "Q",
}

NEW_SUBFILE_TYPE, SUBFILE_TYPE, WIDTH, HEIGHT, BITS = 254, 255, 256, 257, 258
COMPRESSION, PHOTOMETRIC, FILL_ORDER, MAKE = 259, 262, 266, 271
STRIP_OFFSETS, ORIENTATION, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES = 273, 274, 277, 278, 279
MAX_SAMPLE, PLANAR, PREDICTOR = 281, 284, 317
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES, CHILDREN = 322, 323, 324, 325, 330
EXTRA_SAMPLES, SAMPLE_FORMAT, S_MAX_SAMPLE = 338, 339, 341
XMP, IPTC, PHOTOSHOP, ICC_PROFILE, DNG_VERSION = 700, 33723, 34377, 34675, 50706

# Raw sensor data of cameras: a colour mosaic or linear values, and their compressions.
_RAW_PHOTOMETRICS = (32803, 34892)
_RAW_COMPRESSIONS = (262, 32767, 32769, 32770, 34713, 65535)


@dataclass(frozen=True)
class Directory:
    """One directory, whose tags' values are read on demand.

    Attributes:
        data: the complete file.
        offset: the directory's offset in the file.
        order: the byte order, "<" or ">".
        entries: by tag, the type, the number of values and their offset in the file.
    """

    data: bytes
    offset: int
    order: str
    entries: Mapping[int, tuple[int, int, int]]

    def numbers(self, tag: int, *default: int) -> tuple[int, ...]:
        """The values of a tag as integers; the default if it is missing or damaged."""
        return tuple(int(value) for value in self._values(tag)) or default

    def number(self, tag: int, default: int = 0) -> int:
        """The first value of a tag as an integer."""
        return self.numbers(tag, default)[0]

    def content(self, tag: int) -> bytes:
        """The bytes of a tag that holds bytes or text; empty if it is missing."""
        _, count, position = self.entries.get(tag, (1, 0, 0))
        return self.data[position : position + count]

    def value(self, tag: int) -> tuple[int, int, bytes]:
        """The type, the number of values and the bytes of a tag; no bytes if it is damaged."""
        kind, count, position = self.entries[tag]
        size = count * struct.calcsize(f"={_LETTERS[kind]}")
        whole = position + size <= len(self.data)
        return kind, count, self.data[position : position + size] if whole else b""

    def _values(self, tag: int) -> tuple[float, ...]:
        kind, count, position = self.entries.get(tag, (1, 0, 0))
        pattern = struct.Struct(f"{self.order}{min(count, _MAX_VALUES)}{_LETTERS[kind][:1]}")
        if len(_LETTERS[kind]) > 1 or position + pattern.size > len(self.data):
            return ()
        return pattern.unpack_from(self.data, position)

    @property
    def is_reduced(self) -> bool:
        """Whether it is a smaller copy of another directory's picture."""
        return bool(self.number(NEW_SUBFILE_TYPE) & 1) or self.number(SUBFILE_TYPE) == 2

    @property
    def is_page(self) -> bool:
        """Whether it is a picture of its own, and not a smaller copy or a mask of another."""
        mask = self.number(NEW_SUBFILE_TYPE) & 4 or self.number(PHOTOMETRIC, 1) == 4
        whole = self.number(WIDTH) > 0 and self.number(HEIGHT) > 0
        has_data = STRIP_OFFSETS in self.entries or TILE_OFFSETS in self.entries
        return whole and has_data and not (self.is_reduced or mask)

    @property
    def is_raw(self) -> bool:
        """Whether it holds raw sensor data."""
        return (
            self.number(PHOTOMETRIC, 1) in _RAW_PHOTOMETRICS
            or self.number(COMPRESSION, 1) in _RAW_COMPRESSIONS
        )


@dataclass(frozen=True)
class Structure:
    """The directories of a file.

    Attributes:
        chain: the main chain of directories.
        children: the children of the directories in the chain.
    """

    chain: tuple[Directory, ...]
    children: tuple[Directory, ...]

    @property
    def pages(self) -> tuple[Directory, ...]:
        """The pages in order; empty if the file is damaged."""
        pages = tuple(each for each in self.chain if each.is_page)
        return pages or tuple(each for each in self.children if each.is_page) or self.chain[:1]

    @property
    def make(self) -> str:
        """The maker of the camera or scanner; empty if the file does not name it."""
        found = (each.content(MAKE) for each in self.chain)
        return next((text.rstrip(b"\0 ").decode("ascii", "replace") for text in found if text), "")

    @property
    def has_dng_version(self) -> bool:
        """Whether the file declares itself to be a DNG."""
        return any(DNG_VERSION in each.entries for each in (*self.chain, *self.children))

    @property
    def holds_raw(self) -> bool:
        """Whether it is a camera's raw file: with sensor data, or only previews in the chain."""
        if any(each.is_raw for each in (*self.chain, *self.children)):
            return True
        previews = self.chain and all(each.is_reduced for each in self.chain)
        return bool(previews and self.children and self.make)


def child(parent: Directory, tag: int) -> Directory | None:
    """The directory to which a tag points, such as that of EXIF; None if there is none."""
    offset, data = parent.number(tag), parent.data
    return next(_follow(data, parent.order, _is_big(data), offset, set()), None)


def _is_big(data: bytes) -> bool:
    return data[2:4] in (b"+\0", b"\0+")


def read(data: bytes) -> Structure:
    """Read the directories of a TIFF; unreadable ones and those after them are left out."""
    order = "<" if data[:2] == b"II" else ">"
    big = _is_big(data)
    first = _unpack(data, f"{order}Q" if big else f"{order}I", 8 if big else 4)
    seen: set[int] = set()
    chain = tuple(_follow(data, order, big, first[0] if first else 0, seen))
    children = tuple(
        child
        for parent in chain
        for offset in parent.numbers(CHILDREN)[:64]
        for child in _follow(data, order, big, offset, seen)
    )
    return Structure(chain, children)


def _unpack(data: bytes, pattern: str, position: int) -> tuple[int, ...]:
    fits = 0 <= position <= len(data) - struct.calcsize(pattern)
    return struct.unpack_from(pattern, data, position) if fits else ()


def _follow(data: bytes, order: str, big: bool, offset: int, seen: set[int]) -> Iterator[Directory]:
    count, entry, pointer = ("Q", "HHQ", "Q") if big else ("H", "HHI", "I")
    inline, size = (8, 20) if big else (4, 12)
    while offset and offset not in seen and len(seen) < _MAX_DIRECTORIES:
        seen.add(offset)
        head = _unpack(data, order + count, offset)
        if not head:
            return
        start = offset + struct.calcsize(order + count)
        entries: dict[int, tuple[int, int, int]] = {}
        for place in range(start, start + size * min(head[0], 65_535), size):
            found = _unpack(data, order + entry, place)
            if not found:
                break
            tag, kind, values = found
            if kind not in _LETTERS:
                continue
            position = place + size - inline
            if values * struct.calcsize(f"={_LETTERS[kind]}") > inline:
                (position,) = _unpack(data, order + pointer, position) or (len(data),)
            entries.setdefault(tag, (kind, values, position))
        yield Directory(data, offset, order, entries)
        following = _unpack(data, order + pointer, start + size * head[0])
        offset = following[0] if following else 0


def with_directory(data: bytes, entries: dict[int, tuple[int, ...]]) -> bytes:
    """The file as a little-endian TIFF with a single directory of these entries."""
    at = len(data)
    tail = bytearray(bytes(at % 2))
    start = at + len(tail)
    values = start + 2 + 12 * len(entries) + 4
    directory = struct.pack("<H", len(entries))
    long = bytearray()
    for number, numbers in sorted(entries.items()):
        packed = struct.pack(f"<{len(numbers)}I", *numbers)
        if len(packed) > 4:
            packed, long = struct.pack("<I", values + len(long)), long + packed
        directory += struct.pack("<HHI", number, 4, len(numbers)) + packed
    tail += directory + bytes(4) + long
    return b"".join((b"II*\0", struct.pack("<I", start), memoryview(data)[8:], tail))


def with_first(page: Directory) -> bytes:
    """The file with this directory as its first, for readers that read only the first one."""
    big = _is_big(page.data)
    at, pattern = (8, "Q") if big else (4, "I")
    pointer = struct.pack(page.order + pattern, page.offset)
    if page.data[at : at + len(pointer)] == pointer:
        return page.data
    return page.data[:at] + pointer + page.data[at + len(pointer) :]
