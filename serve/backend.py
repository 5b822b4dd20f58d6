"""Where the API sends its work: the contract, and the backend that works in the same process."""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from colorgan.errors import NotInStorage
from colorgan.inference.router import Route
from colorgan.inference.router_choice import RouterConfig, choose_router
from colorgan.names import GENERAL, HYPERCOLUMN, ROUTER
from colorgan.packages.card import ModelCard, find, list_models
from colorgan.packages.embedded import embedded_note, with_embedded
from colorgan.storage import Storage, open_storage
from serve.config import ServeConfig
from serve.workers import (
    GeneratorWorker,
    ModelInfo,
    PredictedColor,
    Routed,
    RouterInfo,
    RouterWorker,
    Square,
)


class Busy(Exception):  # noqa: N818 - it reads as what it says
    """No worker is free, or the one that had the photograph died; the same request may succeed."""


class Backend(Protocol):
    """Routes and colours small squares, wherever that is done.

    Its methods raise Busy.
    """

    async def router(self) -> RouterInfo:
        """What the router is."""
        ...

    async def models(self) -> Mapping[str, ModelInfo]:
        """The models that are served, by name."""
        ...

    async def classify(self, photograph: Square) -> Route:
        """Route a photograph that the router's view made ready."""
        ...

    async def route(self, photograph: Square) -> Routed:
        """The same, and its colours where the router's pass gives them."""
        ...

    async def paint(self, model: str, photograph: Square) -> PredictedColor:
        """Colour a photograph that `colorizer.prepare` made ready for a model."""
        ...


def find_cards(storage: Storage, pins: tuple[str, ...]) -> dict[str, ModelCard]:
    """The packages to serve: those that are pinned, and the latest of all other models.

    Raises:
        NotInStorage: there is no model that colours.
        Corrupt: a package cannot be read.
    """
    cards = {card.model: card for card in list_models(storage)}
    cards |= {card.model: card for card in (find(storage, pin) for pin in pins)}
    colouring = {name: card for name, card in cards.items() if card.colors}
    if not colouring:
        raise NotInStorage(
            f"no model in {storage.uri} to serve: make demo or python jobs/train_all.py makes some"
        )
    last = (GENERAL, HYPERCOLUMN)
    return dict(sorted(colouring.items(), key=lambda item: (item[0] in last, item[0])))


@dataclass(frozen=True)
class Parts:
    """What a service is made of, chosen before anything is loaded.

    Attributes:
        cards: the packages to serve, by model.
        router: `labels`, or `head` with its package; the class models that it sends to are among
            the cards.
        note: a sentence for the operator on what was chosen; or empty.
    """

    cards: dict[str, ModelCard]
    router: RouterConfig
    note: str


def find_parts(config: ServeConfig) -> Parts:
    """The models to serve and a router that fits them: every start of the service begins with it.

    Where storage has no model of a class, the one that comes with colorgan is served. Where none
    does, a storage of general or hypercolumn models alone is served without an assembled model.

    Raises:
        NotInStorage: there is no model, or no router sends to the class models that there are.
        ColorganError: as choose_router.
    """
    storage = with_embedded(open_storage(config.storage))
    cards = find_cards(storage, config.models)
    wanted = config.router
    pinned = [pin for pin in config.models if pin.partition("@")[0] == ROUTER]
    if pinned and not wanted.head:
        wanted = replace(wanted, head=pinned[-1])
    classes = {name: card for name, card in cards.items() if name not in (GENERAL, HYPERCOLUMN)}
    choice = choose_router(wanted, storage, classes or None)
    cards = _needed(cards, choice.classes, config.models)
    used = embedded_note(storage, cards.values(), routed=False)
    note = "; ".join(filter(None, (choice.note, used)))
    if not classes:
        note = f"there is no class model: clients must ask for model={next(iter(cards))}"
    return Parts(cards, choice.config, note)


def _needed(
    cards: Mapping[str, ModelCard], classes: Collection[str], pins: Collection[str]
) -> dict[str, ModelCard]:
    """Packages without those that come with colorgan where a user's own are enough.

    Embedded ones are those of the classes that the router sends to, and beside one of these the
    general one.
    """
    wanted = {name for name in classes if name in cards}
    if any(cards[name].embedded for name in wanted):
        wanted.add(GENERAL)
    return {
        name: card
        for name, card in cards.items()
        if not card.embedded or name in wanted or card.reference in pins
    }


class LocalBackend:
    """All of it in this process: for a laptop, and for the tests of the API."""

    def __init__(self, config: ServeConfig) -> None:
        """Load everything; raises ColorganError."""
        storage, parts = open_storage(config.storage), find_parts(config)
        how = (config.device, config.compile)
        self._router = RouterWorker(storage.uri, parts.router, parts.cards, *how)
        self._generators = {
            name: GeneratorWorker(storage.uri, card, *how) for name, card in parts.cards.items()
        }

    async def router(self) -> RouterInfo:
        """What the router is."""
        return self._router.info

    async def models(self) -> Mapping[str, ModelInfo]:
        """The models that are served, by name."""
        return {name: worker.info for name, worker in self._generators.items()}

    async def classify(self, photograph: Square) -> Route:
        """Route a photograph in a thread."""
        (route,) = await asyncio.to_thread(self._router.classify, [photograph])
        return route

    async def route(self, photograph: Square) -> Routed:
        """Route a photograph, and colour it where the router can, in a thread."""
        (routed,) = await asyncio.to_thread(self._router.work, [photograph])
        return routed

    async def paint(self, model: str, photograph: Square) -> PredictedColor:
        """Colour a photograph in a thread."""
        (painted,) = await asyncio.to_thread(self._generators[model].work, [photograph])
        return painted
