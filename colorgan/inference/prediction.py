"""The way of a photograph through an assembled model: route -> model -> colour -> recombine.

It stands here once. `Networks` says where the networks run, and `Steps` where the work between
them is done: in the calling thread (`assembled.py`), or in threads of a service (`serve/`).
"""

from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import numpy as np
import torch

from colorgan.errors import ColorganError
from colorgan.images.borders import Box
from colorgan.images.decoding import Levels, Pixels
from colorgan.images.prints import Restored
from colorgan.inference.colorizer import prepare
from colorgan.inference.finishing import Choices, finish, finished_print
from colorgan.inference.hints import Hint
from colorgan.inference.networks import (
    Networks,
    PredictedColor,
    Routed,
    RouterInfo,
    Square,
)
from colorgan.inference.palette import Palette
from colorgan.inference.router import Route
from colorgan.models.detection import Detection
from colorgan.models.noise import FIRST, Numbers

Result = TypeVar("Result")


class NoModel(ColorganError):  # noqa: N818 - the name states the condition
    """No model colours the photographs of a class."""


@dataclass(frozen=True)
class FoundObject:
    """An object of a photograph, which the model of its class has coloured.

    Attributes:
        photo_class: its class.
        label: what the detector calls it.
        score: the detector's confidence, in [0, 1].
        box: the box around it, in pixels of the upright photograph.
    """

    photo_class: str
    label: str
    score: float
    box: Box


def in_pixels(
    detections: Sequence[Detection], height: int, width: int, picture: Box | None = None
) -> tuple[FoundObject, ...]:
    """Detections in pixels of a photograph.

    Args:
        detections: the objects found in the photograph, or in the picture within its border.
        height: the photograph's height in pixels.
        width: the photograph's width in pixels.
        picture: the picture within the photograph's border; None if there is no border.
    """
    within = picture or Box(0, height, 0, width)
    found = []
    for each in detections:
        own = each.place.box(within.bottom - within.top, within.right - within.left)
        box = Box(
            within.top + own.top,
            within.top + own.bottom,
            within.left + own.left,
            within.left + own.right,
        )
        found.append(FoundObject(each.photo_class, each.label, each.score, box))
    return tuple(found)


@dataclass(frozen=True)
class Prediction:
    """A photograph and its predicted colours, which `picture` joins.

    Attributes:
        photograph: (height, width, 3) uint8 sRGB.
        route: the router's decision; None if the model was given.
        color: the predicted colours.
        box: the part of the photograph that has colours; None if that is all of it.
        detections: the objects that the models of their classes have coloured, the most certain one
            first.
    """

    photograph: Pixels
    route: Route | None
    color: PredictedColor
    box: Box | None = None
    detections: tuple[Detection, ...] = ()

    @property
    def objects(self) -> tuple[FoundObject, ...]:
        """The objects in pixels of the photograph."""
        height, width = self.photograph.shape[:2]
        return in_pixels(self.detections, height, width, self.box)

    def onto(self, restored: Restored) -> "Prediction":
        """The same colours, predicted from what is `seen` of a print, for the print itself."""
        return replace(self, photograph=restored.photograph.rgb, box=restored.box)

    def variants(self) -> "list[Prediction]":
        """A prediction for each variant that was asked for, in order."""
        return [replace(self, color=color) for color in self.color.variants()]

    def picture(
        self, vividness: float = 1.0, hints: Sequence[Hint] = (), like: Palette | None = None
    ) -> Pixels:
        """The coloured photograph, (height, width, 3) uint8 sRGB; see `finish`."""
        color = torch.from_numpy(np.array(self.color.color)).float()
        space = self.color.model.color_space
        return finish(self.photograph, color, space, vividness, hints, like, self.box)

    def strips(
        self,
        vividness: float = 1.0,
        hints: Sequence[Hint] = (),
        like: Palette | None = None,
        deep: Levels | None = None,
    ) -> Iterator[Pixels | Levels]:
        """The coloured photograph in strips of rows; see `finished_print`."""
        color = torch.from_numpy(np.array(self.color.color)).float()
        space = self.color.model.color_space
        choices = Choices(vividness, tuple(hints), like)
        return finished_print(self.photograph, self.box, color, space, choices, deep)


