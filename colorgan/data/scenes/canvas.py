"""The canvas of a scene: its colour planes, surfaces, light and random generators."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from colorgan.data.scenes.shapes import Colour, Field, Shape, T

# What a pixel of a scene can show; a mask holds indices into this. Hills, houses and furniture are
# background.
REGIONS: tuple[str, ...] = (
    *("background", "sky", "ground", "water"),
    *("animal", "person", "vehicle"),
)

# A bulge radius in pixels below which an edge is not shaded.
_FLAT = 1.6

# The texture of a surface: layers of noise, each with the width and height of its cells, as
# fractions of the picture's height, and its strength.
_SURFACES: dict[str, tuple[tuple[float, float, float], ...]] = {
    "smooth": (),
    "bark": ((0.008, 0.05, 0.3),),
    "brick": ((0.03, 0.01, 0.16),),
    "canvas": ((0.05, 0.4, 0.12), (0.004, 0.004, 0.05)),
    "cloth": ((0.045, 0.09, 0.11), (0.13, 0.1, 0.1), (0.004, 0.004, 0.07)),
    "curtain": ((0.025, 2.0, 0.25),),
    "feather": ((0.012, 0.01, 0.11), (0.045, 0.045, 0.06)),
    "fur": ((0.012, 0.006, 0.13), (0.045, 0.045, 0.09)),
    "glass": ((0.13, 0.1, 0.3),),
    "hair": ((0.008, 0.05, 0.32),),
    "knit": ((0.045, 0.09, 0.1), (0.012, 0.006, 0.26)),
    "leather": ((0.045, 0.045, 0.12),),
    "leaf": ((0.02, 0.02, 0.3), (0.009, 0.009, 0.3)),
    "metal": ((0.4, 0.25, 0.06),),
    "quill": ((0.045, 0.009, 0.25),),
    "rubber": ((0.004, 0.004, 0.2),),
    "sail": ((0.13, 0.1, 0.07),),
    "stone": ((0.004, 0.004, 0.1), (0.4, 0.25, 0.06), (0.13, 0.1, 0.04)),
    "wall": ((0.4, 0.25, 0.08), (0.13, 0.1, 0.04), (0.004, 0.004, 0.02)),
    "wood": ((0.12, 0.008, 0.14),),
    "wool": ((0.02, 0.02, 0.2), (0.009, 0.009, 0.2)),
}


@dataclass(frozen=True)
class Frame:
    """The placement of an object: its origin and unit in picture heights, and its direction.

    Attributes:
        x: the origin's distance from the left, in picture heights.
        y: the origin's distance from the top, in picture heights.
        size: the object's unit of length, in picture heights.
        facing: 1, or -1 to flip the object left to right.
        up: 1 if y grows upwards in the object's units, -1 if downwards.
    """

    x: float
    y: float
    size: float
    facing: float = 1.0
    up: float = 1.0

    def row(self, y: float) -> float:
        """Return the distance from the picture's top, in picture heights, of an object's height."""
        return self.y - self.up * self.size * y


PICTURE = Frame(0.0, 0.0, 1.0, up=-1.0)


@dataclass(frozen=True)
class Blend:
    """A second colour and its opacity at each pixel of the picture (0 to 1)."""

    colour: Colour
    where: Field


@dataclass(frozen=True)
class Finish:
    """The gloss and opacity of paint, each from 0 to 1."""

    gloss: float = 0.0
    opacity: float = 1.0


MATT = Finish()


class Scene:
    """A picture being drawn: its colour planes, regions, light and random generators.

    Composition and texture use separate random generators, so that a seed gives the same
    composition at every size. Pixels are computed with basic arithmetic only, so that they are the
    same on every machine.
    """

    def __init__(self, stream: int, seed: int, height: int, width: int) -> None:
        self._chance = np.random.default_rng([stream, seed % 2**64])
        self._texture_chance = np.random.default_rng([stream, seed % 2**64, 1])
        self._noises: dict[tuple[float, float], Field] = {}
        self._textures: dict[str, Field] = {}
        self.height, self.width = height, width
        self.aspect = width / height
        self.planes: Field = np.zeros((3, height, width), dtype=np.float32)
        self.regions = np.zeros((height, width), dtype=np.uint8)
        self._region = 0
        side = self.pick((-1.0, 1.0)) * self.uniform(0.35, 0.8)
        self.light = (side, -math.sqrt(1 - side * side))
        self.contrast = self.uniform(0.3, 0.45)
        self.tint: Colour = (1.0, 1.0, 1.0)

    def uniform(self, low: float, high: float) -> float:
        """Return a random number between two bounds."""
        return low + (high - low) * float(self._chance.random())

    def pick(self, choices: Sequence[T]) -> T:
        """Return a random choice."""
        return choices[int(self._chance.random() * len(choices))]

    def happens(self, probability: float) -> bool:
        """Return True with this probability."""
        return float(self._chance.random()) < probability

    def vary(self, colour: Colour, spread: float = 0.1) -> Colour:
        """Return a colour with random changes of its brightness and, slightly, its hue."""
        level = 1 + self.uniform(-spread, spread)
        r, g, b = (min(255.0, max(0.0, c * level + self.uniform(-4, 4))) for c in colour)
        return (r, g, b)

    def noise(self, across: float, down: float) -> Field:
        """Return smooth noise in [-1, 1]; the size of its cells is in picture heights."""
        key = (across, down)
        if key not in self._noises:
            cell_w, cell_h = max(1.0, across * self.height), max(1.0, down * self.height)
            columns, rows = int(self.width / cell_w) + 3, int(self.height / cell_h) + 3
            grains = max(cell_w, cell_h) < 1.5
            size = (self.height, self.width) if grains else (rows, columns)
            cells = self._texture_chance.integers(0, 256, size, dtype=np.uint8)
            window = (1.0, 1.0, 1.0 + self.width / cell_w, 1.0 + self.height / cell_h)
            if not grains:
                bicubic = Image.Resampling.BICUBIC
                full = Image.fromarray(cells).resize((self.width, self.height), bicubic, window)
                cells = np.asarray(full)
            self._noises[key] = cells * np.float32(1 / 127.5) - np.float32(1)
        return self._noises[key]

    def clouds(self) -> Field:
        """Return noise of several octaves, for large patchy structures."""
        large, middle, small = [
            self.noise(w, h) for w, h in ((0.4, 0.25), (0.13, 0.1), (0.045, 0.045))
        ]
        return as_field(large * 0.6 + middle * 0.3 + small * 0.2)

    def texture(self, surface: str) -> Field:
        """Return the relative deviation of a surface from its mean brightness at each pixel."""
        if surface not in self._textures:
            layers = [self.noise(w, h) * np.float32(power) for w, h, power in _SURFACES[surface]]
            total = layers[0]
            for layer in layers[1:]:
                total = total + layer
            self._textures[surface] = total
        return self._textures[surface]

    def descent(self, top: float, bottom: float) -> Field:
        """Return a field that grows from 0 at height `top` to 1 at height `bottom`."""
        rows = linear_ramp(as_field(np.arange(self.height) / self.height), top, bottom)
        return np.broadcast_to(rows[:, None], (self.height, self.width))

    @contextmanager
    def drawing(self, region: str) -> Iterator[None]:
        """Mark everything that is painted within a `with` block as one of REGIONS."""
        outer, self._region = self._region, REGIONS.index(region)
        try:
            yield
        finally:
            self._region = outer

    def mark(self, rows: slice) -> None:
        """Mark rows over the picture's whole width as the current region."""
        self.regions[rows] = self._region

    def fill(self, top: float, bottom: float, colour: Colour, shade: Field) -> None:
        """Cover a band over the picture's whole width with a shaded colour."""
        rows = self._rows(top, bottom)
        np.multiply(shade[rows], channels(colour), out=self.planes[:, rows])
        self.mark(rows)

    def wash(self, top: float, colour: Colour, shade: Field, where: Field) -> None:
        """Blend a shaded colour over the picture, from height `top` to the bottom."""
        rows = self._rows(top, 1.0)
        band = self.planes[:, rows]
        band += (shade[rows] * channels(colour) - band) * where[rows]

    def paint(
        self,
        frame: Frame,
        shapes: Sequence[Shape],
        colour: Colour,
        surface: str = "smooth",
        bulge: float = 0.0,
        *,
        finish: Finish = MATT,
        blend: Blend | None = None,
    ) -> None:
        """Paint a union of shapes, shaded as if its edge were rounded with radius `bulge`.

        Opaque paint becomes the current region; what other paint covers stays what it was.
        """
        radius = bulge * frame.size * self.height
        found = self._silhouette(frame, shapes, int(radius * 1.6) + 1 if radius >= _FLAT else 0)
        if found is None:
            return
        rows, columns, mask = found
        coat: Field = channels(colour)
        if radius >= _FLAT:
            # The margin serves only the shading: crop it, so that only the silhouette is painted.
            left, top, right, bottom = mask.getbbox() or (0, 0, 1, 1)
            relief = self._relief(mask, radius)[top:bottom, left:right]
            mask = mask.crop((left, top, right, bottom))
            rows = slice(rows.start + top, rows.start + bottom)
            columns = slice(columns.start + left, columns.start + right)
        if blend is not None:
            coat = coat + (channels(blend.colour) - coat) * blend.where[rows, columns]
        if _SURFACES[surface]:
            coat = coat * (1 + self.texture(surface)[rows, columns])
        if radius >= _FLAT:
            coat = coat * (1 + np.float32(self.contrast) * relief)
            if finish.gloss:
                shine = np.maximum(relief - np.float32(0.35), 0)
                coat += shine * shine * np.float32(255 * finish.gloss)
        region = self.planes[:, rows, columns]
        alpha = np.asarray(mask) * np.float32(finish.opacity / 255)
        region += (coat - region) * alpha
        if finish.opacity == 1:
            self.regions[rows, columns][np.asarray(mask) > 127] = self._region

    def darken(self, frame: Frame, shapes: Sequence[Shape], strength: float, blur: float) -> None:
        """Draw a soft shadow over the picture, or a glow if `strength` is negative."""
        radius = max(0.5, blur * self.height)
        found = self._silhouette(frame, shapes, int(radius * 2) + 1)
        if found is not None:
            rows, columns, mask = found
            soft = _spread(mask, 0.6 * radius).resize(mask.size, Image.Resampling.BILINEAR)
            self.planes[:, rows, columns] *= 1 - np.asarray(soft) * np.float32(strength / 255)

    def defocus(self, blur: float) -> None:
        """Blur the picture drawn so far, as a lens focused on what is drawn next does."""
        lens = ImageFilter.BoxBlur(blur * self.height)
        for plane in self.planes:
            plane[:] = np.asarray(Image.fromarray(_to_bytes(plane)).filter(lens))

    def develop(self) -> npt.NDArray[np.uint8]:
        """Return the finished photograph: exposed, vignetted, slightly soft and grainy."""
        exposure, falloff = self.uniform(0.92, 1.08), np.float32(self.uniform(0.02, 0.1))
        r, g, b = self.tint
        across = np.arange(self.width, dtype=np.float32) / np.float32(self.width / 2) - 1
        down = np.arange(self.height, dtype=np.float32) / np.float32(self.height / 2) - 1
        vignette = 1 - falloff * (across * across + (down * down)[:, None])
        self.planes *= vignette * channels((r * exposure, g * exposure, b * exposure))
        _soften(self.planes, self.uniform(0.04, 0.16))
        self.planes += self.noise(0.0, 0.0) * np.float32(self.uniform(2, 6))
        layers = [Image.fromarray(plane) for plane in _to_bytes(self.planes)]
        return np.array(Image.merge("RGB", layers))

    def _rows(self, top: float, bottom: float) -> slice:
        return slice(max(0, int(top * self.height)), int(bottom * self.height) + 1)

    def _silhouette(
        self, frame: Frame, shapes: Sequence[Shape], margin: int
    ) -> tuple[slice, slice, Image.Image] | None:
        """Return a union of shapes as rows, columns and an anti-aliased mask; None if outside."""
        unit = frame.size * self.height * 32
        points = np.concatenate(shapes) * (frame.facing * unit, -frame.up * unit)
        points += (frame.x * self.height * 32, frame.y * self.height * 32)
        # Rounding removes the last bits of sines, which differ between machines.
        points = np.rint(points) / 16
        (low_x, low_y), (high_x, high_y) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
        left, top = max(0, int(low_x / 2) - margin), max(0, int(low_y / 2) - margin)
        right = min(self.width, int(high_x / 2) + 2 + margin)
        bottom = min(self.height, int(high_y / 2) + 2 + margin)
        if right <= left or bottom <= top:
            return None
        mask = Image.new("L", (2 * (right - left), 2 * (bottom - top)))
        pen = ImageDraw.Draw(mask)
        numbers: list[float] = (points - (2 * left, 2 * top)).ravel().tolist()
        start = 0
        for shape in shapes:
            pen.polygon(numbers[start : start + shape.size], fill=255)
            start += shape.size
        return slice(top, bottom), slice(left, right), mask.reduce(2)

    def _relief(self, mask: Image.Image, radius: float) -> Field:
        """Return how far each pixel of a bulging silhouette faces the light, in [-1, 1]."""
        small = _spread(mask, 0.8 * radius)
        heights = np.asarray(small, dtype=np.float32)
        slope = np.zeros_like(heights)
        slope[:, 1:-1] = (heights[:, 2:] - heights[:, :-2]) * np.float32(self.light[0])
        slope[1:-1] += (heights[2:] - heights[:-2]) * np.float32(self.light[1])
        slope *= np.float32(-0.75 / 128 * radius * small.width / mask.width)
        if small.size == mask.size:
            np.maximum(slope, -1, out=slope)
            return np.minimum(slope, 1, out=slope)
        facing = Image.fromarray(_to_bytes(128 + 128 * slope))
        scaled = np.asarray(facing.resize(mask.size, Image.Resampling.BILINEAR))
        return scaled * np.float32(1 / 128) - np.float32(1)


