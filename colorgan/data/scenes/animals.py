"""Scenes of animals: four-legged animals and birds outdoors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from colorgan.data.scenes.canvas import Blend, Frame, Scene, linear_ramp, shaded
from colorgan.data.scenes.outdoors import (
    draw_distance,
    draw_grass,
    draw_sand,
    draw_sky,
    draw_snow,
    draw_tree,
)
from colorgan.data.scenes.shapes import Colour, Shape, ellipse, limb, moved, polygon, smooth


@dataclass(frozen=True)
class _Species:
    """A four-legged animal, measured in lengths of its body."""

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


@dataclass(frozen=True)
class _Bird:
    """A kind of bird, measured in lengths of its body."""

    back: Colour
    breast: Colour
    wing: Colour
    beak: Colour
    leg: float
    neck: float


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

_BIRDS: tuple[_Bird, ...] = (
    # Robin, parrot, flamingo, duck, hen.
    _Bird((126, 98, 68), (208, 104, 50), (106, 82, 58), (84, 70, 58), 0.18, 0.12),
    _Bird((72, 140, 56), (206, 190, 72), (52, 110, 62), (70, 62, 58), 0.12, 0.14),
    _Bird((234, 158, 150), (240, 178, 170), (224, 128, 124), (80, 62, 60), 0.75, 0.5),
    _Bird((136, 112, 80), (194, 174, 142), (108, 88, 64), (214, 164, 58), 0.12, 0.28),
    _Bird((178, 96, 46), (196, 124, 66), (142, 74, 40), (216, 172, 84), 0.26, 0.2),
)
# fmt: on


def paint_animals(scene: Scene) -> None:
    """Paint a scene of animals outdoors."""
    horizon, ground, close = scene.uniform(0.2, 0.48), scene.uniform(0, 1), scene.uniform(0, 1)
    lush = ground < 0.68
    draw_sky(scene, horizon)
    draw_distance(scene, horizon, lush)
    if lush:
        draw_grass(scene, horizon)
        if scene.happens(0.5):
            size = scene.uniform(0.3, 0.6)
            draw_tree(scene, scene.uniform(0, scene.aspect), horizon + 0.03, size)
    elif ground < 0.92:
        draw_sand(scene, horizon)
    else:
        draw_snow(scene, horizon)
    scene.defocus(0.002 + 0.014 * close)
    with scene.drawing("animal"):
        _animals(scene, horizon, close)


def _animals(scene: Scene, horizon: float, close: float) -> None:
    """Draw a bird, or one or two four-legged animals."""
    if scene.happens(0.24):
        bird = scene.pick(_BIRDS)
        size = (0.3 + 0.4 * close) / (0.6 + 0.5 * (bird.leg + bird.neck))
        frame = _stand(scene, 0.5, size, horizon, bird.leg + bird.neck + 0.6)
        _draw_bird(scene, frame, bird)
        return
    kind, herd = scene.pick(_SPECIES), 2 if close < 0.35 else 1
    for number in range(herd):
        size = 0.3 + 0.42 * close if number + 1 == herd else 0.24
        centre = 0.5 if herd == 1 else 0.25 + 0.5 * number
        height = kind.leg + kind.depth + max(kind.neck[1], 0.0) + 0.25
        _beast(scene, _stand(scene, centre, size, horizon, height), kind)


def _stand(scene: Scene, centre: float, size: float, horizon: float, height: float) -> Frame:
    """Return the placement of an animal on the ground, inside the picture and below the horizon."""
    size = min(size, 0.88 / height)
    highest = max(horizon + 0.1, size * height + 0.04)
    foot = min(0.96, max(highest, scene.uniform(0.55, 0.8) + 0.25 * size))
    x = scene.aspect * centre + scene.uniform(-0.12, 0.12)
    return Frame(x, foot, size, facing=scene.pick((-1.0, 1.0)))


def _beast(scene: Scene, frame: Frame, kind: _Species) -> None:
    """Draw a four-legged animal from the side: far legs, tail, near legs, body, mane, head."""
    coat, back = scene.vary(kind.coat, 0.14), kind.leg + kind.depth
    stride, nod = scene.uniform(-0.12, 0.12), scene.uniform(-0.5, 0.15)
    _cast_shadow(scene, frame, 0.55)
    far = _leg(kind, -0.33, -stride) + _leg(kind, 0.36, stride)
    scene.paint(frame, far, shaded(kind.legs, 0.7), kind.surface, 0.04)
    tail = limb(*((x, back + y, r) for x, y, r in _TAILS[kind.tail]))
    scene.paint(frame, tail, kind.mane or coat, kind.surface, 0.05)
    near = _leg(kind, -0.4, stride) + _leg(kind, 0.29, -stride)
    scene.paint(frame, near, kind.legs, kind.surface, 0.04)
    x = 0.4 + kind.neck[0]
    y = back + kind.neck[1] + nod * (0.35 if kind.leg > 0.35 else 0.15)
    chest = (0.36, back - kind.depth * 0.35, kind.depth * 0.72)
    neck = limb(chest, (x - 0.05, y, kind.head * 0.8))
    belly = frame.row(kind.leg - kind.depth * 0.15)
    if kind.patches:
        blend = Blend(kind.patches, linear_ramp(scene.noise(0.13, 0.1), -0.05, 0.15))
    else:
        blend = Blend(kind.under, scene.descent(belly - 0.17 * frame.size, belly))
    scene.paint(frame, [_trunk(kind), *neck], coat, kind.surface, 0.12, blend=blend)
    if kind.mane:
        mane = limb((0.3, back + 0.03, 0.06), (x - 0.1, y + 0.07, 0.08), (x, y + 0.1, 0.04))
        if kind.head > 0.12:
            mane = [ellipse(x - 0.06, y - 0.04, 0.18, 0.23)]
        scene.paint(frame, mane, kind.mane, "hair", 0.06)
    _muzzle(scene, frame, kind, kind.legs if kind.surface == "wool" else coat, x, y)


def _cast_shadow(scene: Scene, frame: Frame, width: float) -> None:
    """Darken the ground under an object and, more softly, on the side away from the light."""
    away = -scene.light[0] * frame.facing * 0.25
    scene.darken(frame, [ellipse(away, 0.01, width, 0.07)], 0.4, 0.02 + 0.02 * frame.size)
    scene.darken(frame, [ellipse(0.0, 0.01, width * 0.85, 0.035)], 0.5, 0.015)


def _leg(kind: _Species, x: float, swing: float) -> list[Shape]:
    thick, foot = 0.5 * kind.depth, x + swing * 0.9
    thigh = (x, kind.leg + 0.04, thick * 0.85)
    knee = (x + swing * 0.5, kind.leg * 0.48, thick * 0.36)
    return limb(thigh, knee, (foot, 0.03, 0.036), (foot + 0.03, 0.02, 0.036))


def _trunk(kind: _Species) -> Shape:
    shape = "-.56,.5 -.5,1 -.15,.97 .2,1 .5,.97 .56,.5 .4,0 0,.02 -.3,.1 -.5,.08"
    return moved(smooth(shape, 3) * (1.0, kind.depth * 1.45), 0.0, kind.leg - kind.depth * 0.3)


def _muzzle(scene: Scene, frame: Frame, kind: _Species, coat: Colour, x: float, y: float) -> None:
    """Draw an animal's head from the side: skull and muzzle, ear, nose, eye."""
    size, tip = kind.head, (x + kind.head * 0.5 + kind.muzzle, y - 0.35 * kind.muzzle)
    top = (x - size * 0.6, y + size + kind.ear)
    ear = [(x - size * 0.75, y + size * 0.4), top, top, (x + size * 0.15, y + size * 0.7)]
    skull = [ellipse(x, y, size, size * 0.85)]
    skull += limb((x + size * 0.4, y - 0.01, size * 0.65), (*tip, size * 0.42))
    low = frame.row(y - size * 0.4)
    under = coat if kind.surface == "wool" else kind.under
    chin = Blend(under, scene.descent(low - 0.06 * frame.size, low + 0.06 * frame.size))
    scene.paint(frame, skull, coat, "fur", 0.07, blend=chin)
    scene.paint(frame, [smooth(np.array(ear))], shaded(coat, 0.75), "fur", 0.02)
    nose = ellipse(tip[0] + size * 0.3, tip[1] + size * 0.12, size * 0.16, size * 0.15)
    eye = ellipse(x + size * 0.3, y + size * 0.28, size * 0.14, size * 0.13)
    scene.paint(frame, [nose, eye], (36, 26, 22))
    glint = ellipse(x + size * 0.36, y + size * 0.34, size * 0.04, size * 0.04)
    scene.paint(frame, [glint], (235, 235, 235))


