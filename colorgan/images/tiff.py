"""TIFFs that Pillow cannot read correctly: deep, signed and float samples, and odd layouts.

Pillow reads samples of 8 bits and less. It misinterprets deeper ones: it clips them, does not
invert WhiteIsZero and does not know their range. Here, the samples are unpacked, their range is
determined, and they are converted to 8 bits in blocks of rows. Only the decompression is left to
Pillow and libtiff, which receive the same strips or tiles described as a picture of bytes.

The tags are defined in TIFF 6.0 (1992) and, for floats, in Adobe's Technical Note 3 (2005).
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, TiffImagePlugin

from colorgan.errors import ImageRejected
from colorgan.images import tiff_structure as tag
from colorgan.images.tiff_structure import Directory
from colorgan.images.tones import deep_gray_table, deep_lightness, gray_table

Samples = npt.NDArray[Any]
Bytes = npt.NDArray[np.uint8]

# None, LZW, deflate (two numbers), PackBits, LZMA and Zstandard.
_COMPRESSIONS = (1, 5, 8, 32946, 32773, 34925, 50000)
# Compressions that libtiff supports only in some builds, or not at all.
_UNUSUAL = {
    33003: "JPEG 2000",
    33005: "JPEG 2000",
    34712: "JPEG 2000",
    34892: "lossy JPEG of DNG",
    34661: "JBIG",
    34676: "SGI LogLuv",
    34677: "SGI LogLuv",
    34887: "LERC",
    34925: "LZMA",
    50000: "Zstandard",
    50001: "WebP",
    50002: "JPEG XL",
    32766: "NeXT RLE",
}
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
_ASSOCIATED, _UNASSOCIATED = 1, 2  # values of ExtraSamples: the kinds of alpha

# Candidates for the white value of deep samples that do not use the full range of their type.
_INTEGER_WHITES = {16: (255, 4095), 32: (255, 4095, 65_535, 2**24 - 1)}
_FLOAT_WHITES = (1, 255, 4095, 65_535)
_DEPTHS = tuple(2**bits - 1 for bits in range(1, 64))

_BLOCK = 1 << 20  # samples converted at a time
_MAX_PIXEL_BYTES = 16  # four floats


@dataclass(frozen=True)
class Layout:
    """The layout of a page's samples in its strips or tiles.

    Attributes:
        width: the page's width, in pixels.
        height: the page's height, in pixels.
        samples: samples per pixel; the first one or three are colours.
        bits: bits per sample.
        kind: unsigned, signed or float, as the value of the tag SampleFormat.
        photometric: WhiteIsZero, BlackIsZero or RGB, as the value of the tag.
        alpha: the alpha channel after the colours: 0 none, 1 associated, 2 unassociated.
        order: the byte order, "<" or ">".
        planar: whether each sample has a plane of its own.
        predictor: the value of the tag Predictor.
        columns: the width of a tile, or of the page if it has strips.
        rows: the height of a tile or strip.
    """

    width: int
    height: int
    samples: int
    bits: int
    kind: int
    photometric: int
    alpha: int
    order: str
    planar: bool
    predictor: int
    columns: int
    rows: int

    @property
    def colors(self) -> int:
        """Colour samples per pixel."""
        return 3 if self.photometric == _RGB else 1

    @property
    def interleaved(self) -> int:
        """Samples per pixel that are stored side by side."""
        return 1 if self.planar else self.samples

    @property
    def across(self) -> int:
        """Number of tiles per row of tiles; 1 for strips."""
        return -(-self.width // self.columns)

    @property
    def row_bytes(self) -> int:
        """Bytes per row of a tile or strip."""
        return -(-self.columns * self.interleaved * self.bits // 8)


def layout_of(page: Directory) -> Layout | None:
    """The layout of a page that is read here; None for a page that is left to Pillow."""
    photometric = page.number(tag.PHOTOMETRIC, _BLACK_IS_ZERO)
    if photometric not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB):
        return None
    if page.number(tag.COMPRESSION, 1) not in _COMPRESSIONS:
        return None
    samples = page.number(tag.SAMPLES, 3 if photometric == _RGB else 1)
    depths, kinds = set(page.numbers(tag.BITS, 1)), set(page.numbers(tag.SAMPLE_FORMAT, 1))
    if len(depths) != 1 or len(kinds) != 1 or not 0 < samples <= 64:
        return None
    (bits,), (kind,) = depths, kinds
    kind = _UNSIGNED if kind == 4 or (kind == _SIGNED and bits == 8) else kind
    known = (bits <= 16 or bits in (24, 32, 64)) if kind == _UNSIGNED else bits in (16, 32, 64)
    colors = 3 if photometric == _RGB else 1
    if kind not in (_UNSIGNED, _SIGNED, _FLOAT) or not known or samples < colors:
        return None
    extra = page.numbers(tag.EXTRA_SAMPLES)
    if (
        bits <= 8
        and extra[:1] != (_ASSOCIATED,)
        and _pillow_reads(page, photometric, bits, samples, extra)
    ):
        return None
    # Without ExtraSamples, a sample after the colours is assumed to be alpha, as in Pillow.
    alpha = extra[0] if extra else _UNASSOCIATED
    width, height = page.number(tag.WIDTH), page.number(tag.HEIGHT)
    tiled = tag.TILE_OFFSETS in page.entries
    rows = page.number(tag.TILE_HEIGHT if tiled else tag.ROWS_PER_STRIP, height)
    if _lies_in_words(page, width * height * samples, bits):
        bits = 16
    return Layout(
        width,
        height,
        samples,
        bits,
        kind,
        photometric,
        alpha if samples > colors and alpha in (_ASSOCIATED, _UNASSOCIATED) else 0,
        page.order,
        page.number(tag.PLANAR, 1) == 2 and samples > 1,
        page.number(tag.PREDICTOR, 1),
        page.number(tag.TILE_WIDTH, width) if tiled else width,
        min(rows, height) if not tiled else rows,
    )


def unusual_compression(page: Directory) -> str:
    """The name of a page's compression if this installation may lack it, otherwise empty."""
    return _UNUSUAL.get(page.number(tag.COMPRESSION, 1), "")


