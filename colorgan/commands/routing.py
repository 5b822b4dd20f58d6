"""The commands `colorgan train-router`, `evaluate-router` and `misrouting`."""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from colorgan.commands.holding import working_on
from colorgan.commands.process import add_report_options
from colorgan.commands.publishing import add_tag_option, given_tag
from colorgan.commands.text import print_note, print_table, printable, progress_printer
from colorgan.data.dataset import SPLITS, Dataset, open_dataset
from colorgan.errors import ColorganError, ConfigError
from colorgan.evaluation.routing import (
    PEOPLE,
    REPORT,
    Confusion,
    classifiers_table,
    color_by_every_model,
    confusions_csv,
    confusions_json,
    cost_of_wrong_turns,
    evaluate_router,
    misrouting_examples,
    plot_confusions,
    turns_table,
)
from colorgan.evaluation.tables import to_csv
from colorgan.images.decoding import encode_png
from colorgan.inference.assembled import assemble
from colorgan.inference.router import Router, open_router
from colorgan.inference.router_choice import (
    AUTO,
    HEAD,
    LABELS,
    RouterChoice,
    RouterConfig,
    choose_router,
)
from colorgan.models.classifiers import load_classifier
from colorgan.names import ROUTER, check_name
from colorgan.options import add_options, given, parse
from colorgan.packages.embedded import embedded_note, with_embedded
from colorgan.packages.releases import release_sentence
from colorgan.storage import open_storage
from colorgan.system import choose_device, device_name
from colorgan.training.progress import format_seconds
from colorgan.training.router_head import HeadTrainingConfig, train_router


def prepare_train_router(parser: argparse.ArgumentParser) -> None:
    """Add the options of `colorgan train-router`."""
    parser.add_argument("--dataset", metavar="NAME", required=True, help="dataset to train on")
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto")
    parser.add_argument(
        "--classifier",
        metavar="NAME",
        default=RouterConfig.classifier,
        help="network that computes the features (default: %(default)s)",
    )
    parser.add_argument(
        "--weights", metavar="FILE", type=Path, help="file with the network's weights"
    )
    add_tag_option(parser)
    add_options(parser, HeadTrainingConfig)
    parser.set_defaults(command=_train_router)


def _train_router(args: argparse.Namespace) -> int:
    config, tag = parse(HeadTrainingConfig, args), given_tag(args)
    storage, device = open_storage(args.storage), choose_device(args.device)
    dataset = open_dataset(storage, args.dataset)
    with working_on(storage, "model", ROUTER) as lease:
        classifier = load_classifier(args.classifier, args.weights, device)
        progress = _progress("classified")
        counts = {split: dataset.count(dataset.manifest.classes, split) for split in SPLITS}

        def observe(split: str, done: int) -> None:
            progress(split, done)
            lease.report(f"photographs ({split})", done, counts[split] * (1 + config.worn))

        card = train_router(
            dataset, classifier, config, device_name(device), tag=tag, observe=observe
        )
    print(
        f"{card.reference}: {', '.join(card.classes)} from {classifier.name}, validation accuracy "
        f"{card.metrics['val_accuracy']:.1%}, {format_seconds(card.seconds)}"
    )
    print(release_sentence(storage, card.reference))
    return 0


def prepare_evaluate_router(parser: argparse.ArgumentParser) -> None:
    """Add the options of `colorgan evaluate-router`."""
    _add_evaluation_options(parser, "router", without=("classifier",))
    parser.add_argument(
        "--classifier",
        dest="classifiers",
        metavar="NAME",
        nargs="+",
        default=[],
        help="router labels: the classifier, which may be any of torchvision's, such as vgg16 "
        f"(default: {RouterConfig.classifier}); several are compared in one table",
    )
    parser.set_defaults(command=_evaluate_router)


def _evaluate_router(args: argparse.Namespace) -> int:
    report = check_name("report", args.report)
    storage = open_storage(args.storage)
    dataset = open_dataset(storage, args.dataset)
    configs = _router_configs(args)
    choices = [choose_router(each, storage, wanted=dataset.manifest.classes) for each in configs]
    for choice in choices:
        _check_classes(dataset, choice)
        print_note(choice.note)
    found: list[tuple[Router, list[Confusion]]] = []
    missing: dict[str, str] = {}
    for choice in choices:
        try:
            router = open_router(choice.config, storage, choose_device(args.device), exact=True)
        except ColorganError as error:
            if len(choices) == 1:
                raise
            missing[choice.classifier] = str(error)
            continue
        progress = _progress("classified")
        found.append((router, evaluate_router(router, dataset, args.split, progress)))
    if not found:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in missing.items())
        raise ColorganError(f"none of the classifiers can be used ({reasons})")
    described = {"dataset": dataset.manifest.name, "split": args.split}
    several = len(choices) > 1
    described |= (
        {"classifiers": [_described(*each) for each in found], "missing": missing}
        if several
        else _described(*found[0])
    )
    compared = [
        replace(each, name=f"{router.classifier.name}: {each.name}") if several else each
        for router, confusions in found
        for each in confusions
    ]
    folder = f"reports/{report}"
    storage.put(f"{folder}/confusion.csv", confusions_csv(compared))
    if set(dataset.manifest.classes) == set(REPORT.classes):
        compared.append(REPORT)
    storage.put(f"{folder}/confusion.json", (json.dumps(described, indent=2) + "\n").encode())
    storage.put(f"{folder}/confusion.png", plot_confusions(compared))
    table = classifiers_table({router.classifier.name: matrices for router, matrices in found})
    if several:
        storage.put(f"{folder}/classifiers.csv", to_csv(table))
    if args.json:
        print(json.dumps(described))
        return 0
    if several:
        _print_classifiers(table)
        for name, reason in missing.items():
            print(f"{name} is not in the table: {printable(reason)}")
        print(f"classifiers.csv and confusion.png are in {storage.location(folder)}")
        return 0
    for confusion in compared:
        _print_confusion(confusion)
    print(f"confusion.json, confusion.csv and confusion.png are in {storage.location(folder)}")
    return 0