def _spread(mask: Image.Image, radius: float) -> Image.Image:
    """Return a blurred mask, reduced in size by more for a larger radius."""
    step = max(1, int(radius / 3.2))
    small = mask.reduce(step) if step > 1 else mask
    return small.filter(ImageFilter.GaussianBlur(radius / step))


def as_field(values: npt.NDArray[np.floating]) -> Field:
    """Return the values as float32, without a copy if they already are."""
    return values.astype(np.float32, copy=False)


def channels(colour: Colour) -> Field:
    """Return a colour as a (3, 1, 1) array that broadcasts over planes."""
    return np.array(colour, dtype=np.float32).reshape(3, 1, 1)


def _to_bytes(values: Field) -> npt.NDArray[np.uint8]:
    rounded = values + np.float32(0.5)
    np.maximum(rounded, 0, out=rounded)
    np.minimum(rounded, 255, out=rounded)
    return rounded.astype(np.uint8)


def _soften(planes: Field, amount: float) -> None:
    """Mix every pixel with its neighbours."""
    share = np.float32(amount)
    across, down = planes[:, :, 1:-1], planes[:, 1:-1]
    across += (planes[:, :, 2:] + planes[:, :, :-2] - across - across) * share
    down += (planes[:, 2:] + planes[:, :-2] - down - down) * share


def linear_ramp(values: Field, low: float, high: float) -> Field:
    """Return 0 up to `low`, 1 from `high` on, and a linear ramp between."""
    scaled = (values - np.float32(low)) * np.float32(1 / (high - low))
    bounded: Field = np.minimum(np.maximum(scaled, 0), 1)
    return bounded


def shaded(colour: Colour, by: float) -> Colour:
    """Return a colour made darker or brighter by a factor."""
    return (colour[0] * by, colour[1] * by, colour[2] * by)
