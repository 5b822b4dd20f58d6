"""The interface behind the API, its implementation in one process, and the choice of models."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

from colorgan.classes import PhotoClasses
from colorgan.errors import ConfigError, NotInStorage
from colorgan.images.decoding import Pixels
from colorgan.inference.networks import (
    ModelInfo,
    Networks,
    PredictedColor,
    Routed,
    RouterInfo,
    Square,
)
from colorgan.inference.object_choice import ObjectConfig
from colorgan.inference.router import Route
from colorgan.inference.router_choice import RouterConfig, choose_router
from colorgan.models.detection import Detection
from colorgan.models.noise import Numbers
from colorgan.names import GENERAL, OF_ALL_CLASSES, ROUTER
from colorgan.packages.card import ModelCard, find, list_models, unreleased
from colorgan.packages.embedded import embedded_note, first_release_command, with_embedded
from colorgan.storage import Storage, open_storage
from serve.config import Choice, ServeConfig
from serve.workers import DetectorInfo, Loading, load_workers

INGRESS: Final = "ingress"  # the deployment of the API; that of the router has the router's name


class Busy(Exception):  # noqa: N818 - the name states the condition
    """No worker is free, or the worker of a request died; repeating the request may succeed."""


class Backend(Networks, Protocol):
    """The networks behind the API, in this process or in others; all methods raise Busy."""

    async def detector(self) -> DetectorInfo | None:
        """Describe the detector of objects; None if there is none."""
        ...

    async def detect(self, pictures: Sequence[Pixels]) -> Sequence[Sequence[Detection]]:
        """Find the objects of photographs; see `Detector`. There must be a detector."""
        ...

    async def classify(self, square: Square) -> Route:
        """Route a photograph that was preprocessed by the router's view, without colouring it."""
        ...


def find_cards(storage: Storage, pins: tuple[str, ...]) -> dict[str, ModelCard]:
    """The packages to serve, by model: pinned versions, and the released ones of all other models.

    The models of all classes come last.

    Raises:
        NotInStorage: no model that colours is released or pinned.
        Corrupt: a package cannot be read.
    """
    cards = {card.model: card for card in list_models(storage)}
    cards |= {card.model: card for card in (find(storage, pin) for pin in pins)}
    colouring = {name: card for name, card in cards.items() if card.colors}
    if not colouring and (waiting := unreleased(storage)):
        raise NotInStorage(
            f"no model in {storage.uri} is released, so none is served: "
            f"{first_release_command(storage, *waiting)} releases the newest"
        )
    if not colouring:
        raise NotInStorage(
            f"no model in {storage.uri} to serve: make demo or python jobs/train_all.py makes some"
        )
    return dict(sorted(colouring.items(), key=lambda item: (item[0] in OF_ALL_CLASSES, item[0])))


@dataclass(frozen=True)
class Parts:
    """The models and the router of a service, chosen before anything is loaded.

    Attributes:
        cards: the packages to serve, by model.
        router: configuration of the router, `labels`, or `head` with its package. `cards` contains
            the class models that it routes to.
        note: a sentence that tells the operator what was chosen; may be empty.
        objects: what finds objects; None if nothing does.
    """

    cards: dict[str, ModelCard]
    router: RouterConfig
    note: str
    objects: ObjectConfig | None = None

    @property
    def choice(self) -> Choice:
        """All of it as what a replica with all networks serves."""
        packages = tuple(card.reference for card in self.cards.values())
        return Choice(packages=packages, router=self.router, objects=self.objects)

    def choices(self, one_process: bool) -> dict[str, Choice]:
        """What the replicas of each deployment serve, by the name of the deployment."""
        if one_process:
            return {INGRESS: self.choice}
        alone = {
            name: Choice(packages=(card.reference,), router=None)
            for name, card in self.cards.items()
        }
        return {ROUTER: self.choice, **alone}

    @property
    def packages(self) -> list[str]:
        """All packages that are served; see `Choice.references`."""
        return self.choice.references


