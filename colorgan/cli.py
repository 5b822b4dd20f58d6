"""The command `colorgan`: a thin face over the library.

What a command needs is imported when it runs, so that `--help` and commands without networks don't
wait for PyTorch.
"""

import argparse
import json
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import colorgan
from colorgan.errors import ColorganError, ConfigError, ImageRejected

if TYPE_CHECKING:
    from colorgan.data.sources import Source

EXIT_FAULT = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, 1 for a fault, 2 for a bad option, 130."""
    parser = _parser(sys.argv[1:2] if argv is None else argv[:1])
    return guarded(lambda: _run(parser, argv))


def guarded(command: Callable[[], int]) -> int:
    """Run a command and turn the errors that a user can mend into one sentence and a status."""
    # Pillow warns of large pictures and of odd EXIF; decoding has limits and verdicts of its own.
    warnings.filterwarnings("ignore", module="PIL")
    try:
        return command()
    except ColorganError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USAGE if isinstance(error, ConfigError) else EXIT_FAULT
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader has gone, as in `colorgan models | head`: nobody is left to tell.
        sys.stderr.close()
        return EXIT_FAULT


def _run(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> int:
    args = parser.parse_args(argv)
    command: Callable[[argparse.Namespace], int] = args.command
    return command(args)


def add_storage_option(parser: argparse.ArgumentParser) -> None:
    """Add the option --storage."""
    parser.add_argument(
        "--storage",
        metavar="URI",
        help="a folder or s3://bucket/prefix (default: $COLORGAN_STORAGE, or artifacts/)",
    )


def _parser(first: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="colorgan",
        description="Colour black-and-white photographs with class-specific conditional GANs.",
    )
    parser.add_argument("--version", action="version", version=f"colorgan {colorgan.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, help, prepare in (
        ("stage", "make a dataset of photographs", _prepare_stage),
        ("datasets", "list the datasets in storage", _prepare_datasets),
        ("train", "train one model in this process", _prepare_train),
        ("colorize", "colour photographs", _prepare_colorize),
        ("models", "list the model packages in storage", _prepare_models),
    ):
        command = commands.add_parser(name, help=help, description=help.capitalize() + ".")
        # Only the command that is asked for is set up: its options may need PyTorch to be known.
        if list(first) == [name]:
            add_storage_option(command)
            prepare(command)
    return parser


def _prepare_stage(parser: argparse.ArgumentParser) -> None:
    from colorgan.data.staging import StagingConfig
    from colorgan.options import add_options

    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="folder:PATH (a folder a class, or {train,val,test}/CLASS), or scenes (drawn ones)",
    )
    parser.add_argument("--dataset", metavar="NAME", required=True, help="the dataset's name")
    parser.add_argument("--per-class", type=int, metavar="N", help="at most N photographs a class")
    parser.add_argument("--seed", type=int, default=0, help="of the scenes, or of the draw")
    parser.add_argument("--replace", action="store_true", help="write over an existing dataset")
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")
    add_options(parser, StagingConfig)
    parser.set_defaults(command=_stage)


def _stage(args: argparse.Namespace) -> int:
    from colorgan.data.staging import StagingConfig, StagingProgress, stage
    from colorgan.options import parse
    from colorgan.storage import open_storage

    config = parse(StagingConfig, args)
    source = find_source(args.source, args.per_class, args.seed, config.size)
    started = shown = time.monotonic()

    def observe(progress: StagingProgress) -> None:
        nonlocal shown
        if time.monotonic() - shown > 2:
            shown = time.monotonic()
            rate = progress.seen / (shown - started)
            print(
                f"{progress.label}: {progress.seen} seen, {progress.kept} kept, "
                f"{len(progress.dropped)} dropped, {rate:.0f} a second",
                file=sys.stderr,
            )

    storage = open_storage(args.storage)
    dataset, dropped = stage(source, storage, args.dataset, config, args.replace, observe)
    manifest = dataset.manifest
    if args.json:
        listed = [vars(drop) for drop in dropped]
        print(json.dumps({"dataset": args.dataset, "counts": manifest.counts, "dropped": listed}))
        return 0
    for drop in dropped:
        detail = f" ({drop.detail})" if drop.detail else ""
        print(f"dropped {drop.source}: {drop.reason}{detail}")
    for label, counts in manifest.counts.items():
        print(f"{label}: " + ", ".join(f"{split} {count}" for split, count in counts.items()))
    reasons = Counter(drop.reason for drop in dropped)
    listed_reasons = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    total = sum(sum(counts.values()) for counts in manifest.counts.values())
    print(
        f"dataset {args.dataset}: {total} photographs in "
        f"{storage.location(f'datasets/{args.dataset}')}"
        + (f"; dropped {len(dropped)}: {listed_reasons}" if dropped else "")
    )
    return 0


def find_source(spec: str, per_class: int | None, seed: int, size: int) -> "Source":
    """The source that `folder:PATH` or `scenes` names.

    Args:
        spec: what the user typed.
        per_class: photographs a class; all of a folder's, and 120 scenes, where None.
        seed: of the scenes, or of the draw from a folder.
        size: short side of the scenes, in pixels.

    Raises:
        ConfigError: there is no such source.
    """
    from colorgan.data.sources import FolderSource, SceneSource

    if per_class is not None and per_class < 1:
        raise ConfigError("--per-class must be at least 1")
    if seed < 0:
        raise ConfigError("--seed must not be negative")
    kind, _, path = spec.partition(":")
    if kind == "folder" and path:
        return FolderSource(Path(path), per_class, seed)
    if spec == "scenes":
        return SceneSource(per_class or 120, seed, size)
    raise ConfigError(f"no source {spec!r}: give folder:PATH or scenes")


def _prepare_datasets(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the manifests as JSON")
    parser.set_defaults(command=_datasets)


def _datasets(args: argparse.Namespace) -> int:
    from colorgan.data.dataset import list_datasets
    from colorgan.storage import open_storage

    storage = open_storage(args.storage)
    manifests = list_datasets(storage)
    if args.json:
        print(json.dumps([json.loads(manifest.to_json()) for manifest in manifests]))
        return 0
    if not manifests:
        print(f"no dataset in {storage.uri}: colorgan stage SOURCE --dataset NAME makes one")
        return 0
    rows = [
        (
            manifest.name,
            manifest.created[:16].replace("T", " "),
            ", ".join(
                f"{label} {sum(counts.values())}" for label, counts in manifest.counts.items()
            ),
            manifest.source,
        )
        for manifest in manifests
    ]
    _print_table(("dataset", "created (UTC)", "photographs", "source"), rows)
    return 0


def _prepare_train(parser: argparse.ArgumentParser) -> None:
    from colorgan.options import add_options
    from colorgan.presets import PRESETS
    from colorgan.training import SpeedConfig, TrainingConfig

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
    from colorgan.data.dataset import open_dataset
    from colorgan.options import given, parse
    from colorgan.presets import default_preset, find_preset
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


def _prepare_colorize(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("photographs", metavar="PHOTO", nargs="+", type=Path)
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        type=Path,
        required=True,
        help="a folder, or a .png file for one photograph",
    )
    parser.add_argument(
        "--model", metavar="MODEL", required=True, help="animals, or animals@VERSION"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto")
    parser.set_defaults(command=_colorize)


def _colorize(args: argparse.Namespace) -> int:
    from colorgan.colorizer import Colorizer
    from colorgan.images.decoding import decode, encode_png
    from colorgan.packages import find, load_generator
    from colorgan.storage import open_storage
    from colorgan.training import choose_device

    targets = _targets(args.photographs, args.output)
    storage = open_storage(args.storage)
    card = find(storage, args.model)
    colorizer = Colorizer(load_generator(storage, card, choose_device(args.device)))
    failed = 0
    for path, target in targets:
        try:
            photograph = decode(path.read_bytes())
            (colored,) = colorizer([photograph.rgb])
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(encode_png(colored, photograph.alpha))
        except ImageRejected as rejected:
            failed += 1
            print(f"error: {path} cannot be coloured: {rejected}", file=sys.stderr)
        except OSError as error:
            failed += 1
            print(f"error: {error.filename or path}: {error.strerror}", file=sys.stderr)
        else:
            print(f"{target}: coloured by {card.reference}")
    return EXIT_FAULT if failed else 0


def _targets(photographs: Sequence[Path], output: Path) -> list[tuple[Path, Path]]:
    """Where each photograph's colouring goes; raises ConfigError where two would meet."""
    if output.suffix.lower() == ".png" and not output.is_dir():
        if len(photographs) > 1:
            raise ConfigError(f"{output} is one file: give a folder for several photographs")
        return [(photographs[0], output)]
    if output.exists() and not output.is_dir():
        raise ConfigError(f"{output} is neither a folder nor a .png file")
    targets = [(path, output / f"{path.stem}.png") for path in photographs]
    for target, count in Counter(target for _, target in targets).items():
        if count > 1:
            raise ConfigError(f"{count} photographs would be written to {target}")
    return targets


def _prepare_models(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the model cards as JSON")
    parser.set_defaults(command=_models)


def _models(args: argparse.Namespace) -> int:
    from colorgan.packages import list_models
    from colorgan.storage import open_storage

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
            f"{card.architecture.size} px, width {card.architecture.width}, "
            f"{card.architecture.color_space}",
            card.dataset["name"],
            str(card.photographs),
            str(card.epochs),
            f"{card.metrics['val_l1']:.2f}",
            f"{card.metrics['val_psnr']:.1f} dB",
        )
        for card in cards
    ]
    headings = ("model", "generator", "dataset", "photographs", "epochs", "val L1", "PSNR")
    _print_table(headings, rows)
    return 0


def _print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    lines = [headings, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    for line in lines:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        )
