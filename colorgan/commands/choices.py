"""The options of `colorgan colorize` that change the colours."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from colorgan.errors import ConfigError, ImageRejected
from colorgan.images.decoding import decode
from colorgan.inference.colorizer import LARGEST_SQUARE, VIVID
from colorgan.inference.hints import MOST_HINTS, Hint, check_hints, parse_hint
from colorgan.inference.palette import Palette


@dataclass(frozen=True)
class Choices:
    """The user's choices of colours.

    Attributes:
        vividness: the factor that multiplies the chroma.
        hints: colours of points of the only photograph.
        like: the palette of a reference photograph.
        render_size: the side of the square that the generators see, in pixels; None if each sees
            its own.
    """

    vividness: float = 1.0
    hints: tuple[Hint, ...] = ()
    like: Palette | None = None
    render_size: int | None = None


def add_choices(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--vividness",
        type=float,
        default=1.0,
        metavar="X",
        help=f"factor for the chroma, from 0 (gray) to {VIVID:g} (default: 1)",
    )
    parser.add_argument(
        "--hint",
        dest="hints",
        action="append",
        default=[],
        metavar="X,Y,#RRGGBB",
        help="the colour of a point of the photograph, in pixels from its upper left corner; it "
        f"spreads to what is as light around it; up to {MOST_HINTS} times, for one photograph",
    )
    parser.add_argument(
        "--like", type=Path, metavar="FILE", help="a photograph whose palette is taken over"
    )
    parser.add_argument(
        "--render-size",
        type=int,
        metavar="N",
        help="side of the square that the generator sees, in pixels: a multiple of 32, up to "
        f"{LARGEST_SQUARE} (default: the one that it was trained on)",
    )


def read_choices(args: argparse.Namespace, photographs: int) -> Choices:
    """Check the options, and read the reference photograph.

    Args:
        args: the options of `add_choices`.
        photographs: number of photographs to colour.

    Raises:
        ConfigError: an option is invalid, or the reference photograph cannot be used.
    """
    if not 0 <= args.vividness <= VIVID:
        raise ConfigError(f"--vividness must lie between 0 and {VIVID:g}")
    hints = _read_hints(args.hints)
    if hints and photographs > 1:
        raise ConfigError(
            f"--hint is a point of one photograph, and {photographs} are given: colour that one "
            "by itself"
        )
    like = _read_palette(args.like) if args.like else None
    return Choices(args.vividness, hints, like, args.render_size)


def _read_hints(given: Sequence[str]) -> tuple[Hint, ...]:
    try:
        hints = tuple(parse_hint(text) for text in given)
        check_hints(hints)
    except ConfigError as error:
        raise ConfigError(f"--hint: {error}") from None
    return hints


def _read_palette(path: Path) -> Palette:
    try:
        return Palette.of(decode(path.read_bytes()).rgb)
    except OSError as error:
        raise ConfigError(f"--like {path}: {error.strerror or error}") from None
    except (ConfigError, ImageRejected) as error:
        raise ConfigError(f"--like {path}: {error}") from None
