"""The command `colorgan scenes`."""

import argparse
from pathlib import Path

from colorgan.data.masks import write_scenes
from colorgan.data.scenes.hybrids import SMALLEST
from colorgan.errors import ConfigError


def prepare_scenes(parser: argparse.ArgumentParser) -> None:
    """Add the options of `colorgan scenes`."""
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="the folder to write")
    parser.add_argument(
        "--per-class",
        type=int,
        default=200,
        metavar="N",
        help="scenes per class; every fifth is for validation (default: %(default)s)",
    )
    parser.add_argument(
        "--size",
        type=int,
        default=128,
        metavar="PX",
        help="short side, in pixels (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=1,
        help="determines the scenes; colorgan stage scenes, whose default is 0, draws none of "
        "another seed's (default: %(default)s)",
    )
    parser.add_argument(
        "--hybrids",
        type=int,
        default=0,
        metavar="N",
        help="further scenes with objects of two classes each (default: %(default)s)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    parser.set_defaults(command=_scenes)


def _scenes(args: argparse.Namespace) -> int:
    for name, least in (("per_class", 5), ("size", 32), ("hybrids", 0)):
        if getattr(args, name) < least:
            raise ConfigError(f"--{name.replace('_', '-')} must be at least {least}")
    if args.hybrids and args.size < SMALLEST:
        raise ConfigError(f"--hybrids needs --size {SMALLEST} or more")
    counts = write_scenes(
        args.folder, args.per_class, args.seed, args.size, args.overwrite, args.hybrids
    )
    print(
        f"{counts['train']} scenes for training and {counts['val']} for validation, with their "
        f"masks, are in {args.folder}: colorgan train-segmenter {args.folder} learns from them, "
        "and so does train-detector"
    )
    return 0
