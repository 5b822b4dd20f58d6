"""The surroundings of people: rooms with furniture, and streets."""

from __future__ import annotations

import numpy as np

from colorgan.data.scenes.canvas import (
    PICTURE,
    Blend,
    Finish,
    Frame,
    Scene,
    as_field,
    linear_ramp,
    shaded,
)
from colorgan.data.scenes.shapes import Colour, Shape, box, ellipse, limb, mirrored, moved, polygon

# Cream, ochre, terracotta, sage and rose walls; most have a pattern of their own.
_WALLS: tuple[tuple[Colour, str], ...] = (
    ((228, 206, 166), "plain"),
    ((198, 158, 98), "stripes"),
    ((174, 108, 80), "panels"),
    ((146, 150, 110), "dots"),
    ((216, 178, 154), "plain"),
)


def draw_room(scene: Scene, floor: float) -> None:
    """Draw a room: a wall lit from one side, a wooden floor and two pieces of furniture."""
    colour, pattern = scene.pick(_WALLS)
    colour = scene.vary(colour, 0.1)
    across = np.arange(scene.width, dtype=np.float32) / np.float32(scene.width / 2) - 1
    shade = 1.06 - 0.2 * scene.descent(0.0, 1.0) + 0.28 * scene.light[0] * across
    scene.fill(0.0, 1.0, colour, as_field(shade + scene.texture("wall")))
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


def _wallpaper(scene: Scene, pattern: str, colour: Colour, floor: float) -> None:
    marks: list[Shape] = []
    columns = [i * 0.09 for i in range(int(scene.aspect / 0.09) + 1)]
    if pattern == "stripes":
        marks = [box(x, 0, x + 0.04, floor) for x in columns]
    elif pattern == "dots":
        diamond = polygon("0,-.018 .013,0 0,.018 -.013,0")
        rows = [0.09 * i for i in range(1, int(floor / 0.09))]
        marks = [moved(diamond, x + 0.5 * (y % 0.18), y) for x in columns for y in rows]
    elif pattern == "panels":
        marks = [box(0, floor - 0.3, scene.aspect, floor - 0.29)]
        marks += [box(x, floor - 0.3, x + 0.006, floor) for x in columns[::2]]
    if marks:
        darker = (colour[0] * 0.82, colour[1] * 0.74, colour[2] * 0.68)
        scene.paint(PICTURE, marks, darker, "wall", finish=Finish(opacity=0.7))


def _planks(scene: Scene, floor: float) -> None:
    """Draw a wooden floor whose boards run towards the viewer."""
    grain = 0.18 * scene.noise(0.02, 0.13) + 0.1 * scene.noise(0.006, 0.05)
    shade = (1 + grain) * (0.8 + 0.3 * scene.descent(floor, 1.0))
    with scene.drawing("ground"):
        scene.fill(floor, 1.0, scene.vary((156, 104, 60), 0.15), as_field(shade))
    scene.paint(PICTURE, _seams(scene, floor, 0.1, 0.2), (74, 48, 30), finish=Finish(opacity=0.7))
    scene.paint(PICTURE, [box(0, floor - 0.03, scene.aspect, floor)], (224, 208, 180), "wall")
    scene.darken(PICTURE, [box(0, floor, scene.aspect, floor + 0.015)], 0.5, 0.01)


def _seams(scene: Scene, far: float, gap: float, near_gap: float) -> list[Shape]:
    """Return lines on the ground that spread towards the viewer."""
    middle = scene.aspect / 2
    tops = [(middle + i * gap, middle + i * near_gap) for i in range(-10, 11)]
    return [np.array([(t, far), (t + 0.003, far), (b + 0.006, 1), (b, 1)]) for t, b in tops]


