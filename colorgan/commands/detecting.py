"""The command `colorgan train-detector`."""

import argparse
from pathlib import Path

from colorgan.classes import PhotoClasses
from colorgan.commands.holding import working_on
from colorgan.commands.publishing import add_tag_option, given_tag
from colorgan.commands.text import progress_printer
from colorgan.data.boxes import BoxedFolder
from colorgan.names import DETECTOR
from colorgan.options import add_options, parse
from colorgan.packages.releases import release_sentence
from colorgan.storage import open_storage
from colorgan.system import choose_device
from colorgan.training.detector import DetectorTrainingConfig, train_detector
from colorgan.training.progress import format_seconds


def prepare_train_detector(parser: argparse.ArgumentParser) -> None:
    """Add the options of `colorgan train-detector`."""
    parser.add_argument(
        "folder",
        metavar="FOLDER",
        type=Path,
        help="pictures in PASCAL VOC's layout: JPEGImages with boxes in Annotations and lists in "
        "ImageSets/Main, or with masks as colorgan scenes writes them",
    )
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto")
    add_tag_option(parser)
    add_options(parser, DetectorTrainingConfig)
    parser.add_argument(
        "--classes",
        metavar="FILE",
        type=Path,
        help="a file in the format of classes.toml, whose table [coco] says which things belong to "
        "which class",
    )
    parser.set_defaults(command=_train_detector)


def _train_detector(args: argparse.Namespace) -> int:
    config, tag = parse(DetectorTrainingConfig, args), given_tag(args)
    storage, device = open_storage(args.storage), choose_device(args.device)
    folder, rule = BoxedFolder(args.folder), PhotoClasses.load(args.classes)
    with working_on(storage, "model", DETECTOR):
        card = train_detector(storage, folder, config, device, rule, tag, progress_printer())
    print(
        f"{card.reference}: finds {', '.join(card.classes)}, from {card.photographs} pictures, "
        f"validation average precision {card.metrics['val_precision']:.1%}, "
        f"{format_seconds(card.seconds)}"
    )
    print(release_sentence(storage, card.reference))
    return 0