def _pillow_reads(
    page: Directory, photometric: int, bits: int, samples: int, extra: tuple[int, ...]
) -> bool:
    order = b"II" if page.order == "<" else b"MM"
    fill = page.number(tag.FILL_ORDER, 1)
    key = (order, photometric, (1,), fill, (bits,) * samples, extra)
    return key in TiffImagePlugin.OPEN_INFO


def _lies_in_words(page: Directory, values: int, bits: int) -> bool:
    """Whether samples of 9 to 15 bits take two bytes each, contrary to the specification."""
    if not 8 < bits < 16 or page.number(tag.COMPRESSION, 1) != 1:
        return False
    return sum(page.numbers(tag.STRIP_BYTES, 0)) >= 2 * values


@dataclass(frozen=True)
class Picture:
    """A decoded page.

    Attributes:
        color: (height, width) uint8 gray in sRGB, or (height, width, 3) uint8 in the page's own
            colour space.
        alpha: (height, width) uint8 opacity, or None.
        notes: oddities of the samples.
        deep: (height, width) uint16, the sRGB gray level of the same lightness L; None unless it
            is asked for and the samples have more than 8 bits.
    """

    color: Bytes
    alpha: Bytes | None
    notes: tuple[str, ...]
    deep: npt.NDArray[np.uint16] | None = None


