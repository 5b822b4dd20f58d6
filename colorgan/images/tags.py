"""The tags of EXIF and of a TIFF that describe a photograph, copied without a change.

Values are copied as they are stored, in the byte order of the file that they come from. Pillow's
own writer guesses their types and replaces all letters but those of ASCII by question marks, which
is why it is not used here. The tags are defined in Exif 3.0 (CIPA DC-008) and TIFF 6.0 (1992).
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

from colorgan.images import tiff_structure
from colorgan.images.orientation import is_turned
from colorgan.images.tiff_structure import Directory

BYTE, SHORT, LONG, RATIONAL, UNDEFINED, LONG_8 = 1, 3, 4, 5, 7, 16
_LETTERS = {SHORT: "H", LONG: "I"}
# Bytes that are swapped together, by type: a ratio has two numbers.
_SIZES = {3: 2, 4: 4, 5: 4, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8}
# The types whose values have the same size in TIFF and in BigTIFF.
_KINDS = range(1, 13)

ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 274, 282, 283, 296
_INCH, _CENTIMETRE = 2, 3
_EXIF, _GPS = 34665, 34853
_COLOR_SPACE, _PIXEL_WIDTH, _PIXEL_HEIGHT = 40961, 40962, 40963
_SRGB, _UNCALIBRATED = 1, 65535

# What describes a photograph in a file's main directory: all else says how its pixels are stored.
_DESCRIPTIVE = frozenset(
    (
        *(269, 270, 271, 272, 285),  # document, description, make, model, page
        *(ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT),
        *(305, 306, 315, 316),  # software, date, artist, computer
        *(18246, 18249),  # rating
        *(33432, *range(40091, 40096)),  # copyright; title, comment, author, keywords, subject
    )
)
# Maker notes hold positions in the old file, and sometimes the place where it was taken.
_NOT_MOVED = frozenset((37500, 40965, 50341, _EXIF, _GPS, tiff_structure.CHILDREN, 59932, 59933))
_HEADER = 8


@dataclass(frozen=True)
class Value:
    """The value of a tag.

    Attributes:
        kind: its type, as TIFF numbers types.
        count: the number of values.
        data: the values, in the byte order of the tags.
    """

    kind: int
    count: int
    data: bytes


Values = Mapping[int, Value]


@dataclass(frozen=True)
class Tags:
    """The tags of a photograph.

    Attributes:
        order: the byte order, "<" or ">".
        main: what a file's main directory says: description, camera, resolution, …
        exif: the directory of EXIF: dates, exposure, lens, …
        gps: the directory of the place.
    """

    order: str = "<"
    main: Values = field(default_factory=dict)
    exif: Values = field(default_factory=dict)
    gps: Values = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether there is no tag that describes the photograph, besides its storage."""
        stored = {ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT}
        return not ((self.main.keys() - stored) or self.exif or self.gps)

    @property
    def turns(self) -> bool:
        """Whether turning the picture upright swaps its width and height."""
        return is_turned(self._number(ORIENTATION, 1))

    @property
    def dpi(self) -> tuple[float, float] | None:
        """The resolution in dots per inch, horizontal and vertical, of the picture turned upright.

        None if it is not known.
        """
        across, down = (self._ratio(tag) for tag in (X_RESOLUTION, Y_RESOLUTION))
        unit = self._number(RESOLUTION_UNIT, _INCH)
        if not (across and down) or unit not in (_INCH, _CENTIMETRE):
            return None
        scale = 2.54 if unit == _CENTIMETRE else 1.0
        dpi = across * scale, down * scale
        return dpi[::-1] if self.turns else dpi

    def _number(self, tag: int, default: int) -> int:
        value = self.main.get(tag)
        if value is None or value.kind not in _LETTERS or not value.data:
            return default
        (number,) = struct.unpack_from(self.order + _LETTERS[value.kind], value.data)
        return int(number)

    def _ratio(self, tag: int) -> float:
        value = self.main.get(tag)
        if value is None or value.kind != RATIONAL or len(value.data) < 8:
            return 0.0
        above, below = struct.unpack_from(f"{self.order}II", value.data)
        return above / below if below else 0.0

    def numbers(self, kind: int, *values: int) -> Value:
        """A value of whole numbers in the byte order of these tags."""
        packed = struct.pack(f"{self.order}{len(values)}{_LETTERS[kind]}", *values)
        return Value(kind, len(values), packed)

    def resolution(self, dpi: tuple[float, float]) -> dict[int, Value]:
        """The tags of a resolution in dots per inch."""
        ratios = [Fraction(each).limit_denominator(10_000) for each in dpi]
        across, down = (
            Value(RATIONAL, 1, struct.pack(f"{self.order}II", each.numerator, each.denominator))
            for each in ratios
        )
        unit = self.numbers(SHORT, _INCH)
        return {X_RESOLUTION: across, Y_RESOLUTION: down, RESOLUTION_UNIT: unit}

    def describing(
        self, width: int, height: int, srgb: bool, dpi: tuple[float, float] | None
    ) -> "Tags":
        """The tags of a picture that was turned upright: those that state its size and colours.

        Args:
            width: the picture's width, in pixels.
            height: the picture's height, in pixels.
            srgb: whether its colours are sRGB.
            dpi: its resolution, or None.
        """
        exif = dict(self.exif)
        if exif:
            exif[_COLOR_SPACE] = self.numbers(SHORT, _SRGB if srgb else _UNCALIBRATED)
        for tag, length in ((_PIXEL_WIDTH, width), (_PIXEL_HEIGHT, height)):
            if tag in exif:
                exif[tag] = self.numbers(LONG, length)
        main = {**self.main, ORIENTATION: self.numbers(SHORT, 1)}
        return replace(self, main=main | (self.resolution(dpi) if dpi else {}), exif=exif)

    def little_endian(self) -> "Tags":
        """These tags in the byte order "<"."""
        if self.order == "<":
            return self
        return Tags("<", *({n: _swapped(v) for n, v in each.items()} for each in self._parts))

    @property
    def _parts(self) -> tuple[Values, Values, Values]:
        return self.main, self.exif, self.gps

    def without_orientation(self) -> "Tags":
        """These tags without the orientation, whose absence means that a picture is upright."""
        kept = {tag: value for tag, value in self.main.items() if tag != ORIENTATION}
        return replace(self, main=kept)

    def to_exif(self) -> bytes:
        """A block of EXIF, which begins with the header of a TIFF."""
        mark = b"II*\0" if self.order == "<" else b"MM\0*"
        return mark + struct.pack(f"{self.order}I", _HEADER) + self.to_directory({}, _HEADER)

    def to_directory(self, further: Values, offset: int, big: bool = False) -> bytes:
        """The main directory with the directories that belong to it.

        Args:
            further: further tags of the main directory.
            offset: the position in the file at which the result will stand, in bytes.
            big: whether the file is a BigTIFF.
        """
        main = {**self.main, **further}
        children = [(tag, each) for tag, each in ((_EXIF, self.exif), (_GPS, self.gps)) if each]
        for tag, _ in children:
            main[tag] = self.numbers(LONG, 0)
        end = offset + len(self._directory(main, offset, big))
        blocks = []
        for tag, values in children:
            block = self._directory(values, end, big)
            # A directory within the first 4 GB of a BigTIFF may be pointed to with 32 bits.
            main[tag] = self._pointer(end, big)
            end += len(block)
            blocks.append(block)
        return self._directory(main, offset, big) + b"".join(blocks)

    def _pointer(self, position: int, big: bool) -> Value:
        return Value(LONG_8 if big else LONG, 1, struct.pack(self.order + "IQ"[big], position))

    def _directory(self, values: Values, offset: int, big: bool) -> bytes:
        count, entry, inline, pointer = ("Q", "HHQ", 8, "Q") if big else ("H", "HHI", 4, "I")
        head = struct.pack(self.order + count, len(values))
        size = len(head) + len(values) * (4 + 2 * inline) + inline
        entries, rest = bytearray(), bytearray()
        for tag, value in sorted(values.items()):
            data = value.data
            if len(data) > inline:
                data = struct.pack(self.order + pointer, offset + size + len(rest))
                rest += value.data + bytes(len(value.data) % 2)
            entries += struct.pack(self.order + entry, tag, value.kind, value.count)
            entries += data.ljust(inline, b"\0")
        return head + bytes(entries) + bytes(inline) + bytes(rest)


