"""colorgan stage, colorgan datasets."""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from colorgan.classes import PhotoClasses
from colorgan.commands.text import print_table
from colorgan.data.dataset import list_datasets
from colorgan.data.sources import find_source
from colorgan.data.staging import StagingConfig, StagingProgress, stage
from colorgan.errors import ConfigError
from colorgan.options import add_options, parse
from colorgan.storage import open_storage


def prepare_stage(parser: argparse.ArgumentParser) -> None:
    """Add the options of `colorgan stage`."""
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="folder:PATH (a folder a class, or {train,val,test}/CLASS), or scenes (drawn ones)",
    )
    parser.add_argument("--dataset", metavar="NAME", required=True, help="the dataset's name")
    parser.add_argument("--per-class", type=int, metavar="N", help="at most N photographs a class")
    parser.add_argument("--seed", type=int, default=0, help="of the scenes, or of the draw")
    parser.add_argument(
        "--classes",
        metavar="FILE",
        type=Path,
        help="a file as colorgan/classes.toml: the photographs' classes must be of those",
    )
    parser.add_argument("--replace", action="store_true", help="write over an existing dataset")
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")
    add_options(parser, StagingConfig)
    parser.set_defaults(command=_stage)


def _stage(args: argparse.Namespace) -> int:
    config = parse(StagingConfig, args)
    source = find_source(args.source, args.per_class, args.seed, config.size)
    if args.classes:
        _check_classes(source.classes, PhotoClasses.load(args.classes), args.classes)
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


def _check_classes(found: Sequence[str], known: PhotoClasses, path: Path) -> None:
    unknown = [label for label in found if label not in known.names]
    if unknown:
        raise ConfigError(
            f"{', '.join(unknown)} stands not in {path}, whose classes are {', '.join(known.names)}"
        )


def prepare_datasets(parser: argparse.ArgumentParser) -> None:
    """Add the options of `colorgan datasets`."""
    parser.add_argument("--json", action="store_true", help="print the manifests as JSON")
    parser.set_defaults(command=_datasets)


def _datasets(args: argparse.Namespace) -> int:
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
    print_table(("dataset", "created (UTC)", "photographs", "source"), rows)
    return 0
