"""Writes a TIFF with 8 or 16 bits per sample, strip by strip, with the tags of its photograph.

Pillow writes colours of 8 bits alone, from a whole picture in memory, and replaces all letters but
those of ASCII in the tags. The structure is that of TIFF 6.0 (1992); a file of more than 4 GB is a
BigTIFF (2007). Samples are compressed with deflate, as differences from the pixel on the left.
"""

import io
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from colorgan.images import tiff_structure as tag
from colorgan.images.tags import BYTE, LONG, LONG_8, SHORT, UNDEFINED, Tags, Value

Samples = npt.NDArray[Any]

_DEFLATE, _DIFFERENCES, _RGB, _UNASSOCIATED = 8, 2, 2, 2
# Strips of about this many bytes, before compression.
_STRIP_BYTES = 1 << 18
# The level of zlib: for photographs, 6, its default, takes twice as long for as many bytes.
_LEVEL = 3
# The room for the header of either kind of file, which is chosen when the size is known.
_FIRST = 16
_LARGEST = 2**32 - 2**20

_MAX_PIXEL_BYTES = 8


def write_tiff(
    strips: Iterable[Samples], size: tuple[int, int], tags: Tags, blocks: dict[int, bytes]
) -> bytes:
    """Encode a picture as a TIFF.

    Args:
        strips: (rows, width, 3 or 4) uint8 or uint16 sRGB or RGBA, from the top.
        size: width and height, in pixels.
        tags: the tags that describe the photograph; their byte order is that of the file, but
            that of a very large one is "<", as Pillow reads no other BigTIFF.
        blocks: further tags that hold bytes, such as the ICC profile, by number.

    Returns:
        The complete file.
    """
    width, height = size
    if width * height * _MAX_PIXEL_BYTES > _LARGEST:
        tags = tags.little_endian()
    file = io.BytesIO(bytes(_FIRST))
    file.seek(_FIRST)
    offsets, sizes = [], []
    samples = bits = rows = 0
    # zlib releases the interpreter's lock.
    with ThreadPoolExecutor(2) as pool:
        for strip in strips:
            if not samples:
                samples, bits = strip.shape[2], 8 * strip.dtype.itemsize
                rows = max(1, min(height, _STRIP_BYTES // (width * samples * bits // 8)))
                pieces = _Pieces(rows)
            for data in pool.map(lambda each: _compress(each, tags.order), pieces.of(strip)):
                offsets.append(file.tell())
                sizes.append(file.write(data))
        for data in (_compress(each, tags.order) for each in pieces.rest()):
            offsets.append(file.tell())
            sizes.append(file.write(data))
    end = file.tell() + file.tell() % 2
    size_of_rest = sum(map(len, blocks.values())) + 20 * len(offsets) + (1 << 20)
    big = end + size_of_rest > _LARGEST
    pieces_at = {tag.STRIP_OFFSETS: offsets, tag.STRIP_BYTES: sizes}
    structure = {
        tag.WIDTH: tags.numbers(LONG, width),
        tag.HEIGHT: tags.numbers(LONG, height),
        tag.ROWS_PER_STRIP: tags.numbers(LONG, rows),
        **_samples(tags, samples, bits),
        **{each: _long(tags.order, big, values) for each, values in pieces_at.items()},
        **{
            number: Value(BYTE if number == tag.XMP else UNDEFINED, len(data), data)
            for number, data in blocks.items()
            if data
        },
    }
    file.seek(end)
    file.write(tags.to_directory(structure, end, big))
    file.seek(0)
    mark = b"II" if tags.order == "<" else b"MM"
    header = struct.pack(
        tags.order + ("HHHQ" if big else "HI"), *((43, 8, 0) if big else (42,)), end
    )
    file.write(mark + header)
    return file.getvalue()


def _samples(tags: Tags, samples: int, bits: int) -> dict[int, Value]:
    """The tags that say how samples are stored."""
    facts = {
        tag.BITS: (bits,) * samples,
        tag.COMPRESSION: (_DEFLATE,),
        tag.PHOTOMETRIC: (_RGB,),
        tag.SAMPLES: (samples,),
        tag.PLANAR: (1,),
        tag.PREDICTOR: (_DIFFERENCES,),
    }
    if samples == 4:
        facts[tag.EXTRA_SAMPLES] = (_UNASSOCIATED,)
    return {number: tags.numbers(SHORT, *values) for number, values in facts.items()}


def _long(order: str, big: bool, values: Sequence[int]) -> Value:
    packed = struct.pack(f"{order}{len(values)}{'Q' if big else 'I'}", *values)
    return Value(LONG_8 if big else LONG, len(values), packed)


class _Pieces:
    """Cuts strips of rows into others of equal height."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._left: Samples | None = None

    def of(self, strip: Samples) -> Iterator[Samples]:
        """The pieces that are complete with this strip."""
        whole = strip if self._left is None else np.concatenate([self._left, strip])
        end = len(whole) // self._rows * self._rows
        self._left = whole[end:] if end < len(whole) else None
        return (whole[top : top + self._rows] for top in range(0, end, self._rows))

    def rest(self) -> Iterator[Samples]:
        """The last piece, which may have fewer rows."""
        if self._left is not None:
            yield self._left


def _compress(samples: Samples, order: str) -> bytes:
    differences = samples.copy()
    differences[:, 1:] -= samples[:, :-1]
    if samples.dtype.itemsize > 1:
        differences = differences.astype(f"{order}u2")
    return zlib.compress(differences.data, _LEVEL)