def _window(scene: Scene, x: float, floor: float) -> None:
    """Draw a window with daylight, a lawn outside, and curtains."""
    frame = Frame(x, floor * 0.42, 0.5)
    scene.paint(frame, [box(-0.42, -0.5, 0.42, 0.5)], (236, 230, 218), bulge=0.02)
    lawn = Blend((122, 146, 92), scene.descent(floor * 0.47, floor * 0.53))
    panes = [box(a, b, a + 0.36, b + 0.42) for a in (-0.38, 0.02) for b in (-0.46, 0.04)]
    scene.paint(frame, panes, scene.vary((206, 224, 238), 0.04), "sail", blend=lawn)
    curtains = mirrored([box(0.36, -0.62, 0.62, 0.58)])
    scene.paint(frame, curtains, scene.vary((178, 90, 68), 0.15), "curtain", 0.05)


def _shelf(scene: Scene, x: float, floor: float) -> None:
    """Draw a wooden bookshelf full of books."""
    frame = Frame(x, floor, 0.8)
    scene.darken(frame, [box(-0.32, 0, 0.32, 1.0)], 0.4, 0.03)
    scene.paint(frame, [box(-0.3, 0, 0.3, 1.0)], scene.vary((122, 78, 44)), "wood", 0.03)
    bases = [0.03 + 0.24 * row for row in range(4)]
    scene.paint(frame, [box(-0.27, base, 0.27, base + 0.21) for base in bases], (52, 34, 24))
    bindings: dict[Colour, list[Shape]] = {(132, 52, 44): [], (196, 172, 128): [], (66, 78, 70): []}
    for base in bases:
        left = -0.26
        while left < 0.22:
            right = left + scene.uniform(0.02, 0.045)
            book = box(left, base, right, base + scene.uniform(0.13, 0.19))
            scene.pick(tuple(bindings.values())).append(book)
            left = right + 0.004
    for cloth, books in bindings.items():
        if books:
            scene.paint(frame, books, cloth, bulge=0.012)


def _sofa(scene: Scene, x: float, floor: float) -> None:
    """Draw a leather sofa against the wall."""
    frame, leather = Frame(x, floor + 0.06, 0.5), scene.vary((136, 76, 44), 0.15)
    scene.darken(frame, [box(-0.8, -0.05, 0.8, 0.1)], 0.6, 0.03)
    back, arms = box(-0.75, 0.05, 0.75, 0.72, 0.1), mirrored([box(0.7, 0.0, 0.92, 0.5, 0.08)])
    scene.paint(frame, [back], leather, "leather", 0.09, finish=Finish(gloss=0.2))
    for left in (-0.7, 0.01):
        seat = [box(left, 0.1, left + 0.69, 0.36, 0.05)]
        scene.paint(frame, seat, leather, "leather", 0.06, finish=Finish(gloss=0.2))
    scene.paint(frame, arms, leather, "leather", 0.08, finish=Finish(gloss=0.2))


def _lamp(scene: Scene, x: float, floor: float) -> None:
    """Draw a standing lamp and the glow it throws on the wall."""
    frame = Frame(x, floor + 0.04, 0.75)
    scene.darken(frame, [ellipse(0, 0.78, 0.4, 0.45)], -0.35, 0.12)
    scene.paint(frame, limb((0, 0, 0.014), (0, 0.7, 0.012)), (92, 72, 50))
    shade = polygon("-.2,.64 -.11,.92 .11,.92 .2,.64")
    scene.paint(frame, [shade], (250, 222, 160), "sail", 0.03)


def _plant(scene: Scene, x: float, floor: float) -> None:
    """Draw a leafy plant in a clay pot."""
    frame = Frame(x, floor + 0.05, 0.6)
    scene.darken(frame, [ellipse(0, 0.02, 0.2, 0.05)], 0.5, 0.02)
    for level in (0.7, 0.9, 1.15):
        leaves: list[Shape] = []
        for _ in range(5):
            tip = (scene.uniform(-0.4, 0.4), scene.uniform(0.4, 1.0))
            leaves += limb((0, 0.25, 0.012), (tip[0] * 0.6, tip[1] * 0.75, 0.05), (*tip, 0.008))
        scene.paint(frame, leaves, shaded((72, 106, 52), level), "leather", 0.03)
    scene.paint(frame, [polygon("-.12,0 -.17,.3 .17,.3 .12,0")], (178, 98, 62), "stone", 0.06)


