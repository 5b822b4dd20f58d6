"""Workers that run the router and the generators on batches of small NumPy arrays."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import numpy as np
import torch

from colorgan.classes import PhotoClasses
from colorgan.errors import ColorganError, ConfigError
from colorgan.images.decoding import Pixels
from colorgan.inference.colorizer import Colorizer
from colorgan.inference.layers import Edges
from colorgan.inference.networks import (
    GeneratorNetwork,
    ModelInfo,
    PredictedColor,
    Routed,
    RouterInfo,
    RouterNetwork,
    Square,
    describe,
)
from colorgan.inference.object_choice import ObjectConfig, open_detector
from colorgan.inference.one_pass import OnePass
from colorgan.inference.router import Route, open_router
from colorgan.inference.router_choice import RouterConfig
from colorgan.models.architectures import EncoderUNetConfig
from colorgan.models.detection import Detection
from colorgan.models.noise import Numbers
from colorgan.packages.card import ModelCard, find
from colorgan.packages.embedded import with_embedded
from colorgan.packages.weights import load_generator
from colorgan.storage import open_storage
from colorgan.system import choose_device, keep_buffers
from serve.config import Choice

Result = TypeVar("Result")


@dataclass(frozen=True)
class DetectorInfo:
    """A description of a detector.

    Attributes:
        name: its name.
        classes: the photo classes of the objects that it finds.
        edges: how the colours of an object end; see `ObjectConfig`.
    """

    name: str
    classes: tuple[str, ...]
    edges: Edges


class RouterWorker:
    """Loads a `RouterNetwork` and runs it, and the detector of objects, if there is one.

    Colouring from the shared features takes less time than sending the features, or the
    photograph, to another process.

    Attributes:
        info: the description of the router.
        colorizers: the generators whose encoder is a classifier, by class.
        detector: the description of the detector; None without one.
    """

    def __init__(
        self,
        storage: str,
        config: RouterConfig,
        cards: Mapping[str, ModelCard],
        device: str,
        compile: bool,
        objects: ObjectConfig | None = None,
    ) -> None:
        """Load the classifier and its generators, and run them once; raises ColorganError.

        Args:
            storage: URI of the storage of the packages.
            config: which router to load.
            cards: the packages that are served, by model.
            device: see `choose_device`.
            compile: whether to compile the networks.
            objects: what finds objects; None leaves it out.
        """
        place, where = with_embedded(open_storage(storage)), choose_device(device)
        router = open_router(config, place, where)
        self.colorizers: dict[str, Colorizer] = {}
        for name in router.classes:
            if name in cards and isinstance(cards[name].architecture, EncoderUNetConfig):
                colorizer = Colorizer(load_generator(place, cards[name], where))
                colorizer.share_encoder(self.colorizers.values())
                self.colorizers[name] = colorizer
        infos = {
            name: describe(each, name, cards[name].reference)
            for name, each in self.colorizers.items()
        }
        self._network = RouterNetwork(router, self.colorizers, infos)
        if compile:
            _compile(self._network.one_pass)
        self.info: RouterInfo = self._network.info
        self.detector: DetectorInfo | None = None
        if objects:
            rule = PhotoClasses.load(Path(config.classes) if config.classes else None)
            self._detector = open_detector(objects, place, rule, where)
            found = self._detector
            self.detector = DetectorInfo(found.name, found.classes, objects.object_edges)
        self.check()

    def work(self, photographs: Sequence[Square], numbers: Sequence[Numbers] = ()) -> list[Routed]:
        """As `RouterNetwork.work`, with colours in float16.

        A photograph whose model has no noise gets the first variant alone.
        """
        return [
            replace(each, painted=_halved(each.painted)) if each.painted else each
            for each in _varied(self._network.work, photographs, numbers)
        ]

    def detect(self, pictures: Sequence[Pixels]) -> list[list[Detection]]:
        """Find the objects of photographs; none if an update has just removed the detector."""
        return self._detector(pictures) if self.detector else [[] for _ in pictures]

    def classify(self, photographs: Sequence[Square]) -> list[Route]:
        """As `RouterNetwork.classify`."""
        return self._network.classify(photographs)

    def check(self) -> None:
        """Run the network once; raises if that fails."""
        self.work([np.zeros((1, self.info.view.side, self.info.view.side), np.uint8)])


class GeneratorWorker:
    """Loads a `GeneratorNetwork` and runs it."""

    def __init__(
        self,
        storage: str,
        card: ModelCard,
        device: str,
        compile: bool,
        loaded: Mapping[str, Colorizer] = MappingProxyType({}),
    ) -> None:
        """Load the generator of a package, and run it once; raises ColorganError.

        Args:
            storage: URI of the storage of the package.
            card: the package.
            device: see `choose_device`.
            compile: whether to compile the network.
            loaded: generators that this process has loaded, by model: that of the package is used
                again, and the encoders of others are shared.
        """
        if card.model in loaded:
            self._colorizer = loaded[card.model]
        else:
            models = with_embedded(open_storage(storage))
            self._colorizer = Colorizer(load_generator(models, card, choose_device(device)))
            self._colorizer.share_encoder(loaded.values())
        if compile:
            _compile(self._colorizer)
        self.info: ModelInfo = describe(self._colorizer, card.model, card.reference)
        self._network = GeneratorNetwork(self._colorizer, self.info)
        self.check()

    def work(
        self, photographs: Sequence[Square], numbers: Sequence[Numbers] = ()
    ) -> list[PredictedColor]:
        """As `GeneratorNetwork.work`, with colours in float16, and as in `RouterWorker.work`."""
        return [_halved(each) for each in _varied(self._network.work, photographs, numbers)]

    def check(self) -> None:
        """Run the network once; raises if that fails or the output is not finite."""
        (painted,) = self.work([np.zeros((3, self.info.size, self.info.size), np.uint8)])
        if not np.isfinite(painted.color).all():
            raise RuntimeError(f"{self.info.reference} returns colours that are not finite")


Worker = RouterWorker | GeneratorWorker


@dataclass(frozen=True)
class Loading:
    """How workers are loaded.

    Attributes:
        storage: URI of the storage of the packages.
        device: see `choose_device`.
        compile: whether to compile the networks.
        threads: PyTorch's threads on a CPU.
    """

    storage: str
    device: str
    compile: bool
    threads: int

    def prepare(self) -> None:
        """Set PyTorch's threads, and keep freed memory, in this process from now on."""
        torch.set_num_threads(self.threads)
        keep_buffers()


