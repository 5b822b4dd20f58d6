"""The networks for films: the router on some frames, one model on all frames of a scene."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from colorgan.archives.networks import Chosen
from colorgan.images import lab
from colorgan.images.color_spaces import ColorSpace
from colorgan.images.decoding import Pixels
from colorgan.inference.colorizer import Colorizer, prepare
from colorgan.inference.compilation import compile_network
from colorgan.inference.router import Route, Router


class Painter:
    """A router, unless one model colours everything, and colorizers by class."""

    def __init__(self, router: Router | None, colorizers: Mapping[str, Colorizer]) -> None:
        """Take loaded networks; without a router there is one colorizer."""
        self._router, self._colorizers = router, colorizers

    @classmethod
    def load(cls, chosen: Chosen, device: torch.device, compiled: bool = False) -> "Painter":
        """Load the networks; raises ColorganError if one cannot be read or compiled."""
        router, colorizers = chosen.parts(device)
        if compiled and router is not None:
            router.classifier.compile(compile_network)
        for colorizer in colorizers.values() if compiled else ():
            colorizer.compile()
        return cls(router, colorizers)

    @property
    def largest(self) -> int:
        """The largest side of the squares that the generators see, in pixels."""
        return max(each.size for each in self._colorizers.values())

    def view(self, frame: Pixels) -> Tensor | None:
        """The router's input for a (height, width, 3) uint8 frame; None without a router."""
        return None if self._router is None else self._router.prepare(frame)

    def route(self, views: Sequence[Tensor | None]) -> list[Route | None]:
        """Route frames by what `view` has made of them."""
        seen = [view for view in views if view is not None]
        if self._router is None or not seen:
            return [None for _ in views]
        return list(self._router(torch.stack(seen)))

    def choose(self, routes: Sequence[Route | None]) -> str:
        """The model for a scene: that of most of its frames; among equals, by their scores."""
        found = [route for route in routes if route is not None]
        if not found:
            return next(iter(self._colorizers))
        votes = Counter(route.best_class for route in found)
        return max(votes, key=lambda name: (votes[name], _score(found, name)))

    def paint(
        self, model: str, pictures: Sequence[Pixels]
    ) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.uint8]]:
        """Predict the colours of frames.

        Args:
            model: the model, as `choose` returns it.
            pictures: at least one frame, (height, width, 3) uint8.

        Returns:
            (frames, 2, side, side), channels in [-1, 1] of the colour space that `color_space`
            names, and (frames, side, side), the lightness L of the same squares in levels of 255.
        """
        colorizer = self._colorizers[model]
        batch = torch.stack([prepare(each, colorizer.size) for each in pictures])
        colors = colorizer.generate(batch)
        squares = batch.permute(0, 2, 3, 1).numpy()
        lights = (lab.lightness(squares) * 255).round().astype(np.uint8)
        if colorizer.config.color_space == "rgb":
            # A picture that is smoothed in time would lose its edges; its a and b do not.
            colors = lab.rgb_to_lab((colors + 1) / 2)[:, 1:] / lab.AB_SCALE
        return colors.numpy().astype(np.float16), lights

    def color_space(self, model: str) -> ColorSpace:
        """The colour space of the colours that `paint` returns."""
        own = self._colorizers[model].config.color_space
        return "lab" if own == "rgb" else own


def _score(routes: Sequence[Route], name: str) -> float:
    return sum(route.scores.get(name, 0.0) for route in routes)
