"""What does the work behind the API: a router and generators, on arrays that travel well."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from colorgan.cards import ModelCard
from colorgan.colorizer import Colorizer
from colorgan.embedded import with_embedded
from colorgan.errors import ColorganError
from colorgan.images.color_spaces import ColorSpace
from colorgan.models.classifiers import Classifier
from colorgan.models.view import View
from colorgan.packages import load_generator
from colorgan.router import Route, open_router
from colorgan.router_choice import RouterConfig
from colorgan.storage import open_storage
from colorgan.training import choose_device

Square = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class ModelInfo:
    """What clients and the ingress are told of a model.

    Attributes:
        name: `animals`, `general`, …
        reference: `name@version`.
        size: of the squares that it sees, in pixels.
        color_space: that it writes.
    """

    name: str
    reference: str
    size: int
    color_space: ColorSpace


@dataclass(frozen=True)
class RouterInfo:
    """What the ingress must know of the router.

    Attributes:
        name: `labels` or `head`.
        classes: that it sends to.
        view: what it sees of a photograph.
    """

    name: str
    classes: tuple[str, ...]
    view: View


@dataclass(frozen=True)
class Painted:
    """The colours of one photograph.

    Attributes:
        color: (color channels, size, size) float16 in [-1, 1]: half the bytes to send, and no
            further from the generator's float32 than 0.03 of a and b.
        model: whose they are.
        batch: how many photographs shared the batch; the colours depend on this one alone.
    """

    color: npt.NDArray[np.float16]
    model: ModelInfo
    batch: int


class RouterWorker:
    """A router, at work on batches."""

    def __init__(self, storage: str, config: RouterConfig, device: str, compile: bool) -> None:
        """Load the classifier, and run it once; raises ColorganError."""
        models = with_embedded(open_storage(storage))
        self._router = open_router(config, models, choose_device(device))
        classifier = self._router.classifier
        if compile:
            _compile(classifier)
        self.info = RouterInfo(self._router.name, self._router.classes, classifier.view)
        self.check()

    def work(self, photographs: Sequence[Square]) -> list[Route]:
        """Route photographs that `info.view` made ready, (1, side, side) uint8 each."""
        return self._router(_stack(photographs, self.info.view.side))

    def check(self) -> None:
        """Run the network once; raises where it cannot."""
        self.work([np.zeros((1, self.info.view.side, self.info.view.side), np.uint8)])


class GeneratorWorker:
    """A generator, at work on batches."""

    def __init__(self, storage: str, card: ModelCard, device: str, compile: bool) -> None:
        """Load the generator of a package, and run it once; raises ColorganError."""
        models = with_embedded(open_storage(storage))
        generator = load_generator(models, card, choose_device(device))
        self._colorizer = Colorizer(generator)
        if compile:
            _compile(self._colorizer)
        config = generator.config
        self.info = ModelInfo(card.model, card.reference, config.size, config.color_space)
        self.check()

    def work(self, photographs: Sequence[Square]) -> list[Painted]:
        """Colour photographs that `colorizer.prepare` made ready, (3, size, size) uint8 each."""
        colors = self._colorizer.generate(_stack(photographs, self.info.size)).half().numpy()
        return [Painted(color, self.info, len(photographs)) for color in colors]

    def check(self) -> None:
        """Run the network once; raises where it cannot."""
        (painted,) = self.work([np.zeros((3, self.info.size, self.info.size), np.uint8)])
        if not np.isfinite(painted.color).all():
            raise RuntimeError(f"{self.info.reference} writes colours that are no numbers")


Worker = RouterWorker | GeneratorWorker


def _compile(made: Colorizer | Classifier) -> None:
    """Make it faster where that is possible; a service is better slow than not there."""
    try:
        made.compile()
    except ColorganError as error:
        logging.getLogger(__name__).warning("%s; it works without, more slowly", error)


def _stack(photographs: Sequence[Square], side: int) -> Tensor:
    """A batch of squares; one made for the version before, of another size, is scaled."""
    tensors = [torch.from_numpy(np.array(photograph)) for photograph in photographs]
    return torch.stack(
        [tensor if tensor.shape[-1] == side else _scale(tensor, side) for tensor in tensors]
    )


def _scale(square: Tensor, side: int) -> Tensor:
    scaled: Tensor = F.interpolate(square[None], (side, side), mode="bilinear", antialias=True)[0]
    return scaled
