"""From generated colours to the coloured photograph: vividness, a palette, and hints."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from colorgan.errors import ConfigError
from colorgan.images import lab
from colorgan.images.borders import Box
from colorgan.images.color_spaces import ColorSpace
from colorgan.images.decoding import Levels, Pixels, resize
from colorgan.images.prints import Restoring
from colorgan.inference.colorizer import Touch, grayscale, recombine, recombined_strips
from colorgan.inference.hints import Hint, apply_hints, check_hints
from colorgan.inference.palette import Palette


@dataclass(frozen=True)
class Choices:
    """The user's choices of colours; it can be pickled.

    Attributes:
        vividness: the factor that multiplies the chroma.
        hints: colours of points of the photograph.
        like: the palette of a reference photograph.
        restore: whether old prints are mended for the networks; see `colorgan.images.prints`.
    """

    vividness: float = 1.0
    hints: tuple[Hint, ...] = ()
    like: Palette | None = None
    restore: Restoring = "off"


@dataclass(frozen=True)
class Wanted:
    """The colours that the user wants, as the arguments of `recombine`.

    Attributes:
        color: see `recombine`; joined colours of objects need not be square.
        color_space: see `recombine`.
        vividness: see `recombine`.
        touches: see `recombine`.
    """

    color: Tensor
    color_space: ColorSpace
    vividness: float = 1.0
    touches: Sequence[Touch] = ()


def want(
    photograph: Pixels,
    color: Tensor,
    color_space: ColorSpace,
    vividness: float = 1.0,
    hints: Sequence[Hint] = (),
    like: Palette | None = None,
) -> Wanted:
    """Change the generated colours of a photograph as the user wants them.

    The chroma is multiplied first, then the palette is taken over, and hints have the last word.
    With a palette or hints, the result keeps the photograph's own lightness, whatever the colour
    space of the generator.

    Args:
        photograph: as for `recombine`.
        color: as for `recombine`.
        color_space: as for `recombine`.
        vividness: as for `recombine`.
        hints: colours of points of the photograph; see `apply_hints`.
        like: the palette of a reference photograph.

    Raises:
        ConfigError: a hint lies outside of the photograph, or there are too many.
    """
    if not hints and like is None:
        return Wanted(color, color_space, vividness)
    ab = (to_ab(photograph, color, color_space) * vividness).clamp(-1, 1)
    if like is not None:
        ab = like.transferred(lab.lightness(_scaled(photograph, color)), ab)
    if not hints:
        return Wanted(ab, "lab")
    changed, touches = apply_hints(photograph, ab, hints)
    return Wanted(changed, "lab", touches=touches)


def finish(
    photograph: Pixels,
    color: Tensor,
    color_space: ColorSpace,
    vividness: float = 1.0,
    hints: Sequence[Hint] = (),
    like: Palette | None = None,
    box: Box | None = None,
) -> Pixels:
    """Join a photograph and its colours as the user wants them: `want`, then `recombine`.

    Args:
        photograph: as for `want`.
        color: as for `want`.
        color_space: as for `want`.
        vividness: as for `want`.
        hints: as for `want`.
        like: as for `want`.
        box: as for `finished_print`.

    Returns:
        (height, width, 3) uint8 sRGB.
    """
    if box is not None:
        choices = Choices(vividness, tuple(hints), like)
        strips = finished_print(photograph, box, color, color_space, choices)
        return np.concatenate(list(strips))
    wanted = want(photograph, color, color_space, vividness, hints, like)
    return recombine(photograph, wanted.color, wanted.color_space, wanted.vividness, wanted.touches)


def finished_strips(
    photograph: Pixels,
    color: Tensor,
    color_space: ColorSpace,
    vividness: float = 1.0,
    hints: Sequence[Hint] = (),
    like: Palette | None = None,
    deep: Levels | None = None,
) -> Iterator[Pixels | Levels]:
    """`finish` for one strip of rows after the other, from the top, to bound memory.

    Args:
        photograph: as for `finish`.
        color: as for `finish`.
        color_space: as for `finish`.
        vividness: as for `finish`.
        hints: as for `finish`.
        like: as for `finish`.
        deep: see `recombined_strips`.

    Yields:
        (rows, width, 3) uint8, or uint16, sRGB.

    Raises:
        ConfigError: as `want`.
    """
    wanted = want(photograph, color, color_space, vividness, hints, like)
    changes = wanted.vividness, wanted.touches
    return recombined_strips(photograph, wanted.color, wanted.color_space, *changes, deep)


def finished_print(
    photograph: Pixels,
    box: Box | None,
    color: Tensor,
    color_space: ColorSpace,
    choices: Choices,
    deep: Levels | None = None,
) -> Iterator[Pixels | Levels]:
    """`finished_strips` for a print, whose border stays gray.

    Args:
        photograph: as for `finish`.
        box: the picture within the border; None if there is no border.
        color: the colours of the picture, without the border.
        color_space: as for `finish`.
        choices: as for `finish`, with hints in pixels of the whole photograph.
        deep: as for `finished_strips`.

    Yields:
        As `finished_strips`.

    Raises:
        ConfigError: as `want`, or a hint lies on the border.
    """
    if box is None:
        wanted = choices.vividness, choices.hints, choices.like
        return finished_strips(photograph, color, color_space, *wanted, deep)
    strips = finished_strips(
        box.of(photograph),
        color,
        color_space,
        choices.vividness,
        place_hints(choices.hints, photograph, box),
        choices.like,
        None if deep is None else box.of(deep),
    )
    return _bordered(photograph, box, strips, deep)


def place_hints(hints: Sequence[Hint], photograph: Pixels, box: Box | None) -> tuple[Hint, ...]:
    """The places of hints within the picture of a print.

    Args:
        hints: hints in pixels of the whole photograph.
        photograph: as for `finish`.
        box: as for `finished_print`.

    Raises:
        ConfigError: as `check_hints`, or a hint lies on the border.
    """
    check_hints(hints, photograph.shape[:2])
    if box is None:
        return tuple(hints)
    for hint in hints:
        if not (box.left <= hint.x < box.right and box.top <= hint.y < box.bottom):
            raise ConfigError(
                f"the hint at {hint.x},{hint.y} lies on the border of the print, which stays gray: "
                "move it into the picture, or do not restore"
            )
    return tuple(replace(each, x=each.x - box.left, y=each.y - box.top) for each in hints)


def _bordered(
    photograph: Pixels, box: Box, strips: Iterator[Pixels | Levels], deep: Levels | None
) -> Iterator[Pixels | Levels]:
    """The strips of the picture, with the border around them."""

    def border(rows: slice, columns: slice = slice(None)) -> Pixels | Levels:
        if deep is not None and first.dtype == np.uint16:
            return np.repeat(deep[rows, columns, None], 3, axis=-1)
        return grayscale(photograph[rows, columns])

    first = next(strips)
    height = len(photograph)
    for top in range(0, box.top, len(first)):
        yield border(slice(top, min(top + len(first), box.top)))
    top = box.top
    for strip in itertools.chain([first], strips):
        rows = slice(top, top + len(strip))
        sides = border(rows, slice(box.left)), strip, border(rows, slice(box.right, None))
        whole: Any = np.concatenate(sides, axis=1)
        yield whole
        top += len(strip)
    for top in range(box.bottom, height, len(first)):
        yield border(slice(top, min(top + len(first), height)))


def to_ab(photograph: Pixels, color: Tensor, color_space: ColorSpace) -> Tensor:
    """The a and b of generated colours: (2, …, …) float32 in [-1, 1]; arguments as for `want`."""
    if color_space == "lab":
        return color.float()
    pixels = torch.from_numpy(np.array(_scaled(photograph, color))).permute(2, 0, 1)[None]
    lightness, _ = lab.encode(pixels, color_space)
    rgb = lab.decode(lightness, color[None], color_space)
    return lab.rgb_to_lab(rgb)[0, 1:] / lab.AB_SCALE


def _scaled(photograph: Pixels, color: Tensor) -> Pixels:
    """A photograph at the size of its colours."""
    return resize(photograph, *color.shape[1:])
