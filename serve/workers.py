"""Workers that run the router and the generators on batches of small NumPy arrays."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from colorgan.errors import ColorganError
from colorgan.inference.colorizer import Colorizer
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
from colorgan.inference.one_pass import OnePass
from colorgan.inference.router import Route, open_router
from colorgan.inference.router_choice import RouterConfig
from colorgan.models.architectures import EncoderUNetConfig
from colorgan.packages.card import ModelCard
from colorgan.packages.embedded import with_embedded
from colorgan.packages.weights import load_generator
from colorgan.storage import open_storage
from colorgan.system import choose_device


class RouterWorker:
    """Loads a `RouterNetwork` and runs it.

    Colouring from the shared features takes less time than sending the features, or the
    photograph, to another process.
    """

    def __init__(
        self,
        storage: str,
        config: RouterConfig,
        cards: Mapping[str, ModelCard],
        device: str,
        compile: bool,
    ) -> None:
        """Load the classifier and its generators, and run them once; raises ColorganError.

        Args:
            storage: URI of the storage of the packages.
            config: which router to load.
            cards: the packages that are served, by model.
            device: see `choose_device`.
            compile: whether to compile the networks.
        """
        place, where = with_embedded(open_storage(storage)), choose_device(device)
        router = open_router(config, place, where)
        colorizers = {
            name: Colorizer(load_generator(place, cards[name], where))
            for name in router.classes
            if name in cards and isinstance(cards[name].architecture, EncoderUNetConfig)
        }
        infos = {
            name: describe(each, name, cards[name].reference) for name, each in colorizers.items()
        }
        self._network = RouterNetwork(router, colorizers, infos)
        if compile:
            _compile(self._network.one_pass)
        self.info: RouterInfo = self._network.info
        self.check()

    def work(self, photographs: Sequence[Square]) -> list[Routed]:
        """As `RouterNetwork.work`, with colours in float16."""
        return [
            replace(each, painted=_halved(each.painted)) if each.painted else each
            for each in self._network.work(photographs)
        ]

    def classify(self, photographs: Sequence[Square]) -> list[Route]:
        """As `RouterNetwork.classify`."""
        return self._network.classify(photographs)

    def check(self) -> None:
        """Run the network once; raises if that fails."""
        self.work([np.zeros((1, self.info.view.side, self.info.view.side), np.uint8)])


class GeneratorWorker:
    """Loads a `GeneratorNetwork` and runs it."""

    def __init__(self, storage: str, card: ModelCard, device: str, compile: bool) -> None:
        """Load the generator of a package, and run it once; raises ColorganError."""
        models = with_embedded(open_storage(storage))
        self._colorizer = Colorizer(load_generator(models, card, choose_device(device)))
        if compile:
            _compile(self._colorizer)
        self.info: ModelInfo = describe(self._colorizer, card.model, card.reference)
        self._network = GeneratorNetwork(self._colorizer, self.info)
        self.check()

    def work(self, photographs: Sequence[Square]) -> list[PredictedColor]:
        """As `GeneratorNetwork.work`, with colours in float16."""
        return [_halved(each) for each in self._network.work(photographs)]

    def check(self) -> None:
        """Run the network once; raises if that fails or the output is not finite."""
        (painted,) = self.work([np.zeros((3, self.info.size, self.info.size), np.uint8)])
        if not np.isfinite(painted.color).all():
            raise RuntimeError(f"{self.info.reference} returns colours that are not finite")


Worker = RouterWorker | GeneratorWorker


def _halved(painted: PredictedColor) -> PredictedColor:
    """The colours in half the bytes; they differ by at most 0.03 in a and b."""
    return replace(painted, color=painted.color.astype(np.float16))


def _compile(made: Colorizer | OnePass) -> None:
    """Compile the networks if possible; a slow service is better than none."""
    try:
        made.compile()
    except ColorganError as error:
        logging.getLogger(__name__).warning("%s; it works without, more slowly", error)