class Steps(Protocol):
    """Where the work between the networks is done.

    Attributes:
        concurrent: whether steps run side by side, so that preparing inputs that may not be needed
            costs no time.
    """

    concurrent: bool

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Measure a stage: route, prepare or paint."""
        ...

    async def run(self, step: Callable[..., Result], *arguments: Any) -> Result:
        """Call a function that computes."""
        ...

    async def together(self, *steps: Awaitable[Any]) -> Sequence[Any]:
        """Wait for several steps; returns their results in order."""
        ...


class AssembledModel:
    """A router and the generators of its classes, wherever they run."""

    def __init__(self, networks: Networks, steps: Steps) -> None:
        """Take the networks, and where the work between them is done."""
        self._networks = networks
        self._steps = steps

    async def predict(
        self,
        photographs: Sequence[Pixels],
        model: str = "",
        on_routes: Callable[[Sequence[Route]], None] = lambda routes: None,
        numbers: Numbers = FIRST,
    ) -> list[Prediction]:
        """Route photographs as one batch, then predict their colours model by model.

        The colours of a photograph depend on that photograph alone. Where the router is unsure, the
        model of the most likely class colours it.

        Args:
            photographs: one or more (height, width, 3) uint8 sRGB, of any sizes; any colour in
                them is ignored.
            model: the model that colours all of them; the router is asked if it is empty.
            on_routes: called with the routes before the models colour.
            numbers: the numbers of the variants of each photograph; see `Prediction.variants`.

        Raises:
            NoModel: there is no model of the class of a photograph.
            ConfigError: a model that colours has no noise, and so no other variant than the first.
        """
        places = range(len(photographs))
        routes: list[Route | None] = [None for _ in places]
        colors: dict[int, PredictedColor] = {}
        squares: dict[tuple[int, int], Square] = {}
        infos = await self._networks.models()
        if not model:
            router = await self._networks.router()
            # Most class models share one input size, so their inputs can be prepared while the
            # router runs.
            others = {*router.classes} - router.painters if self._steps.concurrent else ()
            sizes = {infos[name].size for name in others if name in infos}
            routed, squares = await self._steps.together(
                self._route(photographs, router, numbers), self._prepare(photographs, places, sizes)
            )
            routes = [each.route for each in routed]
            colors = {place: each.painted for place, each in enumerate(routed) if each.painted}
            on_routes([each.route for each in routed])
        models = [route.best_class if route else model for route in routes]
        for name in dict.fromkeys(models):
            left = [place for place in places if models[place] == name and place not in colors]
            if not left:
                continue
            if name not in infos:
                raise NoModel(f"there is no model of the class {name}")
            size = infos[name].size
            lacking = [place for place in left if (place, size) not in squares]
            if lacking:
                squares |= await self._prepare(photographs, lacking, {size})
            with self._steps.stage("paint"):
                wanted = [squares[n, size] for n in left]
                painted = await self._networks.paint(name, wanted, [numbers] * len(wanted))
            colors |= zip(left, painted, strict=True)
        return [Prediction(photographs[n], routes[n], colors[n]) for n in places]

    async def _route(
        self, photographs: Sequence[Pixels], router: RouterInfo, numbers: Numbers
    ) -> Sequence[Routed]:
        with self._steps.stage("route"):
            views = await self._steps.together(
                *(self._steps.run(lambda rgb: router.view(rgb).numpy(), p) for p in photographs)
            )
            return await self._networks.route(views, [numbers] * len(views))

    async def _prepare(
        self, photographs: Sequence[Pixels], places: Collection[int], sizes: Collection[int]
    ) -> dict[tuple[int, int], Square]:
        """The generators' inputs, by the photograph's place and the input's size."""
        with self._steps.stage("prepare"):
            keys = [(place, size) for place in places for size in sizes]
            made = await self._steps.together(
                *(self._steps.run(_square, photographs[place], size) for place, size in keys)
            )
            return dict(zip(keys, made, strict=True))


def _square(photograph: Pixels, size: int) -> Square:
    square: Square = prepare(photograph, size).numpy()
    return square
