"""The embedded dataset: photo-like scenes of three classes, drawn by program from a seed.

The colours follow from what is drawn: every surface is told by its texture, shape, place and
luminance, and its hue varies about what is usual for that surface. A network that sees only the
luminance can thus learn to colour these scenes, and does so best on the class it was trained on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

CLASSES: tuple[str, ...] = ("animals", "people", "vehicles")

Field = npt.NDArray[np.float32]
Shape = npt.NDArray[np.float64]
Colour = tuple[float, float, float]
T = TypeVar("T")

_SMALLEST = 32

# An edge rounded over fewer pixels than this needs no shading.
_FLAT = 1.6

# What a surface looks like close by: layers of noise, each with its cells' width and height in
# parts of the picture's height and its strength.
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


def draw_scene(label: str, seed: int, height: int = 286, width: int = 382) -> npt.NDArray[np.uint8]:
    """Draw scene number `seed` of a class as (height, width, 3) sRGB pixels."""
    if label not in CLASSES:
        raise ValueError(f"unknown class {label!r}: expected one of {', '.join(CLASSES)}")
    if height < _SMALLEST or width < _SMALLEST:
        raise ValueError(f"a scene is at least {_SMALLEST} pixels a side, not {height} by {width}")
    scene = _Scene(CLASSES.index(label), seed, height, width)
    painters = {"animals": _animals, "people": _people, "vehicles": _vehicles}
    painters[label](scene)
    return scene.develop()


# Outlines, in the units of the thing drawn.

_CIRCLE: Shape = np.array(
    [(math.cos(i * math.pi / 12), math.sin(i * math.pi / 12)) for i in range(24)]
)


def _ellipse(x: float, y: float, rx: float, ry: float, tilt: float = 0.0) -> Shape:
    cos, sin = math.cos(tilt), math.sin(tilt)
    turned = _CIRCLE[:, :1] * (rx * cos, rx * sin) + _CIRCLE[:, 1:] * (-ry * sin, ry * cos)
    return _moved(turned, x, y)


def _moved(shape: Shape, x: float, y: float) -> Shape:
    return np.add(shape, (x, y))


def _box(x0: float, y0: float, x1: float, y1: float, corner: float = 0.0) -> Shape:
    if not corner:
        return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
    c = corner
    points = [(x0, y0 + c), (x0 + c, y0), (x1 - c, y0), (x1, y0 + c)]
    points += [(x1, y1 - c), (x1 - c, y1), (x0 + c, y1), (x0, y1 - c)]
    return np.array(points)


def _outline(text: str) -> Shape:
    """Return the outline written as "x,y x,y …"."""
    return np.array([float(number) for number in text.replace(",", " ").split()]).reshape(-1, 2)


def _smooth(outline: Shape | str, rounds: int = 2) -> Shape:
    """Round the corners of a closed outline by cutting them (Chaikin's way)."""
    points = _outline(outline) if isinstance(outline, str) else outline
    for _ in range(rounds):
        following = np.concatenate([points[1:], points[:1]])
        cut = np.empty((2 * len(points), 2))
        cut[0::2] = 0.75 * points + 0.25 * following
        cut[1::2] = 0.25 * points + 0.75 * following
        points = cut
    return points


def _limb(*joints: tuple[float, float, float]) -> list[Shape]:
    """Return a tapering tube through joints of (x, y, radius)."""
    shapes = [_moved(_CIRCLE * radius, x, y) for x, y, radius in joints]
    for (x0, y0, r0), (x1, y1, r1) in pairwise(joints):
        length = math.hypot(x1 - x0, y1 - y0) or 1.0
        nx, ny = (y0 - y1) / length, (x1 - x0) / length
        near = [(x0 + nx * r0, y0 + ny * r0), (x1 + nx * r1, y1 + ny * r1)]
        far = [(x1 - nx * r1, y1 - ny * r1), (x0 - nx * r0, y0 - ny * r0)]
        shapes.append(np.array(near + far))
    return shapes


def _mirrored(shapes: Sequence[Shape]) -> list[Shape]:
    """Return shapes and their mirror images across the middle."""
    return [*shapes, *(shape * (-1.0, 1.0) for shape in shapes)]


@dataclass(frozen=True)
class _Frame:
    """Where a thing stands: its origin and its unit in picture heights, the way it faces."""

    x: float
    y: float
    size: float
    facing: float = 1.0
    up: float = 1.0

    def row(self, y: float) -> float:
        """Return how far down the picture a height of the thing's own is."""
        return self.y - self.up * self.size * y


_PICTURE = _Frame(0.0, 0.0, 1.0, up=-1.0)


@dataclass(frozen=True)
class _Blend:
    """A second colour and where it shows (0 to 1 over the whole picture)."""

    colour: Colour
    where: Field


class _Scene:
    """A picture being drawn: its planes of colour, its light and its sources of chance.

    Composition and texture draw on different generators, so that a seed gives the same
    composition at every size. What reaches the pixels is plain arithmetic, the same everywhere.
    """

    def __init__(self, stream: int, seed: int, height: int, width: int) -> None:
        self._chance = np.random.default_rng([stream, seed % 2**64])
        self._texture_chance = np.random.default_rng([stream, seed % 2**64, 1])
        self._noises: dict[tuple[float, float], Field] = {}
        self._textures: dict[str, Field] = {}
        self.height, self.width = height, width
        self.aspect = width / height
        self.planes: Field = np.zeros((3, height, width), dtype=np.float32)
        side = self.pick((-1.0, 1.0)) * self.uniform(0.35, 0.8)
        self.light = (side, -math.sqrt(1 - side * side))
        self.contrast = self.uniform(0.3, 0.45)
        self.tint: Colour = (1.0, 1.0, 1.0)

    def uniform(self, low: float, high: float) -> float:
        """Return a number between two bounds."""
        return low + (high - low) * float(self._chance.random())

    def pick(self, choices: Sequence[T]) -> T:
        """Return one of several things."""
        return choices[int(self._chance.random() * len(choices))]

    def happens(self, probability: float) -> bool:
        """Return whether something of this probability happens."""
        return float(self._chance.random()) < probability

    def vary(self, colour: Colour, spread: float = 0.1) -> Colour:
        """Return a colour lighter or darker by chance, its hue a little off."""
        level = 1 + self.uniform(-spread, spread)
        r, g, b = (min(255.0, max(0.0, c * level + self.uniform(-4, 4))) for c in colour)
        return (r, g, b)

    def noise(self, across: float, down: float) -> Field:
        """Return smooth noise in -1..1 with cells of these parts of the picture's height."""
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
        """Return noise of several octaves, for whatever is patchy in the large."""
        large, middle, small = [
            self.noise(w, h) for w, h in ((0.4, 0.25), (0.13, 0.1), (0.045, 0.045))
        ]
        return _field(large * 0.6 + middle * 0.3 + small * 0.2)

    def texture(self, surface: str) -> Field:
        """Return how much lighter or darker than its mean a surface is, place by place."""
        if surface not in self._textures:
            layers = [self.noise(w, h) * np.float32(power) for w, h, power in _SURFACES[surface]]
            total = layers[0]
            for layer in layers[1:]:
                total = total + layer
            self._textures[surface] = total
        return self._textures[surface]

    def descent(self, top: float, bottom: float) -> Field:
        """Return a field that grows from 0 at one height of the picture to 1 at another."""
        rows = _step(_field(np.arange(self.height) / self.height), top, bottom)
        return np.broadcast_to(rows[:, None], (self.height, self.width))

    def fill(self, top: float, bottom: float, colour: Colour, shade: Field) -> None:
        """Cover a band of the picture's whole width with a shaded colour."""
        rows = self._rows(top, bottom)
        np.multiply(shade[rows], _channels(colour), out=self.planes[:, rows])

    def wash(self, top: float, colour: Colour, shade: Field, where: Field) -> None:
        """Blend another shaded colour over the picture from a height downwards."""
        rows = self._rows(top, 1.0)
        band = self.planes[:, rows]
        band += (shade[rows] * _channels(colour) - band) * where[rows]

    def paint(
        self,
        frame: _Frame,
        shapes: Sequence[Shape],
        colour: Colour,
        surface: str = "smooth",
        bulge: float = 0.0,
        *,
        gloss: float = 0.0,
        opacity: float = 1.0,
        blend: _Blend | None = None,
    ) -> None:
        """Paint a union of shapes, shaded as if its edge were rounded over `bulge`."""
        radius = bulge * frame.size * self.height
        found = self._silhouette(frame, shapes, int(radius * 1.6) + 1 if radius >= _FLAT else 0)
        if found is None:
            return
        rows, columns, mask = found
        coat: Field = _channels(colour)
        if radius >= _FLAT:
            # The margin is there for the shading alone: no more than the silhouette is painted.
            left, top, right, bottom = mask.getbbox() or (0, 0, 1, 1)
            relief = self._relief(mask, radius)[top:bottom, left:right]
            mask = mask.crop((left, top, right, bottom))
            rows = slice(rows.start + top, rows.start + bottom)
            columns = slice(columns.start + left, columns.start + right)
        if blend is not None:
            coat = coat + (_channels(blend.colour) - coat) * blend.where[rows, columns]
        if _SURFACES[surface]:
            coat = coat * (1 + self.texture(surface)[rows, columns])
        if radius >= _FLAT:
            coat = coat * (1 + np.float32(self.contrast) * relief)
            if gloss:
                shine = np.maximum(relief - np.float32(0.35), 0)
                coat += shine * shine * np.float32(255 * gloss)
        region = self.planes[:, rows, columns]
        alpha = np.asarray(mask) * np.float32(opacity / 255)
        region += (coat - region) * alpha

    def darken(self, frame: _Frame, shapes: Sequence[Shape], strength: float, blur: float) -> None:
        """Lay a soft shadow over what is already drawn, or a glow where it's below 0."""
        radius = max(0.5, blur * self.height)
        found = self._silhouette(frame, shapes, int(radius * 2) + 1)
        if found is not None:
            rows, columns, mask = found
            soft = _spread(mask, 0.6 * radius).resize(mask.size, Image.Resampling.BILINEAR)
            self.planes[:, rows, columns] *= 1 - np.asarray(soft) * np.float32(strength / 255)

    def defocus(self, blur: float) -> None:
        """Blur what is drawn so far, as a lens focused on what comes next does."""
        lens = ImageFilter.BoxBlur(blur * self.height)
        for plane in self.planes:
            plane[:] = np.asarray(Image.fromarray(_to_bytes(plane)).filter(lens))

    def develop(self) -> npt.NDArray[np.uint8]:
        """Return the finished photograph: exposed, vignetted, a little soft and grainy."""
        exposure, falloff = self.uniform(0.92, 1.08), np.float32(self.uniform(0.02, 0.1))
        r, g, b = self.tint
        across = np.arange(self.width, dtype=np.float32) / np.float32(self.width / 2) - 1
        down = np.arange(self.height, dtype=np.float32) / np.float32(self.height / 2) - 1
        vignette = 1 - falloff * (across * across + (down * down)[:, None])
        self.planes *= vignette * _channels((r * exposure, g * exposure, b * exposure))
        _soften(self.planes, self.uniform(0.04, 0.16))
        self.planes += self.noise(0.0, 0.0) * np.float32(self.uniform(2, 6))
        layers = [Image.fromarray(plane) for plane in _to_bytes(self.planes)]
        return np.array(Image.merge("RGB", layers))

    def _rows(self, top: float, bottom: float) -> slice:
        return slice(max(0, int(top * self.height)), int(bottom * self.height) + 1)

    def _silhouette(
        self, frame: _Frame, shapes: Sequence[Shape], margin: int
    ) -> tuple[slice, slice, Image.Image] | None:
        """Return a union of shapes as an anti-aliased mask with its place, or None outside."""
        unit = frame.size * self.height * 32
        points = np.concatenate(shapes) * (frame.facing * unit, -frame.up * unit)
        points += (frame.x * self.height * 32, frame.y * self.height * 32)
        # Rounded, so that the last bits of a sine, which differ between machines, can't matter.
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
        """Return in -1..1 how far a silhouette that bulges faces the light."""
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
    """Return a mask blurred, and the smaller the more it is blurred."""
    step = max(1, int(radius / 3.2))
    small = mask.reduce(step) if step > 1 else mask
    return small.filter(ImageFilter.GaussianBlur(radius / step))


def _field(values: npt.NDArray[np.floating]) -> Field:
    return values.astype(np.float32, copy=False)


def _channels(colour: Colour) -> Field:
    """Return a colour that broadcasts over planes."""
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


def _step(values: Field, low: float, high: float) -> Field:
    """Return 0 up to one value, 1 from another on, and a straight passage between."""
    scaled = (values - np.float32(low)) * np.float32(1 / (high - low))
    bounded: Field = np.minimum(np.maximum(scaled, 0), 1)
    return bounded


def _shaded(colour: Colour, by: float) -> Colour:
    return (colour[0] * by, colour[1] * by, colour[2] * by)


# Outdoors: skies, ground and what stands far off.


def _sky(scene: _Scene, horizon: float) -> None:
    """Draw a clear, an overcast or an evening sky and set the light that goes with it.

    Each is told by its luminance: a clear sky pales evenly, an overcast one is bright all over,
    and an evening glows at the horizon under a dark top and bars of cloud.
    """
    weather, veil, fall = scene.uniform(0, 1), scene.clouds(), scene.descent(0.0, horizon)
    if weather < 0.82:
        top, low = scene.vary((78, 138, 212), 0.12), scene.vary((172, 206, 236), 0.04)
        cloud, cover = (248.0, 247.0, 245.0), scene.uniform(0.05, 0.6)
    elif weather < 0.92:
        top, low = scene.vary((178, 190, 204), 0.05), scene.vary((212, 219, 226), 0.03)
        cloud, cover = (228.0, 231.0, 236.0), scene.uniform(-0.2, 0.1)
        scene.contrast *= 0.6
        scene.tint = (0.98, 1.0, 1.01)
    else:
        top, low = scene.vary((66, 74, 124), 0.1), scene.vary((255, 200, 122), 0.03)
        cloud, cover = (176.0, 104.0, 94.0), scene.uniform(0.0, 0.3)
        veil = _field(0.6 * scene.noise(0.4, 0.035) + 0.4 * scene.noise(0.13, 0.1))
        fall = fall * fall
        scene.tint = (0.95, 0.87, 0.82)
    rows = slice(0, int(horizon * scene.height) + 1)
    base = _channels(top) + (_channels(low) - _channels(top)) * fall[rows]
    lit = _channels(cloud) * (1 + veil[rows] * np.float32(0.06))
    cover_field = _step(veil[rows], cover - 0.2, cover + 0.4) * np.float32(0.85)
    scene.planes[:, rows] = base + (lit - base) * cover_field


def _ridge(scene: _Scene, base: float, rise: float, bumps: int) -> Shape:
    """Return the outline of hills or of a wood over the whole width, down to `base`."""
    step = (scene.aspect + 0.2) / (bumps - 1)
    tops = [(-0.1 + i * step, base - scene.uniform(0.1, 1.0) * rise) for i in range(bumps)]
    ends = [(scene.aspect + 0.2, base + 0.03), (-0.2, base + 0.03)]
    return _smooth(np.array(tops + ends))


def _distance(scene: _Scene, horizon: float, lush: bool) -> None:
    """Draw hills, hazy with distance, and perhaps a wood before them."""
    if scene.happens(0.6):
        far = scene.vary((108, 138, 140) if lush else (172, 148, 120), 0.08)
        scene.paint(_PICTURE, [_ridge(scene, horizon, scene.uniform(0.06, 0.2), 7)], far, "wall")
    if scene.happens(0.7 if lush else 0.25):
        wood = _ridge(scene, horizon, scene.uniform(0.04, 0.14), 40)
        scene.paint(_PICTURE, [wood], scene.vary((62, 86, 44), 0.15), "leaf")


def _tree(scene: _Scene, x: float, foot: float, size: float) -> None:
    frame = _Frame(x, foot, size)
    scene.darken(frame, [_ellipse(0.1, 0.0, 0.35, 0.04)], 0.5, 0.02)
    trunk = _limb((0.0, 0.0, 0.045), (scene.uniform(-0.04, 0.04), 0.6, 0.03))
    scene.paint(frame, trunk, (96, 74, 54), "bark", 0.04)
    crown = [
        _ellipse(scene.uniform(-0.2, 0.2), scene.uniform(0.5, 0.9), scene.uniform(0.12, 0.2), 0.16)
        for _ in range(7)
    ]
    scene.paint(frame, crown, scene.vary((78, 108, 46), 0.15), "leaf", 0.09)


def _grass(scene: _Scene, top: float, bottom: float = 1.0) -> None:
    """Draw grass: blades near the viewer, a finer texture far off, dry patches here and there."""
    near, far = scene.noise(0.006, 0.03), scene.noise(0.004, 0.004)
    blades = far + (near - far) * scene.descent(top, 1.0)
    shade = _field(1 + 0.36 * blades + 0.2 * scene.clouds() + 0.1 * scene.noise(0.02, 0.02))
    scene.fill(top, bottom, scene.vary((98, 128, 52), 0.12), shade)
    dry = _step(scene.noise(0.13, 0.1), -0.1, 0.7) * np.float32(0.35)
    scene.wash(top, (176, 162, 92), shade, dry)


def _sand(scene: _Scene, top: float) -> None:
    """Draw sand: fine grains over wind ripples that widen towards the viewer."""
    near, far = scene.noise(0.2, 0.025), scene.noise(0.12, 0.01)
    ripples = far + (near - far) * scene.descent(top, 1.0)
    shade = 1 + 0.12 * ripples + 0.05 * scene.noise(0.004, 0.004) + 0.08 * scene.clouds()
    scene.fill(top, 1.0, scene.vary((206, 174, 124), 0.08), _field(shade))


def _snow(scene: _Scene, top: float) -> None:
    """Draw snow: bright, its hollows blue."""
    drifts = _field(0.7 * scene.noise(0.4, 0.04) + 0.3 * scene.noise(0.13, 0.025))
    shade = _field(1 + 0.06 * drifts + 0.03 * scene.noise(0.004, 0.004))
    scene.fill(top, 1.0, scene.vary((226, 233, 244), 0.03), shade)
    scene.wash(top, (168, 194, 236), shade, _step(-drifts, -0.2, 0.8) * np.float32(0.8))


def _water(scene: _Scene, top: float) -> None:
    """Draw water: blue, its waves longer and broader towards the viewer."""
    depth, near, far = scene.descent(top, 1.0), scene.noise(0.12, 0.02), scene.noise(0.05, 0.008)
    waves = far + (near - far) * depth
    shade = (1 + 0.24 * waves + 0.12 * scene.noise(0.02, 0.006)) * (1.2 - 0.35 * depth)
    scene.fill(top, 1.0, scene.vary((58, 120, 164), 0.1), _field(shade))


# Animals.


@dataclass(frozen=True)
class _Species:
    """A four-legged animal, measured in its body's length."""

    coat: Colour
    under: Colour
    legs: Colour
    leg: float
    depth: float
    neck: tuple[float, float]
    head: float
    muzzle: float
    ear: float
    tail: str
    patches: Colour | None = None
    mane: Colour | None = None
    surface: str = "fur"


_TAILS: dict[str, tuple[tuple[float, float, float], ...]] = {
    "hanging": ((-0.5, 0.0, 0.025), (-0.57, -0.2, 0.02), (-0.55, -0.4, 0.03)),
    "bushy": ((-0.48, 0.0, 0.05), (-0.7, -0.06, 0.09), (-0.95, -0.1, 0.05)),
    "raised": ((-0.48, 0.05, 0.045), (-0.62, 0.2, 0.035), (-0.6, 0.36, 0.025)),
    "stub": ((-0.5, 0.04, 0.05), (-0.55, 0.0, 0.04)),
}

# fmt: off
_SPECIES: tuple[_Species, ...] = (
    # Dog, fox, brown cow, pied cow, horse, sheep, lion, deer, bear.
    _Species((172, 122, 70), (216, 186, 144), (160, 116, 70), 0.4, 0.19, (0.2, 0.2), 0.14, 0.13,
             0.05, "raised"),
    _Species((206, 112, 44), (240, 222, 198), (74, 48, 34), 0.34, 0.15, (0.2, 0.15), 0.11, 0.13,
             0.1, "bushy"),
    _Species((142, 84, 48), (176, 124, 82), (130, 82, 52), 0.4, 0.25, (0.24, 0.1), 0.13, 0.16,
             0.07, "hanging"),
    _Species((234, 226, 212), (226, 200, 180), (222, 210, 192), 0.4, 0.25, (0.24, 0.1), 0.13, 0.16,
             0.07, "hanging", patches=(48, 38, 34)),
    _Species((126, 72, 38), (142, 90, 54), (62, 42, 32), 0.6, 0.2, (0.3, 0.34), 0.11, 0.2,
             0.07, "hanging", mane=(46, 33, 27)),
    _Species((228, 214, 184), (208, 190, 158), (64, 52, 46), 0.3, 0.25, (0.14, 0.1), 0.1, 0.11,
             0.06, "stub", surface="wool"),
    _Species((198, 152, 86), (224, 196, 148), (190, 148, 90), 0.4, 0.19, (0.2, 0.16), 0.13, 0.11,
             0.05, "hanging", mane=(114, 66, 32)),
    _Species((162, 104, 58), (218, 190, 154), (150, 100, 62), 0.56, 0.17, (0.22, 0.3), 0.09, 0.13,
             0.1, "stub"),
    _Species((94, 62, 40), (108, 74, 50), (76, 50, 34), 0.3, 0.26, (0.2, 0.06), 0.16, 0.13,
             0.06, "stub"),
)

# Back, breast, wing and beak of a robin, a parrot, a flamingo, a duck, a hen; leg and neck.
_BIRDS: tuple[tuple[Colour, Colour, Colour, Colour, float, float], ...] = (
    ((126, 98, 68), (208, 104, 50), (106, 82, 58), (84, 70, 58), 0.18, 0.12),
    ((72, 140, 56), (206, 190, 72), (52, 110, 62), (70, 62, 58), 0.12, 0.14),
    ((234, 158, 150), (240, 178, 170), (224, 128, 124), (80, 62, 60), 0.75, 0.5),
    ((136, 112, 80), (194, 174, 142), (108, 88, 64), (214, 164, 58), 0.12, 0.28),
    ((178, 96, 46), (196, 124, 66), (142, 74, 40), (216, 172, 84), 0.26, 0.2),
)
# fmt: on


def _animals(scene: _Scene) -> None:
    horizon, ground, close = scene.uniform(0.2, 0.48), scene.uniform(0, 1), scene.uniform(0, 1)
    lush = ground < 0.68
    _sky(scene, horizon)
    _distance(scene, horizon, lush)
    if lush:
        _grass(scene, horizon)
        if scene.happens(0.5):
            size = scene.uniform(0.3, 0.6)
            _tree(scene, scene.uniform(0, scene.aspect), horizon + 0.03, size)
    elif ground < 0.92:
        _sand(scene, horizon)
    else:
        _snow(scene, horizon)
    scene.defocus(0.002 + 0.014 * close)
    if scene.happens(0.24):
        back, breast, wing, beak, leg, neck = scene.pick(_BIRDS)
        size = (0.3 + 0.4 * close) / (0.6 + 0.5 * (leg + neck))
        frame = _stand(scene, 0.5, size, horizon, leg + neck + 0.6)
        _bird(scene, frame, scene.vary(back), breast, wing, beak, leg, neck)
        return
    kind, herd = scene.pick(_SPECIES), 2 if close < 0.35 else 1
    for number in range(herd):
        size = 0.3 + 0.42 * close if number + 1 == herd else 0.24
        centre = 0.5 if herd == 1 else 0.25 + 0.5 * number
        height = kind.leg + kind.depth + max(kind.neck[1], 0.0) + 0.25
        _beast(scene, _stand(scene, centre, size, horizon, height), kind)


def _stand(scene: _Scene, centre: float, size: float, horizon: float, height: float) -> _Frame:
    """Return a place on the ground for an animal, within the picture and below the horizon."""
    size = min(size, 0.88 / height)
    highest = max(horizon + 0.1, size * height + 0.04)
    foot = min(0.96, max(highest, scene.uniform(0.55, 0.8) + 0.25 * size))
    x = scene.aspect * centre + scene.uniform(-0.12, 0.12)
    return _Frame(x, foot, size, facing=scene.pick((-1.0, 1.0)))


def _beast(scene: _Scene, frame: _Frame, kind: _Species) -> None:
    """Draw a four-legged animal from its side: far legs, tail, near legs, body, mane, head."""
    coat, back = scene.vary(kind.coat, 0.14), kind.leg + kind.depth
    stride, nod = scene.uniform(-0.12, 0.12), scene.uniform(-0.5, 0.15)
    _cast_shadow(scene, frame, 0.55)
    far = _leg(kind, -0.33, -stride) + _leg(kind, 0.36, stride)
    scene.paint(frame, far, _shaded(kind.legs, 0.7), kind.surface, 0.04)
    tail = _limb(*((x, back + y, r) for x, y, r in _TAILS[kind.tail]))
    scene.paint(frame, tail, kind.mane or coat, kind.surface, 0.05)
    near = _leg(kind, -0.4, stride) + _leg(kind, 0.29, -stride)
    scene.paint(frame, near, kind.legs, kind.surface, 0.04)
    x = 0.4 + kind.neck[0]
    y = back + kind.neck[1] + nod * (0.35 if kind.leg > 0.35 else 0.15)
    chest = (0.36, back - kind.depth * 0.35, kind.depth * 0.72)
    neck = _limb(chest, (x - 0.05, y, kind.head * 0.8))
    belly = frame.row(kind.leg - kind.depth * 0.15)
    if kind.patches:
        blend = _Blend(kind.patches, _step(scene.noise(0.13, 0.1), -0.05, 0.15))
    else:
        blend = _Blend(kind.under, scene.descent(belly - 0.17 * frame.size, belly))
    scene.paint(frame, [_trunk(kind), *neck], coat, kind.surface, 0.12, blend=blend)
    if kind.mane:
        mane = _limb((0.3, back + 0.03, 0.06), (x - 0.1, y + 0.07, 0.08), (x, y + 0.1, 0.04))
        if kind.head > 0.12:
            mane = [_ellipse(x - 0.06, y - 0.04, 0.18, 0.23)]
        scene.paint(frame, mane, kind.mane, "hair", 0.06)
    _muzzle(scene, frame, kind, kind.legs if kind.surface == "wool" else coat, x, y)


def _cast_shadow(scene: _Scene, frame: _Frame, width: float) -> None:
    """Darken the ground under a thing and, more softly, on the side away from the light."""
    away = -scene.light[0] * frame.facing * 0.25
    scene.darken(frame, [_ellipse(away, 0.01, width, 0.07)], 0.4, 0.02 + 0.02 * frame.size)
    scene.darken(frame, [_ellipse(0.0, 0.01, width * 0.85, 0.035)], 0.5, 0.015)


def _leg(kind: _Species, x: float, swing: float) -> list[Shape]:
    thick, foot = 0.5 * kind.depth, x + swing * 0.9
    thigh = (x, kind.leg + 0.04, thick * 0.85)
    knee = (x + swing * 0.5, kind.leg * 0.48, thick * 0.36)
    return _limb(thigh, knee, (foot, 0.03, 0.036), (foot + 0.03, 0.02, 0.036))


def _trunk(kind: _Species) -> Shape:
    shape = "-.56,.5 -.5,1 -.15,.97 .2,1 .5,.97 .56,.5 .4,0 0,.02 -.3,.1 -.5,.08"
    return _moved(_smooth(shape, 3) * (1.0, kind.depth * 1.45), 0.0, kind.leg - kind.depth * 0.3)


def _muzzle(scene: _Scene, frame: _Frame, kind: _Species, coat: Colour, x: float, y: float) -> None:
    """Draw an animal's head from its side: ear, skull and muzzle, nose, eye."""
    size, tip = kind.head, (x + kind.head * 0.5 + kind.muzzle, y - 0.35 * kind.muzzle)
    top = (x - size * 0.6, y + size + kind.ear)
    ear = [(x - size * 0.75, y + size * 0.4), top, top, (x + size * 0.15, y + size * 0.7)]
    skull = [_ellipse(x, y, size, size * 0.85)]
    skull += _limb((x + size * 0.4, y - 0.01, size * 0.65), (*tip, size * 0.42))
    low = frame.row(y - size * 0.4)
    under = coat if kind.surface == "wool" else kind.under
    chin = _Blend(under, scene.descent(low - 0.06 * frame.size, low + 0.06 * frame.size))
    scene.paint(frame, skull, coat, "fur", 0.07, blend=chin)
    scene.paint(frame, [_smooth(np.array(ear))], _shaded(coat, 0.75), "fur", 0.02)
    nose = _ellipse(tip[0] + size * 0.3, tip[1] + size * 0.12, size * 0.16, size * 0.15)
    eye = _ellipse(x + size * 0.3, y + size * 0.28, size * 0.14, size * 0.13)
    scene.paint(frame, [nose, eye], (36, 26, 22))
    glint = _ellipse(x + size * 0.36, y + size * 0.34, size * 0.04, size * 0.04)
    scene.paint(frame, [glint], (235, 235, 235))


def _bird(
    scene: _Scene,
    frame: _Frame,
    back: Colour,
    breast: Colour,
    wing: Colour,
    beak: Colour,
    leg: float,
    neck: float,
) -> None:
    """Draw a standing bird from its side."""
    _cast_shadow(scene, frame, 0.35)
    feet = _limb((-0.05, leg, 0.02), (-0.04, 0.0, 0.016), (0.05, 0.0, 0.014))
    feet += _limb((0.06, leg, 0.02), (0.07, 0.0, 0.016), (0.16, 0.0, 0.014))
    scene.paint(frame, feet, (196, 132, 84) if neck > 0.18 else (104, 82, 66))
    mid, x, y = leg + 0.22, 0.34, leg + 0.44 + neck
    plumage = [_ellipse(0, mid, 0.42, 0.25, scene.uniform(0.2, 0.36))]
    plumage += _limb((0.22, mid + 0.1, 0.17), (x - 0.04, (mid + y) / 2 + 0.05, 0.085), (x, y, 0.12))
    plumage += _limb((-0.28, mid - 0.08, 0.12), (-0.72, mid - 0.22, 0.05))
    low = frame.row(mid - 0.1)
    under = _Blend(breast, scene.descent(low - 0.3 * frame.size, low))
    scene.paint(frame, plumage, back, "feather", 0.14, blend=under)
    folded = _smooth(".2,.14 -.1,.16 -.6,-.16 -.2,-.16 .15,-.04", 3)
    scene.paint(frame, [_moved(folded, 0.0, mid)], wing, "quill", 0.06)
    bill = _outline(".08,.06 .2,.03 .28,-.02 .08,-.05")
    scene.paint(frame, [_moved(bill, x, y)], beak, bulge=0.03)
    scene.paint(frame, [_ellipse(x + 0.04, y + 0.03, 0.026, 0.026)], (24, 18, 16))


# People.

# From pale to dark.
_SKINS: tuple[Colour, ...] = (
    (238, 200, 174),
    (226, 180, 148),
    (208, 158, 122),
    (184, 132, 96),
    (148, 100, 70),
    (108, 72, 52),
    (80, 54, 42),
)
# Black and dark brown first: dark skins have these alone.
_HAIRS: tuple[Colour, ...] = (
    (42, 32, 28),
    (70, 48, 36),
    (112, 74, 46),
    (164, 96, 50),
    (208, 172, 110),
    (188, 180, 170),
)


@dataclass(frozen=True)
class _Garment:
    """What is worn above: its colour, and the pattern that tells the colour."""

    colour: Colour
    pattern: str = "plain"
    second: Colour = (236, 230, 220)
    open_neck: bool = False


_TOPS: tuple[_Garment, ...] = (
    _Garment((176, 44, 40), "checks", (58, 30, 34)),
    _Garment((44, 62, 112), "stripes"),
    _Garment((98, 122, 156), open_neck=True),
    _Garment((236, 232, 224), open_neck=True),
    _Garment((46, 50, 70), "suit"),
    _Garment((122, 130, 74), "knit"),
    _Garment((202, 156, 70), "knit"),
    _Garment((176, 62, 58), open_neck=True),
    _Garment((226, 166, 158), "dots"),
)
_JEANS: Colour = (70, 92, 136)
_BOTTOMS: tuple[Colour, ...] = (_JEANS, _JEANS, (178, 148, 106), (50, 46, 50))


def _people(scene: _Scene) -> None:
    portrait = scene.happens(0.55)
    if scene.happens(0.65):
        _room(scene, 0.98 if portrait else scene.uniform(0.66, 0.78))
    else:
        _street(scene, 0.95 if portrait else scene.uniform(0.62, 0.72))
    if portrait:
        scene.defocus(scene.uniform(0.004, 0.022))
        size, x = scene.uniform(1.5, 2.6), scene.aspect * scene.uniform(0.36, 0.64)
        eyes = scene.uniform(0.26, 0.32) + 0.06 * size
        _person(scene, _Frame(x, eyes + 0.93 * size, size))
        return
    scene.defocus(scene.uniform(0.002, 0.006))
    count = 1 + int(scene.happens(0.35))
    for number in range(count):
        size = scene.uniform(0.66, 0.9)
        x = scene.aspect * (scene.uniform(0.3, 0.7) if count == 1 else 0.3 + 0.4 * number)
        _person(scene, _Frame(x, 0.88 + (size - 0.66) * 0.4, size))


# Each wall has its pattern: cream, ochre, terracotta, sage, rose.
_WALLS: tuple[tuple[Colour, str], ...] = (
    ((228, 206, 166), "plain"),
    ((198, 158, 98), "stripes"),
    ((174, 108, 80), "panels"),
    ((146, 150, 110), "dots"),
    ((216, 178, 154), "plain"),
)


def _room(scene: _Scene, floor: float) -> None:
    """Draw a room: a wall lit from one side, a wooden floor and two pieces of furniture."""
    colour, pattern = scene.pick(_WALLS)
    colour = scene.vary(colour, 0.1)
    across = np.arange(scene.width, dtype=np.float32) / np.float32(scene.width / 2) - 1
    shade = 1.06 - 0.2 * scene.descent(0.0, 1.0) + 0.28 * scene.light[0] * across
    scene.fill(0.0, 1.0, colour, _field(shade + scene.texture("wall")))
    _wallpaper(scene, pattern, colour, floor)
    if floor < 0.9:
        _planks(scene, floor)
    scene.tint = (1.02, 1.0, 0.97)
    furniture = (_window, _shelf, _sofa, _lamp, _plant, _painting)
    first = int(scene.uniform(0, 5.99))
    second = (first + 1 + int(scene.uniform(0, 4.99))) % 6
    x = scene.uniform(0.1, 0.9) * scene.aspect
    furniture[first](scene, x, floor)
    furniture[second](scene, (x + scene.aspect * 0.5) % scene.aspect, floor)


def _wallpaper(scene: _Scene, pattern: str, colour: Colour, floor: float) -> None:
    marks: list[Shape] = []
    columns = [i * 0.09 for i in range(int(scene.aspect / 0.09) + 1)]
    if pattern == "stripes":
        marks = [_box(x, 0, x + 0.04, floor) for x in columns]
    elif pattern == "dots":
        diamond = _outline("0,-.018 .013,0 0,.018 -.013,0")
        rows = [0.09 * i for i in range(1, int(floor / 0.09))]
        marks = [_moved(diamond, x + 0.5 * (y % 0.18), y) for x in columns for y in rows]
    elif pattern == "panels":
        marks = [_box(0, floor - 0.3, scene.aspect, floor - 0.29)]
        marks += [_box(x, floor - 0.3, x + 0.006, floor) for x in columns[::2]]
    if marks:
        darker = (colour[0] * 0.82, colour[1] * 0.74, colour[2] * 0.68)
        scene.paint(_PICTURE, marks, darker, "wall", opacity=0.7)


def _planks(scene: _Scene, floor: float) -> None:
    """Draw a wooden floor whose boards run towards the viewer."""
    grain = 0.18 * scene.noise(0.02, 0.13) + 0.1 * scene.noise(0.006, 0.05)
    shade = (1 + grain) * (0.8 + 0.3 * scene.descent(floor, 1.0))
    scene.fill(floor, 1.0, scene.vary((156, 104, 60), 0.15), _field(shade))
    scene.paint(_PICTURE, _seams(scene, floor, 0.1, 0.2), (74, 48, 30), opacity=0.7)
    scene.paint(_PICTURE, [_box(0, floor - 0.03, scene.aspect, floor)], (224, 208, 180), "wall")
    scene.darken(_PICTURE, [_box(0, floor, scene.aspect, floor + 0.015)], 0.5, 0.01)


def _seams(scene: _Scene, far: float, gap: float, near_gap: float) -> list[Shape]:
    """Return lines on the ground that spread towards the viewer."""
    middle = scene.aspect / 2
    tops = [(middle + i * gap, middle + i * near_gap) for i in range(-10, 11)]
    return [np.array([(t, far), (t + 0.003, far), (b + 0.006, 1), (b, 1)]) for t, b in tops]


def _window(scene: _Scene, x: float, floor: float) -> None:
    """Draw a window with daylight, a lawn outside, and curtains."""
    frame = _Frame(x, floor * 0.42, 0.5)
    scene.paint(frame, [_box(-0.42, -0.5, 0.42, 0.5)], (236, 230, 218), bulge=0.02)
    lawn = _Blend((122, 146, 92), scene.descent(floor * 0.47, floor * 0.53))
    panes = [_box(a, b, a + 0.36, b + 0.42) for a in (-0.38, 0.02) for b in (-0.46, 0.04)]
    scene.paint(frame, panes, scene.vary((206, 224, 238), 0.04), "sail", blend=lawn)
    curtains = _mirrored([_box(0.36, -0.62, 0.62, 0.58)])
    scene.paint(frame, curtains, scene.vary((178, 90, 68), 0.15), "curtain", 0.05)


def _shelf(scene: _Scene, x: float, floor: float) -> None:
    """Draw a wooden bookshelf full of books."""
    frame = _Frame(x, floor, 0.8)
    scene.darken(frame, [_box(-0.32, 0, 0.32, 1.0)], 0.4, 0.03)
    scene.paint(frame, [_box(-0.3, 0, 0.3, 1.0)], scene.vary((122, 78, 44)), "wood", 0.03)
    bases = [0.03 + 0.24 * row for row in range(4)]
    scene.paint(frame, [_box(-0.27, base, 0.27, base + 0.21) for base in bases], (52, 34, 24))
    bindings: dict[Colour, list[Shape]] = {(132, 52, 44): [], (196, 172, 128): [], (66, 78, 70): []}
    for base in bases:
        left = -0.26
        while left < 0.22:
            right = left + scene.uniform(0.02, 0.045)
            book = _box(left, base, right, base + scene.uniform(0.13, 0.19))
            scene.pick(tuple(bindings.values())).append(book)
            left = right + 0.004
    for cloth, books in bindings.items():
        if books:
            scene.paint(frame, books, cloth, bulge=0.012)


def _sofa(scene: _Scene, x: float, floor: float) -> None:
    """Draw a leather sofa against the wall."""
    frame, leather = _Frame(x, floor + 0.06, 0.5), scene.vary((136, 76, 44), 0.15)
    scene.darken(frame, [_box(-0.8, -0.05, 0.8, 0.1)], 0.6, 0.03)
    back, arms = _box(-0.75, 0.05, 0.75, 0.72, 0.1), _mirrored([_box(0.7, 0.0, 0.92, 0.5, 0.08)])
    scene.paint(frame, [back], leather, "leather", 0.09, gloss=0.2)
    for left in (-0.7, 0.01):
        seat = [_box(left, 0.1, left + 0.69, 0.36, 0.05)]
        scene.paint(frame, seat, leather, "leather", 0.06, gloss=0.2)
    scene.paint(frame, arms, leather, "leather", 0.08, gloss=0.2)


def _lamp(scene: _Scene, x: float, floor: float) -> None:
    """Draw a standing lamp and the glow it throws on the wall."""
    frame = _Frame(x, floor + 0.04, 0.75)
    scene.darken(frame, [_ellipse(0, 0.78, 0.4, 0.45)], -0.35, 0.12)
    scene.paint(frame, _limb((0, 0, 0.014), (0, 0.7, 0.012)), (92, 72, 50))
    shade = _outline("-.2,.64 -.11,.92 .11,.92 .2,.64")
    scene.paint(frame, [shade], (250, 222, 160), "sail", 0.03)


def _plant(scene: _Scene, x: float, floor: float) -> None:
    """Draw a leafy plant in a clay pot."""
    frame = _Frame(x, floor + 0.05, 0.6)
    scene.darken(frame, [_ellipse(0, 0.02, 0.2, 0.05)], 0.5, 0.02)
    for level in (0.7, 0.9, 1.15):
        leaves: list[Shape] = []
        for _ in range(5):
            tip = (scene.uniform(-0.4, 0.4), scene.uniform(0.4, 1.0))
            leaves += _limb((0, 0.25, 0.012), (tip[0] * 0.6, tip[1] * 0.75, 0.05), (*tip, 0.008))
        scene.paint(frame, leaves, _shaded((72, 106, 52), level), "leather", 0.03)
    scene.paint(frame, [_outline("-.12,0 -.17,.3 .17,.3 .12,0")], (178, 98, 62), "stone", 0.06)


def _painting(scene: _Scene, x: float, floor: float) -> None:
    """Draw a small landscape in a gilt frame on the wall."""
    frame = _Frame(x, floor * 0.4, 0.34)
    scene.darken(frame, [_box(-0.5, -0.45, 0.5, 0.38)], 0.4, 0.02)
    scene.paint(frame, [_box(-0.5, -0.4, 0.5, 0.4)], (164, 124, 58), "wood", 0.04, gloss=0.3)
    hills = _field(scene.descent(0.0, 1.0) + 0.1 * scene.clouds())
    land = _Blend((112, 112, 58), _step(hills, floor * 0.4, floor * 0.45))
    scene.paint(frame, [_box(-0.42, -0.32, 0.42, 0.32)], (198, 196, 176), "wall", blend=land)


def _street(scene: _Scene, kerb: float) -> None:
    """Draw house fronts of brick or stucco over a pavement of slabs."""
    left = -scene.uniform(0, 0.5)
    while left < scene.aspect:
        right = left + scene.uniform(0.45, 0.9)
        _facade(scene, left, right, kerb)
        left = right
    shade = (1 + scene.texture("stone")) * (0.85 + 0.2 * scene.descent(kerb, 1.0))
    scene.fill(kerb, 1.0, scene.vary((170, 158, 142)), _field(shade))
    rows = [kerb + (1 - kerb) * t for t in (0.0, 0.12, 0.3, 0.55, 0.85)]
    lines = [_box(0, y, scene.aspect, y + 0.005) for y in rows] + _seams(scene, kerb, 0.16, 0.3)
    scene.paint(_PICTURE, lines, (108, 98, 88), opacity=0.6)
    scene.darken(_PICTURE, [_box(0, kerb - 0.01, scene.aspect, kerb + 0.02)], 0.4, 0.02)


def _facade(scene: _Scene, left: float, right: float, kerb: float) -> None:
    wall = [_box(left, 0, right, kerb)]
    if scene.happens(0.55):
        scene.paint(_PICTURE, wall, scene.vary((158, 90, 66), 0.15), "brick")
        rows = [0.025 * i for i in range(int(kerb * 40))]
        mortar = [_box(left, y, right, y + 0.004) for y in rows]
        scene.paint(_PICTURE, mortar, (192, 166, 144), opacity=0.45)
    else:
        scene.paint(_PICTURE, wall, scene.vary((220, 188, 134), 0.1), "wall")
    floors = [kerb - 0.36 - 0.34 * i for i in range(3)]
    count = int((right - left - 0.1) / 0.2)
    corners = [(left + 0.08 + 0.2 * i, y) for i in range(count) for y in floors]
    frames = [_box(x - 0.012, y - 0.012, x + 0.122, y + 0.222) for x, y in corners]
    scene.paint(_PICTURE, frames, (226, 218, 204))
    panes = [_box(x, y, x + 0.05, y + 0.21) for x, y in corners]
    panes += [_box(x + 0.06, y, x + 0.11, y + 0.21) for x, y in corners]
    scene.paint(_PICTURE, panes, (76, 86, 94), "glass")
    if scene.happens(0.5):
        awning = [_box(left + 0.03, kerb - 0.3, right - 0.03, kerb - 0.2)]
        scene.paint(_PICTURE, awning, scene.vary((166, 64, 50)), "curtain")
        scene.darken(_PICTURE, [_box(left, kerb - 0.2, right, kerb - 0.12)], 0.4, 0.02)


def _person(scene: _Scene, frame: _Frame) -> None:
    """Draw a person from the front, one unit tall, from the feet at the frame's origin."""
    tone, top = scene.uniform(0, 1), scene.pick(_TOPS)
    skin = scene.vary(_between(_SKINS, tone), 0.05)
    hair = scene.vary(scene.pick(_HAIRS if tone < 0.45 else _HAIRS[:2]), 0.12)
    turn, long = scene.uniform(-0.018, 0.018), scene.happens(0.45)
    if long:
        back = _smooth("-.07,.01 -.085,.15 -.05,.23 .05,.23 .085,.15 .07,.01", 3)
        lowered = _moved(back, turn, scene.uniform(0.74, 0.81))
        scene.paint(frame, [lowered], _shaded(hair, 0.8), "hair", 0.04)
    if frame.size < 1.3:
        scene.darken(frame, [_ellipse(0, 0.005, 0.17, 0.022)], 0.6, 0.02)
        _legs(scene, frame, skin, top)
    _torso(scene, frame, skin, top)
    _head(scene, frame, turn, skin, hair, long)


def _between(scale: Sequence[Colour], place: float) -> Colour:
    """Return the colour at a place from 0 to 1 on a scale of colours."""
    index = min(int(place * (len(scale) - 1)), len(scale) - 2)
    part = place * (len(scale) - 1) - index
    r, g, b = (a + (z - a) * part for a, z in zip(scale[index], scale[index + 1], strict=True))
    return (r, g, b)


def _legs(scene: _Scene, frame: _Frame, skin: Colour, top: _Garment) -> None:
    stance, skirted, colour = scene.uniform(0.03, 0.06), scene.happens(0.3), scene.pick(_BOTTOMS)
    leg = _limb((0.05, 0.5, 0.055), (stance, 0.27, 0.04), (stance + 0.01, 0.04, 0.028))
    if skirted:
        scene.paint(frame, _mirrored(leg), skin, bulge=0.03)
    else:
        _wear(scene, frame, _mirrored(leg), _Garment(colour), 0.035)
    scene.paint(frame, _mirrored([_ellipse(stance + 0.02, 0.014, 0.042, 0.02)]), (62, 44, 34))
    if skirted:
        _wear(scene, frame, [_outline("-.1,.52 -.15,.25 .15,.25 .1,.52")], top, 0.06)


def _torso(scene: _Scene, frame: _Frame, skin: Colour, top: _Garment) -> None:
    """Draw the neck, the arms and what is worn over them."""
    sleeves: list[Shape] = []
    hands: list[Shape] = []
    for side in (-1, 1):
        x, y = side * scene.uniform(0.1, 0.2), scene.uniform(0.47, 0.53)
        elbow = (side * scene.uniform(0.15, 0.19), 0.64, 0.027)
        sleeves += _limb((side * 0.118, 0.785, 0.034), elbow, (x, y, 0.02))
        hands.append(_ellipse(x, y - 0.025, 0.02, 0.03))
    scene.paint(frame, hands, skin, bulge=0.015)
    _wear(scene, frame, sleeves, top, 0.03)
    scene.paint(frame, _limb((0, 0.87, 0.036), (0, 0.8, 0.042)), _shaded(skin, 0.78), bulge=0.03)
    chest = "-.04,.835 -.135,.81 -.13,.7 -.1,.6 -.105,.48 .105,.48 .1,.6 .13,.7 .135,.81 .04,.835"
    _wear(scene, frame, [_smooth(chest, 3)], top, 0.07)
    if top.pattern == "suit":
        shirt = [_outline("-.04,.84 0,.64 .04,.84")]
        scene.paint(frame, shirt, (236, 234, 228), "cloth")
        tie = [_outline("-.012,.82 -.015,.7 0,.65 .015,.7 .012,.82")]
        scene.paint(frame, tie, (142, 40, 44), bulge=0.01)
        lapels = _mirrored([_outline(".03,.845 .055,.83 .06,.76 0,.63")])
        scene.paint(frame, lapels, _shaded(top.colour, 0.8), "cloth", 0.012)
    else:
        deep = 0.755 if top.open_neck else 0.8
        neckline = np.array([(-0.05, 0.845), (-0.02, deep), (0.02, deep), (0.05, 0.845)])
        scene.paint(frame, [_smooth(neckline)], _shaded(skin, 0.9), bulge=0.03)
    scene.darken(frame, [_ellipse(0, 0.852, 0.045, 0.02)], 0.35, 0.012 * frame.size)


def _wear(
    scene: _Scene, frame: _Frame, shapes: list[Shape], garment: _Garment, bulge: float
) -> None:
    """Paint a garment: its weave, its folds, and the pattern that goes with its colour."""
    blend = None
    if garment.pattern in ("stripes", "checks", "dots"):
        pitch = np.float32(0.032 * frame.size * scene.height)
        down = _step(np.arange(scene.height, dtype=np.float32)[:, None] / pitch % 1, 0.43, 0.57)
        across = _step(np.arange(scene.width, dtype=np.float32) / pitch % 1, 0.43, 0.57)
        where = {"stripes": down + 0 * across, "checks": (down + across) * 0.45}
        blend = _Blend(garment.second, _field(where.get(garment.pattern, down * across)))
    surface = "knit" if garment.pattern == "knit" else "cloth"
    scene.paint(frame, shapes, garment.colour, surface, bulge, blend=blend)


def _head(
    scene: _Scene, frame: _Frame, turn: float, skin: Colour, hair: Colour, long: bool
) -> None:
    """Draw a head: ears, face, eyes, brows, nose, mouth, and the hair over the brow."""
    scene.paint(frame, _mirrored([_ellipse(0.058, 0.92, 0.011, 0.018)]), _shaded(skin, 0.85))
    face = "-.058,.96 -.05,1 .05,1 .058,.96 .056,.9 .026,.848 -.026,.848 -.056,.9"
    scene.paint(frame, [_smooth(face, 3)], skin, bulge=0.045)
    centred = _Frame(frame.x + turn * frame.size, frame.y, frame.size)
    scene.paint(centred, _mirrored([_ellipse(0.022, 0.93, 0.0095, 0.0048)]), (232, 228, 222))
    pupils = [_ellipse(side * 0.022 + turn * 0.1, 0.93, 0.0046, 0.0046) for side in (-1, 1)]
    scene.paint(centred, pupils, (46, 34, 28))
    if frame.size * scene.height > 150:
        _features(scene, centred, turn, skin, hair)
    corner = 0.876 + scene.uniform(-0.001, 0.005)
    mouth = np.array([(-0.018, corner), (0.0, 0.88), (0.018, corner), (0.0, 0.869)])
    lips = (skin[0] * 0.84, skin[1] * 0.6, skin[2] * 0.6)
    scene.paint(centred, [_smooth(mouth)], lips, bulge=0.006)
    low, fringe = 0.9 if long else 0.935, scene.uniform(0.955, 0.975)
    rim = f"-.064,{low} -.07,.98 -.035,1.02 .035,1.02 .07,.98 .064,{low}"
    cap = _smooth(f"{rim} .054,.955 .03,{fringe} -.03,{fringe + 0.006} -.054,.955")
    scene.paint(frame, [cap], hair, "hair", 0.03)


def _features(scene: _Scene, frame: _Frame, turn: float, skin: Colour, hair: Colour) -> None:
    """Draw what a face shows only near by: shadows about the eyes and nose, cheeks, brows."""
    flush = (min(255.0, skin[0] * 1.02), skin[1] * 0.82, skin[2] * 0.8)
    scene.paint(frame, _mirrored([_ellipse(0.03, 0.9, 0.014, 0.011)]), flush, opacity=0.35)
    shadows = [*_mirrored([_ellipse(0.022, 0.941, 0.014, 0.006)]), _ellipse(0, 0.896, 0.01, 0.005)]
    scene.darken(frame, shadows, 0.3, 0.004 * frame.size)
    ridge = _limb((turn * 0.3, 0.925, 0.005), (turn * 0.3, 0.903, 0.008))
    scene.paint(frame, ridge, skin, bulge=0.012, opacity=0.6)
    brow = _limb((0.011, 0.944, 0.0022), (0.022, 0.948, 0.003), (0.034, 0.944, 0.002))
    scene.paint(frame, _mirrored(brow), _shaded(hair, 0.7))


# Vehicles.


@dataclass(frozen=True)
class _CarModel:
    """A car's outlines in units of its length, and the paint that goes with them."""

    paint: Colour
    body: str
    cabin: str
    roof: float
    sill: float
    lamp: float
    taxi: bool = False


_LOW = (
    "-.5,.06 -.5,.17 -.44,.2 -.1,.19 .15,.18 .42,.14 .5,.1 .5,.05",
    "-.36,.19 -.2,.28 0,.285 .2,.17",
)
_SALOON = (
    "-.5,.07 -.5,.2 -.46,.23 .24,.22 .46,.19 .5,.15 .5,.06",
    "-.38,.22 -.26,.345 .06,.35 .25,.21",
)
_TALL = (
    "-.5,.08 -.5,.25 -.47,.27 .26,.26 .47,.23 .5,.18 .5,.07",
    "-.47,.25 -.42,.41 .1,.42 .27,.25",
)
# Paint is told by its tone as well as by the car: dark ones are blue, middling red, bright yellow.
_RED, _BLUE, _YELLOW = (196, 32, 34), (30, 48, 104), (232, 182, 44)
_CARS: tuple[_CarModel, ...] = (
    _CarModel(_RED, *_LOW, roof=0.27, sill=0.185, lamp=0.13),
    _CarModel(_YELLOW, *_SALOON, roof=0.335, sill=0.225, lamp=0.17, taxi=True),
    _CarModel(_BLUE, *_TALL, roof=0.4, sill=0.265, lamp=0.2),
)


def _vehicles(scene: _Scene) -> None:
    if scene.happens(0.3):
        _harbour(scene)
    else:
        _roadside(scene)


def _roadside(scene: _Scene) -> None:
    """Draw a road before a town, fields or the sea, and what drives on it."""
    horizon, kerb, place = scene.uniform(0.3, 0.45), scene.uniform(0.58, 0.66), scene.uniform(0, 1)
    _sky(scene, horizon + 0.02)
    if place < 0.25:
        scene.fill(horizon, 1.0, (176, 166, 152), _field(1 + scene.texture("stone")))
        _town(scene, kerb - 0.03)
    elif place < 0.85:
        _distance(scene, horizon, lush=True)
        _grass(scene, horizon, kerb)
    else:
        _water(scene, horizon)
        rail = [_box(0, kerb - 0.08, scene.aspect, kerb - 0.065)]
        posts = int(scene.aspect / 0.2) + 1
        rail += [_box(0.2 * i, kerb - 0.08, 0.2 * i + 0.015, kerb) for i in range(posts)]
        scene.paint(_PICTURE, rail, (206, 204, 198), bulge=0.01)
    _asphalt(scene, kerb)
    scene.defocus(scene.uniform(0.003, 0.012))
    x, size = scene.aspect * scene.uniform(0.4, 0.6), scene.uniform(0.6, 1.1)
    frame = _Frame(x, scene.uniform(0.78, 0.9), size, scene.pick((-1.0, 1.0)))
    scene.darken(frame, [_ellipse(scene.light[0] * -0.1, 0.0, 0.56, 0.05)], 0.5, 0.03)
    scene.darken(frame, [_box(-0.5, -0.01, 0.5, 0.04)], 0.75, 0.015)
    scene.pick((_car, _car, _car, _car, _bus, _truck))(scene, frame)


def _asphalt(scene: _Scene, kerb: float) -> None:
    """Draw the road: coarse grey asphalt, a kerb, and a yellow or a broken white line."""
    grit = 1 + 0.16 * scene.noise(0.004, 0.004) + 0.12 * scene.clouds()
    shade = grit * (0.85 + 0.25 * scene.descent(kerb, 1.0))
    scene.fill(kerb, 1.0, scene.vary((94, 98, 112)), _field(shade))
    scene.paint(_PICTURE, [_box(0, kerb - 0.012, scene.aspect, kerb + 0.01)], (162, 154, 142))
    y = scene.uniform(0.92, 0.96)
    if scene.happens(0.6):
        lines = [_box(0, y + d, scene.aspect, y + d + 0.012) for d in (0.0, 0.022)]
        scene.paint(_PICTURE, lines, (214, 172, 62), "stone")
    else:
        count = int(scene.aspect / 0.34) + 1
        dashes = [_box(0.34 * i, y, 0.34 * i + 0.2, y + 0.02) for i in range(count)]
        scene.paint(_PICTURE, dashes, (222, 220, 214), "stone")


def _town(scene: _Scene, base: float) -> None:
    """Draw a row of buildings: brick, sandstone or glass, told apart by tone and windows."""
    left = -scene.uniform(0, 0.2)
    while left < scene.aspect:
        right, top = left + scene.uniform(0.2, 0.42), base - scene.uniform(0.25, 0.6)
        wall, pane, width = scene.pick(
            (
                ((156, 90, 66), (62, 68, 82), 0.03),
                ((210, 184, 140), (92, 92, 94), 0.025),
                ((104, 148, 182), (58, 98, 144), 0.042),
            )
        )
        scene.paint(_PICTURE, [_box(left, top, right, base)], scene.vary(wall), "wall", 0.015)
        xs = [left + 0.025 + 0.05 * i for i in range(int((right - left - 0.03) / 0.05))]
        ys = [top + 0.03 + 0.07 * i for i in range(int((base - top - 0.06) / 0.07))]
        panes = [_box(x, y, x + width, y + 0.045) for x in xs for y in ys]
        scene.paint(_PICTURE, panes, pane, "glass")
        left = right


def _wheels(scene: _Scene, frame: _Frame, places: Sequence[float], radius: float) -> None:
    rim, hubs = radius * 0.62, [(x, radius) for x in places]
    arches = [_ellipse(x, y, radius * 1.18, radius * 1.18) for x, y in hubs]
    scene.paint(frame, arches, (24, 24, 26))
    tyres = [_ellipse(x, y, radius, radius) for x, y in hubs]
    scene.paint(frame, tyres, (44, 43, 44), "rubber", radius * 0.3)
    scene.paint(frame, [_ellipse(x, y, rim, rim) for x, y in hubs], (168, 170, 174), bulge=0.02)
    turns = ((0.6, 0.0), (0.19, 0.57), (-0.49, 0.35), (-0.49, -0.35), (0.19, -0.57))
    holes = [
        _moved(_CIRCLE * rim * 0.2, x + rim * c, y + rim * s) for x, y in hubs for c, s in turns
    ]
    scene.paint(frame, holes, (58, 58, 62))


def _glaze(scene: _Scene, frame: _Frame, panes: list[Shape], low: float, high: float) -> None:
    """Paint windows: dark below, mirroring the sky above."""
    sky = _Blend((164, 190, 208), 1 - scene.descent(frame.row(high) - 0.01, frame.row(low)))
    scene.paint(frame, panes, (40, 50, 58), "glass", blend=sky)


def _bodywork(
    scene: _Scene, frame: _Frame, shapes: list[Shape], colour: Colour, high: float
) -> None:
    """Paint glossy sheet metal, which mirrors the road below and the sky above."""
    road = scene.descent(frame.row(high / 2), frame.y + 0.01)
    dark = _Blend(_shaded(colour, 0.45), road)
    scene.paint(frame, shapes, colour, "metal", 0.05, blend=dark, gloss=0.7)


def _lamps(scene: _Scene, frame: _Frame, y: float) -> None:
    scene.paint(frame, [_ellipse(0.465, y, 0.026, 0.018)], (246, 240, 214), bulge=0.01)
    scene.paint(frame, [_ellipse(-0.482, y + 0.03, 0.016, 0.02)], (196, 40, 32), bulge=0.01)
    scene.paint(frame, _mirrored([_box(0.42, 0.06, 0.505, 0.075)]), (70, 70, 72), bulge=0.01)


def _car(scene: _Scene, frame: _Frame) -> None:
    """Draw a car from its side."""
    model = scene.pick(_CARS)
    paint, sill, cabin = scene.vary(model.paint, 0.1), model.sill, _smooth(model.cabin, 1)
    _bodywork(scene, frame, [cabin, _smooth(model.body)], paint, model.roof)
    centre = cabin.mean(axis=0)
    pane = _moved((cabin - centre) * (0.86, 0.72) + centre, 0.0, 0.006)
    _glaze(scene, frame, [pane], sill, model.roof)
    middle = float(centre[0]) + 0.02
    pillar = _box(middle, sill, middle + 0.018, model.roof - 0.005)
    scene.paint(frame, [pillar], _shaded(paint, 0.8))
    seams = [_box(x, 0.08, x + 0.004, sill) for x in (middle - 0.2, middle, middle + 0.2)]
    scene.paint(frame, seams, _shaded(paint, 0.35), opacity=0.7)
    handle = _box(middle - 0.05, sill - 0.03, middle - 0.01, sill - 0.02)
    scene.paint(frame, [handle], (190, 192, 196))
    if model.taxi:
        corners = [(-0.44 + 0.04 * i, 0.13 + 0.015 * (i % 2)) for i in range(21)]
        scene.paint(frame, [_box(x, y, x + 0.02, y + 0.015) for x, y in corners], (30, 30, 32))
        scene.paint(frame, [_box(-0.16, 0.335, -0.06, 0.365)], (240, 232, 200), bulge=0.01)
    _lamps(scene, frame, model.lamp)
    _wheels(scene, frame, (-0.31, 0.31), 0.078)


def _bus(scene: _Scene, frame: _Frame) -> None:
    """Draw a yellow coach or a red double-decker from its side."""
    double = scene.happens(0.4)
    high = 0.5 if double else 0.36
    paint = scene.vary(_RED if double else _YELLOW, 0.08)
    _bodywork(scene, frame, [_box(-0.5, 0.06, 0.5, high, 0.03)], paint, high)
    for low in (0.2, 0.36) if double else (0.2,):
        panes = [_box(-0.46 + 0.115 * i, low, -0.36 + 0.115 * i, low + 0.1) for i in range(7)]
        _glaze(scene, frame, [*panes, _box(0.43, low, 0.5, low + 0.11)], low, low + 0.1)
    trim = [_box(-0.5, y, 0.5, y + 0.007) for y in (0.165, 0.11)]
    scene.paint(frame, trim, (232, 222, 200) if double else (34, 32, 30))
    _glaze(scene, frame, [_box(0.345, 0.08, 0.415, 0.3)], 0.08, 0.3)
    _lamps(scene, frame, 0.12)
    _wheels(scene, frame, (-0.3, 0.25), 0.068)


def _truck(scene: _Scene, frame: _Frame) -> None:
    """Draw a truck from its side: a red cab before a canvas load or a tank."""
    tanker = scene.happens(0.4)
    paint = scene.vary(_RED, 0.1)
    scene.paint(frame, [_box(-0.5, 0.1, 0.48, 0.14)], (42, 40, 42), bulge=0.015)
    if tanker:
        tank = [_box(-0.5, 0.15, 0.2, 0.38, 0.06)]
        scene.paint(frame, tank, (180, 188, 198), "metal", 0.12, gloss=0.6)
    else:
        load = [_box(-0.5, 0.14, 0.21, 0.44, 0.02)]
        scene.paint(frame, load, scene.vary((190, 168, 120)), "canvas", 0.04)
    cab = _outline(".23,.1 .23,.39 .25,.41 .38,.41 .46,.25 .5,.22 .5,.08")
    _bodywork(scene, frame, [cab], paint, 0.4)
    _glaze(scene, frame, [_outline(".3,.26 .3,.37 .385,.37 .43,.26")], 0.26, 0.37)
    _lamps(scene, frame, 0.15)
    _wheels(scene, frame, (-0.4, -0.22, 0.36), 0.07)


def _harbour(scene: _Scene) -> None:
    """Draw a boat on open water, the shore behind it."""
    horizon = scene.uniform(0.32, 0.52)
    _sky(scene, horizon)
    _distance(scene, horizon, lush=scene.happens(0.6))
    _water(scene, horizon)
    scene.defocus(scene.uniform(0.002, 0.006))
    x, size = scene.aspect * scene.uniform(0.36, 0.64), scene.uniform(0.5, 0.9)
    frame = _Frame(x, scene.uniform(0.72, 0.85), size, scene.pick((-1.0, 1.0)))
    scene.pick((_yacht, _trawler))(scene, frame)


def _hull(scene: _Scene, frame: _Frame, colour: Colour, boot: Colour) -> None:
    """Draw a hull with its mirror image and the foam along it."""
    scene.darken(frame, [_smooth("-.46,0 -.4,-.16 .4,-.18 .48,0", 3)], 0.45, 0.02)
    _bodywork(scene, frame, [_outline("-.46,0 -.5,.13 -.1,.11 .3,.13 .56,.18 .42,0")], colour, 0.14)
    scene.paint(frame, [_outline("-.465,0 -.472,.025 .445,.03 .42,0")], boot)
    foam = [_smooth("-.52,0 -.3,.012 .46,.014 .5,-.01 -.3,-.014")]
    scene.paint(frame, foam, (226, 234, 238), "wool", opacity=0.6)


def _yacht(scene: _Scene, frame: _Frame) -> None:
    """Draw a white yacht with a blue stripe, or one of varnished wood with tanned sails."""
    wooden = scene.happens(0.4)
    _hull(scene, frame, (142, 84, 44) if wooden else (238, 238, 234), (38, 62, 120))
    scene.paint(frame, _limb((0.05, 0.1, 0.012), (0.05, 0.92, 0.006)), (112, 84, 58))
    cloth = scene.vary((182, 98, 62) if wooden else (240, 236, 224), 0.05)
    for sail in (".03,.2 .03,.9 -.1,.72 -.28,.45 -.42,.21", ".08,.19 .07,.82 .26,.5 .48,.2"):
        scene.paint(frame, [_outline(sail)], cloth, "sail", 0.1)


def _trawler(scene: _Scene, frame: _Frame) -> None:
    """Draw a fishing boat: blue hull, red bottom, white wheelhouse, orange buoys."""
    _hull(scene, frame, scene.vary((44, 92, 158)), (164, 48, 40))
    scene.paint(frame, [_box(-0.3, 0.11, 0.04, 0.34)], (234, 232, 224), "sail", 0.03)
    scene.paint(frame, [_box(-0.33, 0.33, 0.07, 0.36)], (196, 84, 40), bulge=0.012)
    panes = [_box(x, 0.22, x + 0.07, 0.3) for x in (-0.27, -0.17, -0.07)]
    _glaze(scene, frame, panes, 0.22, 0.3)
    mast = _limb((0.2, 0.1, 0.012), (0.2, 0.62, 0.008))
    boom = _limb((0.2, 0.2, 0.008), (-0.02, 0.52, 0.006))
    scene.paint(frame, mast + boom, (186, 150, 96), bulge=0.01)
    buoys = [_ellipse(x, 0.1, 0.03, 0.035) for x in (-0.4, 0.14, 0.3)]
    scene.paint(frame, buoys, (226, 110, 36), bulge=0.02)
