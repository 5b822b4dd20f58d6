"""The commands `colorgan models` and `colorgan models publish`."""

import argparse
import json

from colorgan.commands.process import EXIT_FAULT, add_storage_option
from colorgan.commands.text import print_errors, print_table
from colorgan.errors import ColorganError
from colorgan.models.architectures import HeadConfig
from colorgan.packages.card import ModelCard, list_models
from colorgan.packages.embedded import EmbeddedStorage
from colorgan.storage import open_storage
from colorgan.storage.documents import read_all, reading
from colorgan.training.config import stored_objective


def prepare_models(parser: argparse.ArgumentParser) -> None:
    """Add the options of `colorgan models`."""
    parser.add_argument("--json", action="store_true", help="print the model cards as JSON")
    parser.set_defaults(command=_models)
    actions = parser.add_subparsers(title="actions", metavar="publish")
    publish = actions.add_parser(
        "publish",
        help="publish a trial of a sweep, as it was after an evaluated epoch",
        description="Publish a trial of a sweep as a model package.",
    )
    add_storage_option(publish, argparse.SUPPRESS)
    publish.add_argument("--sweep", metavar="NAME", required=True)
    publish.add_argument("--trial", metavar="NAME", required=True, help="as 01")
    publish.add_argument("--epoch", metavar="N", required=True, type=int, help="an evaluated epoch")
    publish.set_defaults(command=_publish)


def _models(args: argparse.Namespace) -> int:
    storage = open_storage(args.storage)
    # A damaged package must not hide the others.
    faults: list[ColorganError] = []
    cards = list_models(storage, faults.append)
    has_own = bool(cards or faults)
    cards += list_models(EmbeddedStorage(), faults.append)
    if args.json:
        print(json.dumps([json.loads(card.to_json()) for card in cards]))
    else:
        rows = read_all(cards, _row, faults.append)
        if rows:
            headings = ("model", "architecture", "dataset", "photographs", "epochs")
            print_table((*headings, "learned by", "on validation"), rows)
        if not has_own:
            but = ", and those above come with colorgan" if rows else ""
            print(f"no model in {storage.uri}: python jobs/train_all.py makes models{but}")
    print_errors(faults)
    return EXIT_FAULT if faults else 0


def _row(card: ModelCard) -> tuple[str, ...]:
    with reading(f"models/{card.model}/{card.version}/model.json"):
        return (
            card.reference,
            _architecture(card),
            card.dataset["name"],
            str(card.photographs),
            str(card.epochs or "-"),
            stored_objective(card) or "-",
            _quality(card),
        )


def _publish(args: argparse.Namespace) -> int:
    # This imports PyTorch, which takes a second or two.
    from colorgan.sweeps.publishing import publish_epoch

    card = publish_epoch(open_storage(args.storage), args.sweep, args.trial, args.epoch)
    print(f"{card.reference}: {_quality(card)}, {card.epochs} epochs of {card.run}")
    return 0


def _architecture(card: ModelCard) -> str:
    config = card.architecture
    if isinstance(config, HeadConfig):
        return f"head on {config.classifier} for {', '.join(config.classes)}"
    return f"{config.size} px, width {config.width}, {config.color_space}"


def _quality(card: ModelCard) -> str:
    if isinstance(card.architecture, HeadConfig):
        return f"accuracy {card.metrics['val_accuracy']:.1%}"
    return f"L1 {card.metrics['val_l1']:.2f}, PSNR {card.metrics['val_psnr']:.1f} dB"
