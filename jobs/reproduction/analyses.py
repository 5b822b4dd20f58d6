"""The measurements that a reproduction makes besides its jobs; each writes files to its folder."""

import json
from collections.abc import Callable

import torch

from colorgan.data.dataset import Dataset
from colorgan.errors import NotInStorage
from colorgan.evaluation.failures import failures_sheet, worst_photographs
from colorgan.evaluation.realizations import realize
from colorgan.evaluation.results import open_report
from colorgan.evaluation.routing import (
    REPORT,
    color_by_every_model,
    confusions_json,
    cost_of_wrong_turns,
    evaluate_router,
    misrouting_examples,
    plot_confusions,
    turns_table,
)
from colorgan.evaluation.statistics import colorers
from colorgan.evaluation.tables import to_csv
from colorgan.images.decoding import encode_png
from colorgan.inference.assembled import load_assembled
from colorgan.inference.colorizer import Colorizer
from colorgan.inference.router import open_router
from colorgan.inference.router_choice import RouterConfig, choose_router
from colorgan.packages.card import ModelCard, find
from colorgan.packages.weights import load_generator
from colorgan.storage import Storage
from colorgan.sweeps.documents import open_sweep, read_history
from colorgan.sweeps.publishing import publish_epoch
from colorgan.training.runs import finished_result
from jobs.reproduction.files import (
    CONFUSION,
    FAILURES,
    FAILURES_SHEET,
    REALIZATIONS,
    ROUTING,
    ROUTING_SHEET,
    TRIALS,
    TURNS,
)
from jobs.reproduction.further_analyses import analyze_worn
from jobs.reproduction.plan import Reproduction, trial_name
from jobs.reproduction.scales import SCALES

_HYBRID_FROM = 0.05  # minimum score of a second class, which the report requires of the first
_WORST = 4  # number of photographs per model
_SPLIT = "test"

Analysis = Callable[[Storage, Reproduction, Dataset, torch.device], None]


def package_of(storage: Storage, reproduction: Reproduction, part: str, model: str) -> str:
    """The package of a model that one of the runs has trained, as `model@version`.

    Raises:
        NotInStorage: the model is not trained yet.
    """
    result = finished_result(storage, reproduction.run(part), model)
    if not (result and result.package):
        raise NotInStorage(f"run {reproduction.run(part)} has not trained {model}")
    return result.package


def class_packages(storage: Storage, reproduction: Reproduction, part: str) -> str:
    """The packages of the class models of one of the runs, joined by commas."""
    classes = reproduction.classes
    return ",".join(package_of(storage, reproduction, part, label) for label in classes)


def publish_trials(storage: Storage, reproduction: Reproduction) -> dict[str, str]:
    """Publish every trial of the sweeps in its state after the last epoch, unless that is done.

    Returns:
        The packages by the names of the trials in the comparison.
    """
    key = reproduction.key(TRIALS)
    if storage.exists(key):
        known: dict[str, str] = json.loads(storage.get(key))
        return known
    packages = {}
    for part, varied in (
        ("sizes", "size"),
        ("batches", "batch_size"),
        ("photographs", "photographs"),
    ):
        sweep = open_sweep(storage, reproduction.run(part))
        for plan in sweep.trials:
            last = read_history(storage, sweep, plan.name).evaluations[-1]
            card = publish_epoch(storage, sweep.name, plan.name, last.epoch)
            packages[trial_name(part, plan.values[varied])] = card.reference
    storage.put(key, (json.dumps(packages, indent=2) + "\n").encode())
    return packages


def analyze_routing(
    storage: Storage, reproduction: Reproduction, dataset: Dataset, device: torch.device
) -> None:
    """Measure the router's confusion matrix, and what misrouting costs the plain class models."""
    cards = _class_cards(storage, reproduction)
    choice = choose_router(RouterConfig(), storage, cards, reproduction.classes)
    router = open_router(choice.config, storage, device, exact=True)
    confusions = evaluate_router(router, dataset, _SPLIT)
    colorizers = load_assembled(storage, router, cards, device).colorizers
    turns = color_by_every_model(router, colorizers, dataset, _SPLIT, _HYBRID_FROM)
    compared = list(confusions)
    if {*reproduction.classes} == {*REPORT.classes}:
        compared.append(REPORT)
    sheet = misrouting_examples(turns, dataset, _SPLIT, colorizers)
    storage.put(reproduction.key(ROUTING_SHEET), encode_png(sheet))
    storage.put(reproduction.key(CONFUSION), plot_confusions(compared))
    storage.put(reproduction.key(TURNS), to_csv(turns_table(turns)))
    found = {
        "router": f"{router.name} {router.package}".strip(),
        "classifier": router.classifier.name,
        "confusions": confusions_json(confusions),
        "cost": cost_of_wrong_turns(turns).to_dict("records"),
    }
    storage.put(reproduction.key(ROUTING), (json.dumps(found, indent=2) + "\n").encode())


def analyze_realizations(
    storage: Storage, reproduction: Reproduction, dataset: Dataset, device: torch.device
) -> None:
    """Measure several colourings of each test photograph by the plain model of its class."""
    scale = SCALES[reproduction.scale]
    cards = _class_cards(storage, reproduction)
    colorizers = {
        label: Colorizer(load_generator(storage, card, device)) for label, card in cards.items()
    }
    limit = -(-scale.photographs // len(cards))
    table = realize(colorizers, dataset, _SPLIT, scale.realizations, limit)
    storage.put(reproduction.key(REALIZATIONS), to_csv(table))


def analyze_failures(
    storage: Storage, reproduction: Reproduction, dataset: Dataset, device: torch.device
) -> None:
    """Find the worst photographs of each model of the comparison."""
    report = open_report(storage, reproduction.run("models"))
    results = report.results()
    table = worst_photographs(report, results, _WORST)
    sheet = failures_sheet(report, table, colorers(results))
    storage.put(reproduction.key(FAILURES_SHEET), encode_png(sheet))
    storage.put(reproduction.key(FAILURES), to_csv(table))


ANALYSES: dict[str, Analysis] = {
    "routing": analyze_routing,
    "realizations": analyze_realizations,
    "failures": analyze_failures,
    "worn": analyze_worn,
}


def _class_cards(storage: Storage, reproduction: Reproduction) -> dict[str, ModelCard]:
    return {
        label: find(storage, package_of(storage, reproduction, "classes", label))
        for label in reproduction.classes
    }
