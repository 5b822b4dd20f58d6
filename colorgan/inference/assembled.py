"""The assembled model: the router sends each photograph to the generator of its class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from colorgan.errors import ConfigError, NotInStorage
from colorgan.images.decoding import Pixels
from colorgan.inference.colorizer import Colorizer, recombine
from colorgan.inference.one_pass import OnePass, by_class
from colorgan.inference.router import Route, Router, open_router
from colorgan.inference.router_choice import RouterChoice, RouterConfig, StoredModels, choose_router
from colorgan.packages.card import ModelCard, find
from colorgan.packages.weights import load_generator
from colorgan.storage import Storage


@dataclass(frozen=True)
class Colored:
    """A coloured photograph.

    Attributes:
        rgb: (height, width, 3) uint8 sRGB, of the photograph's own size.
        model: the name of the model that coloured it.
        route: the router's decision.
    """

    rgb: Pixels
    model: str
    route: Route


class AssembledColorizer:
    """Colours each photograph with the model of the class that the router finds."""

    def __init__(self, router: Router, colorizers: Mapping[str, Colorizer]) -> None:
        """Combine a router with a colorizer for each of its classes.

        Raises:
            ConfigError: a class of the router has no colorizer.
        """
        lacking = [name for name in router.classes if name not in colorizers]
        if lacking:
            raise ConfigError(
                f"the router {router.name} sends photographs to {', '.join(router.classes)}, but "
                f"there is no model of {', '.join(lacking)}"
            )
        self.router = router
        self.colorizers = colorizers
        self._one_pass = OnePass(router, colorizers)

    def compile(self) -> None:
        """Compile all networks that are on a CPU; raises ColorganError."""
        self._one_pass.compile()
        for name, colorizer in self.colorizers.items():
            if name not in self._one_pass.painters:
                colorizer.compile()

    def __call__(self, photographs: Sequence[Pixels], vividness: float = 1.0) -> list[Colored]:
        """Classify photographs as one batch, then colour them class by class.

        The colours of a photograph depend on that photograph alone. Where the router is unsure, the
        model of the most likely class colours it.

        Args:
            photographs: (height, width, 3) uint8 sRGB each, of any sizes; any colour in them is
                ignored.
            vividness: the factor that multiplies the chroma; see `recombine`.
        """
        if not photographs:
            return []
        batch = torch.stack([self.router.prepare(photograph) for photograph in photographs])
        glances = self._one_pass(batch)
        colors = {n: glance.color for n, glance in enumerate(glances) if glance.color is not None}
        for model, places in by_class([glance.route for glance in glances]).items():
            left = [place for place in places if place not in colors]
            if left:
                generated = self.colorizers[model].generate_all([photographs[n] for n in left])
                colors |= zip(left, generated, strict=True)
        colored = []
        for place, (photograph, glance) in enumerate(zip(photographs, glances, strict=True)):
            model = glance.route.best_class
            color_space = self.colorizers[model].config.color_space
            picture = recombine(photograph, colors[place], color_space, vividness)
            colored.append(Colored(picture, model, glance.route))
        return colored


@dataclass(frozen=True)
class Assembly:
    """The parts of an assembled model: chosen to fit each other, but not loaded yet.

    Attributes:
        choice: the chosen router.
        cards: the package of each of the router's classes.
    """

    choice: RouterChoice
    cards: Mapping[str, ModelCard]

    def load(self, storage: Storage, device: torch.device | None = None) -> AssembledColorizer:
        """Load the parts; raises ColorganError if one cannot be read."""
        return load_assembled(
            storage, open_router(self.choice.config, storage, device), self.cards, device
        )


def assemble(
    config: RouterConfig,
    storage: Storage,
    wanted: Sequence[str] = (),
    way_out: str = "",
    pins: Sequence[str] = (),
) -> Assembly:
    """Choose a router, and the released package in storage for each of its classes.

    Args:
        config: the options for the choice of a router.
        storage: the storage of the packages.
        wanted: see choose_router.
        way_out: see choose_router.
        pins: packages to use instead of the released one of their class.

    Raises:
        NotInStorage: no router has a model for each of its classes.
        ColorganError: as in choose_router.
    """
    models = StoredModels(storage, pins)
    choice = choose_router(config, storage, models, wanted, way_out=way_out)
    return Assembly(choice, {name: models[name] for name in choice.classes})


def find_class_models(storage: Storage, classes: Sequence[str]) -> dict[str, ModelCard]:
    """The released package of every class; raises NotInStorage naming the classes without one."""
    there = set(storage.folders("models"))
    missing = [name for name in classes if name not in there]
    if missing:
        raise NotInStorage(
            f"the assembled model needs a model of every class, and {storage.uri} has none for "
            f"{', '.join(missing)}: python jobs/train_all.py --models {' '.join(missing)} makes "
            "them, and --model NAME colours with one model alone"
        )
    return {name: find(storage, name) for name in classes}


def load_assembled(
    storage: Storage,
    router: Router,
    cards: Mapping[str, ModelCard],
    device: torch.device | None = None,
) -> AssembledColorizer:
    """Load the generators of a router's classes; raises as `load_generator`."""
    colorizers = {
        name: Colorizer(load_generator(storage, card, device)) for name, card in cards.items()
    }
    return AssembledColorizer(router, colorizers)