def _swapped(value: Value) -> Value:
    size = _SIZES.get(value.kind, 1)
    data = b"".join(value.data[at : at + size][::-1] for at in range(0, len(value.data), size))
    return replace(value, data=data)


def read_exif(block: bytes) -> Tags:
    """The tags in a block of EXIF; no tags if it is damaged."""
    block = block.removeprefix(b"Exif\0\0")
    if block[:4] not in tiff_structure.MARKS:
        return Tags()
    chain = tiff_structure.read(block).chain
    return read_directory(chain[0]) if chain else Tags()


def read_directory(main: Directory) -> Tags:
    """The tags in the main directory of a block of EXIF, or in that of a TIFF's page."""
    below = {tag: tiff_structure.child(main, tag) for tag in (_EXIF, _GPS) if tag in main.entries}
    return Tags(
        main.order,
        {tag: value for tag, value in _values(main).items() if tag in _DESCRIPTIVE},
        *(_values(each) if (each := below.get(tag)) else {} for tag in (_EXIF, _GPS)),
    )


def _values(directory: Directory) -> dict[int, Value]:
    found = {}
    for tag in directory.entries:
        if tag in _NOT_MOVED or directory.entries[tag][0] not in _KINDS:
            continue
        kind, count, data = directory.value(tag)
        if data:
            found[tag] = Value(kind, count, data)
    return found
