"""The command `colorgan train-segmenter`."""

import argparse
from pathlib import Path

from colorgan.commands.holding import working_on
from colorgan.commands.publishing import add_tag_option, given_tag
from colorgan.commands.text import progress_printer
from colorgan.data.masks import MaskedFolder
from colorgan.names import SEGMENTER
from colorgan.options import add_options, parse
from colorgan.packages.releases import release_sentence
from colorgan.storage import open_storage
from colorgan.system import choose_device
from colorgan.training.progress import format_seconds
from colorgan.training.segmenter import SegmenterTrainingConfig, train_segmenter


def prepare_train_segmenter(parser: argparse.ArgumentParser) -> None:
    """Add the options of `colorgan train-segmenter`."""
    parser.add_argument(
        "folder",
        metavar="FOLDER",
        type=Path,
        help="pictures and masks in PASCAL VOC's layout: JPEGImages, SegmentationClass, "
        "ImageSets/Segmentation/train.txt and val.txt; labels.txt names other classes than VOC's",
    )
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto")
    add_tag_option(parser)
    add_options(parser, SegmenterTrainingConfig)
    parser.set_defaults(command=_train_segmenter)


def _train_segmenter(args: argparse.Namespace) -> int:
    config, tag = parse(SegmenterTrainingConfig, args), given_tag(args)
    storage, device = open_storage(args.storage), choose_device(args.device)
    folder = MaskedFolder(args.folder)
    with working_on(storage, "model", SEGMENTER):
        card = train_segmenter(storage, folder, config, device, tag, progress_printer())
    print(
        f"{card.reference}: {len(card.classes)} classes from {card.photographs} pictures, "
        f"validation pixel accuracy {card.metrics['val_pixel_accuracy']:.1%} (the most frequent "
        f"class alone: {card.metrics['val_majority']:.1%}), mean IoU "
        f"{card.metrics['val_mean_iou']:.1%}, {format_seconds(card.seconds)}"
    )
    print(release_sentence(storage, card.reference))
    return 0
