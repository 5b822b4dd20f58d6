"""Choosing a detector and the models of its objects; they are loaded later."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from colorgan.classes import PhotoClasses
from colorgan.errors import ConfigError, NotInStorage
from colorgan.inference.colorizer import Colorizer
from colorgan.inference.layers import Edges
from colorgan.inference.objects import ObjectColorizer
from colorgan.models import EMBEDDED
from colorgan.models.classifiers import installed
from colorgan.models.detection import Detector
from colorgan.models.segmenters import load_segmenter, trained_segmenter
from colorgan.names import DETECTOR, GENERAL, SEGMENTER
from colorgan.options import Configuration, Share, option
from colorgan.packages.card import ModelCard, find, released_models
from colorgan.packages.weights import load_detector, load_fcn, load_generator
from colorgan.storage import Storage

AUTO, LABELS, TRAINED, OWN, BOX = "auto", "labels", "trained", "own", "box"
TRAINS_ONE = "colorgan train-detector FOLDER trains one on pictures with boxes or masks"


@dataclass(frozen=True)
class ObjectConfig(Configuration):
    """The options of object-based colouring."""

    detector: str = option(
        AUTO,
        "the detector of model objects: trained (or detector@VERSION), made by colorgan "
        "train-detector; labels, the included classifier on parts of the photograph; one of "
        "torchvision's, such as maskrcnn_resnet50_fpn; auto: trained if there is one, or labels",
    )
    detector_weights: str = option("", "a file with the weights of torchvision's detector")
    object_score: Share = option(0.3, "lowest score of an object that is coloured by itself")
    object_masks: str = option(
        OWN,
        "own: the detector's masks, or boxes if it finds none; box: boxes alone; or a segmenter: "
        "trained, segmenter@VERSION or one of torchvision's",
    )
    object_edges: Edges = option(
        "guided",
        "how the edges of an object's colours are softened: as half a cosine, or guided by the "
        "photograph's lightness",
    )

    def check(self) -> None:
        """Check that weights belong to a detector of torchvision's; raises ConfigError."""
        named = self.detector not in (AUTO, LABELS) and not self.is_package
        if self.detector_weights and not named:
            raise ConfigError(
                "--detector-weights needs --detector NAME, one of torchvision's detectors"
            )

    @property
    def is_package(self) -> bool:
        """Whether the detector is a package in storage."""
        return self.detector.partition("@")[0] in (TRAINED, DETECTOR)

    def resolve(self, storage: Storage) -> "ObjectConfig":
        """The same with the name of what is used: `auto` chosen, and a package with its version.

        Raises:
            NotInStorage: there is no such package.
            ConfigError: there is no detector at all.
        """
        chosen = self.detector
        if chosen == AUTO:
            there = DETECTOR in released_models(storage)
            chosen = TRAINED if there else LABELS
            if not there and not installed(EMBEDDED):
                raise ConfigError(
                    f"there is no detector in {storage.uri}, and the classifier that could replace "
                    f"it is not installed: {TRAINS_ONE}, and --detector NAME uses one of "
                    "torchvision's"
                )
        if chosen.partition("@")[0] in (TRAINED, DETECTOR):
            try:
                chosen = find(storage, chosen.replace(TRAINED, DETECTOR, 1)).reference
            except NotInStorage as error:
                raise NotInStorage(f"{error}; {TRAINS_ONE}") from None
        masks = self.object_masks
        if masks.partition("@")[0] in (TRAINED, SEGMENTER):
            masks = find(storage, masks.replace(TRAINED, SEGMENTER, 1)).reference
        return replace(self, detector=chosen, object_masks=masks)


