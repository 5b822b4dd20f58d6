"""The embedded dataset: photo-like scenes of three classes, drawn procedurally from a seed.

The colours depend on what is drawn: every surface can be recognised by its texture, shape, place
and luminance, and its hue varies around the usual one. A network that sees only the luminance can
therefore learn to colour these scenes, and does so best on the class that it was trained on.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from colorgan.data.scenes.animals import paint_animals
from colorgan.data.scenes.canvas import REGIONS as REGIONS
from colorgan.data.scenes.canvas import Scene
from colorgan.data.scenes.people import paint_people
from colorgan.data.scenes.vehicles import paint_vehicles

CLASSES: tuple[str, ...] = ("animals", "people", "vehicles")
_SMALLEST = 32


def draw_scene(label: str, seed: int, height: int = 286, width: int = 382) -> npt.NDArray[np.uint8]:
    """Draw scene number `seed` of a class as (height, width, 3) sRGB pixels."""
    return _paint(label, seed, height, width).develop()


def draw_mask(label: str, seed: int, height: int = 286, width: int = 382) -> npt.NDArray[np.uint8]:
    """Return what each pixel of `draw_scene` shows, (height, width) indices into REGIONS."""
    return _paint(label, seed, height, width).regions


def draw_both(
    label: str, seed: int, height: int = 286, width: int = 382
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Draw a scene once, as `draw_scene` and `draw_mask` do."""
    scene = _paint(label, seed, height, width)
    return scene.develop(), scene.regions


def _paint(label: str, seed: int, height: int, width: int) -> Scene:
    if label not in CLASSES:
        raise ValueError(f"unknown class {label!r}: expected one of {', '.join(CLASSES)}")
    if height < _SMALLEST or width < _SMALLEST:
        raise ValueError(f"a scene is at least {_SMALLEST} pixels a side, not {height} by {width}")
    scene = Scene(CLASSES.index(label), seed, height, width)
    painters = {"animals": paint_animals, "people": paint_people, "vehicles": paint_vehicles}
    painters[label](scene)
    return scene
