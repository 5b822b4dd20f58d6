"""The command `colorgan hybrids`."""

import argparse
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from colorgan.classes import PhotoClasses
from colorgan.commands.holding import working_on
from colorgan.commands.process import add_report_options
from colorgan.commands.text import print_note, print_table, progress_printer
from colorgan.data.dataset import SPLITS, Dataset, open_dataset
from colorgan.errors import ConfigError
from colorgan.evaluation.coloring import open_detectors
from colorgan.evaluation.contestants import find_contestants
from colorgan.evaluation.hybrids import (
    REGIONS,
    SHARES,
    Hybrid,
    HybridConfig,
    HybridMeasurement,
    classes_of,
    draw_hybrids,
    make_mosaics,
    summarize,
)
from colorgan.evaluation.statistics import Estimate
from colorgan.evaluation.tables import interval, to_csv
from colorgan.images.contact_sheet import SheetRow, contact_sheet
from colorgan.images.decoding import Pixels, encode_png
from colorgan.inference.colorizer import Colorizer
from colorgan.inference.object_choice import ObjectConfig
from colorgan.inference.router import open_router
from colorgan.inference.router_choice import RouterConfig
from colorgan.names import GENERAL, OBJECTS
from colorgan.options import add_options, parse
from colorgan.packages.card import find
from colorgan.packages.embedded import with_embedded
from colorgan.packages.weights import load_generator
from colorgan.storage import Storage, open_storage
from colorgan.system import choose_device

_SHOWN = 12  # pictures on the contact sheet


def prepare_hybrids(parser: argparse.ArgumentParser) -> None:
    """Add the options of `colorgan hybrids`."""
    parser.add_argument(
        "--dataset", metavar="NAME", help="dataset for --kind beside or within; scenes needs none"
    )
    parser.add_argument("--split", choices=SPLITS, default="test")
    parser.add_argument(
        "--models",
        metavar="[NAME=]MODEL[@VERSION]",
        nargs="+",
        default=["assembled", GENERAL, OBJECTS],
        help="models to compare, as jobs/evaluate.py takes them (default: assembled general "
        "objects)",
    )
    add_report_options(parser, "hybrids")
    add_options(parser, HybridConfig)
    add_options(parser.add_argument_group("router"), RouterConfig)
    add_options(parser.add_argument_group(f"model {OBJECTS}"), ObjectConfig)
    parser.set_defaults(command=_hybrids)


def _hybrids(args: argparse.Namespace) -> int:
    config = parse(HybridConfig, args)
    storage = with_embedded(open_storage(args.storage))
    if config.kind != "scenes" and not args.dataset:
        raise ConfigError(f"--kind {config.kind} needs --dataset NAME, or give --kind scenes")
    dataset = open_dataset(storage, args.dataset) if args.dataset else None
    router = parse(RouterConfig, args)
    rule = PhotoClasses.load(Path(router.classes) if router.classes else None)
    classes = classes_of(config.kind, dataset, rule.names)
    with working_on(storage, "report", args.report) as lease:
        measurement = _load(args, storage, rule)
        show = progress_printer()

        def observe(done: int) -> None:
            lease.report("pictures", done, config.pictures)
            show(f"coloured {done} of {config.pictures} pictures")

        frame = measurement.measure(_pictures(config, dataset, args.split, classes), observe)
        summary = summarize(frame, config.seed)
        folder = f"reports/{args.report}"
        storage.put(f"{folder}/pictures.csv", to_csv(frame))
        some = islice(_pictures(config, dataset, args.split, classes), _SHOWN)
        storage.put(f"{folder}/pictures.png", encode_png(_sheet(measurement, list(some), frame)))
        storage.put(f"{folder}/hybrids.csv", to_csv(summary))
    if args.json:
        print(json.dumps(summary.replace({np.nan: None}).to_dict("records")))
        return 0
    _print_summary(summary, frame)
    print(f"hybrids.csv, pictures.csv and pictures.png are in {storage.location(folder)}")
    return 0


def _pictures(
    config: HybridConfig, dataset: Dataset | None, split: str, classes: tuple[str, ...]
) -> Iterator[Hybrid]:
    if config.kind == "scenes" or dataset is None:
        return draw_hybrids(config)
    return make_mosaics(config, dataset, split, classes)


def _load(args: argparse.Namespace, storage: Storage, rule: PhotoClasses) -> HybridMeasurement:
    """Load the models, the router and the detector that the options name."""
    router_config, objects = parse(RouterConfig, args), parse(ObjectConfig, args)
    device: torch.device = choose_device(args.device)
    contestants = find_contestants(storage, args.models, rule.names, objects, router_config.classes)
    for each in contestants:
        if each.detector:
            print_note(f"objects are found by {each.detector}")
    references = sorted({each for one in contestants for each in one.packages})
    colorizers = {
        reference: Colorizer(load_generator(storage, find(storage, reference), device))
        for reference in references
    }
    detectors = open_detectors(contestants, objects, storage, rule, device)
    router = open_router(router_config, storage, device, exact=True)
    return HybridMeasurement(router, contestants, colorizers, detectors)


def _sheet(measurement: HybridMeasurement, hybrids: list[Hybrid], frame: pd.DataFrame) -> Pixels:
    """A contact sheet of some pictures, with every model's colouring."""
    sent_to = frame.drop_duplicates("picture").set_index("picture")["sent_to"]
    made = measurement.color(hybrids, [sent_to[each.name] for each in hybrids])
    rows = [
        SheetRow(
            f"{hybrid.name}, sent to {sent_to[hybrid.name]}",
            [pictures[place] for pictures in made.values()],
        )
        for place, hybrid in enumerate(hybrids)
    ]
    return contact_sheet(list(made), rows)


def _print_summary(summary: pd.DataFrame, frame: pd.DataFrame) -> None:
    print("L1 in ab, in Lab units, with 95 % intervals")
    rows = []
    for (model, minus), part in summary.groupby(["model", "minus"], sort=False):
        found = {
            row.region: interval(Estimate(row.mean, row.low, row.high), 2)
            for row in part.itertuples()
        }
        name = f"{model} minus {minus}" if minus else str(model)
        rows.append([name, *(found[region] for region in REGIONS)])
    print_table(["model", *REGIONS], rows)
    for model, shares in frame.groupby("model", sort=False)[list(SHARES)]:
        if shares["found"].notna().any():
            right, wrong = (f"{shares[name].mean():.0%}" for name in SHARES)
            print(
                f"{model}: found {right} of the second objects' pixels, and took {wrong} for "
                "another class"
            )