def read(page: Directory, layout: Layout, max_pixels: int, deep: bool = False) -> Picture:
    """Read a page with a known layout.

    Args:
        page: the page.
        layout: its layout.
        max_pixels: the maximum number of pixels.
        deep: whether to read the lightness with 16 bits too.

    Raises:
        ImageRejected: "too many pixels".
        Exception: the data is damaged; there are many kinds, including Pillow's.
    """
    size = layout.row_bytes * layout.across * layout.height * (layout.samples // layout.interleaved)
    if size > _MAX_PIXEL_BYTES * max_pixels:
        raise ImageRejected(
            "too many pixels", f"{layout.samples} samples of {layout.bits} bits in each of them"
        )
    planes = [
        _as_bytes(page, layout, plane) for plane in range(layout.samples if layout.planar else 1)
    ]
    colors = layout.colors
    used = colors + (1 if layout.alpha else 0)
    white = _Range(layout, page, slice(0, colors))
    opaque = _Range(layout, page, slice(colors, used))
    if white.is_open or (opaque.is_open and layout.alpha):
        for _, block in _blocks(planes, layout):
            white.see(block)
            if layout.alpha:
                opaque.see(block)
    profile = page.content(tag.ICC_PROFILE)
    table = gray_table(profile) if colors == 1 else gray_table()
    depths = None
    if deep and layout.bits > 8:
        depths = np.empty((layout.height, layout.width), np.uint16)
        deep_table = deep_gray_table(profile) if colors == 1 else None
    plain = gray_table()
    color = np.empty((layout.height, layout.width, colors), np.uint8)
    alpha = np.empty(color.shape[:2], np.uint8) if layout.alpha else None
    for top, block in _blocks(planes, layout):
        levels = white.levels(block)
        if alpha is not None:
            opacity = opaque.levels(block)
            alpha[top : top + len(block)] = plain[opacity[..., 0]]
            if layout.alpha == _ASSOCIATED:
                levels = _unmultiply(levels, opacity)
        if layout.photometric == _WHITE_IS_ZERO:
            levels = 65_535 - levels
        color[top : top + len(block)] = table[levels]
        if depths is not None:
            depths[top : top + len(block)] = (
                deep_lightness(levels, profile)
                if deep_table is None
                else deep_table[levels[..., 0]]
            )
    return Picture(color[..., 0] if colors == 1 else color, alpha, white.notes(), depths)


def _unmultiply(levels: Bytes, opacity: Bytes) -> Samples:
    whole = np.maximum(opacity.astype(np.uint32), 1)
    return np.minimum(levels.astype(np.uint32) * 65_535 // whole, 65_535).astype(np.uint16)


class _Range:
    """Determines the white value of a page's samples from its tags or from the values themselves.

    According to TIFF 6.0, MaxSampleValue is a statistic that must not affect the display. A value
    whose bits are all ones, such as 4095, nevertheless tells how many bits are used.
    """

    def __init__(self, layout: Layout, page: Directory, part: slice) -> None:
        self._part = part
        self._float = layout.kind == _FLOAT
        self._largest = 0.0
        self._seen = 0
        self._not_finite = 0
        self._whites = _FLOAT_WHITES if self._float else _INTEGER_WHITES.get(layout.bits, ())
        self._above = dict.fromkeys(self._whites if self._float else (), 0)
        self._full = 0 if self._float else 2 ** (layout.bits - (layout.kind == _SIGNED)) - 1
        if self._float:
            self._said = 0
        else:
            said = page.number(tag.S_MAX_SAMPLE) or page.number(tag.MAX_SAMPLE)
            self._said = said if 127 < said < self._full and said in _DEPTHS else 0
        self._table: Samples | None = None

    @property
    def is_open(self) -> bool:
        """Whether the samples must be scanned to determine white."""
        return self._float or bool(self._said or self._whites)

    def see(self, block: Samples) -> None:
        """Scan the samples of some rows."""
        values = block[..., self._part]
        if self._float:
            finite = np.isfinite(values)
            if not finite.all():
                values = values[finite]
                self._not_finite += int(finite.size - values.size)
        largest = float(values.max(initial=0))
        for white in self._above:
            if largest > white:
                self._above[white] += int(np.count_nonzero(values > white))
        self._largest = max(self._largest, largest)
        self._seen += values.size

    @property
    def white(self) -> float:
        """The value of white."""
        if not self._float:
            if self._said >= self._largest and self._said:
                return self._said
            return next((each for each in self._whites if self._largest <= each), self._full)
        # A few highlights may exceed white; a range of which hardly anything is used is rejected.
        for white in self._whites:
            if self._above[white] <= self._seen / 1000:
                return white if self._largest >= white / 8 or white == 1 else self._largest
        return self._largest

    def levels(self, block: Samples) -> Samples:
        """The samples of some rows scaled to levels from 0 to 65535, uint16."""
        values = block[..., self._part]
        white = self.white
        if values.dtype.kind == "u" and values.dtype.itemsize <= 2:
            if self._table is None:
                steps = np.arange(2 ** (8 * values.dtype.itemsize))
                self._table = (
                    (np.minimum(steps, white) * (65_535 / white)).round().astype(np.uint16)
                )
            return self._table[values]
        number = np.dtype(np.float64 if values.dtype.itemsize == 8 else np.float32)
        scaled: npt.NDArray[np.floating[Any]] = np.clip(values, 0, white).astype(number, copy=False)
        scaled *= 65_535 / white
        scaled += 0.5
        np.nan_to_num(scaled, copy=False, nan=0)
        levels: Samples = np.clip(scaled, 0, 65_535, out=scaled).astype(np.uint16)
        return levels

    def notes(self) -> tuple[str, ...]:
        """Clauses on values that are not finite and on a range that is not fully used."""
        found = []
        if self._not_finite:
            found.append(f"{self._not_finite:,} samples are not finite; NaN is shown as black")
        if self.is_open and self.white not in (self._full, 1):
            found.append(
                f"the samples range only from 0 to {self.white:g}, which is shown as white"
            )
        return tuple(found)


def _blocks(
    planes: list["TiffImagePlugin.TiffImageFile"], layout: Layout
) -> Iterator[tuple[int, Samples]]:
    """The samples in blocks of rows: the index of the first row, and (rows, width, samples)."""
    step = max(1, _BLOCK // max(1, layout.columns * layout.across * layout.samples))
    for top in range(0, layout.height, step):
        bottom = min(top + step, layout.height)
        parts = []
        for plane in planes:
            tiles = []
            for tile in range(layout.across):
                left = tile * layout.row_bytes
                raw = plane.crop((left, top, left + layout.row_bytes, bottom))
                tiles.append(_unpack(np.asarray(raw), layout))
            parts.append(np.concatenate(tiles, axis=1)[:, : layout.width])
        yield top, np.concatenate(parts, axis=2) if len(parts) > 1 else parts[0]


def _unpack(raw: Bytes, layout: Layout) -> Samples:
    """Unpack the bytes (rows, row_bytes) of a tile to (rows, columns, interleaved samples)."""
    shape = (len(raw), layout.columns, layout.interleaved)
    size = layout.bits // 8
    if layout.predictor == 3 and layout.kind == _FLOAT:
        # The bytes of a row are ordered by significance and stored as differences.
        steps = raw.reshape(len(raw), -1, layout.interleaved)
        sums = np.cumsum(steps, axis=1, dtype=np.uint8).reshape(len(raw), size, -1)
        raw, order = np.ascontiguousarray(sums.transpose(0, 2, 1)).reshape(len(raw), -1), ">"
    else:
        order = layout.order
    if layout.bits % 8:
        return _unpack_bits(raw, layout).reshape(shape)
    if layout.bits == 24:
        padded = np.zeros((*shape, 4), np.uint8)
        padded[..., slice(0, 3) if order == "<" else slice(1, 4)] = raw.reshape(*shape, 3)
        values = padded.view(f"{order}u4")[..., 0]
        return values.astype(np.uint32)
    letter = {_UNSIGNED: "u", _SIGNED: "i", _FLOAT: "f"}[layout.kind]
    values = np.ascontiguousarray(raw).view(f"{order}{letter}{size}").reshape(shape)
    # Half floats cannot represent the white values that they are compared with.
    native = np.dtype(np.float32) if letter + str(size) == "f2" else values.dtype.newbyteorder("=")
    if layout.predictor != 2:
        return values.astype(native, copy=False)
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    # The predictor subtracts bit patterns as unsigned integers, whatever the type of the samples.
    bits = np.cumsum(values.view(f"u{size}"), axis=1, dtype=f"u{size}")
    return bits.view(values.dtype).astype(native, copy=False)


def _unpack_bits(raw: Bytes, layout: Layout) -> Samples:
    """Unpack samples of fewer than 16 bits, stored without gaps, most significant bit first."""
    number = layout.columns * layout.interleaved
    bits = np.unpackbits(raw, axis=1, count=number * layout.bits)
    words = np.zeros((len(raw), number, 16), np.uint8)
    words[..., 16 - layout.bits :] = bits.reshape(len(raw), number, layout.bits)
    return np.packbits(words, axis=2).view(">u2")[..., 0].astype(np.uint16)


def _as_bytes(page: Directory, layout: Layout, plane: int) -> "TiffImagePlugin.TiffImageFile":
    """The decompressed bytes of a page, or of one of its planes, as a gray picture.

    The same file gets another directory, which describes the same strips or tiles as bytes, so that
    libtiff decompresses them and ignores predictor and samples.
    """
    tiled = tag.TILE_OFFSETS in page.entries
    offsets = page.numbers(tag.TILE_OFFSETS if tiled else tag.STRIP_OFFSETS)
    sizes = page.numbers(tag.TILE_BYTES if tiled else tag.STRIP_BYTES)
    pieces = layout.across * -(-layout.height // layout.rows)
    offsets = offsets[plane * pieces : (plane + 1) * pieces]
    sizes = sizes[plane * pieces : (plane + 1) * pieces]
    if len(offsets) < pieces:
        raise OSError(f"{len(offsets)} of {pieces} strips or tiles")
    if len(sizes) < pieces:
        sizes = tuple(
            min((end for end in (*offsets, len(page.data)) if end > start), default=start) - start
            for start in offsets
        )
    entries: dict[int, tuple[int, ...]] = {
        tag.WIDTH: (layout.row_bytes * layout.across,),
        tag.HEIGHT: (layout.height,),
        tag.BITS: (8,),
        tag.COMPRESSION: (page.number(tag.COMPRESSION, 1),),
        tag.PHOTOMETRIC: (_BLACK_IS_ZERO,),
        tag.FILL_ORDER: (page.number(tag.FILL_ORDER, 1),),
        tag.SAMPLES: (1,),
    }
    if tiled:
        entries |= {tag.TILE_WIDTH: (layout.row_bytes,), tag.TILE_HEIGHT: (layout.rows,)}
        entries |= {tag.TILE_OFFSETS: offsets, tag.TILE_BYTES: sizes}
    else:
        entries |= {tag.ROWS_PER_STRIP: (layout.rows,)}
        entries |= {tag.STRIP_OFFSETS: offsets, tag.STRIP_BYTES: sizes}
    picture = TiffImagePlugin.TiffImageFile(io.BytesIO(tag.with_directory(page.data, entries)))
    # Else Pillow would refuse more bytes than it allows pixels; the caller has checked the size.
    picture.im = Image.new(picture.mode, picture.size).im
    picture.load()
    return picture
