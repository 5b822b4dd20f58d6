"""The measurements for the further sections that no command makes."""

import json
from typing import Any

import pandas as pd
import torch

from cluster.job import say
from colorgan.classes import PhotoClasses
from colorgan.data.dataset import Dataset
from colorgan.data.masks import MaskedFolder, write_scenes
from colorgan.evaluation.tables import to_csv
from colorgan.inference.router import HeadRouter, LabelRouter, Router
from colorgan.inference.router_choice import LABELS
from colorgan.models.classifiers import Classifier, load_classifier
from colorgan.models.head import RouterHead
from colorgan.storage import Storage
from colorgan.system import device_name
from colorgan.temporary import temporary_folder
from colorgan.training.router_head import HeadTrainingConfig, embed, train_head
from colorgan.training.segmenter import SegmenterTrainingConfig, train_segmenter
from jobs.reproduction.files import SEGMENTER, WORN
from jobs.reproduction.further import is_drawn, known_to_labels, segmenter_of_photographs
from jobs.reproduction.plan import Reproduction, options_of
from jobs.reproduction.scales import HEAD, SCALES, WORN_HEAD

_SPLIT = "test"
_SEED = 1  # of the scenes that a segmenter learns from; a dataset's have 0 by default
# The worn copies of the test photographs; those of a training have the numbers from 1.
_FIRST_COPY = 1_000_001


def segmenter_command(reproduction: Reproduction, dataset: Dataset) -> str:
    """The commands that make the segmenter of `make_segmenter`; empty if there are none."""
    if not is_drawn(dataset):
        return ""
    drawing, training = _segmenter_options(reproduction)
    draw = " ".join(("colorgan scenes masks", *options_of(drawing)))
    return f"{draw} && {' '.join(('colorgan train-segmenter masks', *options_of(training)))}"


def make_segmenter(
    storage: Storage, reproduction: Reproduction, dataset: Dataset, device: torch.device
) -> None:
    """Write the name of the FCN score's network, which is trained first if the dataset is drawn."""
    if not is_drawn(dataset):
        name = segmenter_of_photographs()
    else:
        drawing, training = _segmenter_options(reproduction)
        config = SegmenterTrainingConfig(**training)
        with temporary_folder("scenes") as folder:
            write_scenes(folder / "masks", seed=_SEED, **drawing)
            masks = MaskedFolder(folder / "masks")
            card = train_segmenter(storage, masks, config, device, reproduction.name, say)
        name = card.reference
    storage.put(reproduction.key(SEGMENTER), (json.dumps({"segmenter": name}) + "\n").encode())


def chosen_segmenter(storage: Storage, reproduction: Reproduction) -> str:
    """The name that `make_segmenter` wrote; raises NotInStorage."""
    return str(json.loads(storage.get(reproduction.key(SEGMENTER)))["segmenter"])


def _segmenter_options(reproduction: Reproduction) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options that draw the scenes, and those of the training."""
    options = dict(SCALES[reproduction.scale].segmenter)
    drawing = {"per_class": options.pop("per_class"), "size": options.get("size", 128)}
    return drawing, options


def analyze_worn(
    storage: Storage, reproduction: Reproduction, dataset: Dataset, device: torch.device
) -> None:
    """Route worn copies of the test photographs by the labels and by heads trained for it."""
    classifier, classes = load_classifier(device=device), reproduction.classes
    routers: dict[str, Router] = {}
    if known_to_labels(reproduction):
        routers[LABELS] = LabelRouter(classifier, PhotoClasses.load())
    copies = {HEAD: 0, WORN_HEAD: 1}
    for name in SCALES[reproduction.scale].heads:
        routers[name] = _head(classifier, dataset, copies[name])
    lines = []
    for copy in range(SCALES[reproduction.scale].worn + 1):
        number = _FIRST_COPY + copy - 1 if copy else 0
        seen = embed(classifier, dataset, classes, _SPLIT, copy=number)
        for name, router in routers.items():
            routes = router.decide(seen.features, seen.probabilities)
            lines += [
                {"router": name, "copy": copy, "photo": photo, "class": classes[target]}
                | {"right": float(route.best_class == classes[target])}
                for photo, (target, route) in enumerate(
                    zip(seen.targets.tolist(), routes, strict=True)
                )
            ]
    storage.put(reproduction.key(WORN), to_csv(pd.DataFrame(lines)))


def _head(classifier: Classifier, dataset: Dataset, copies: int) -> HeadRouter:
    config = HeadTrainingConfig(worn=copies)
    network = train_head(classifier, dataset, config, device_name(classifier.device)).network
    assert isinstance(network, RouterHead)
    return HeadRouter(classifier, network.eval())
