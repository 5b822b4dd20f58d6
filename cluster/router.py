"""The training of the router's head as a Ray task."""

import ray
import torch

from cluster.errors import cause
from cluster.planning import Plan
from colorgan.cards import ModelCard
from colorgan.data.dataset import open_dataset
from colorgan.errors import ColorganError
from colorgan.models.classifiers import load_classifier
from colorgan.router_training import HeadTrainingConfig, train_router
from colorgan.storage import open_storage
from colorgan.training import device_name


def fit_router(
    storage: str, dataset: str, run: str, classifier: str, plan: Plan, retries: int
) -> ModelCard:
    """Train the router's head on the cluster, and wait for it.

    Args:
        storage: the storage's URI.
        dataset: the dataset's name.
        run: the run's name.
        classifier: whose features to use.
        plan: on what; the head takes one model's share.
        retries: how often to start a process again that died.

    Raises:
        ColorganError: the dataset or the classifier cannot be used, or the task failed.
    """
    task = _fit_router.options(num_cpus=plan.cpus, num_gpus=plan.gpus, max_retries=retries)
    try:
        outcome = ray.get(task.remote(storage, dataset, run, classifier, plan))
    except ray.exceptions.RayError as error:
        raise ColorganError(f"the router could not be trained: {cause(error)}") from None
    if isinstance(outcome, ColorganError):
        raise outcome
    return outcome


@ray.remote
def _fit_router(
    storage: str, dataset: str, run: str, classifier: str, plan: Plan
) -> ModelCard | ColorganError:
    plan.settle()
    device = torch.device("cuda" if plan.on_gpu else "cpu")
    try:
        place = open_storage(storage)
        return train_router(
            place,
            open_dataset(place, dataset),
            load_classifier(classifier, device=device),
            HeadTrainingConfig(),
            device_name(device),
            run,
        )
    except ColorganError as error:
        return error
