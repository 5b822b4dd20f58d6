"""JPEGs whose end is missing: how much of the picture is missing with it.

libjpeg fills up what it does not find, so that a picture can be shown; it does not say how much
that was. Two endings are tried here, one with and one without random bits before it: where the two
pictures differ, nothing is known. ITU-T T.81 says what the markers mean.
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
    """What the markers say: the frame, and what has come of each component's coefficients."""

    width: int = 0
    height: int = 0
    factors: dict[int, tuple[int, int]] = field(default_factory=dict)
    # Of each component, the bit that each of its 64 coefficients is known down to; 99 for none.
    known: dict[int, list[int]] = field(default_factory=dict)
    interval: int = 0
    of_last: tuple[int, ...] = ()
    restarts: int = 0

    def missing(self) -> float:
        """The share of the last scan that the restart markers show to be missing."""
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
        """Whether every coefficient of every component has been begun to its last bit."""
        return bool(self.known) and all(not any(bits) for bits in self.known.values())


def complete(data: bytes, most: float) -> Image.Image | None:
    """A JPEG that has lost its end, if hardly anything of the picture went with it.

    Args:
        data: the file, which ends within its last scan or behind it.
        most: the largest share of the pixels that may be missing.

    Returns:
        The loaded picture, with the rest filled up; None where more is missing.
    """
    data = data.removesuffix(b"\xff")  # half a marker
    scans = _read(data)
    if scans is None or not scans.is_complete() or scans.missing() > most:
        return None
    chance = random.Random(0)
    noise = bytes(chance.randrange(255) for _ in range(512))
    try:
        shown, other = (_load(data + ending) for ending in (_END, noise + _END))
    except Exception:  # Pillow's decoders raise a dozen kinds on damaged data
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
    """The markers of a file up to its end; None where they are no JPEG's."""
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
    """Where the marker stands that ends the entropy-coded data; the file's end where none does."""
    found = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]").search(data, place)
    return found.start() if found else len(data)
