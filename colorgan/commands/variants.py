"""The command `colorgan variants`."""

import argparse
import json

import pandas as pd

from colorgan.commands.holding import working_on
from colorgan.commands.process import add_report_options
from colorgan.commands.text import print_note, print_table, progress_printer
from colorgan.data.dataset import SPLITS, open_dataset
from colorgan.errors import ConfigError
from colorgan.evaluation.critics import Critic, discriminators, recognition
from colorgan.evaluation.diversity import (
    MEASURES,
    DiversityConfig,
    DiversityMeasurement,
    summarize,
)
from colorgan.evaluation.evaluate import choose_rows
from colorgan.evaluation.statistics import ALL_CLASSES, Estimate
from colorgan.evaluation.tables import interval, to_csv
from colorgan.images.decoding import encode_png
from colorgan.inference.colorizer import Colorizer
from colorgan.inference.router import open_router
from colorgan.inference.router_choice import RouterConfig
from colorgan.inference.variants import check_noise
from colorgan.options import add_options, parse
from colorgan.packages.card import find
from colorgan.packages.embedded import with_embedded
from colorgan.packages.weights import load_generator
from colorgan.storage import open_storage
from colorgan.system import choose_device

_CLASSIFIER, _DISCRIMINATORS = "classifier", "discriminators"


def prepare_variants(parser: argparse.ArgumentParser) -> None:
    """Add the options of `colorgan variants`."""
    parser.add_argument("--dataset", metavar="NAME", required=True, help="the photographs")
    parser.add_argument("--split", choices=SPLITS, default="test")
    parser.add_argument(
        "--model", metavar="MODEL[@VERSION]", default="general", help="a model with noise"
    )
    add_report_options(parser, "variants")
    add_options(parser, DiversityConfig)
    add_options(parser.add_argument_group("router, whose classifier chooses"), RouterConfig)
    parser.set_defaults(command=_variants)


def _variants(args: argparse.Namespace) -> int:
    config = parse(DiversityConfig, args)
    router_config = parse(RouterConfig, args)
    storage, device = with_embedded(open_storage(args.storage)), choose_device(args.device)
    dataset = open_dataset(storage, args.dataset)
    card = find(storage, args.model)
    check_noise([(card.reference, card.architecture)])
    rows = list(choose_rows(dataset, args.split, config.photographs, config.seed))
    if not rows:
        raise ConfigError(f"dataset {args.dataset} has no photograph in the split {args.split}")
    with working_on(storage, "report", args.report) as lease:
        critics: dict[str, Critic] = {
            _CLASSIFIER: recognition(open_router(router_config, storage, device, True))
        }
        judge = discriminators(storage, card, load_generator(storage, card))
        if judge:
            critics[_DISCRIMINATORS] = judge
        else:
            print_note(
                f"{card.reference} has no run in this storage whose discriminators could choose"
            )
        colorizer = Colorizer(load_generator(storage, card, device))
        measurement = DiversityMeasurement(colorizer, critics, config)
        show = progress_printer()

        def observe(done: int) -> None:
            lease.report("photographs", done, len(rows))
            show(f"coloured {done} of {len(rows)} photographs")

        frame = measurement.measure(rows, observe)
        summary = summarize(frame, [*critics], config.seed)
        summary.insert(0, "model", card.reference)
        summary.insert(1, "deviation", config.deviation)
        folder = f"reports/{args.report}"
        storage.put(f"{folder}/photographs.csv", to_csv(frame))
        storage.put(f"{folder}/variants.png", encode_png(measurement.examples(rows)))
        storage.put(f"{folder}/diversity.csv", to_csv(summary))
    if args.json:
        print(json.dumps(summary.to_dict("records")))
        return 0
    _print_summary(summary, card.reference, config.variants)
    print(f"diversity.csv, photographs.csv and variants.png are in {storage.location(folder)}")
    return 0


def _print_summary(summary: pd.DataFrame, model: str, variants: int) -> None:
    everything = summary[summary["class"] == ALL_CLASSES]
    print(f"{variants} variants by {model}, in Lab units, with 95 % intervals")
    rows = [
        (str(line.measure).replace("_", " "), interval(Estimate(line.mean, line.low, line.high), 2))
        for line in everything.itertuples()
    ]
    print_table(("measure", "mean"), rows)
    for name, words in MEASURES.items():
        print(f"{name.replace('_', ' ')}: {words}")
