"""A single pass through the classifier that a router and a generator share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from colorgan.inference.colorizer import Colorizer
from colorgan.inference.compilation import compile_network
from colorgan.inference.router import Route, Router


@dataclass(frozen=True)
class Glance:
    """The result of a pass for one photograph.

    Attributes:
        route: the class that the photograph is sent to.
        color: as `Colorizer.generate` returns it, (color channels, size, size); None if the model
            of the route has to encode the photograph itself.
    """

    route: Route
    color: Tensor | None


class OnePass:
    """A router, and the generators whose encoder is its classifier.

    Attributes:
        router: the router.
        painters: by class, the colorizers that reuse the features of the router's pass.
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
        """Compile the networks of a pass, on a CPU; raises ColorganError."""
        self.router.classifier.compile(compile_network)
        for painter in self.painters.values():
            painter.compile(look=False)

    @torch.inference_mode()
    def __call__(self, batch: Tensor) -> list[Glance]:
        """Route a batch that the router has prepared, and colour the photographs of `painters`."""
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
    """The indices of the photographs that go to each class."""
    places: dict[str, list[int]] = {}
    for place, route in enumerate(routes):
        places.setdefault(route.best_class, []).append(place)
    return places
