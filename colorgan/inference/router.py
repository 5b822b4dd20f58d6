"""The router: it finds a photograph's class by a classifier's labels or by a trained head."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from colorgan.classes import PhotoClasses, imagenet_labels
from colorgan.errors import ConfigError
from colorgan.images.decoding import Pixels
from colorgan.inference.router_choice import HEAD, LABELS, RouterConfig, choose_lone_router
from colorgan.models.classifiers import Classifier, load_classifier
from colorgan.models.head import RouterHead
from colorgan.packages.card import find
from colorgan.packages.weights import load_head
from colorgan.storage import Storage

UNSURE = "unsure"


@dataclass(frozen=True)
class Route:
    """The class that a photograph is sent to.

    Attributes:
        photo_class: the class, or `unsure`.
        score: the deciding probability: of the winning label, or of the class.
        scores: by class, the probability of its best label, or of the class itself.
        label: the name of the winning ImageNet label; None if no label won.
    """

    photo_class: str
    score: float
    scores: dict[str, float]
    label: str | None

    @property
    def best_class(self) -> str:
        """The class; the most likely one if the router is unsure."""
        if self.photo_class != UNSURE:
            return self.photo_class
        return max(self.scores, key=lambda name: self.scores[name])


class Router(ABC):
    """Sends photographs to classes.

    Attributes:
        name: `labels` or `head`.
        package: the head's package, `router@version`; otherwise empty.
        classes: the classes that it sends photographs to.
        classifier: the classifier whose outputs it uses.
    """

    name: str
    package: str = ""
    classes: tuple[str, ...]
    classifier: Classifier

    def prepare(self, photograph: Pixels) -> Tensor:
        """Convert a (height, width, 3) uint8 photograph to the router's input, without its colour.

        Returns:
            (1, side, side) uint8.
        """
        return self.classifier.view(photograph)

    def __call__(self, batch: Tensor) -> list[Route]:
        """Route a batch of prepared photographs, (batch, 1, side, side) uint8."""
        return self.decide(*self.classifier(batch))

    @abstractmethod
    def score(self, features: Tensor, probabilities: Tensor) -> Tensor:
        """The scores of `classes`, (batch, classes), from the classifier's outputs: see `Route`."""

    @abstractmethod
    def decide(self, features: Tensor, probabilities: Tensor) -> list[Route]:
        """Route photographs by the classifier's outputs for them."""


class LabelRouter(Router):
    """Applies the rule of the 2018 report to a classifier's ImageNet labels; see classes.toml.

    Attributes:
        rule: the classes, their labels, the threshold and the fallback.
    """

    name = LABELS

    def __init__(self, classifier: Classifier, photo_classes: PhotoClasses) -> None:
        """Take a classifier, and the classes with their labels."""
        self.classifier = classifier
        self.classes = photo_classes.names
        self.rule = photo_classes
        place = {label.synset: number for number, label in enumerate(imagenet_labels())}
        self._members = {
            name: torch.tensor([place[synset] for synset in synsets])
            for name, synsets in photo_classes.synsets.items()
        }

    def score(self, features: Tensor, probabilities: Tensor) -> Tensor:
        """The best label's probability of each class, from (batch, 1000) probabilities."""
        members = self._members.values()
        return torch.stack([probabilities[:, each].amax(dim=1) for each in members], dim=1)

    def decide(self, features: Tensor, probabilities: Tensor) -> list[Route]:
        """Apply the rule to (batch, 1000) probabilities."""
        return [self._decide(row) for row in probabilities]

    def _decide(self, probabilities: Tensor) -> Route:
        best = {
            name: int(members[probabilities[members].argmax()])
            for name, members in self._members.items()
        }
        scores = {name: float(probabilities[label]) for name, label in best.items()}
        winner = max(scores, key=lambda name: scores[name])
        if scores[winner] >= self.rule.threshold:
            label = imagenet_labels()[best[winner]].name
            return Route(winner, scores[winner], scores, label)
        fallback = self.rule.fallback
        return Route(fallback, scores[fallback], scores, None)


class HeadRouter(Router):
    """Applies a trained head to a classifier's features."""

    name = HEAD

    def __init__(
        self,
        classifier: Classifier,
        head: RouterHead,
        unsure_below: float = 0.0,
        package: str = "",
    ) -> None:
        """Take a trained head and the classifier that it was trained on.

        Args:
            classifier: the classifier whose features the head takes.
            head: the trained head.
            unsure_below: the probability below which a photograph's class is `unsure`.
            package: the head's package, `router@version`, if it comes from one.

        Raises:
            ConfigError: the head was trained on other weights of the classifier.
        """
        if classifier.fingerprint() != head.config.classifier_sha256:
            raise ConfigError(
                f"the router was trained on other weights of {head.config.classifier}: give them "
                "as --weights, or run colorgan train-router again"
            )
        self.classifier = classifier
        self.package = package
        self.classes = head.config.classes
        self._head = head
        self._unsure_below = unsure_below

    def score(self, features: Tensor, probabilities: Tensor) -> Tensor:
        """The head's probability of each class, from (batch, features)."""
        scores: Tensor = self._head(features).softmax(dim=1)
        return scores

    def decide(self, features: Tensor, probabilities: Tensor) -> list[Route]:
        """Apply the head to (batch, features)."""
        with torch.inference_mode():
            rows = self.score(features, probabilities).tolist()
        return [self._decide(dict(zip(self.classes, row, strict=True))) for row in rows]

    def _decide(self, scores: dict[str, float]) -> Route:
        winner = max(scores, key=lambda name: scores[name])
        sure = scores[winner] >= self._unsure_below
        return Route(winner if sure else UNSURE, scores[winner], scores, None)


def open_router(
    config: RouterConfig,
    storage: Storage,
    device: torch.device | None = None,
    exact: bool = False,
) -> Router:
    """Load the router that a configuration names.

    `auto` names the router that fits the models in storage (see choose_router). If none fits, it
    names the router that would be chosen without models, because a router can be used alone.

    Args:
        config: the options for the choice of a router.
        storage: the storage of the head's package.
        device: the device that the classifier is to run on.
        exact: keep the classifier in float32, which measurements need; otherwise it computes in the
            fastest type of the device.

    Raises:
        ConfigError: an option is invalid.
        NotInStorage: no head has been trained.
        Corrupt: a file cannot be read.
        ColorganError: the classifier's weights are not available.
    """
    if config.router != LABELS:
        config = choose_lone_router(config, storage).config
    weights = Path(config.weights) if config.weights else None
    router: Router
    if config.router == LABELS:
        photo_classes = PhotoClasses.load(Path(config.classes) if config.classes else None)
        router = LabelRouter(load_classifier(config.classifier, weights, device), photo_classes)
    else:
        head = load_head(storage, find(storage, config.head))
        classifier = load_classifier(head.config.classifier, weights, device)
        router = HeadRouter(classifier, head, config.unsure_below, config.head)
    if not exact:
        router.classifier.use_fastest_type()
    return router
