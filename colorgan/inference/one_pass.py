"""A single pass through the classifier that a router and a generator share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from colorgan.inference.colorizer import Colorizer
from colorgan.inference.compilation import compile_network
from colorgan.inference.router import Route, Router
from colorgan.models.noise import FIRST, Numbers


@dataclass(frozen=True)
class Glance:
    """The result of a pass for one photograph.

    Attributes:
        route: the class that the photograph is sent to.
        color: as `Colorizer.generate` returns it, (color channels, size, size); None if the model
            of the route has to encode the photograph itself.
        others: the colours of further variants, (variants, color channels, size, size); or None.
    """

    route: Route
    color: Tensor | None
    others: Tensor | None = None


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
    def __call__(self, batch: Tensor, numbers: Sequence[Numbers] = ()) -> list[Glance]:
        """Route a batch that the router has prepared, and colour the photographs of `painters`.

        Args:
            batch: the photographs.
            numbers: for each, the numbers of its variants; empty if the first one is wanted of all.

        Raises:
            ConfigError: a variant with noise is wanted of a model without noise.
        """
        numbers = numbers or [FIRST] * len(batch)
        seen = self.router.classifier.look(batch)
        routes = self.router.decide(seen.features, seen.probabilities)
        glances = [Glance(route, None) for route in routes]
        for name, places in by_class(routes).items():
            if name in self.painters:
                features = [maps[places] for maps in seen.maps]
                wanted = [numbers[place] for place in places]
                painted = self.painters[name].paint_variants(features, wanted)
                for place, colors in zip(places, painted, strict=True):
                    others = colors[1:] if len(colors) > 1 else None
                    glances[place] = Glance(routes[place], colors[0], others)
        return glances


def by_class(routes: Sequence[Route]) -> dict[str, list[int]]:
    """The indices of the photographs that go to each class."""
    places: dict[str, list[int]] = {}
    for place, route in enumerate(routes):
        places.setdefault(route.best_class, []).append(place)
    return places
