"""The options that change the colours, of `colorgan colorize` and jobs/colorize.py."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from colorgan.errors import ConfigError, ImageRejected
from colorgan.images.decoding import decode
from colorgan.images.prints import RESTORING, Restoring, check_restoring
from colorgan.inference.colorizer import VIVID
from colorgan.inference.finishing import Choices
from colorgan.inference.hints import MOST_HINTS, Hint, check_hints, parse_hint
from colorgan.inference.palette import Palette
from colorgan.inference.variants import MOST_VARIANTS, first_numbers
from colorgan.models.noise import Numbers


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
    several = parser.add_mutually_exclusive_group()
    several.add_argument(
        "--variants",
        type=int,
        metavar="N",
        help=f"colour every photograph in N ways, up to {MOST_VARIANTS}, by a model with noise: "
        "OUT-1 is the usual colouring, OUT-2 and further ones are always drawn alike",
    )
    several.add_argument(
        "--variant", type=int, metavar="N", help="write the variant of this number alone"
    )
    add_restore(parser)


def given_numbers(args: argparse.Namespace) -> tuple[Numbers, bool]:
    """The numbers of the variants, and whether outputs are named by them; raises ConfigError."""
    if args.variants is not None:
        try:
            return first_numbers(args.variants), True
        except ConfigError as error:
            raise ConfigError(f"--variants: {error}") from None
    if args.variant is not None and args.variant < 1:
        raise ConfigError("--variant counts from 1, the usual colouring")
    return (args.variant or 1,), False


def add_restore(parser: argparse.ArgumentParser) -> None:
    """Add the option --restore."""
    off, colors, full = RESTORING
    parser.add_argument(
        "--restore",
        nargs="?",
        type=_restoring,
        default=off,
        const=colors,
        metavar="MODE",
        help=f"mend old prints (faded, noisy, scratched) for the networks, and leave their borders "
        f"gray; {colors}: the lightness stays the print's own (the default of the option); {full}: "
        f"the mended lightness is written; {off}",
    )


def _restoring(text: str) -> Restoring:
    try:
        return check_restoring(text)
    except ConfigError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is none of {', '.join(RESTORING)}: give --restore after the photographs, or "
            "as --restore=colors"
        ) from None


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
    return Choices(args.vividness, hints, like, args.restore)


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
