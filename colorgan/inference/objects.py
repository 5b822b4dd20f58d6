"""Object-based colouring: each object by the model of its class, the rest by the general model.

The third idea of the 2018 report, as in InstColorization (Su et al. 2020): a detector finds the
objects, each one's crop is coloured by itself, and feathered masks join the colours with those of
the whole photograph. There, a network that was trained for it joins features; here, the masks join
the colours, so that nothing but the detector has to be trained.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from colorgan.data.mapping import batched
from colorgan.errors import ConfigError
from colorgan.images.decoding import Photograph, Pixels, resize
from colorgan.images.prints import Restoring, restore
from colorgan.inference.assembled import InTurn, complete
from colorgan.inference.colorizer import Colorizer, prepare
from colorgan.inference.finishing import to_ab
from colorgan.inference.hints import Hint
from colorgan.inference.layers import Edges, Layer, canvas, crop, feathered, join, surroundings
from colorgan.inference.networks import (
    GeneratorNetwork,
    ModelInfo,
    PredictedColor,
    Square,
    describe,
)
from colorgan.inference.palette import Palette
from colorgan.inference.prediction import FoundObject, Prediction, Steps
from colorgan.models.detection import Detection, Detector
from colorgan.names import GENERAL, OBJECTS

LONG_SIDE = 1024  # pixels; of larger photographs, the detector and the crops see a smaller copy
_CROPS = 16  # parts of photographs that a generator colours as one batch
MOST_OBJECTS = 20  # of a photograph; the most certain ones are coloured


class ObjectNetworks(Protocol):
    """The networks of object-based colouring, wherever they run."""

    async def models(self) -> Mapping[str, ModelInfo]:
        """Describe the models, by name; `general` is among them."""
        ...

    async def paint(self, model: str, squares: Sequence[Square]) -> Sequence[PredictedColor]:
        """Colour photographs, or parts of them, preprocessed by `colorizer.prepare`."""
        ...

    async def detect(self, pictures: Sequence[Pixels]) -> Sequence[Sequence[Detection]]:
        """Find the objects of photographs that `Sight` has reduced; see `Detector`."""
        ...


@dataclass(frozen=True)
class Sight:
    """What the networks see of a photograph; it can be pickled.

    Attributes:
        square: the input of the general model.
        picture: (height, width, 3) uint8 sRGB, the photograph with a long side of LONG_SIDE at
            most, for the detector and the crops.
        size: height and width of the photograph.
    """

    square: Square
    picture: Pixels
    size: tuple[int, int]

    @classmethod
    def of(cls, photograph: Pixels, side: int) -> "Sight":
        """Look at a (height, width, 3) uint8 photograph; `side` is that of the general model."""
        return cls(prepare(photograph, side).numpy(), reduced(photograph), photograph.shape[:2])


def reduced(photograph: Pixels) -> Pixels:
    """A (height, width, 3) photograph with a long side of LONG_SIDE at most."""
    height, width = photograph.shape[:2]
    factor = min(1.0, LONG_SIDE / max(height, width))
    return resize(photograph, max(1, round(height * factor)), max(1, round(width * factor)))


@dataclass(frozen=True)
class ObjectColor:
    """The predicted colours of one photograph, joined.

    Attributes:
        color: the colours: those of the general model if nothing was found, otherwise (2, height,
            width) a and b, of the size that `canvas` says.
        detections: the objects that were coloured, the most certain one first.
    """

    color: PredictedColor
    detections: tuple[Detection, ...]


class ObjectModel:
    """A detector, a general model and the models of the objects' classes, wherever they run."""

    def __init__(self, networks: ObjectNetworks, steps: Steps, edges: Edges = "cosine") -> None:
        """Take the networks, where the work between them is done, and how edges are feathered."""
        self._networks = networks
        self._steps = steps
        self._edges: Edges = edges

    async def predict(self, photographs: Sequence[Pixels]) -> list[Prediction]:
        """Find the objects of photographs and predict the colours of everything.

        All crops of a class are one batch. Objects of a class without a model are left to the
        general one.

        Args:
            photographs: one or more (height, width, 3) uint8 sRGB, of any sizes; any colour in
                them is ignored.

        Returns:
            Their predictions, without a route.
        """
        side = (await self._networks.models())[GENERAL].size
        with self._steps.stage("prepare"):
            sights = await self._steps.together(
                *(self._steps.run(Sight.of, photograph, side) for photograph in photographs)
            )
        colored = await self.colors(sights)
        return [
            Prediction(photograph, None, each.color, detections=each.detections)
            for photograph, each in zip(photographs, colored, strict=True)
        ]

    async def colors(self, sights: Sequence[Sight]) -> list[ObjectColor]:
        """As `predict`, from what the networks see of the photographs."""
        infos = await self._networks.models()
        with self._steps.stage("detect"):
            detected = await self._networks.detect([sight.picture for sight in sights])
        found = [
            tuple([each for each in some if each.photo_class in infos][:MOST_OBJECTS])
            for some in detected
        ]
        crops: dict[str, list[tuple[int, int]]] = {}  # by class, the photograph and the object
        for place, some in enumerate(found):
            for number, each in enumerate(some):
                crops.setdefault(each.photo_class, []).append((place, number))
        with self._steps.stage("paint"):
            whole = await self._networks.paint(GENERAL, [sight.square for sight in sights])
            parts: dict[tuple[int, int], PredictedColor] = {}
            for name, keys in crops.items():
                squares = await self._steps.together(
                    *(
                        self._steps.run(_square, sights[place], found[place][n], infos[name].size)
                        for place, n in keys
                    )
                )
                parts |= zip(keys, await self._networks.paint(name, squares), strict=True)
        with self._steps.stage("join"):
            made = await self._steps.together(
                *(
                    self._steps.run(
                        _joined,
                        sight,
                        color,
                        some,
                        [parts[place, number] for number in range(len(some))],
                        self._edges,
                    )
                    for place, (sight, color, some) in enumerate(
                        zip(sights, whole, found, strict=True)
                    )
                )
            )
            return [ObjectColor(*each) for each in zip(made, found, strict=True)]


