"""The assembled model in one process, and the choice of its parts."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from colorgan.errors import ConfigError, NotInStorage
from colorgan.images.decoding import Photograph, Pixels
from colorgan.images.prints import Restoring, restore
from colorgan.inference.colorizer import Colorizer
from colorgan.inference.hints import Hint
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
from colorgan.inference.palette import Palette
from colorgan.inference.prediction import AssembledModel, Prediction
from colorgan.inference.router import Route, Router, open_router
from colorgan.inference.router_choice import RouterChoice, RouterConfig, StoredModels, choose_router
from colorgan.inference.variants import first_numbers
from colorgan.models.noise import FIRST, Numbers
from colorgan.packages.card import ModelCard, find
from colorgan.packages.weights import load_generator
from colorgan.storage import Storage

Result = TypeVar("Result")


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
        networks = _Networks(router, colorizers)
        self._one_pass = networks.one_pass
        self._model = AssembledModel(networks, InTurn())

    def compile(self) -> None:
        """Compile all networks that are on a CPU; raises ColorganError."""
        self._one_pass.compile()
        for name, colorizer in self.colorizers.items():
            if name not in self._one_pass.painters:
                colorizer.compile()

    def __call__(
        self,
        photographs: Sequence[Pixels],
        vividness: float = 1.0,
        hints: Sequence[Hint] = (),
        like: Palette | None = None,
        restoring: Restoring = "off",
    ) -> list[Colored]:
        """Route photographs as one batch, then colour them class by class; see `AssembledModel`.

        Args:
            photographs: (height, width, 3) uint8 sRGB each, of any sizes; any colour in them is
                ignored.
            vividness: the factor that multiplies the chroma; see `finish`.
            hints: colours of points, which every photograph must have; see `finish`.
            like: the palette of a reference photograph; see `finish`.
            restoring: whether old prints are mended for the networks; see `restore`.

        Raises:
            ConfigError: a hint lies outside of a photograph, or there are too many.
        """
        prints = [restore(Photograph(rgb), restoring) for rgb in photographs]
        colored = []
        for restored, each in zip(
            prints, self.predict([print_.seen for print_ in prints]), strict=True
        ):
            assert each.route is not None  # the router is asked unless a model is given
            rgb = each.onto(restored).picture(vividness, hints, like)
            colored.append(Colored(rgb, each.color.model.name, each.route))
        return colored

    def predict(self, photographs: Sequence[Pixels], numbers: Numbers = FIRST) -> list[Prediction]:
        """Route photographs, and predict their colours, without joining them yet.

        `picture` of a prediction joins them: again with other hints, without the networks.

        Args:
            photographs: as in a call.
            numbers: the numbers of the variants of each photograph; see `Prediction.variants`.

        Raises:
            ConfigError: a model has no noise, and so no other variant than the first.
        """
        predicting = self._model.predict(photographs, numbers=numbers)
        if not photographs:
            predicting.close()
            return []
        return complete(predicting)

    def variants(
        self,
        photograph: Pixels,
        count: int = 4,
        vividness: float = 1.0,
        hints: Sequence[Hint] = (),
        like: Palette | None = None,
        restoring: Restoring = "off",
    ) -> list[Colored]:
        """Colour a photograph in several ways, from which a person may choose.

        The first one is that of a call; the others are drawn from seeds that are always the same.

        Args:
            photograph: (height, width, 3) uint8 sRGB; any colour in it is ignored.
            count: the number of variants, 1 to MOST_VARIANTS.
            vividness: as in a call, and so `hints`, `like` and `restoring`.
            hints: see there.
            like: see there.
            restoring: see there.

        Raises:
            ConfigError: there are not so many variants, the model has no noise, or as in a call.
        """
        print_ = restore(Photograph(photograph), restoring)
        (predicted,) = self.predict([print_.seen], first_numbers(count))
        assert predicted.route is not None
        model, route = predicted.color.model.name, predicted.route
        pictures = (
            each.onto(print_).picture(vividness, hints, like) for each in predicted.variants()
        )
        return [Colored(rgb, model, route) for rgb in pictures]


class _Networks:
    """Networks that are called directly."""

    def __init__(self, router: Router, colorizers: Mapping[str, Colorizer]) -> None:
        self._infos = {name: describe(each, name) for name, each in colorizers.items()}
        self._router = RouterNetwork(router, colorizers, self._infos)
        self._generators = {
            name: GeneratorNetwork(each, self._infos[name]) for name, each in colorizers.items()
        }
        self.one_pass = self._router.one_pass

    async def router(self) -> RouterInfo:
        return self._router.info

    async def models(self) -> Mapping[str, ModelInfo]:
        return self._infos

    async def route(
        self, squares: Sequence[Square], numbers: Sequence[Numbers] = ()
    ) -> Sequence[Routed]:
        return self._router.work(squares, numbers)

    async def paint(
        self, model: str, squares: Sequence[Square], numbers: Sequence[Numbers] = ()
    ) -> Sequence[PredictedColor]:
        return self._generators[model].work(squares, numbers)


class InTurn:
    """Steps that run one after the other in the calling thread."""

    concurrent = False

    def stage(self, name: str) -> AbstractContextManager[None]:  # noqa: D102 - see Steps
        return nullcontext()

    async def run(self, step: Callable[..., Result], *arguments: Any) -> Result:  # noqa: D102
        return step(*arguments)

    async def together(self, *steps: Awaitable[Any]) -> Sequence[Any]:  # noqa: D102
        try:
            return [await step for step in steps]
        finally:  # those after one that raised have not begun
            for step in steps:
                if isinstance(step, Coroutine):
                    step.close()


def complete(steps: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine that waits for nothing; a program's own event loop may be running."""
    try:
        steps.send(None)
    except StopIteration as done:
        result: Result = done.value
        return result
    steps.close()
    raise RuntimeError("a step that runs in the calling thread has waited")


@dataclass(frozen=True)
class Assembly:
    """The parts of an assembled model: chosen to fit each other, but not loaded yet.

    Attributes:
        choice: the chosen router.
        cards: the package of each of the router's classes.
    """

    choice: RouterChoice
    cards: Mapping[str, ModelCard]

    def load(
        self,
        storage: Storage,
        device: torch.device | None = None,
        render_size: int | None = None,
    ) -> AssembledColorizer:
        """Load the parts; raises ColorganError if one cannot be read.

        Args:
            storage: the storage of the packages.
            device: the device that the networks run on.
            render_size: see `Colorizer`.
        """
        router = open_router(self.choice.config, storage, device)
        return load_assembled(storage, router, self.cards, device, render_size)


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
    render_size: int | None = None,
) -> AssembledColorizer:
    """Load the generators of a router's classes; raises as `load_generator` and `Colorizer` do."""
    colorizers = {
        name: Colorizer(load_generator(storage, card, device), render_size)
        for name, card in cards.items()
    }
    return AssembledColorizer(router, colorizers)