@dataclass(frozen=True)
class Workers:
    """The router and the generators by model, in one process."""

    router: RouterWorker
    generators: Mapping[str, GeneratorWorker]


def load_router(loading: Loading, choice: Choice) -> RouterWorker:
    """Load a router and the generators that work with it; raises ColorganError."""
    assert choice.router
    how = (loading.device, loading.compile)
    cards = _cards(loading, choice)
    return RouterWorker(loading.storage, choice.router, cards, *how, choice.objects)


def load_one_generator(loading: Loading, choice: Choice) -> GeneratorWorker:
    """Load the generator of the one package of a choice; raises ColorganError."""
    (card,) = _cards(loading, choice).values()
    return GeneratorWorker(loading.storage, card, loading.device, loading.compile)


def load_workers(loading: Loading, choice: Choice) -> Workers:
    """Load a router and all generators, each once; raises ColorganError."""
    router = load_router(loading, choice)
    how = (loading.device, loading.compile)
    generators = {
        name: GeneratorWorker(loading.storage, card, *how, router.colorizers)
        for name, card in _cards(loading, choice).items()
    }
    return Workers(router, generators)


def _cards(loading: Loading, choice: Choice) -> dict[str, ModelCard]:
    storage = with_embedded(open_storage(loading.storage))
    return {card.model: card for card in (find(storage, each) for each in choice.packages)}


def _varied(
    step: Callable[[Sequence[Square], Sequence[Numbers]], list[Result]],
    photographs: Sequence[Square],
    numbers: Sequence[Numbers],
) -> list[Result]:
    """Run a network with noise.

    A replica may have loaded a model without noise since the ingress asked for its description; no
    other photograph of the batch must suffer from that.
    """
    try:
        return step(photographs, numbers)
    except ConfigError:
        if len(photographs) == 1:
            return step(photographs, ())
        pairs = zip(photographs, numbers, strict=True)
        return [_varied(step, [each], [wanted])[0] for each, wanted in pairs]


def _halved(painted: PredictedColor) -> PredictedColor:
    """The colours in half the bytes; they differ by at most 0.03 in a and b."""
    others = tuple(each.astype(np.float16) for each in painted.others)
    return replace(painted, color=painted.color.astype(np.float16), others=others)


def _compile(made: Colorizer | OnePass) -> None:
    """Compile the networks if possible; a slow service is better than none."""
    try:
        made.compile()
    except ColorganError as error:
        logging.getLogger(__name__).warning("%s; it works without, more slowly", error)