def _square(sight: Sight, detection: Detection, size: int) -> Square:
    """The input of the model of an object."""
    square: Square = prepare(crop(sight.picture, surroundings(detection)), size).numpy()
    return square


def _joined(
    sight: Sight,
    whole: PredictedColor,
    detections: Sequence[Detection],
    parts: Sequence[PredictedColor],
    edges: Edges,
) -> PredictedColor:
    """The colours of a photograph with those of its objects, the most certain one on top."""
    if not detections:
        return whole
    layers = []
    for detection, part in zip(detections, parts, strict=True):
        place = surroundings(detection)
        color = _ab(crop(sight.picture, place), part)
        layers.append(Layer(place, color, feathered(detection, sight.picture, edges)))
    color = join(_ab(sight.picture, whole), layers[::-1], *canvas(*sight.size))
    models = {each.model.name: each.model.reference for each in (whole, *parts)}
    info = ModelInfo(OBJECTS, ",".join(filter(None, models.values())), whole.model.size, "lab")
    return PredictedColor(color.numpy(), info, whole.batch)


def _ab(picture: Pixels, color: PredictedColor) -> Tensor:
    made = torch.from_numpy(np.array(color.color, np.float32))
    return to_ab(picture, made, color.model.color_space)


@dataclass(frozen=True)
class ColoredObjects:
    """A coloured photograph, and the objects in it.

    Attributes:
        rgb: (height, width, 3) uint8 sRGB, of the photograph's own size.
        objects: the objects that the models of their classes coloured, the most certain one first.
    """

    rgb: Pixels
    objects: tuple[FoundObject, ...]


class ObjectColorizer:
    """Colours each object of a photograph by the model of its class, the rest by the general one.

    Attributes:
        detector: what finds the objects.
        colorizers: the colorizers by model.
    """

    def __init__(
        self,
        detector: Detector,
        colorizers: Mapping[str, Colorizer],
        edges: Edges = "cosine",
        references: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Combine a detector with a general colorizer, and those of the objects' classes.

        Args:
            detector: what finds the objects.
            colorizers: the colorizers by model.
            edges: how the objects' edges are feathered; see `feathered`.
            references: their packages, `model@version`, by model, if they come from any.

        Raises:
            ConfigError: there is no general colorizer, or none of a class of the detector.
        """
        classes = [name for name in detector.classes if name in colorizers]
        if GENERAL not in colorizers or not classes:
            lacking = GENERAL if classes else " or ".join(detector.classes)
            raise ConfigError(f"object-based colouring needs a model of {lacking}")
        self.detector = detector
        self.colorizers = colorizers
        self._model = ObjectModel(_Networks(detector, colorizers, references), InTurn(), edges)

    def compile(self) -> None:
        """Compile the generators that are on a CPU; raises ColorganError."""
        for colorizer in self.colorizers.values():
            colorizer.compile()

    def __call__(
        self,
        photographs: Sequence[Pixels],
        vividness: float = 1.0,
        hints: Sequence[Hint] = (),
        like: Palette | None = None,
        restoring: Restoring = "off",
    ) -> list[ColoredObjects]:
        """Colour photographs; arguments and exceptions as those of `AssembledColorizer`."""
        prints = [restore(Photograph(rgb), restoring) for rgb in photographs]
        colored = []
        for restored, each in zip(
            prints, self.predict([print_.seen for print_ in prints]), strict=True
        ):
            own = each.onto(restored)
            colored.append(ColoredObjects(own.picture(vividness, hints, like), own.objects))
        return colored

    def predict(self, photographs: Sequence[Pixels]) -> list[Prediction]:
        """Find objects and predict colours, without joining them with the photographs yet."""
        return complete(self._model.predict(photographs)) if photographs else []

    def colors(self, sights: Sequence[Sight]) -> list[ObjectColor]:
        """As `predict`, from what the networks see of the photographs."""
        return complete(self._model.colors(sights)) if sights else []


class _Networks:
    """Networks that are called directly."""

    def __init__(
        self,
        detector: Detector,
        colorizers: Mapping[str, Colorizer],
        references: Mapping[str, str],
    ) -> None:
        self._detector = detector
        infos = {
            name: describe(each, name, references.get(name, ""))
            for name, each in colorizers.items()
        }
        self._infos = infos
        self._generators = {
            name: GeneratorNetwork(each, infos[name]) for name, each in colorizers.items()
        }

    async def models(self) -> Mapping[str, ModelInfo]:
        return self._infos

    async def paint(self, model: str, squares: Sequence[Square]) -> Sequence[PredictedColor]:
        work = self._generators[model].work
        return [each for some in batched(squares, _CROPS) for each in work(some)]

    async def detect(self, pictures: Sequence[Pixels]) -> Sequence[Sequence[Detection]]:
        return self._detector(pictures)