def _draw_bird(scene: Scene, frame: Frame, bird: _Bird) -> None:
    """Draw a standing bird from the side."""
    back, leg, neck = scene.vary(bird.back), bird.leg, bird.neck
    _cast_shadow(scene, frame, 0.35)
    feet = limb((-0.05, leg, 0.02), (-0.04, 0.0, 0.016), (0.05, 0.0, 0.014))
    feet += limb((0.06, leg, 0.02), (0.07, 0.0, 0.016), (0.16, 0.0, 0.014))
    scene.paint(frame, feet, (196, 132, 84) if neck > 0.18 else (104, 82, 66))
    mid, x, y = leg + 0.22, 0.34, leg + 0.44 + neck
    plumage = [ellipse(0, mid, 0.42, 0.25, scene.uniform(0.2, 0.36))]
    plumage += limb((0.22, mid + 0.1, 0.17), (x - 0.04, (mid + y) / 2 + 0.05, 0.085), (x, y, 0.12))
    plumage += limb((-0.28, mid - 0.08, 0.12), (-0.72, mid - 0.22, 0.05))
    low = frame.row(mid - 0.1)
    under = Blend(bird.breast, scene.descent(low - 0.3 * frame.size, low))
    scene.paint(frame, plumage, back, "feather", 0.14, blend=under)
    folded = smooth(".2,.14 -.1,.16 -.6,-.16 -.2,-.16 .15,-.04", 3)
    scene.paint(frame, [moved(folded, 0.0, mid)], bird.wing, "quill", 0.06)
    bill = polygon(".08,.06 .2,.03 .28,-.02 .08,-.05")
    scene.paint(frame, [moved(bill, x, y)], bird.beak, bulge=0.03)
    scene.paint(frame, [ellipse(x + 0.04, y + 0.03, 0.026, 0.026)], (24, 18, 16))
