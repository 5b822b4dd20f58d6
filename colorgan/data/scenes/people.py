"""Scenes of people, indoors and in streets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from colorgan.data.scenes.canvas import Blend, Finish, Frame, Scene, as_field, linear_ramp, shaded
from colorgan.data.scenes.rooms import draw_room, draw_street
from colorgan.data.scenes.shapes import (
    Colour,
    Shape,
    ellipse,
    limb,
    mirrored,
    moved,
    polygon,
    smooth,
)

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
# Black and dark brown come first: dark skins are drawn with these two only.
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
    """A garment: its colour, and the pattern by which the colour can be recognised."""

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


def paint_people(scene: Scene) -> None:
    """Paint a scene of people in a room or a street."""
    portrait = scene.happens(0.55)
    if scene.happens(0.65):
        draw_room(scene, 0.98 if portrait else scene.uniform(0.66, 0.78))
    else:
        draw_street(scene, 0.95 if portrait else scene.uniform(0.62, 0.72))
    if portrait:
        scene.defocus(scene.uniform(0.004, 0.022))
    else:
        scene.defocus(scene.uniform(0.002, 0.006))
    with scene.drawing("person"):
        _people(scene, portrait)


def _people(scene: Scene, portrait: bool) -> None:
    """Draw one person at close range, or one or two as a whole."""
    if portrait:
        size, x = scene.uniform(1.5, 2.6), scene.aspect * scene.uniform(0.36, 0.64)
        eyes = scene.uniform(0.26, 0.32) + 0.06 * size
        _person(scene, Frame(x, eyes + 0.93 * size, size))
        return
    count = 1 + int(scene.happens(0.35))
    for number in range(count):
        size = scene.uniform(0.66, 0.9)
        x = scene.aspect * (scene.uniform(0.3, 0.7) if count == 1 else 0.3 + 0.4 * number)
        _person(scene, Frame(x, 0.88 + (size - 0.66) * 0.4, size))


def _person(scene: Scene, frame: Frame) -> None:
    """Draw a person from the front, one unit tall, with the feet at the frame's origin."""
    tone, top = scene.uniform(0, 1), scene.pick(_TOPS)
    skin = scene.vary(_between(_SKINS, tone), 0.05)
    hair = scene.vary(scene.pick(_HAIRS if tone < 0.45 else _HAIRS[:2]), 0.12)
    turn, long = scene.uniform(-0.018, 0.018), scene.happens(0.45)
    if long:
        back = smooth("-.07,.01 -.085,.15 -.05,.23 .05,.23 .085,.15 .07,.01", 3)
        lowered = moved(back, turn, scene.uniform(0.74, 0.81))
        scene.paint(frame, [lowered], shaded(hair, 0.8), "hair", 0.04)
    if frame.size < 1.3:
        scene.darken(frame, [ellipse(0, 0.005, 0.17, 0.022)], 0.6, 0.02)
        _legs(scene, frame, skin, top)
    _torso(scene, frame, skin, top)
    _head(scene, frame, turn, skin, hair, long)


def _between(scale: Sequence[Colour], place: float) -> Colour:
    """Return the interpolated colour at a position from 0 to 1 on a scale of colours."""
    index = min(int(place * (len(scale) - 1)), len(scale) - 2)
    part = place * (len(scale) - 1) - index
    r, g, b = (a + (z - a) * part for a, z in zip(scale[index], scale[index + 1], strict=True))
    return (r, g, b)


def _legs(scene: Scene, frame: Frame, skin: Colour, top: _Garment) -> None:
    stance, skirted, colour = scene.uniform(0.03, 0.06), scene.happens(0.3), scene.pick(_BOTTOMS)
    leg = limb((0.05, 0.5, 0.055), (stance, 0.27, 0.04), (stance + 0.01, 0.04, 0.028))
    if skirted:
        scene.paint(frame, mirrored(leg), skin, bulge=0.03)
    else:
        _wear(scene, frame, mirrored(leg), _Garment(colour), 0.035)
    scene.paint(frame, mirrored([ellipse(stance + 0.02, 0.014, 0.042, 0.02)]), (62, 44, 34))
    if skirted:
        _wear(scene, frame, [polygon("-.1,.52 -.15,.25 .15,.25 .1,.52")], top, 0.06)


