"""The options that say how a colouring is written, and what it keeps of its photograph's file."""

import argparse

from colorgan.images.decoding import MAX_PIXELS
from colorgan.images.encoding import LOSSY, PICTURE_FORMATS
from colorgan.images.writing import SAME, OutputOptions

DEFAULT_FORMAT = "png"


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of how colourings are written; `read_output_options` reads them."""
    parser.add_argument(
        "--format",
        choices=(*PICTURE_FORMATS, SAME),
        help="format of pictures in a folder or on standard output; same: each photograph's own "
        f"(default: {DEFAULT_FORMAT})",
    )
    parser.add_argument(
        "--quality",
        type=int,
        metavar="Q",
        help=f"quality of {', '.join(LOSSY)}, from 1 to 100 (default: 95, 90 and 85)",
    )
    group = parser.add_argument_group("what a colouring keeps of its photograph's file")
    group.add_argument(
        "--metadata",
        choices=("keep", "drop"),
        default="keep",
        help="EXIF, IPTC, XMP and resolution, and an ICC profile (default: keep)",
    )
    group.add_argument(
        "--keep-gps", action="store_true", help="keep the place where it was taken, too"
    )
    group.add_argument(
        "--keep-profile",
        action="store_true",
        help="convert colours back to the photograph's own ICC profile, if it is one of RGB, "
        "instead of sRGB",
    )
    group.add_argument(
        "--keep-times", action="store_true", help="give the file the photograph's times"
    )
    add_max_pixels(parser)


def add_max_pixels(parser: argparse.ArgumentParser) -> None:
    """Add the option --max-pixels."""
    parser.add_argument(
        "--max-pixels",
        type=int,
        default=MAX_PIXELS,
        metavar="N",
        help="maximum number of pixels of a photograph; each takes 8 to 20 bytes of memory "
        f"(default: {MAX_PIXELS})",
    )


def read_output_options(args: argparse.Namespace, picture_format: str) -> OutputOptions:
    """The options of how colourings are written.

    Args:
        args: the parsed arguments.
        picture_format: the format that was decided on, or `same`.

    Raises:
        ConfigError: a value is out of range, or does not fit the format.
    """
    return OutputOptions(
        picture_format,
        args.quality,
        args.metadata == "keep",
        args.keep_gps,
        args.keep_profile,
        args.max_pixels,
    )