def _painting(scene: Scene, x: float, floor: float) -> None:
    """Draw a small landscape in a gilt frame on the wall."""
    frame = Frame(x, floor * 0.4, 0.34)
    scene.darken(frame, [box(-0.5, -0.45, 0.5, 0.38)], 0.4, 0.02)
    scene.paint(
        frame, [box(-0.5, -0.4, 0.5, 0.4)], (164, 124, 58), "wood", 0.04, finish=Finish(gloss=0.3)
    )
    hills = as_field(scene.descent(0.0, 1.0) + 0.1 * scene.clouds())
    land = Blend((112, 112, 58), linear_ramp(hills, floor * 0.4, floor * 0.45))
    scene.paint(frame, [box(-0.42, -0.32, 0.42, 0.32)], (198, 196, 176), "wall", blend=land)


def draw_street(scene: Scene, kerb: float) -> None:
    """Draw house fronts of brick or stucco over a pavement of slabs."""
    left = -scene.uniform(0, 0.5)
    while left < scene.aspect:
        right = left + scene.uniform(0.45, 0.9)
        _facade(scene, left, right, kerb)
        left = right
    shade = (1 + scene.texture("stone")) * (0.85 + 0.2 * scene.descent(kerb, 1.0))
    with scene.drawing("ground"):
        scene.fill(kerb, 1.0, scene.vary((170, 158, 142)), as_field(shade))
    rows = [kerb + (1 - kerb) * t for t in (0.0, 0.12, 0.3, 0.55, 0.85)]
    lines = [box(0, y, scene.aspect, y + 0.005) for y in rows] + _seams(scene, kerb, 0.16, 0.3)
    scene.paint(PICTURE, lines, (108, 98, 88), finish=Finish(opacity=0.6))
    scene.darken(PICTURE, [box(0, kerb - 0.01, scene.aspect, kerb + 0.02)], 0.4, 0.02)


def _facade(scene: Scene, left: float, right: float, kerb: float) -> None:
    wall = [box(left, 0, right, kerb)]
    if scene.happens(0.55):
        scene.paint(PICTURE, wall, scene.vary((158, 90, 66), 0.15), "brick")
        rows = [0.025 * i for i in range(int(kerb * 40))]
        mortar = [box(left, y, right, y + 0.004) for y in rows]
        scene.paint(PICTURE, mortar, (192, 166, 144), finish=Finish(opacity=0.45))
    else:
        scene.paint(PICTURE, wall, scene.vary((220, 188, 134), 0.1), "wall")
    floors = [kerb - 0.36 - 0.34 * i for i in range(3)]
    count = int((right - left - 0.1) / 0.2)
    corners = [(left + 0.08 + 0.2 * i, y) for i in range(count) for y in floors]
    frames = [box(x - 0.012, y - 0.012, x + 0.122, y + 0.222) for x, y in corners]
    scene.paint(PICTURE, frames, (226, 218, 204))
    panes = [box(x, y, x + 0.05, y + 0.21) for x, y in corners]
    panes += [box(x + 0.06, y, x + 0.11, y + 0.21) for x, y in corners]
    scene.paint(PICTURE, panes, (76, 86, 94), "glass")
    if scene.happens(0.5):
        awning = [box(left + 0.03, kerb - 0.3, right - 0.03, kerb - 0.2)]
        scene.paint(PICTURE, awning, scene.vary((166, 64, 50)), "curtain")
        scene.darken(PICTURE, [box(left, kerb - 0.2, right, kerb - 0.12)], 0.4, 0.02)
