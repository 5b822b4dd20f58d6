"""The command `colorgan robustness`."""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd

from colorgan.classes import PhotoClasses
from colorgan.commands.holding import working_on
from colorgan.commands.process import add_report_options
from colorgan.commands.text import print_note, print_table, progress_printer
from colorgan.data.dataset import SPLITS, open_dataset
from colorgan.errors import ConfigError
from colorgan.evaluation.coloring import open_detectors
from colorgan.evaluation.contestants import caveats, choose_contestants, default_models
from colorgan.evaluation.evaluate import choose_rows
from colorgan.evaluation.robustness import (
    ATTACK,
    CHANGED,
    COLORING,
    DIFFERENCE,
    FLIPS,
    NOISE,
    RobustnessConfig,
    RobustnessMeasurement,
    summarize,
)
from colorgan.evaluation.statistics import ALL_CLASSES, Estimate
from colorgan.evaluation.tables import interval, to_csv
from colorgan.images.decoding import encode_png
from colorgan.inference.colorizer import Colorizer
from colorgan.inference.object_choice import ObjectConfig
from colorgan.inference.router import open_router
from colorgan.inference.router_choice import RouterConfig
from colorgan.options import add_options, parse
from colorgan.packages.card import find
from colorgan.packages.embedded import with_embedded
from colorgan.packages.weights import load_generator
from colorgan.storage import open_storage
from colorgan.system import choose_device


def prepare_robustness(parser: argparse.ArgumentParser) -> None:
    """Add the options of `colorgan robustness`."""
    parser.add_argument("--dataset", metavar="NAME", required=True, help="the photographs")
    parser.add_argument("--split", choices=SPLITS, default="test")
    parser.add_argument(
        "--models",
        metavar="[NAME=]MODEL[@VERSION]",
        nargs="+",
        help="models to compare, as jobs/evaluate.py takes them (default: as there)",
    )
    add_report_options(parser, "robustness")
    add_options(parser, RobustnessConfig)
    add_options(parser.add_argument_group("router"), RouterConfig)
    add_options(parser.add_argument_group("model objects"), ObjectConfig)
    parser.set_defaults(command=_robustness)


def _robustness(args: argparse.Namespace) -> int:
    config, router_config = parse(RobustnessConfig, args), parse(RouterConfig, args)
    objects = parse(ObjectConfig, args)
    storage, device = with_embedded(open_storage(args.storage)), choose_device(args.device)
    dataset = open_dataset(storage, args.dataset)
    models = args.models or default_models(storage, dataset.manifest.classes)
    contestants, choice = choose_contestants(router_config, storage, dataset, models, objects)
    rows = list(choose_rows(dataset, args.split, config.photographs, config.seed))
    if not rows:
        raise ConfigError(f"dataset {args.dataset} has no photograph in the split {args.split}")
    with working_on(storage, "report", args.report) as lease:
        if choice:
            print_note(choice.note)
        for caveat in caveats(contestants):
            print_note(caveat)
        router = open_router(choice.config if choice else router_config, storage, device, True)
        references = sorted({each for one in contestants for each in one.packages})
        colorizers = {
            reference: Colorizer(load_generator(storage, find(storage, reference), device))
            for reference in references
        }
        rule = PhotoClasses.load(Path(router_config.classes) if router_config.classes else None)
        detectors = open_detectors(contestants, objects, storage, rule, device)
        measurement = RobustnessMeasurement(router, contestants, colorizers, config, detectors)
        show = progress_printer()

        def observe(done: int) -> None:
            lease.report("photographs", done, len(rows))
            show(f"classified {done} of {len(rows)} photographs")

        frame = measurement.measure(rows, observe)
        summary = summarize(frame, config.seed)
        summary.insert(0, "against", config.against)
        folder = f"reports/{args.report}"
        storage.put(f"{folder}/photographs.csv", to_csv(frame))
        storage.put(f"{folder}/flipped.png", encode_png(measurement.examples(frame, rows)))
        storage.put(f"{folder}/robustness.csv", to_csv(summary))
    if args.json:
        print(json.dumps(summary.replace({np.nan: None}).to_dict("records")))
        return 0
    _print_summary(summary, router.classifier.name)
    print(f"robustness.csv, photographs.csv and flipped.png are in {storage.location(folder)}")
    return 0


def _print_summary(summary: pd.DataFrame, judge: str) -> None:
    everything = summary[summary["class"] == ALL_CLASSES]
    print(f"shares of photographs about which {judge} says something else, with 95 % intervals")
    plain = everything[everything["change"] == COLORING]
    measures = (*FLIPS, "right", "confidence")
    titles = [each.replace("_", " ") for each in measures]
    _print_measures(plain, measures, ["model"], ["model", *titles])
    changed = everything[everything["change"].isin([NOISE, ATTACK, DIFFERENCE])]
    print("\nthe same picture with its colours changed by at most epsilon in a and b")
    titles = [each.replace("_", " ") for each in CHANGED]
    keys = ["model", "epsilon", "change"]
    _print_measures(changed, CHANGED, keys, [*keys, *titles])


def _print_measures(
    frame: pd.DataFrame, measures: tuple[str, ...], keys: list[str], titles: list[str]
) -> None:
    rows = []
    for names, part in frame.groupby(keys, sort=False):
        found = {
            row.measure: interval(Estimate(row.mean, row.low, row.high), 3)
            for row in part.itertuples()
        }
        cells = [f"{name:g}" if isinstance(name, float) else str(name) for name in names]
        rows.append([*cells, *(found.get(measure, "") for measure in measures)])
    print_table(titles, rows)
