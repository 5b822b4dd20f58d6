"""The measurements for the further sections that no command makes."""

import json
from dataclasses import asdict

import pandas as pd
import torch

from cluster.job import say
from colorgan.classes import PhotoClasses
from colorgan.data.boxes import BoxedFolder
from colorgan.data.dataset import Dataset
from colorgan.data.masks import MaskedFolder, write_scenes
from colorgan.evaluation.tables import to_csv
from colorgan.inference import object_choice
from colorgan.inference.router import HeadRouter, LabelRouter, Router
from colorgan.inference.router_choice import LABELS
from colorgan.models.classifiers import Classifier, load_classifier
from colorgan.models.head import RouterHead
from colorgan.storage import Storage
from colorgan.system import device_name
from colorgan.temporary import temporary_folder
from colorgan.training.detector import DetectorTrainingConfig, train_detector
from colorgan.training.router_head import HeadTrainingConfig, embed, train_head
from colorgan.training.segmenter import SegmenterTrainingConfig, train_segmenter
from jobs.reproduction.files import SEEING, WORN
from jobs.reproduction.further import (
    Seeing,
    is_drawn,
    known_to_labels,
    segmenter_of_photographs,
)
from jobs.reproduction.plan import Reproduction, options_of
from jobs.reproduction.scales import HEAD, SCALES, WORN_HEAD

_SPLIT = "test"
_SEED = 1  # of the scenes that a segmenter learns from; a dataset's have 0 by default
# The worn copies of the test photographs; those of a training have the numbers from 1.
_FIRST_COPY = 1_000_001


def seeing_command(reproduction: Reproduction, dataset: Dataset) -> str:
    """The commands that make the networks of `make_seeing`; empty if they are there already."""
    if not is_drawn(dataset):
        return ""
    scale = SCALES[reproduction.scale]
    commands = {"scenes": scale.masks, "train-segmenter": scale.segmenter}
    commands["train-detector"] = scale.detector
    return " && ".join(
        " ".join((f"colorgan {name} masks", *options_of(options)))
        for name, options in commands.items()
    )


def make_seeing(
    storage: Storage, reproduction: Reproduction, dataset: Dataset, device: torch.device
) -> None:
    """Choose the networks that see, which are trained if the dataset has drawn scenes alone."""
    seeing = Seeing(segmenter_of_photographs(), object_choice.LABELS)
    if is_drawn(dataset):
        scale, tag = SCALES[reproduction.scale], reproduction.name
        segmenter_config = SegmenterTrainingConfig(**scale.segmenter)
        detector_config = DetectorTrainingConfig(**scale.detector)
        with temporary_folder("scenes") as folder:
            masks = folder / "masks"
            write_scenes(masks, seed=_SEED, **scale.masks)
            segmenter = train_segmenter(
                storage, MaskedFolder(masks), segmenter_config, device, tag, say
            )
            rule = PhotoClasses.load()
            detector = train_detector(
                storage, BoxedFolder(masks), detector_config, device, rule, tag, say
            )
        seeing = Seeing(segmenter.reference, detector.reference)
    storage.put(reproduction.key(SEEING), (json.dumps(asdict(seeing), indent=2) + "\n").encode())


def read_seeing(storage: Storage, reproduction: Reproduction) -> Seeing:
    """What `make_seeing` wrote; raises NotInStorage."""
    return Seeing(**json.loads(storage.get(reproduction.key(SEEING))))


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
