"""The networks that colour an archive: what they take, and what they return."""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from colorgan.errors import ConfigError
from colorgan.images.borders import Box
from colorgan.images.color_spaces import ColorSpace
from colorgan.images.decoding import Levels, Pixels
from colorgan.inference.assembled import AssembledColorizer, Assembly, assemble
from colorgan.inference.colorizer import Colorizer, prepare
from colorgan.inference.finishing import Choices, finished_print
from colorgan.inference.networks import (
    GeneratorNetwork,
    PredictedColor,
    RouterNetwork,
    Square,
    describe,
)
from colorgan.inference.object_choice import ObjectAssembly, ObjectConfig, assemble_objects
from colorgan.inference.objects import ObjectColor, ObjectColorizer, Sight, reduced
from colorgan.inference.router import Route, Router
from colorgan.inference.router_choice import RouterConfig
from colorgan.inference.variants import check_noise
from colorgan.models.detection import Detection
from colorgan.models.noise import FIRST, Numbers
from colorgan.models.view import View
from colorgan.names import GENERAL, OBJECTS
from colorgan.packages.card import ModelCard, find
from colorgan.packages.embedded import EMBEDDED_MODELS, embedded_note, open_embedded, with_embedded
from colorgan.packages.weights import load_generator
from colorgan.storage import Storage, open_storage

ASSEMBLED = "assembled"


@dataclass(frozen=True)
class ModelChoice:
    """The models that a user asks for.

    Attributes:
        model: ASSEMBLED, EMBEDDED_MODELS, OBJECTS, or one model for all photographs.
        photo_class: the class of all photographs, instead of the router's; None asks the router.
        router: the options for the choice of a router.
        render_size: the side of the square that the generators see, in pixels; None if each sees
            the one that it was trained on.
        objects: the options of OBJECTS.
    """

    model: str = ASSEMBLED
    photo_class: str | None = None
    router: RouterConfig = field(default_factory=RouterConfig)
    render_size: int | None = None
    objects: ObjectConfig = field(default_factory=ObjectConfig)


@dataclass(frozen=True)
class Squares:
    """The inputs of the networks for one photograph.

    Attributes:
        view: the router's input; None without a router.
        sized: (3, size, size) uint8 sRGB, by the size of the generators that need it.
        picture: what a detector sees, and the crops of objects are cut from; None without one.
        shape: height and width of the photograph, in pixels.
        numbers: the numbers of the variants that are wanted.
    """

    view: npt.NDArray[Any] | None
    sized: Mapping[int, Square]
    picture: Pixels | None = None
    shape: tuple[int, int] = (0, 0)
    numbers: Numbers = FIRST


@dataclass(frozen=True)
class Inputs:
    """What the networks need of a photograph; it can be pickled.

    Attributes:
        view: the router's preprocessing; None without a router.
        sizes: the sizes of the generators that do not share the router's pass, in pixels.
        objects: whether a detector and crops need the photograph itself.
    """

    view: View | None
    sizes: tuple[int, ...]
    objects: bool = False

    def __call__(self, photograph: Pixels) -> Squares:
        """Prepare a (height, width, 3) uint8 photograph; any colour in it is ignored."""
        view = None if self.view is None else self.view(photograph).numpy()
        sized = {size: prepare(photograph, size).numpy() for size in self.sizes}
        picture = reduced(photograph) if self.objects else None
        return Squares(view, sized, picture=picture, shape=photograph.shape[:2])


@dataclass(frozen=True)
class Predicted:
    """The predicted colours of one photograph; it can be pickled.

    Attributes:
        color: (color channels, size, size) float32 in [-1, 1], or joined colours of another shape.
        color_space: the colour space of `color`.
        photo_class: the class of the photograph; the model's name if no router was asked.
        by: how it was coloured, as a phrase.
        seconds: its share of the time that its batch took.
        detections: the objects that the models of their classes have coloured.
        others: the colours of the further variants that were asked for.
    """

    color: npt.NDArray[np.float32]
    color_space: ColorSpace
    photo_class: str
    by: str
    seconds: float = 0.0
    detections: tuple[Detection, ...] = ()
    others: tuple[npt.NDArray[np.float32], ...] = ()

    def variants(self) -> "list[Predicted]":
        """One object for each variant that was asked for, in order."""
        return [replace(self, color=each, others=()) for each in (self.color, *self.others)]

    def strips(
        self, photograph: Pixels, choices: Choices, box: Box | None, deep: Levels | None = None
    ) -> Iterator[Pixels | Levels]:
        """The coloured photograph in strips of rows; see `finished_print`."""
        color = torch.from_numpy(np.array(self.color)).float()
        return finished_print(photograph, box, color, self.color_space, choices, deep)