def _torso(scene: Scene, frame: Frame, skin: Colour, top: _Garment) -> None:
    """Draw the hands, neck and upper garment."""
    sleeves: list[Shape] = []
    hands: list[Shape] = []
    for side in (-1, 1):
        x, y = side * scene.uniform(0.1, 0.2), scene.uniform(0.47, 0.53)
        elbow = (side * scene.uniform(0.15, 0.19), 0.64, 0.027)
        sleeves += limb((side * 0.118, 0.785, 0.034), elbow, (x, y, 0.02))
        hands.append(ellipse(x, y - 0.025, 0.02, 0.03))
    scene.paint(frame, hands, skin, bulge=0.015)
    _wear(scene, frame, sleeves, top, 0.03)
    scene.paint(frame, limb((0, 0.87, 0.036), (0, 0.8, 0.042)), shaded(skin, 0.78), bulge=0.03)
    chest = "-.04,.835 -.135,.81 -.13,.7 -.1,.6 -.105,.48 .105,.48 .1,.6 .13,.7 .135,.81 .04,.835"
    _wear(scene, frame, [smooth(chest, 3)], top, 0.07)
    if top.pattern == "suit":
        shirt = [polygon("-.04,.84 0,.64 .04,.84")]
        scene.paint(frame, shirt, (236, 234, 228), "cloth")
        tie = [polygon("-.012,.82 -.015,.7 0,.65 .015,.7 .012,.82")]
        scene.paint(frame, tie, (142, 40, 44), bulge=0.01)
        lapels = mirrored([polygon(".03,.845 .055,.83 .06,.76 0,.63")])
        scene.paint(frame, lapels, shaded(top.colour, 0.8), "cloth", 0.012)
    else:
        deep = 0.755 if top.open_neck else 0.8
        neckline = np.array([(-0.05, 0.845), (-0.02, deep), (0.02, deep), (0.05, 0.845)])
        scene.paint(frame, [smooth(neckline)], shaded(skin, 0.9), bulge=0.03)
    scene.darken(frame, [ellipse(0, 0.852, 0.045, 0.02)], 0.35, 0.012 * frame.size)


def _wear(scene: Scene, frame: Frame, shapes: list[Shape], garment: _Garment, bulge: float) -> None:
    """Paint a garment: its weave, its folds and its pattern."""
    blend = None
    if garment.pattern in ("stripes", "checks", "dots"):
        pitch = np.float32(0.032 * frame.size * scene.height)
        down = linear_ramp(
            np.arange(scene.height, dtype=np.float32)[:, None] / pitch % 1, 0.43, 0.57
        )
        across = linear_ramp(np.arange(scene.width, dtype=np.float32) / pitch % 1, 0.43, 0.57)
        where = {"stripes": down + 0 * across, "checks": (down + across) * 0.45}
        blend = Blend(garment.second, as_field(where.get(garment.pattern, down * across)))
    surface = "knit" if garment.pattern == "knit" else "cloth"
    scene.paint(frame, shapes, garment.colour, surface, bulge, blend=blend)


def _head(scene: Scene, frame: Frame, turn: float, skin: Colour, hair: Colour, long: bool) -> None:
    """Draw a head: ears, face, eyes, mouth, hair and, if the head is large enough, details."""
    scene.paint(frame, mirrored([ellipse(0.058, 0.92, 0.011, 0.018)]), shaded(skin, 0.85))
    face = "-.058,.96 -.05,1 .05,1 .058,.96 .056,.9 .026,.848 -.026,.848 -.056,.9"
    scene.paint(frame, [smooth(face, 3)], skin, bulge=0.045)
    centred = Frame(frame.x + turn * frame.size, frame.y, frame.size)
    scene.paint(centred, mirrored([ellipse(0.022, 0.93, 0.0095, 0.0048)]), (232, 228, 222))
    pupils = [ellipse(side * 0.022 + turn * 0.1, 0.93, 0.0046, 0.0046) for side in (-1, 1)]
    scene.paint(centred, pupils, (46, 34, 28))
    if frame.size * scene.height > 150:
        _features(scene, centred, turn, skin, hair)
    corner = 0.876 + scene.uniform(-0.001, 0.005)
    mouth = np.array([(-0.018, corner), (0.0, 0.88), (0.018, corner), (0.0, 0.869)])
    lips = (skin[0] * 0.84, skin[1] * 0.6, skin[2] * 0.6)
    scene.paint(centred, [smooth(mouth)], lips, bulge=0.006)
    low, fringe = 0.9 if long else 0.935, scene.uniform(0.955, 0.975)
    rim = f"-.064,{low} -.07,.98 -.035,1.02 .035,1.02 .07,.98 .064,{low}"
    cap = smooth(f"{rim} .054,.955 .03,{fringe} -.03,{fringe + 0.006} -.054,.955")
    scene.paint(frame, [cap], hair, "hair", 0.03)


def _features(scene: Scene, frame: Frame, turn: float, skin: Colour, hair: Colour) -> None:
    """Draw details visible only at close range: cheeks, shadows of eyes and nose, nose, brows."""
    flush = (min(255.0, skin[0] * 1.02), skin[1] * 0.82, skin[2] * 0.8)
    scene.paint(
        frame, mirrored([ellipse(0.03, 0.9, 0.014, 0.011)]), flush, finish=Finish(opacity=0.35)
    )
    shadows = [*mirrored([ellipse(0.022, 0.941, 0.014, 0.006)]), ellipse(0, 0.896, 0.01, 0.005)]
    scene.darken(frame, shadows, 0.3, 0.004 * frame.size)
    ridge = limb((turn * 0.3, 0.925, 0.005), (turn * 0.3, 0.903, 0.008))
    scene.paint(frame, ridge, skin, bulge=0.012, finish=Finish(opacity=0.6))
    brow = limb((0.011, 0.944, 0.0022), (0.022, 0.948, 0.003), (0.034, 0.944, 0.002))
    scene.paint(frame, mirrored(brow), shaded(hair, 0.7))
