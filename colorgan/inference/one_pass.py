"""One look at a photograph for both its router and its generator, where they see alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from colorgan.inference.colorizer import Colorizer
from colorgan.inference.compilation import compile_network
from colorgan.inference.router import Route, Router


@dataclass(frozen=True)
class Glance:
    """What one pass of the router's classifier gives.

    Attributes:
        route: where the photograph is sent.
        color: as `Colorizer.generate` returns it, (color channels, size, size); None where the
            route's model has to look for itself.
    """

    route: Route
    color: Tensor | None


class OnePass:
    """A router, and those generators that stand on the very features that it sees.

    Attributes:
        router: the router.
        painters: the colorizers of the classes whose colours come out of the router's own pass.
    """

    def __init__(self, router: Router, colorizers: Mapping[str, Colorizer]) -> None:
        """Take a router, and colorizers by class."""
        self.router = router
        self.painters = {
            name: colorizer
            for name, colorizer in colorizers.items()
            if colorizer.sees_alike(router.classifier)
        }

    def compile(self) -> None:
        """Compile what a pass runs, on a CPU; raises ColorganError."""
        self.router.classifier.compile(compile_network)
        for painter in self.painters.values():
            painter.compile(look=False)

    @torch.inference_mode()
    def __call__(self, batch: Tensor) -> list[Glance]:
        """Route a batch that the router has prepared, and colour what can be coloured with it."""
        seen = self.router.classifier.look(batch)
        routes = self.router.decide(seen.features, seen.probabilities)
        colors: list[Tensor | None] = [None] * len(routes)
        for name, places in by_class(routes).items():
            if name in self.painters:
                painted = self.painters[name].paint([maps[places] for maps in seen.maps])
                for place, color in zip(places, painted, strict=True):
                    colors[place] = color
        return [Glance(*pair) for pair in zip(routes, colors, strict=True)]


def by_class(routes: Sequence[Route]) -> dict[str, list[int]]:
    """The places of the photographs that go to each class."""
    places: dict[str, list[int]] = {}
    for place, route in enumerate(routes):
        places.setdefault(route.best_class, []).append(place)
    return places
