"""The models that `colorgan.load` returns, ready to colour photographs in a program."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, overload

import numpy as np
from PIL import Image

from colorgan.errors import ConfigError
from colorgan.images.decoding import Photograph, Pixels, decode, decode_image
from colorgan.images.prints import Restoring, check_restoring
from colorgan.images.prints import restore as restored
from colorgan.inference.assembled import AssembledColorizer, assemble
from colorgan.inference.colorizer import VIVID, Colorizer, prepare
from colorgan.inference.finishing import Choices, finish
from colorgan.inference.hints import Hint
from colorgan.inference.object_choice import ObjectConfig, assemble_objects
from colorgan.inference.objects import ObjectColorizer
from colorgan.inference.palette import Palette
from colorgan.inference.prediction import FoundObject
from colorgan.inference.router_choice import RouterConfig
from colorgan.inference.variants import first_numbers
from colorgan.models.noise import FIRST, Numbers
from colorgan.names import DETECTOR, OBJECTS, ROUTER, SEGMENTER
from colorgan.packages.card import find, released_models
from colorgan.packages.embedded import EMBEDDED_MODELS, open_embedded, with_embedded
from colorgan.packages.weights import load_generator
from colorgan.storage import Storage, open_storage
from colorgan.storage.hub import HubStorage
from colorgan.system import choose_device

File = str | os.PathLike[str] | bytes


class LoadedModels:
    """Colours photographs given as files, images or arrays; many threads may use it at once.

    Attributes:
        packages: the references of the packages by model, as {"animals": "animals@VERSION"}. A
            version that begins with `embedded-` comes with colorgan.
    """

    def __init__(
        self,
        colorizer: Colorizer | AssembledColorizer | ObjectColorizer,
        packages: Mapping[str, str],
    ) -> None:
        """Take trained networks; callers use `load_models`."""
        self._colorizer = colorizer
        self.packages = dict(packages)

    @overload
    def __call__(
        self,
        photograph: Pixels,
        vividness: float = 1.0,
        hints: Sequence[Hint | tuple[int, int, str]] = (),
        like: File | Image.Image | Pixels | None = None,
        restore: Restoring = "off",
    ) -> Pixels: ...

    @overload
    def __call__(
        self,
        photograph: File | Image.Image,
        vividness: float = 1.0,
        hints: Sequence[Hint | tuple[int, int, str]] = (),
        like: File | Image.Image | Pixels | None = None,
        restore: Restoring = "off",
    ) -> Image.Image: ...

    def __call__(
        self,
        photograph: File | Image.Image | Pixels,
        vividness: float = 1.0,
        hints: Sequence[Hint | tuple[int, int, str]] = (),
        like: File | Image.Image | Pixels | None = None,
        restore: Restoring = "off",
    ) -> Image.Image | Pixels:
        """Colour a photograph; any colour in it is ignored.

        Args:
            photograph: a file's path, its bytes, a Pillow image, or a uint8 array, sRGB or gray, of
                shape (height, width, 3), (height, width, 1) or (height, width).
            vividness: the factor that multiplies the chroma, from 0, which is gray, to 2.
            hints: colours of points, as (120, 80, "#2a52be"): column and row in pixels of the
                upright photograph, and sRGB. Each spreads to what is as light around it.
            like: a photograph whose palette is taken over.
            restore: `colors` mends an old print for the networks, and leaves its border gray; its
                lightness stays as it is. With `full`, the colouring has the mended lightness.

        Returns:
            The colouring, upright and at the photograph's own size: for an array, (height, width,
            3) uint8 sRGB; otherwise a Pillow image of mode RGB, or RGBA if the photograph has an
            alpha channel.

        Raises:
            ConfigError: the array has another shape or type, the vividness is out of range, a hint
                is no colour or lies outside of the photograph, `like` is gray, or `restore` has
                another value.
            ImageRejected: the photograph is not an image that can be read.
            OSError: the file cannot be read.
        """
        choices = _choices(vividness, hints, like, restore)
        return self._colored(photograph, choices, FIRST)[0]

    def find_objects(
        self, photograph: File | Image.Image | Pixels, restore: Restoring = "off"
    ) -> tuple[FoundObject, ...]:
        """The objects that a colouring of a photograph colours by themselves.

        Args:
            photograph: as for a call.
            restore: as for a call.

        Returns:
            Their classes, scores and boxes in pixels of the upright photograph, the most certain
            one first; none unless the models are `objects`.

        Raises:
            ConfigError: as a call.
            ImageRejected: as a call.
            OSError: as a call.
        """
        if not isinstance(self._colorizer, ObjectColorizer):
            return ()
        print_ = restored(Photograph(_rgb(photograph)), check_restoring(restore))
        (found,) = self._colorizer.predict([print_.seen])
        return found.onto(print_).objects

    def variants(
        self,
        photograph: File | Image.Image | Pixels,
        count: int = 4,
        vividness: float = 1.0,
        hints: Sequence[Hint | tuple[int, int, str]] = (),
        like: File | Image.Image | Pixels | None = None,
        restore: Restoring = "off",
    ) -> list[Image.Image | Pixels]:
        """Colour a photograph in several ways, by a model with noise.

        The first one is that of a call; a further one is the same whenever it is made.

        Args:
            photograph: as in a call.
            count: the number of colourings, from 1 to 16.
            vividness: as in a call, and so `hints`, `like` and `restore`.
            hints: see there.
            like: see there.
            restore: see there.

        Returns:
            The colourings, each as a call returns it.

        Raises:
            ConfigError: there are not so many, the model has no noise, or as in a call.
            ImageRejected: as in a call.
            OSError: as in a call.
        """
        choices = _choices(vividness, hints, like, restore)
        return self._colored(photograph, choices, first_numbers(count))

    def _colored(
        self, photograph: File | Image.Image | Pixels, choices: Choices, numbers: Numbers
    ) -> list[Image.Image | Pixels]:
        if isinstance(photograph, np.ndarray):
            return [*self._color(_pixels(photograph), choices, numbers)]
        opened = _open(photograph)
        pictures = [Image.fromarray(each) for each in self._color(opened.rgb, choices, numbers)]
        if opened.alpha is not None:
            for picture in pictures:
                picture.putalpha(Image.fromarray(opened.alpha))
        return [*pictures]

    def _color(self, rgb: Pixels, choices: Choices, numbers: Numbers) -> list[Pixels]:
        wanted = choices.vividness, choices.hints, choices.like
        print_ = restored(Photograph(rgb), choices.restore)
        if isinstance(self._colorizer, ObjectColorizer):
            if numbers != FIRST:
                raise ConfigError(f"models={OBJECTS!r} colours in one way: name another model")
            (predicted,) = self._colorizer.predict([print_.seen])
            return [predicted.onto(print_).picture(*wanted)]
        if isinstance(self._colorizer, AssembledColorizer):
            (predicted,) = self._colorizer.predict([print_.seen], numbers)
            return [each.onto(print_).picture(*wanted) for each in predicted.variants()]
        square = prepare(print_.seen, self._colorizer.size)
        (colors,) = self._colorizer.generate_variants(square[None], [numbers])
        space = self._colorizer.config.color_space
        photograph = print_.photograph.rgb
        return [finish(photograph, each, space, *wanted, print_.box) for each in colors]


def _choices(
    vividness: float,
    hints: Sequence[Hint | tuple[int, int, str]],
    like: File | Image.Image | Pixels | None,
    restore: Restoring,
) -> Choices:
    if not 0 <= vividness <= VIVID:
        raise ConfigError(f"vividness {vividness} is not between 0 and {VIVID:g}")
    points = [each if isinstance(each, Hint) else Hint(*each) for each in hints]
    palette = None if like is None else Palette.of(_rgb(like))
    return Choices(vividness, tuple(points), palette, check_restoring(restore))


def load_models(
    storage: str | None = None,
    models: str | Sequence[str] | None = None,
    device: Literal["auto", "cpu", "gpu"] = "auto",
    render_size: int | None = None,
    objects: ObjectConfig | None = None,
) -> LoadedModels:
    """Load models for colouring; see `colorgan.load`."""
    own = open_storage(storage)
    chosen: Storage = open_embedded() if models == EMBEDDED_MODELS else with_embedded(own)
    if isinstance(own, HubStorage) and models != EMBEDDED_MODELS:
        chosen = own  # what a repository lacks, the user has not asked for
        colouring = [
            name for name in released_models(own) if name not in (ROUTER, SEGMENTER, DETECTOR)
        ]
        models = colouring[0] if models is None and len(colouring) == 1 else models
    place = choose_device(device)
    if models == OBJECTS:
        parts = assemble_objects(objects or ObjectConfig(), chosen)
        packages = {name: card.reference for name, card in parts.cards.items()}
        return LoadedModels(parts.load(chosen, place, render_size), packages)
    if isinstance(models, str) and models != EMBEDDED_MODELS:
        card = find(chosen, models)
        colorizer = Colorizer(load_generator(chosen, card, place), render_size)
        return LoadedModels(colorizer, {card.model: card.reference})
    pins = () if isinstance(models, str) else models or ()
    way_out = "models='NAME' colours with one model alone"
    assembly = assemble(RouterConfig(), chosen, way_out=way_out, pins=pins)
    packages = {name: card.reference for name, card in assembly.cards.items()}
    return LoadedModels(assembly.load(chosen, place, render_size), packages)


def _open(photograph: File | Image.Image) -> Photograph:
    if isinstance(photograph, Image.Image):
        return decode_image(photograph)
    data = photograph if isinstance(photograph, bytes) else Path(photograph).read_bytes()
    return decode(data)


def _rgb(photograph: File | Image.Image | Pixels) -> Pixels:
    if isinstance(photograph, np.ndarray):
        return _pixels(photograph)
    return _open(photograph).rgb


def _pixels(array: Pixels) -> Pixels:
    """An array as (height, width, 3); raises ConfigError if it is not a photograph."""
    shape = array.shape
    whole = array[..., None] if array.ndim == 2 else array
    if array.dtype != np.uint8 or whole.ndim != 3 or whole.shape[2] not in (1, 3) or not array.size:
        raise ConfigError(
            f"an array of shape {shape} and type {array.dtype} is not a photograph: give uint8 of "
            "shape (height, width, 3) or (height, width)"
        )
    return np.ascontiguousarray(np.broadcast_to(whole, (*whole.shape[:2], 3)))