class Networks(ABC):
    """Loaded networks.

    Attributes:
        inputs: what they need of a photograph.
    """

    inputs: Inputs

    def predict(self, squares: Sequence[Squares]) -> list[Predicted]:
        """Predict the colours of photographs as one batch; none is an empty one."""
        started = time.perf_counter()
        predicted = self._predict(squares) if squares else []
        seconds = (time.perf_counter() - started) / max(1, len(predicted))
        return [replace(each, seconds=seconds) for each in predicted]

    @abstractmethod
    def _predict(self, squares: Sequence[Squares]) -> list[Predicted]:
        """Predict the colours of at least one photograph."""

    @abstractmethod
    def compile(self) -> None:
        """Compile the networks that are on a CPU; raises ColorganError."""


@dataclass(frozen=True)
class Chosen:
    """Models that exist and fit each other, but are not loaded yet; it can be pickled.

    Attributes:
        storage: address of the user's storage; None for the default.
        embedded: whether only the models that come with colorgan are used.
        cards: the packages by model.
        assembly: the router and its models, or the detector and its; None for one model alone.
        notes: sentences for the user on the choice.
        render_size: see ModelChoice.
    """

    storage: str | None
    embedded: bool
    cards: Mapping[str, ModelCard]
    assembly: Assembly | ObjectAssembly | None
    notes: tuple[str, ...]
    render_size: int | None = None

    def check_noise(self) -> None:
        """Check that every model has variants; raises ConfigError."""
        if isinstance(self.assembly, ObjectAssembly):
            raise ConfigError(f"--model {OBJECTS} colours in one way: name another model")
        check_noise((card.reference, card.architecture) for card in self.cards.values())

    def load(self, device: torch.device) -> Networks:
        """Load the networks; raises ColorganError if one cannot be read."""
        models = _open_models(self.storage, self.embedded)
        if self.assembly is None:
            (card,) = self.cards.values()
            generator = load_generator(models, card, device)
            return _Alone(Colorizer(generator, self.render_size), card)
        if isinstance(self.assembly, ObjectAssembly):
            return _Objects(self.assembly.load(models, device, self.render_size))
        return _Assembled(self.assembly.load(models, device, self.render_size), self.cards)

    def parts(self, device: torch.device) -> tuple[Router | None, Mapping[str, Colorizer]]:
        """Load the router, if there is one, and the colorizers by class.

        Raises:
            ConfigError: a detector finds objects in place of a router.
            ColorganError: a part cannot be read.
        """
        if isinstance(self.assembly, ObjectAssembly):
            raise ConfigError(
                f"{OBJECTS} has no router, and models for parts of a photograph: give another model"
            )
        models = _open_models(self.storage, self.embedded)
        if self.assembly is None:
            (card,) = self.cards.values()
            generator = load_generator(models, card, device)
            return None, {card.model: Colorizer(generator, self.render_size)}
        assembled = self.assembly.load(models, device, self.render_size)
        return assembled.router, assembled.colorizers


def choose_models(choice: ModelChoice, storage: str | None) -> Chosen:
    """Find the models that a user asks for.

    Args:
        choice: what the user asks for.
        storage: address of the user's storage; None for the default.

    Raises:
        ConfigError: the options contradict each other.
        ColorganError: there are no such models.
    """
    embedded = choice.model == EMBEDDED_MODELS
    models = _open_models(storage, embedded)
    if choice.photo_class and choice.model != ASSEMBLED:
        raise ConfigError(
            f"--class chooses a model instead of the router: drop --model {choice.model}"
        )
    if choice.model == OBJECTS:
        parts = assemble_objects(choice.objects, models, choice.router.classes)
        notes = (parts.note, embedded_note(models, parts.cards.values(), routed=False))
        return Chosen(storage, embedded, parts.cards, parts, notes, choice.render_size)
    name = choice.photo_class or choice.model
    if name not in (ASSEMBLED, EMBEDDED_MODELS):
        card = find(models, name)
        note = "" if "@" in name else embedded_note(models, [card], routed=False)
        return Chosen(storage, embedded, {card.model: card}, None, (note,), choice.render_size)
    way_out = "--model NAME colours with one model alone"
    assembly = assemble(choice.router, models, way_out=way_out)
    notes = (assembly.choice.note, embedded_note(models, assembly.cards.values()))
    cards = dict(assembly.cards)
    return Chosen(storage, embedded, cards, assembly, notes, choice.render_size)


