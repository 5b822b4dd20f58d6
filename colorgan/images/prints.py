"""Old prints: what has faded, yellowed, got scratches or a border is mended for the networks.

The networks have learned from good photographs. A print is measured, and where it differs from
those, they see a mended one. What they see has no paper tint in any case, because it is the
lightness alone. A good photograph is left as it is, to the last bit.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import convolve1d, find_objects, label, median_filter, uniform_filter

from colorgan.errors import ConfigError
from colorgan.images import lab
from colorgan.images.borders import Box, find_border, reduction
from colorgan.images.decoding import Photograph, Pixels, to_image

Restoring = Literal["off", "colors", "full"]
RESTORING: tuple[Restoring, ...] = get_args(Restoring)

Gray = npt.NDArray[np.float32]

_SIDE = 512  # pixels; what the networks see of a mended print has a short side of this at most

_ENDS = (0.5, 99.5)  # percentiles between which the tones of a print extend
_GOOD = 0.5  # the range of tones, of 1, from which on the contrast is good
_FADED_BLACK = 0.22  # a photograph whose blacks are darker has not faded: it is one of the night
_BLACK, _WHITE = 0.02, 0.96  # the tones to which the ends are stretched
_SIGHT = 256  # pixels on the short side, at which tones are measured

_BLOCK = 16  # pixels; noise is measured in the smoothest of such squares
_SMOOTHEST = 25  # percentile of the squares
_CLIPPED = 0.03  # squares that are darker, or lighter than 1 - this, show no noise
_NOISY = 0.06  # standard deviation of noise, of 1, that disturbs the networks
_PATCH, _REACH = 5, 5  # pixels, of the non-local means
_STRENGTH = 0.8  # of the non-local means, in standard deviations of the noise

_SCRATCH = 0.06  # by how much a scratch differs from its surroundings, of the range of tones
_SCRATCHED = 0.65  # the share of the lines of a print that a scratch crosses
_AROUND = 7  # pixels around a scratch
_EDGE = 0.03  # of the width, where nothing is a scratch

_SPECK = 0.15  # by how much a speck differs from its surroundings, of the range of tones
_STANDS_OUT = 3.0  # by how much, in standard deviations of the surroundings
_DUST = (7, 11)  # pixels around a speck, and around its surroundings
_SMALLEST, _LARGEST = 4, 16  # pixels in a speck
_LONGEST = 5  # pixels, the side of a speck
_COMPACT = 0.6  # the share of a speck in the rectangle around it

# The mended lightness is computed in strips of about this many pixels, to bound memory.
_STRIP_PIXELS = 2_000_000
_MARGIN = 16  # rows around a strip, which its specks' surroundings reach into


@dataclass(frozen=True)
class Condition:
    """What is wrong with the picture of a print.

    Attributes:
        tones: the gray levels in [0, 1] between which its tones extend, if its contrast has faded.
        scratches: the columns of scratches from top to bottom, in pixels of the reduced print.
            Such a print, or a noisy one, has specks of dust, too, which are mended with them.
        noise: standard deviation of its noise, of 1, after the contrast is stretched; 0 if there is
            little.
    """

    tones: tuple[float, float] | None = None
    scratches: tuple[int, ...] = ()
    noise: float = 0.0

    @property
    def is_good(self) -> bool:
        """Whether there is nothing to mend."""
        return self.tones is None and not self.scratches and not self.noise


@dataclass(frozen=True)
class Restored:
    """A photograph, and what the networks see of it.

    Attributes:
        photograph: the photograph whose lightness the colouring has.
        seen: (height, width, 3) uint8 sRGB, what the networks see: its picture, mended. Its size
            may differ from the photograph's.
        box: the picture within its border, which stays gray; None if there is no border.
        condition: what was found in the picture.
    """

    photograph: Photograph
    seen: Pixels
    box: Box | None = None
    condition: Condition = field(default_factory=Condition)


def check_restoring(text: str) -> Restoring:
    """One of RESTORING; raises ConfigError."""
    for each in RESTORING:
        if text == each:
            return each
    raise ConfigError(f"restore is one of {', '.join(RESTORING)}, not {text!r}")


def restore(photograph: Photograph, restoring: Restoring) -> Restored:
    """Mend a photograph for the networks.

    Args:
        photograph: the photograph; any colour in it is ignored.
        restoring: `off` does nothing. `colors` mends what the networks see, and keeps the
            photograph. `full` also writes the mended lightness into the photograph: all of it if
            the short side has at most 512 pixels, and the stretched contrast if it has more.

    Returns:
        The photograph with what the networks see. Nothing is copied of a good photograph.
    """
    if restoring == "off":
        return Restored(photograph, photograph.rgb)
    box = find_border(photograph.rgb)
    picture: Pixels = photograph.rgb if box is None else box.of(photograph.rgb)
    reduced = _reduced(picture)
    condition = measure(reduced)
    seen = picture
    if not condition.is_good:
        seen = _three(mended(reduced, condition))
        if restoring == "full":
            photograph = _replaced(photograph, box, condition)
    notes = photograph.notes + tuple(_notes(box, condition))
    return Restored(replace(photograph, notes=notes), seen, box, condition)


def measure(gray: Gray) -> Condition:
    """Find what is wrong with the picture of a print.

    Args:
        gray: (height, width) float32, sRGB gray levels in [0, 1].
    """
    scratches = _find_scratches(gray)
    clean = _without_scratches(gray, scratches)
    tones = _faded_tones(clean)
    noise = _noise(clean if tones is None else _stretched(clean, tones))
    return Condition(tones, scratches, noise if noise >= _NOISY else 0.0)


def mended(gray: Gray, condition: Condition) -> Gray:
    """The picture of a print, (height, width) float32 in [0, 1], without what is wrong with it."""
    if condition.scratches:
        gray = _without_scratches(gray, condition.scratches)
    if condition.scratches or condition.noise:
        gray = _without_specks(gray)
    if condition.tones is not None:
        gray = _stretched(gray, condition.tones)
    if condition.noise:
        gray = _without_noise(gray, condition.noise)
    return gray


def _reduced(picture: Pixels) -> Gray:
    """The gray levels of a picture, at a size at which it is measured quickly."""
    step = reduction(picture, _SIDE)
    if step > 1:
        image = to_image(picture).reduce(step).convert("RGB")
        picture = np.asarray(image)
    return _gray(picture)


def _gray(picture: Pixels) -> Gray:
    """The sRGB gray levels that have the lightness L of a picture, in [0, 1]."""
    none = np.zeros((2, *picture.shape[:2]), np.float32)
    gray: Gray = lab.recolor(picture, none)[..., 0].astype(np.float32) / np.float32(255)
    return gray


def _three(gray: Gray) -> Pixels:
    return np.repeat((gray * 255).round().astype(np.uint8)[..., None], 3, axis=-1)


def _faded_tones(gray: Gray) -> tuple[float, float] | None:
    """The ends of the tones, if they are so near to each other that the contrast has faded."""
    step = max(1, min(gray.shape) // _SIGHT)
    sight = np.asarray(Image.fromarray(gray).reduce(step)) if step > 1 else gray
    dark, light = np.percentile(median_filter(sight, 3), _ENDS)
    if dark < _FADED_BLACK or light - dark >= _GOOD or light - dark < 2 / 255:
        return None
    return float(dark), float(light)


def _stretched(gray: Gray, tones: tuple[float, float]) -> Gray:
    dark, light = tones
    gain = (_WHITE - _BLACK) / (light - dark)
    stretched: Gray = (_BLACK + (gray - dark) * gain).clip(0, 1).astype(np.float32)
    return stretched


def _noise(gray: Gray) -> float:
    """The standard deviation of noise, of 1 (Immerkær 1996, in the smoothest parts)."""
    rows, columns = (length // _BLOCK for length in gray.shape)
    if not rows * columns:
        return 0.0
    second = np.array([1, -2, 1], np.float32)
    rough = convolve1d(convolve1d(gray, second, axis=0), second, axis=1)
    level, power = (_by_block(each, rows, columns) for each in (gray, rough**2))
    usable = (level > _CLIPPED) & (level < 1 - _CLIPPED)
    if not usable.any():
        return 0.0
    return float(np.percentile(np.sqrt(power[usable]) / 6, _SMOOTHEST))


def _by_block(values: Gray, rows: int, columns: int) -> Gray:
    """The means of the squares of a picture: (rows, columns)."""
    whole = values[: rows * _BLOCK, : columns * _BLOCK]
    means: Gray = whole.reshape(rows, _BLOCK, columns, _BLOCK).mean(axis=(1, 3))
    return means


def _find_scratches(gray: Gray) -> tuple[int, ...]:
    """The columns of scratches that cross the picture from top to bottom."""
    black, white = _faded_tones(gray) or (0.0, 1.0)
    least = _SCRATCH * (white - black)  # scratches have faded with the print
    apart = gray - median_filter(gray, (1, _AROUND))
    light, dark = (apart > least).mean(axis=0), (apart < -least).mean(axis=0)
    found = np.flatnonzero(np.maximum(light, dark) > _SCRATCHED)
    edge = max(_AROUND, round(_EDGE * gray.shape[1]))  # there, it is the rest of a frame
    return tuple(int(column) for column in found if edge <= column < gray.shape[1] - edge)


def _without_scratches(gray: Gray, scratches: tuple[int, ...]) -> Gray:
    """A picture whose scratches are filled from both sides."""
    if not scratches:
        return gray
    columns = list(scratches)
    filled = gray.copy()
    filled[:, columns] = median_filter(gray, (1, _AROUND))[:, columns]
    return filled


def _without_specks(gray: Gray) -> Gray:
    """A picture whose specks are filled with what is around them."""
    around = median_filter(gray, _DUST[0])
    dark, light = np.percentile(around, _ENDS)
    apart = np.abs(gray - around)
    usual = 1.4826 * median_filter(apart, _DUST[1])
    parts, _ = label(
        (apart > _SPECK * (light - dark)) & (apart > _STANDS_OUT * usual), np.ones((3, 3))
    )
    filled = gray.copy()
    sizes = np.bincount(parts.ravel())
    for number, place in enumerate(find_objects(parts), start=1):
        height, width = (each.stop - each.start for each in place)
        small = _SMALLEST <= sizes[number] <= _LARGEST and max(height, width) <= _LONGEST
        if small and sizes[number] >= _COMPACT * height * width:
            speck = parts[place] == number
            filled[place][speck] = around[place][speck]
    return filled


def _without_noise(gray: Gray, noise: float) -> Gray:
    """A picture without noise of this standard deviation, by non-local means (Buades 2005)."""
    height, width = gray.shape
    whole = np.pad(gray, _REACH, mode="symmetric")
    total, weights = np.zeros_like(whole), np.zeros_like(whole)
    inner = Box(_REACH, _REACH + height, _REACH, _REACH + width)
    steps = range(-_REACH, _REACH + 1)
    # What resembles a place is resembled by it: half of the pairs are enough.
    for down, right in ((y, x) for y in steps for x in steps if (y, x) > (0, 0)):
        other = Box(inner.top + down, inner.bottom + down, inner.left + right, inner.right + right)
        there = other.of(whole)
        unlike = uniform_filter((gray - there) ** 2, _PATCH) - 2 * noise**2
        weight = np.exp(-np.maximum(unlike, 0) / (_STRENGTH * noise) ** 2)
        for place, values in ((inner, there), (other, gray)):
            place.of(total)[:] += weight * values
            place.of(weights)[:] += weight
    mean: Gray = (inner.of(total) + gray) / (inner.of(weights) + 1)
    return mean.clip(0, 1).astype(np.float32)


def _replaced(photograph: Photograph, box: Box | None, condition: Condition) -> Photograph:
    """The photograph with the mended lightness, at its own size and depth."""
    height, width = photograph.rgb.shape[:2]
    box = box or Box(0, height, 0, width)
    if reduction(box.of(photograph.rgb), _SIDE) > 1:
        condition = replace(condition, noise=0.0, scratches=())
    rgb = np.array(photograph.rgb)
    deep = None if photograph.deep is None else photograph.deep.copy()
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(box.top, box.bottom, rows):
        bottom = min(top + rows, box.bottom)
        first, last = max(box.top, top - _MARGIN), min(box.bottom, bottom + _MARGIN)
        strip = Box(first, last, box.left, box.right)
        gray = mended(_gray_of(photograph, strip), condition)[top - first : bottom - first]
        rgb[top:bottom, box.left : box.right] = _three(gray)
        if deep is not None:
            levels = (gray * 65535).round().astype(np.uint16)
            deep[top:bottom, box.left : box.right] = levels
    return replace(photograph, rgb=rgb, deep=deep)


def _gray_of(photograph: Photograph, part: Box) -> Gray:
    if photograph.deep is not None:
        gray: Gray = part.of(photograph.deep).astype(np.float32) / np.float32(65535)
        return gray
    return _gray(part.of(photograph.rgb))


def _notes(box: Box | None, condition: Condition) -> Iterator[str]:
    """What was found, as those of `Photograph`."""
    if box is not None:
        yield "the border of the print stays gray"
    found = {
        "faded contrast": condition.tones,
        "scratches": condition.scratches,
        "noise": condition.noise,
    }
    if not condition.is_good:
        yield f"{', '.join(name for name, each in found.items() if each)} mended for the networks"
