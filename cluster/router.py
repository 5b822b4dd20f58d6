"""Trains the router's head as a Ray task."""

import json
from collections.abc import Callable

import ray
import torch

from cluster.errors import cause
from cluster.planning import Plan
from cluster.waiting import wait_for_place
from colorgan.data.dataset import Dataset, open_dataset
from colorgan.errors import ColorganError, Corrupt
from colorgan.models.classifiers import load_classifier
from colorgan.names import ROUTER
from colorgan.packages.card import ModelCard
from colorgan.storage import Storage, open_storage
from colorgan.system import device_name
from colorgan.training.plan import RunPlan
from colorgan.training.router_head import HeadTrainingConfig, train_router
from colorgan.training.runs import HeadResult


def fit_head(
    storage: Storage,
    dataset: Dataset,
    run: RunPlan,
    plan: Plan,
    retries: int,
    say: Callable[[str], None],
) -> HeadResult:
    """Train the router's head as part of a run, unless the run has already trained it.

    Args:
        storage: storage of datasets, runs and packages.
        dataset: dataset whose classes the head distinguishes.
        run: plan of the run; it names the classifier whose features the head uses.
        plan: resources of the task, as in `fit_router`.
        retries: how often a process that died is restarted.
        say: prints a line to the job's log.

    Returns:
        The result; its status is "failed", with the cause, if the training failed, and "stopped"
        after Ctrl-C.

    Raises:
        Corrupt: the run's record of its head cannot be read.
    """
    key, classes = f"runs/{run.run}/{ROUTER}/result.json", dataset.manifest.classes
    classifier, tag = run.head, run.publishing.tag
    if storage.exists(key):
        try:
            known = json.loads(storage.get(key))
            package, accuracy = str(known["package"]), float(known["val_accuracy"])
        except (ValueError, TypeError, KeyError):
            raise Corrupt(f"{key} cannot be read: choose another --run") from None
        say(f"router: finished before, {package}")
        return HeadResult("done", classifier, classes, package, accuracy)
    try:
        wait_for_place(plan.cpus, plan.gpus, say)
        say(f"router: training a head for {', '.join(classes)} on {classifier}")
        card = fit_router(storage.uri, run.dataset, run.run, classifier, plan, retries, tag)
    except ColorganError as error:
        return HeadResult("failed", classifier, classes, error=str(error))
    except KeyboardInterrupt:
        say("router: stopped")
        return HeadResult("stopped", classifier, classes)
    storage.put(key, (json.dumps({"package": card.reference, **card.metrics}) + "\n").encode())
    accuracy = card.metrics["val_accuracy"]
    say(f"router: {card.reference}, validation accuracy {accuracy:.1%}")
    return HeadResult("done", classifier, classes, card.reference, accuracy)


def fit_router(
    storage: str,
    dataset: str,
    run: str,
    classifier: str,
    plan: Plan,
    retries: int,
    tag: str = "",
) -> ModelCard:
    """Train the router's head on the cluster, and wait until it is published.

    Args:
        storage: the storage's URI.
        dataset: the dataset's name.
        run: the run's name.
        classifier: name of the classifier whose features the head uses.
        plan: resources of the task, which are the share of one model.
        retries: how often a process that died is restarted.
        tag: the package's tag; may be empty.

    Returns:
        The card of the published package.

    Raises:
        ColorganError: the dataset or the classifier cannot be used, or the task failed.
    """
    task = _fit_router.options(num_cpus=plan.cpus, num_gpus=plan.gpus, max_retries=retries)
    try:
        outcome = ray.get(task.remote(storage, dataset, run, classifier, plan, tag))
    except ray.exceptions.RayError as error:
        raise ColorganError(f"the router could not be trained: {cause(error)}") from None
    if isinstance(outcome, ColorganError):
        raise outcome
    card: ModelCard = outcome
    return card


@ray.remote
def _fit_router(
    storage: str, dataset: str, run: str, classifier: str, plan: Plan, tag: str
) -> ModelCard | ColorganError:
    device = torch.device("cuda" if plan.on_gpu else "cpu")
    try:
        plan.apply_to_process()
        place = open_storage(storage)
        return train_router(
            open_dataset(place, dataset),
            load_classifier(classifier, device=device),
            HeadTrainingConfig(),
            device_name(device),
            run,
            tag,
        )
    except ColorganError as error:
        return error