def _open_models(storage: str | None, embedded: bool) -> Storage:
    """The user's models with the embedded ones, or the embedded ones alone."""
    own = open_storage(storage)
    return open_embedded() if embedded else with_embedded(own)


class _Alone(Networks):
    """One model for all photographs."""

    def __init__(self, colorizer: Colorizer, card: ModelCard) -> None:
        self._colorizer, self._card = colorizer, card
        self.inputs = Inputs(None, (colorizer.size,))
        self._network = GeneratorNetwork(colorizer, describe(colorizer, card.model))

    def compile(self) -> None:
        self._colorizer.compile()

    def _predict(self, squares: Sequence[Squares]) -> list[Predicted]:
        size = self._network.info.size
        numbers = [each.numbers for each in squares]
        colors = self._network.work([each.sized[size] for each in squares], numbers)
        by = f"coloured by {self._card.reference}"
        return [_predicted(each, self._card.model, by) for each in colors]


class _Assembled(Networks):
    """A router, and a model for each of its classes."""

    def __init__(self, assembled: AssembledColorizer, cards: Mapping[str, ModelCard]) -> None:
        self._assembled, self._cards = assembled, cards
        colorizers = assembled.colorizers
        infos = {name: describe(each, name) for name, each in colorizers.items()}
        self._router = RouterNetwork(assembled.router, colorizers, infos)
        self._generators = {
            name: GeneratorNetwork(each, infos[name]) for name, each in colorizers.items()
        }
        others = set(infos) - self._router.info.painters
        self.inputs = Inputs(
            self._router.info.view, tuple(sorted({infos[name].size for name in others}))
        )

    def compile(self) -> None:
        self._assembled.compile()

    def _predict(self, squares: Sequence[Squares]) -> list[Predicted]:
        numbers = [each.numbers for each in squares]
        views = [each.view for each in squares if each.view is not None]
        routed = self._router.work(views, numbers)
        colors = {n: each.painted for n, each in enumerate(routed) if each.painted}
        left: dict[str, list[int]] = {}
        for number, each in enumerate(routed):
            if number not in colors:
                left.setdefault(each.route.best_class, []).append(number)
        for name, places in left.items():
            network = self._generators[name]
            inputs = [squares[place].sized[network.info.size] for place in places]
            wanted = [numbers[place] for place in places]
            colors |= zip(places, network.work(inputs, wanted), strict=True)
        return [self._described(colors[number], each.route) for number, each in enumerate(routed)]

    def _described(self, color: PredictedColor, route: Route) -> Predicted:
        label = f" ({route.label})" if route.label else ""
        by = f"coloured by {self._cards[color.model.name].reference}"
        words = f"{route.photo_class} {route.score:.2f}{label}, {by}"
        return _predicted(color, route.photo_class, words)


class _Objects(Networks):
    """A detector, a general model, and a model for each class of objects."""

    def __init__(self, objects: ObjectColorizer) -> None:
        self._objects = objects
        self._size = objects.colorizers[GENERAL].size
        self.inputs = Inputs(None, (self._size,), objects=True)

    def compile(self) -> None:
        self._objects.compile()

    def _predict(self, squares: Sequence[Squares]) -> list[Predicted]:
        sights = [
            Sight(each.sized[self._size], each.picture, each.shape)
            for each in squares
            if each.picture is not None
        ]
        return [_described_objects(each) for each in self._objects.colors(sights)]


def _described_objects(colored: ObjectColor) -> Predicted:
    listed = [f"{each.photo_class} {each.score:.2f}" for each in colored.detections]
    what = f"{len(listed)} object{'s' * (len(listed) > 1)} ({', '.join(listed)})"
    by = f"coloured by {colored.color.model.reference.replace(',', ', ')}"
    words = f"{what if listed else 'no object'}, {by}"
    made = _predicted(colored.color, OBJECTS if listed else GENERAL, words)
    return replace(made, detections=colored.detections)


def _predicted(color: PredictedColor, photo_class: str, by: str) -> Predicted:
    # The network's batch would stay in memory as long as a part of it.
    own, *others = (np.array(each, dtype=np.float32) for each in (color.color, *color.others))
    return Predicted(own, color.model.color_space, photo_class, by, others=tuple(others))