def open_detector(
    config: ObjectConfig,
    storage: Storage,
    rule: PhotoClasses,
    device: torch.device | None = None,
) -> Detector:
    """Load the detector that a configuration names, with the masks that it names.

    Args:
        config: the options.
        storage: the storage of the packages.
        rule: the photo classes, and the things that belong to each.
        device: the device that the networks run on.

    Raises:
        ConfigError: there is no such detector or segmenter, or it finds nothing of the classes.
        NotInStorage: there is no such package.
        Corrupt: a file cannot be read.
        ColorganError: weights are missing and could not be downloaded.
    """
    from colorgan.models.detectors import (
        BoxDetector,
        MaskedDetector,
        label_detector,
        load_torchvision,
        trained_detector,
    )

    config, least = config.resolve(storage), config.object_score
    detector: Detector
    if config.detector == LABELS:
        detector = label_detector(rule, least, device)
    elif config.is_package:
        network = load_detector(storage, find(storage, config.detector))
        detector = trained_detector(config.detector, network, rule, least, device)
    else:
        weights = Path(config.detector_weights) if config.detector_weights else None
        detector = load_torchvision(config.detector, rule, least, weights, device)
    if config.object_masks == OWN:
        return detector
    if config.object_masks == BOX:
        return BoxDetector(detector)
    if config.object_masks.partition("@")[0] == SEGMENTER:
        name = config.object_masks
        segmenter = trained_segmenter(name, load_fcn(storage, find(storage, name)), device)
    else:
        segmenter = load_segmenter(config.object_masks, None, device)
    return MaskedDetector(detector, segmenter, rule)


@dataclass(frozen=True)
class ObjectAssembly:
    """The parts of object-based colouring: chosen to fit each other, but not loaded yet.

    Attributes:
        config: the options, with the detector that they name.
        classes: a file with the photo classes; empty for those of colorgan.
        cards: the packages of the general model and of the classes, by model.
        note: a sentence for the user on the choice.
    """

    config: ObjectConfig
    classes: str
    cards: Mapping[str, ModelCard]
    note: str

    def load(
        self,
        storage: Storage,
        device: torch.device | None = None,
        render_size: int | None = None,
    ) -> ObjectColorizer:
        """Load the parts; raises ColorganError if one cannot be read.

        Args:
            storage: the storage of the packages.
            device: the device that the networks run on.
            render_size: see `Colorizer`.
        """
        rule = PhotoClasses.load(Path(self.classes) if self.classes else None)
        detector = open_detector(self.config, storage, rule, device)
        colorizers: dict[str, Colorizer] = {}
        for name, card in self.cards.items():
            colorizer = Colorizer(load_generator(storage, card, device), render_size)
            colorizer.share_encoder(colorizers.values())
            colorizers[name] = colorizer
        references = {name: card.reference for name, card in self.cards.items()}
        return ObjectColorizer(detector, colorizers, self.config.object_edges, references)


def assemble_objects(config: ObjectConfig, storage: Storage, classes: str = "") -> ObjectAssembly:
    """Choose a detector, the general model, and the released models of the photo classes.

    Args:
        config: the options.
        storage: the storage of the packages.
        classes: a file in the format of classes.toml; empty for the classes of colorgan.

    Raises:
        NotInStorage: there is no general model, or no model of any class, or no such detector.
        ConfigError: the classes cannot be read, or there is no detector at all.
    """
    rule = PhotoClasses.load(Path(classes) if classes else None)
    there = released_models(storage)
    names = [name for name in rule.names if name in there]
    lacking = GENERAL if GENERAL not in there else "" if names else " or ".join(rule.names)
    if lacking:
        raise NotInStorage(
            f"colouring by objects needs the general model and those of the objects' classes, and "
            f"{storage.uri} has no released model of {lacking}: python jobs/train_all.py makes "
            "them, and --model NAME colours with one model alone"
        )
    resolved = config.resolve(storage)
    if resolved.detector != LABELS and not resolved.is_package:
        from colorgan.models.detectors import check_name

        check_name(resolved.detector)
    cards = {name: find(storage, name) for name in (GENERAL, *names)}
    note = f"objects are found by {resolved.detector}"
    if resolved.detector == LABELS and config.detector == AUTO:
        note += f", which is coarse; {TRAINS_ONE}"
    return ObjectAssembly(resolved, classes, cards, note)
