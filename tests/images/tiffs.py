"""TIFFs made by hand, of layouts that no writer at hand makes."""

import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

LETTERS = {1: "B", 2: "c", 3: "H", 4: "I"}


def tiff(*directories: tuple[dict[int, tuple[int, Any]], bytes], order: str = "<") -> bytes:
    """A TIFF of these directories, each of its tags (type and values by number) and its strip."""
    out = bytearray((b"II*\0" if order == "<" else b"MM\0*") + bytes(4))
    link = 4
    for tags, strip in directories:
        at = len(out)
        out += strip + bytes(len(strip) % 2)
        if 322 in tags:
            where = {324: (4, tags[324][1](at)), 325: (4, tags[325][1])}
        else:
            where = {273: (4, at), 279: (4, len(strip))}
        entries = b""
        for tag, (kind, value) in sorted({**where, **tags, **where}.items()):
            values = value if isinstance(value, bytes | Sequence) else [value]
            number = len(values)
            raw = (
                value
                if isinstance(value, bytes)
                else struct.pack(f"{order}{number}{LETTERS[kind]}", *values)
            )
            if len(raw) > 4:
                position = len(out)
                out += raw + bytes(len(raw) % 2)
                raw = struct.pack(f"{order}I", position)
            entries += struct.pack(f"{order}HHI", tag, kind, number) + raw.ljust(4, b"\0")
        struct.pack_into(f"{order}I", out, link, len(out))
        out += struct.pack(f"{order}H", len(entries) // 12) + entries
        link = len(out)
        out += bytes(4)
    return bytes(out)


def directory(
    pixels: Array, photometric: int = 1, **options: Any
) -> tuple[dict[int, tuple[int, Any]], bytes]:
    """The directory of (height, width) or (height, width, samples) pixels, uncompressed.

    `bits` and `strip` replace what follows from the pixels' dtype, `t339=3` sets a tag.
    """
    samples = pixels.shape[2] if pixels.ndim == 3 else 1
    tags: dict[int, tuple[int, Any]] = {
        256: (4, pixels.shape[1]),
        257: (4, pixels.shape[0]),
        258: (3, [options.pop("bits", pixels.dtype.itemsize * 8)] * samples),
        259: (3, 1),
        262: (3, photometric),
        277: (3, samples),
        278: (4, pixels.shape[0]),
    }
    strip = options.pop("strip", pixels.tobytes())
    if pixels.dtype.kind != "u":
        tags[339] = (3, [3 if pixels.dtype.kind == "f" else 2] * samples)
    for name, value in options.items():
        kind = 1 if isinstance(value, bytes) else 4 if name == "t254" else 3
        tags[int(name[1:])] = (kind, value)
    return tags, strip


def one(pixels: Array, photometric: int = 1, **options: Any) -> bytes:
    """A TIFF of one directory, in the byte order of the pixels."""
    order = ">" if pixels.dtype.byteorder == ">" else "<"
    return tiff(directory(pixels, photometric, **options), order=order)


def packed(values: Array, bits: int) -> bytes:
    """Rows of values without gaps between their bits, each row to whole bytes."""
    rows = []
    for row in values.reshape(len(values), -1):
        text = "".join(f"{value:0{bits}b}" for value in row.tolist())
        text += "0" * (-len(text) % 8)
        rows.append(bytes(int(text[at : at + 8], 2) for at in range(0, len(text), 8)))
    return b"".join(rows)


def tiles(pixels: Array, side: int, photometric: int = 1, compress: bool = False) -> bytes:
    """A TIFF of square tiles."""
    height, width = pixels.shape
    padded = np.pad(pixels, ((0, -height % side), (0, -width % side)))
    parts = [
        padded[top : top + side, left : left + side].tobytes()
        for top in range(0, height, side)
        for left in range(0, width, side)
    ]
    if compress:
        parts = [zlib.compress(part) for part in parts]
    sizes = [len(part) for part in parts]
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    tags, _ = directory(pixels, photometric)
    tags |= {322: (3, side), 323: (3, side), 325: (4, sizes)}
    tags[324] = (4, lambda at: [at + start for start in starts])
    tags[259] = (3, 8 if compress else 1)
    del tags[278]
    order = ">" if pixels.dtype.byteorder == ">" else "<"
    return tiff((tags, b"".join(parts)), order=order)