def find_parts(config: ServeConfig) -> Parts:
    """Choose the models to serve and a router that fits them, at every start of the service.

    If storage has no model of a class, the model included in colorgan is served. If there are only
    general models or baselines, they are served without an assembled model.

    Raises:
        NotInStorage: there is no model, or no router fits the class models.
        ColorganError: see `choose_router`.
    """
    storage = with_embedded(open_storage(config.storage))
    cards = find_cards(storage, config.models)
    wanted = config.router
    pinned = [pin for pin in config.models if pin.partition("@")[0] == ROUTER]
    if pinned and not wanted.head:
        wanted = replace(wanted, head=pinned[-1])
    classes = {name: card for name, card in cards.items() if name not in OF_ALL_CLASSES}
    choice = choose_router(wanted, storage, classes or None)
    cards = _needed(cards, choice.classes, config.models)
    used = embedded_note(storage, cards.values(), routed=False)
    note = "; ".join(filter(None, (choice.note, used)))
    if not classes:
        note = f"there is no class model: clients must ask for model={next(iter(cards))}"
    return Parts(cards, choice.config, note, _find_objects(config, storage, cards))


def _find_objects(
    config: ServeConfig, storage: Storage, cards: Mapping[str, ModelCard]
) -> ObjectConfig | None:
    """What finds objects; None if that is not wanted, or not possible and not asked for."""
    wanted = config.objects
    if wanted is None:
        return None
    asked_for = wanted != ObjectConfig()
    classes = PhotoClasses.load(Path(config.router.classes) if config.router.classes else None)
    if GENERAL not in cards or not any(name in cards for name in classes.names):
        if asked_for:
            raise ConfigError(
                f"colouring by objects needs the {GENERAL} model and one of "
                f"{', '.join(classes.names)}, and only {', '.join(cards)} would be served"
            )
        return None
    try:
        chosen = wanted.resolve(storage)
    except ConfigError:
        if asked_for:
            raise
        return None
    things = find(storage, chosen.detector).classes if chosen.is_package else ()
    if things and not asked_for and not any(map(classes.class_of, things)):
        return None  # the detector was trained for other classes than those of --classes
    return chosen


def _needed(
    cards: Mapping[str, ModelCard], classes: Collection[str], pins: Collection[str]
) -> dict[str, ModelCard]:
    """The packages without the embedded ones that the user's own packages make unnecessary.

    The embedded packages that stay are those of the router's classes, the general one if any of
    these is served, and pinned ones.
    """
    wanted = {name for name in classes if name in cards}
    if any(cards[name].embedded for name in wanted):
        wanted.add(GENERAL)
    return {
        name: card
        for name, card in cards.items()
        if not card.embedded or name in wanted or card.reference in pins
    }


def loading_of(config: ServeConfig) -> Loading:
    """How the workers of a service are loaded."""
    storage = open_storage(config.storage).uri
    return Loading(storage, config.device, config.compile, config.threads)


class LocalBackend:
    """A backend with all models in this process, for a laptop and for the tests of the API."""

    def __init__(self, config: ServeConfig) -> None:
        """Load the router and all generators; raises ColorganError."""
        self._workers = load_workers(loading_of(config), find_parts(config).choice)

    async def router(self) -> RouterInfo:
        """Describe the router."""
        return self._workers.router.info

    async def models(self) -> Mapping[str, ModelInfo]:
        """Describe the models that are served, by name."""
        return {name: worker.info for name, worker in self._workers.generators.items()}

    async def classify(self, square: Square) -> Route:
        """Route a photograph in a thread."""
        (route,) = await asyncio.to_thread(self._workers.router.classify, [square])
        return route

    async def detector(self) -> DetectorInfo | None:
        """Describe the detector of objects; None if there is none."""
        return self._workers.router.detector

    async def detect(self, pictures: Sequence[Pixels]) -> Sequence[Sequence[Detection]]:
        """Find the objects of photographs in a thread."""
        return await asyncio.to_thread(self._workers.router.detect, pictures)

    async def route(
        self, squares: Sequence[Square], numbers: Sequence[Numbers] = ()
    ) -> Sequence[Routed]:
        """Route photographs, and colour those that the router can, in a thread."""
        return await asyncio.to_thread(self._workers.router.work, squares, numbers)

    async def paint(
        self, model: str, squares: Sequence[Square], numbers: Sequence[Numbers] = ()
    ) -> Sequence[PredictedColor]:
        """Colour photographs in a thread."""
        return await asyncio.to_thread(self._workers.generators[model].work, squares, numbers)
