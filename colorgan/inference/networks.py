"""The networks of an assembled model: what they take and return, wherever they run."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from colorgan.images.color_spaces import ColorSpace
from colorgan.inference.colorizer import Colorizer
from colorgan.inference.one_pass import OnePass
from colorgan.inference.router import Route, Router
from colorgan.inference.variants import has_noise
from colorgan.models.noise import FIRST, Numbers
from colorgan.models.view import View

Square = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class ModelInfo:
    """A description of a model.

    Attributes:
        name: `animals`, `general`, …
        reference: `name@version`; empty for a network that comes from no package.
        size: side of the square input, in pixels.
        color_space: colour space of the model's output.
        has_noise: whether it has other variants than the first one; see `variants`.
    """

    name: str
    reference: str
    size: int
    color_space: ColorSpace
    has_noise: bool = False


@dataclass(frozen=True)
class RouterInfo:
    """A description of the router.

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
        color: (color channels, size, size) in [-1, 1]; float32, or float16 between processes.
        model: the model that predicted them.
        batch: number of photographs in the batch, which does not affect the colours.
        others: likewise, the colours of the further variants that were asked for.
    """

    color: npt.NDArray[np.float16 | np.float32]
    model: ModelInfo
    batch: int
    others: tuple[npt.NDArray[np.float16 | np.float32], ...] = ()

    def variants(self) -> "list[PredictedColor]":
        """One object for each variant that was asked for, in order."""
        return [replace(self, color=each, others=()) for each in (self.color, *self.others)]


@dataclass(frozen=True)
class Routed:
    """The route of one photograph, and its colours if the same forward pass computed them."""

    route: Route
    painted: PredictedColor | None


class Networks(Protocol):
    """The networks of an assembled model, in this thread, in other threads or other processes.

    `numbers` has, for each photograph, the numbers of its variants: the first becomes `color` of
    the result, and the rest `others`. It is empty if the first variant is wanted of all.
    """

    async def router(self) -> RouterInfo:
        """Describe the router."""
        ...

    async def models(self) -> Mapping[str, ModelInfo]:
        """Describe the models, by name."""
        ...

    async def route(
        self, squares: Sequence[Square], numbers: Sequence[Numbers] = ()
    ) -> Sequence[Routed]:
        """Route photographs preprocessed by the router's view, and colour those of `painters`."""
        ...

    async def paint(
        self, model: str, squares: Sequence[Square], numbers: Sequence[Numbers] = ()
    ) -> Sequence[PredictedColor]:
        """Colour photographs preprocessed by `colorizer.prepare` for a model."""
        ...


class RouterNetwork:
    """A router with the generators that use its classifier as encoder.

    Attributes:
        info: the description of the router.
        one_pass: the networks.
    """

    def __init__(
        self, router: Router, colorizers: Mapping[str, Colorizer], infos: Mapping[str, ModelInfo]
    ) -> None:
        """Take a router, and colorizers by class with their descriptions."""
        self.one_pass = OnePass(router, colorizers)
        self._infos = infos
        painters = frozenset(self.one_pass.painters)
        self.info = RouterInfo(router.name, router.classes, router.classifier.view, painters)

    def work(self, squares: Sequence[Square], numbers: Sequence[Numbers] = ()) -> list[Routed]:
        """Route photographs preprocessed by `info.view`, and colour those of `info.painters`.

        `numbers` are as in `Networks`; raises ConfigError if a model has no noise for them.
        """
        glances = self.one_pass(stack(squares, self.info.view.side), numbers)
        together = Counter(glance.route.best_class for glance in glances)
        routed = []
        for glance in glances:
            painted = None
            if glance.color is not None:
                model = glance.route.best_class
                color = glance.color.numpy()
                others = () if glance.others is None else tuple(glance.others.numpy())
                painted = PredictedColor(color, self._infos[model], together[model], others)
            routed.append(Routed(glance.route, painted))
        return routed

    def classify(self, squares: Sequence[Square]) -> list[Route]:
        """Route photographs preprocessed by `info.view`, without colouring any."""
        return self.one_pass.router(stack(squares, self.info.view.side))


class GeneratorNetwork:
    """A generator that colours batches.

    Attributes:
        info: the description of the model.
        colorizer: the generator.
    """

    def __init__(self, colorizer: Colorizer, info: ModelInfo) -> None:
        """Take a generator and its description."""
        self.colorizer = colorizer
        self.info = info

    def work(
        self, squares: Sequence[Square], numbers: Sequence[Numbers] = ()
    ) -> list[PredictedColor]:
        """Colour photographs preprocessed by `colorizer.prepare`, (3, size, size) uint8 each.

        `numbers` are as in `Networks`; raises ConfigError if the model has no noise for
        them.
        """
        numbers = numbers or [FIRST] * len(squares)
        colors = self.colorizer.generate_variants(stack(squares, self.info.size), numbers)
        return [
            PredictedColor(color, self.info, len(squares), tuple(others))
            for color, *others in (each.numpy() for each in colors)
        ]


def describe(colorizer: Colorizer, name: str, reference: str = "") -> ModelInfo:
    """Describe the model of a colorizer."""
    config = colorizer.config
    return ModelInfo(name, reference, colorizer.size, config.color_space, has_noise(config))


def stack(squares: Sequence[Square], side: int) -> Tensor:
    """Stack squares to a batch, and scale those made for a model of another size."""
    tensors = [torch.from_numpy(np.array(square)) for square in squares]
    return torch.stack(
        [tensor if tensor.shape[-1] == side else _scale(tensor, side) for tensor in tensors]
    )


def _scale(square: Tensor, side: int) -> Tensor:
    scaled: Tensor = F.interpolate(square[None], (side, side), mode="bilinear", antialias=True)[0]
    return scaled