def _router_configs(args: argparse.Namespace) -> list[RouterConfig]:
    """The options of the router of each classifier, or of the only router."""
    values = given(RouterConfig, args)
    names = list(dict.fromkeys(args.classifiers)) or [RouterConfig.classifier]
    if len(names) == 1:
        return [RouterConfig(**values, classifier=names[0])]
    if values.pop("router", AUTO) == HEAD:
        raise ConfigError("--router head has a classifier of its own: leave out --classifier")
    if values.get("weights"):
        raise ConfigError(
            "--weights is the file of one classifier: give only one as --classifier, or put the "
            "files of the others into torchvision's cache"
        )
    return [RouterConfig(**values, router=LABELS, classifier=name) for name in names]


def _described(router: Router, confusions: Sequence[Confusion]) -> dict[str, object]:
    return {
        "router": router.name,
        "package": router.package or None,
        "classifier": router.classifier.name,
        "confusions": confusions_json(confusions),
    }


def _print_classifiers(table: pd.DataFrame) -> None:
    rows = [
        [f"{cell:.1%}" if isinstance(cell, float) else str(cell) for cell in row]
        for row in table.itertuples(index=False)
    ]
    print_table(list(table.columns), rows)


def _print_confusion(confusion: Confusion) -> None:
    print(f"{confusion.name}: accuracy {confusion.accuracy:.1%}", end="")
    if PEOPLE in confusion.classes:
        print(
            f"; people: type 1 error {confusion.type_1_error(PEOPLE):.1%}, "
            f"type 2 error {confusion.type_2_error(PEOPLE):.1%}",
            end="",
        )
    print()
    rows = [
        (label, *(str(count) for count in row), f"{confusion.recall[label]:.1%}")
        for label, row in zip(confusion.classes, confusion.counts.tolist(), strict=True)
    ]
    print_table(("class", *(f"-> {answer}" for answer in confusion.answers), "recall"), rows)
    print()


def prepare_misrouting(parser: argparse.ArgumentParser) -> None:
    """Add the options of `colorgan misrouting`."""
    _add_evaluation_options(parser, "misrouting")
    parser.add_argument(
        "--hybrid-from",
        type=float,
        default=0.05,
        metavar="P",
        help="a photograph whose second class has at least this score is a hybrid "
        "(default: %(default)s)",
    )
    parser.set_defaults(command=_misrouting)


def _misrouting(args: argparse.Namespace) -> int:
    report = check_name("report", args.report)
    storage, device = with_embedded(open_storage(args.storage)), choose_device(args.device)
    dataset = open_dataset(storage, args.dataset)
    assembly = assemble(parse(RouterConfig, args), storage, dataset.manifest.classes)
    _check_classes(dataset, assembly.choice)
    print_note(assembly.choice.note)
    print_note(embedded_note(storage, assembly.cards.values()))
    assembled = assembly.load(storage, device)
    router, colorizers = assembled.router, assembled.colorizers
    observe = _progress("coloured")
    turns = color_by_every_model(
        router,
        colorizers,
        dataset,
        args.split,
        args.hybrid_from,
        lambda done: observe(args.split, done),
    )
    if not turns:
        raise ConfigError(f"dataset {args.dataset} has no photograph in the split {args.split}")
    table = cost_of_wrong_turns(turns)
    folder = f"reports/{report}"
    examples = misrouting_examples(turns, dataset, args.split, colorizers)
    storage.put(f"{folder}/photographs.csv", turns_table(turns).to_csv(index=False).encode())
    storage.put(f"{folder}/cost.csv", table.to_csv(index=False).encode())
    storage.put(f"{folder}/examples.png", encode_png(examples))
    if args.json:
        print(json.dumps(table.replace({np.nan: None}).to_dict("records")))
        return 0
    print("mean L1 in ab, coloured by")
    rows = [
        [f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in row]
        for row in table.itertuples(index=False)
    ]
    print_table(list(table.columns), rows)
    print(f"cost.csv, photographs.csv and examples.png are in {storage.location(folder)}")
    return 0


def _add_evaluation_options(
    parser: argparse.ArgumentParser, report: str, without: Sequence[str] = ()
) -> None:
    parser.add_argument("--dataset", metavar="NAME", required=True, help="the photographs")
    parser.add_argument("--split", choices=SPLITS, default="test")
    add_report_options(parser, report)
    add_options(parser.add_argument_group("router"), RouterConfig, without=without)


def _check_classes(dataset: Dataset, choice: RouterChoice) -> None:
    unknown = set(dataset.manifest.classes) - set(choice.classes)
    if unknown:
        raise ConfigError(
            f"the router {choice} does not know {', '.join(sorted(unknown))}, of dataset "
            f"{dataset.manifest.name}: it knows {', '.join(choice.classes)} (--classes FILE, or "
            f"colorgan train-router --dataset {dataset.manifest.name} and --router head)"
        )


def _progress(done: str) -> Callable[[str, int], None]:
    """Return a function that prints every few seconds how many photographs are done."""
    show = progress_printer()

    def observe(word: str, count: int) -> None:
        show(f"{done} {count} ({word})")

    return observe
