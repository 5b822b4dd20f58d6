"""From generated colours to the coloured photograph: vividness, a palette, and hints."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from colorgan.images import lab
from colorgan.images.color_spaces import ColorSpace
from colorgan.images.decoding import Levels, Pixels, resize_square
from colorgan.inference.colorizer import Touch, prepare, recombine, recombined_strips
from colorgan.inference.hints import Hint, apply_hints
from colorgan.inference.palette import Palette


@dataclass(frozen=True)
class Choices:
    """The user's choices of colours; it can be pickled.

    Attributes:
        vividness: the factor that multiplies the chroma.
        hints: colours of points of the photograph.
        like: the palette of a reference photograph.
    """

    vividness: float = 1.0
    hints: tuple[Hint, ...] = ()
    like: Palette | None = None


@dataclass(frozen=True)
class Wanted:
    """The colours that the user wants, as the arguments of `recombine`.

    Attributes:
        color: see `recombine`.
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
    ab = (_ab(photograph, color, color_space) * vividness).clamp(-1, 1)
    if like is not None:
        ab = like.transferred(lab.lightness(resize_square(photograph, color.shape[-1])), ab)
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
) -> Pixels:
    """Join a photograph and its colours as the user wants them: `want`, then `recombine`.

    Returns:
        (height, width, 3) uint8 sRGB.
    """
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


def _ab(photograph: Pixels, color: Tensor, color_space: ColorSpace) -> Tensor:
    """The a and b of generated colours: (2, size, size) float32 in [-1, 1]."""
    if color_space == "lab":
        return color.float()
    pixels = prepare(photograph, color.shape[-1])[None]
    lightness, _ = lab.encode(pixels, color_space)
    rgb = lab.decode(lightness, color[None], color_space)
    return lab.rgb_to_lab(rgb)[0, 1:] / lab.AB_SCALE
