"""colorgan train, colorgan models, colorgan models publish."""

import argparse
import json
import sys

from colorgan.cli import add_storage_option
from colorgan.commands.text import print_table
from colorgan.data.dataset import open_dataset
from colorgan.errors import ConfigError
from colorgan.models.head import HeadConfig
from colorgan.options import add_options, given, parse
from colorgan.packages import ModelCard, list_models
from colorgan.presets import PRESETS, default_preset, find_preset
from colorgan.progress import Progress, format_seconds
from colorgan.runs import (
    ModelRun,
    StorageCheckpoints,
    finished_result,
    new_run_name,
    open_run,
    train_model,
)
from colorgan.storage import open_storage
from colorgan.training import SpeedConfig, TrainingConfig, choose_device, device_name


def prepare_train(parser: argparse.ArgumentParser) -> None:
    """Add the options of `colorgan train`."""
    parser.add_argument("--dataset", metavar="NAME", required=True, help="what to train on")
    parser.add_argument(
        "--model", metavar="MODEL", required=True, help="a class of the dataset, or general"
    )
    parser.add_argument("--run", metavar="NAME", help="go on with, or start, the run of this name")
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto")
    parser.add_argument(
        "--preset",
        choices=tuple(PRESETS),
        help="hyper-parameters that the options below override (default: report on a GPU, "
        "small without)",
    )
    parser.add_argument(
        "--checkpoint-every", type=int, default=1, metavar="N", help="epochs between checkpoints"
    )
    add_options(parser.add_argument_group("hyper-parameters"), TrainingConfig)
    add_options(parser.add_argument_group("speed"), SpeedConfig)
    parser.set_defaults(command=_train)


def _train(args: argparse.Namespace) -> int:
    if args.checkpoint_every < 1:
        raise ConfigError("--checkpoint-every must be at least 1")
    device = choose_device(args.device)
    preset = args.preset or default_preset(device.type == "cuda")
    config = find_preset(preset).config(args.model, given(TrainingConfig, args))
    storage = open_storage(args.storage)
    dataset = open_dataset(storage, args.dataset)
    dataset.model_classes(args.model)
    run = args.run or new_run_name("train")
    open_run(storage, run, "colorgan train", dataset.manifest.fingerprint, {args.model: config})
    result = finished_result(storage, run, args.model)
    if result is None:
        print(f"run {run}: {args.model} on {device_name(device)}, preset {preset}")
        spec = ModelRun(
            storage=storage.uri,
            dataset=args.dataset,
            run=run,
            model=args.model,
            training=config,
            speed=parse(SpeedConfig, args),
            checkpoint_every=args.checkpoint_every,
        )
        try:
            with Progress({args.model: config.epochs}) as progress:
                progress.state(args.model, "training")
                result = train_model(
                    spec,
                    device,
                    StorageCheckpoints(storage, spec.folder),
                    observe=lambda fraction: progress.step(args.model, fraction),
                    record=lambda record: progress.epoch(args.model, record),
                )
                progress.state(args.model, "done")
        except KeyboardInterrupt:
            print(f"\nstopped; the same command with --run {run} goes on", file=sys.stderr)
            raise
    print(
        f"{result.package}: validation L1 {result.val_l1:.2f}, PSNR {result.val_psnr:.1f} dB, "
        f"{format_seconds(result.seconds or 0)}"
    )
    return 0


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
    publish.add_argument("--epoch", metavar="N", required=True, type=int, help="an evaluated one")
    publish.set_defaults(command=_publish)


def _models(args: argparse.Namespace) -> int:
    storage = open_storage(args.storage)
    cards = list_models(storage)
    if args.json:
        print(json.dumps([json.loads(card.to_json()) for card in cards]))
        return 0
    if not cards:
        print(f"no model in {storage.uri}: python jobs/train_all.py makes models")
        return 0
    rows = [
        (
            card.reference,
            _architecture(card),
            card.dataset["name"],
            str(card.photographs),
            str(card.epochs or "-"),
            _quality(card),
        )
        for card in cards
    ]
    headings = ("model", "architecture", "dataset", "photographs", "epochs", "on validation")
    print_table(headings, rows)
    return 0


def _publish(args: argparse.Namespace) -> int:
    # It brings torchvision, which takes seconds to import.
    from colorgan.sweeps import publish_epoch

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
