"""Truncated JPEGs: how much of the picture is missing.

libjpeg fills in missing data so that a picture can be shown, but does not report how much it was.
Here, a file is decoded with two different endings, one of them preceded by random bits: pixels that
differ between the two pictures are missing. ITU-T T.81 defines the markers.
"""

import io
import random
import re
import struct
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

_END = b"\xff\xd9"
_START_OF_FRAME = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


@dataclass
class _Scans:
    """The information in the markers: the frame, and which coefficients have been received."""

    width: int = 0
    height: int = 0
    factors: dict[int, tuple[int, int]] = field(default_factory=dict)
    # By component, the lowest known bit of each of its 64 coefficients; 99 if none is known.
    known: dict[int, list[int]] = field(default_factory=dict)
    interval: int = 0
    of_last: tuple[int, ...] = ()
    restarts: int = 0

    def missing(self) -> float:
        """The missing share of the last scan, according to the restart markers."""
        if not self.interval or not self.of_last:
            return 0.0
        across = max(x for x, _ in self.factors.values())
        down = max(y for _, y in self.factors.values())
        x, y = self.factors[self.of_last[0]] if len(self.of_last) == 1 else (1, 1)
        single = len(self.of_last) == 1
        columns = -(-self.width * x // (8 * across)) if single else -(-self.width // (8 * across))
        rows = -(-self.height * y // (8 * down)) if single else -(-self.height // (8 * down))
        expected = -(-columns * rows // self.interval) - 1
        return max(0.0, (expected - self.restarts) / (expected + 1))

    def is_complete(self) -> bool:
        """Whether a scan has begun for the last bit of every coefficient of every component."""
        return bool(self.known) and all(not any(bits) for bits in self.known.values())


def complete(data: bytes, most: float) -> Image.Image | None:
    """Load a truncated JPEG if hardly anything of the picture is missing.

    Args:
        data: the file, which ends within or after its last scan.
        most: the largest acceptable share of missing pixels.

    Returns:
        The loaded picture, with the rest filled in; None if more is missing.
    """
    data = data.removesuffix(b"\xff")  # the first half of a marker
    scans = _read(data)
    if scans is None or not scans.is_complete() or scans.missing() > most:
        return None
    chance = random.Random(0)
    noise = bytes(chance.randrange(255) for _ in range(512))
    try:
        shown, other = (_load(data + ending) for ending in (_END, noise + _END))
    except Exception:  # Pillow's decoders raise many kinds of exceptions for damaged data
        return None
    different = sum(
        int((_rows(shown, top) != _rows(other, top)).any(axis=-1).sum())
        for top in range(0, shown.height, 256)
    )
    return shown if different <= most * shown.width * shown.height else None


def _rows(image: Image.Image, top: int) -> np.ndarray:
    part = np.asarray(image.crop((0, top, image.width, min(top + 256, image.height))))
    return part.reshape(*part.shape[:2], -1)


def _load(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data), formats=("JPEG",))
    image.load()
    return image


def _read(data: bytes) -> _Scans | None:
    """Read all markers of a file; None if it is not a valid JPEG."""
    scans, place = _Scans(), 2
    while (place := data.find(b"\xff", place)) >= 0 and place + 4 <= len(data):
        marker = data[place + 1]
        if marker == 0xFF:
            place += 1
            continue
        if marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD9:
            place += 2
            continue
        (length,) = struct.unpack_from(">H", data, place + 2)
        content = data[place + 4 : place + 2 + length]
        place += 2 + length
        try:
            if marker in _START_OF_FRAME:
                scans.height, scans.width = struct.unpack_from(">HH", content, 1)
                for name, factors, _ in zip(*[iter(content[6:])] * 3, strict=False):
                    scans.factors[name] = (factors >> 4 or 1, factors & 15 or 1)
                    scans.known[name] = [99] * 64
            elif marker == 0xDD:
                (scans.interval,) = struct.unpack(">H", content)
            elif marker == 0xDA:
                end = _end_of_scan(data, place)
                scans.restarts = len(re.findall(rb"\xff[\xd0-\xd7]", data[place:end]))
                _see_scan(scans, content)
                place = end
        except (struct.error, IndexError, KeyError):
            return None
    return scans if scans.factors else None


def _see_scan(scans: _Scans, content: bytes) -> None:
    names = content[1 : 1 + 2 * content[0] : 2]
    first, last, bits = content[-3:]
    for name in names:
        known = scans.known[name]
        known[first : last + 1] = [bits & 15] * (last + 1 - first)
    scans.of_last = tuple(names)


def _end_of_scan(data: bytes, place: int) -> int:
    """The position of the marker that ends the entropy-coded data, or the end of the file."""
    found = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]").search(data, place)
    return found.start() if found else len(data)
