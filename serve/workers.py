"""Workers that run the router and the generators on batches of small NumPy arrays."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from colorgan.errors import ColorganError
from colorgan.images.color_spaces import ColorSpace
from colorgan.inference.colorizer import Colorizer
from colorgan.inference.one_pass import OnePass
from colorgan.inference.router import Route, open_router
from colorgan.inference.router_choice import RouterConfig
from colorgan.models.architectures import EncoderUNetConfig
from colorgan.models.view import View
from colorgan.packages.card import ModelCard
from colorgan.packages.embedded import with_embedded
from colorgan.packages.weights import load_generator
from colorgan.storage import open_storage
from colorgan.system import choose_device

Square = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class ModelInfo:
    """A description of a model for clients and the ingress.

    Attributes:
        name: `animals`, `general`, …
        reference: `name@version`.
        size: side of the square input, in pixels.
        color_space: colour space of the model's output.
    """

    name: str
    reference: str
    size: int
    color_space: ColorSpace


@dataclass(frozen=True)
class RouterInfo:
    """A description of the router for the ingress.

    Attributes:
        name: `labels` or `head`.
        classes: classes that it routes to.
        view: the router's preprocessing of a photograph.
        painters: models whose colours it returns together with the route.
    """

    name: str
    classes: tuple[str, ...]
    view: View
    painters: frozenset[str]


@dataclass(frozen=True)
class PredictedColor:
    """The predicted colours of one photograph.

    Attributes:
        color: (color channels, size, size) float16 array in [-1, 1]. It takes half the bytes of the
            generator's float32 output and differs from it by at most 0.03 in a and b.
        model: the model that predicted them.
        batch: number of photographs in the batch, which does not affect the colours.
    """

    color: npt.NDArray[np.float16]
    model: ModelInfo
    batch: int


@dataclass(frozen=True)
class Routed:
    """The route of one photograph, and its colours if the same forward pass computed them."""

    route: Route
    painted: PredictedColor | None


class RouterWorker:
    """Runs the router on batches, and the generators that use the router's classifier as encoder.

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
        self._router = open_router(config, place, where)
        colorizers = {
            name: Colorizer(load_generator(place, cards[name], where))
            for name in self._router.classes
            if name in cards and isinstance(cards[name].architecture, EncoderUNetConfig)
        }
        self._one_pass = OnePass(self._router, colorizers)
        if compile:
            _compile(self._one_pass)
        painters = self._one_pass.painters
        self._models = {name: _describe(cards[name], painters[name]) for name in painters}
        view = self._router.classifier.view
        self.info = RouterInfo(self._router.name, self._router.classes, view, frozenset(painters))
        self.check()

    def work(self, photographs: Sequence[Square]) -> list[Routed]:
        """Route photographs preprocessed by `info.view`, and colour those of `info.painters`."""
        glances = self._one_pass(_stack(photographs, self.info.view.side))
        together = Counter(glance.route.best_class for glance in glances)
        routed = []
        for glance in glances:
            painted = None
            if glance.color is not None:
                model = glance.route.best_class
                color = glance.color.half().numpy()
                painted = PredictedColor(color, self._models[model], together[model])
            routed.append(Routed(glance.route, painted))
        return routed

    def classify(self, photographs: Sequence[Square]) -> list[Route]:
        """Route photographs preprocessed by `info.view`, without colouring any."""
        return self._router(_stack(photographs, self.info.view.side))

    def check(self) -> None:
        """Run the network once; raises if that fails."""
        self.work([np.zeros((1, self.info.view.side, self.info.view.side), np.uint8)])


class GeneratorWorker:
    """Runs a generator on batches."""

    def __init__(self, storage: str, card: ModelCard, device: str, compile: bool) -> None:
        """Load the generator of a package, and run it once; raises ColorganError."""
        models = with_embedded(open_storage(storage))
        generator = load_generator(models, card, choose_device(device))
        self._colorizer = Colorizer(generator)
        if compile:
            _compile(self._colorizer)
        self.info = _describe(card, self._colorizer)
        self.check()

    def work(self, photographs: Sequence[Square]) -> list[PredictedColor]:
        """Colour photographs preprocessed by `colorizer.prepare`, (3, size, size) uint8 each."""
        colors = self._colorizer.generate(_stack(photographs, self.info.size)).half().numpy()
        return [PredictedColor(color, self.info, len(photographs)) for color in colors]

    def check(self) -> None:
        """Run the network once; raises if that fails or the output is not finite."""
        (painted,) = self.work([np.zeros((3, self.info.size, self.info.size), np.uint8)])
        if not np.isfinite(painted.color).all():
            raise RuntimeError(f"{self.info.reference} returns colours that are not finite")


Worker = RouterWorker | GeneratorWorker


def _describe(card: ModelCard, colorizer: Colorizer) -> ModelInfo:
    config = colorizer.config
    return ModelInfo(card.model, card.reference, config.size, config.color_space)


def _compile(made: Colorizer | OnePass) -> None:
    """Compile the networks if possible; a slow service is better than none."""
    try:
        made.compile()
    except ColorganError as error:
        logging.getLogger(__name__).warning("%s; it works without, more slowly", error)


def _stack(photographs: Sequence[Square], side: int) -> Tensor:
    """Stack squares to a batch, and scale those made for a previous version of another size."""
    tensors = [torch.from_numpy(np.array(photograph)) for photograph in photographs]
    return torch.stack(
        [tensor if tensor.shape[-1] == side else _scale(tensor, side) for tensor in tensors]
    )


def _scale(square: Tensor, side: int) -> Tensor:
    scaled: Tensor = F.interpolate(square[None], (side, side), mode="bilinear", antialias=True)[0]
    return scaled
