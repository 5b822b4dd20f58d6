"""Outdoor backgrounds: skies, distant hills and woods, trees and ground."""

from __future__ import annotations

import numpy as np

from colorgan.data.scenes.canvas import PICTURE, Frame, Scene, as_field, channels, linear_ramp
from colorgan.data.scenes.shapes import Shape, ellipse, limb, smooth


def draw_sky(scene: Scene, horizon: float) -> None:
    """Draw a clear, overcast or evening sky and set the matching light.

    Each sky can be recognised by its luminance: a clear sky pales evenly, an overcast one is bright
    all over, and an evening sky glows at the horizon below a dark top and bars of cloud.
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
        veil = as_field(0.6 * scene.noise(0.4, 0.035) + 0.4 * scene.noise(0.13, 0.1))
        fall = fall * fall
        scene.tint = (0.95, 0.87, 0.82)
    rows = slice(0, int(horizon * scene.height) + 1)
    base = channels(top) + (channels(low) - channels(top)) * fall[rows]
    lit = channels(cloud) * (1 + veil[rows] * np.float32(0.06))
    cover_field = linear_ramp(veil[rows], cover - 0.2, cover + 0.4) * np.float32(0.85)
    scene.planes[:, rows] = base + (lit - base) * cover_field
    with scene.drawing("sky"):
        scene.mark(rows)


def _ridge(scene: Scene, base: float, rise: float, bumps: int) -> Shape:
    """Return the outline of hills or a wood over the whole width, down to `base`."""
    step = (scene.aspect + 0.2) / (bumps - 1)
    tops = [(-0.1 + i * step, base - scene.uniform(0.1, 1.0) * rise) for i in range(bumps)]
    ends = [(scene.aspect + 0.2, base + 0.03), (-0.2, base + 0.03)]
    return smooth(np.array(tops + ends))


def draw_distance(scene: Scene, horizon: float, lush: bool) -> None:
    """Draw hills, hazy with distance, and perhaps a wood in front of them."""
    if scene.happens(0.6):
        far = scene.vary((108, 138, 140) if lush else (172, 148, 120), 0.08)
        scene.paint(PICTURE, [_ridge(scene, horizon, scene.uniform(0.06, 0.2), 7)], far, "wall")
    if scene.happens(0.7 if lush else 0.25):
        wood = _ridge(scene, horizon, scene.uniform(0.04, 0.14), 40)
        scene.paint(PICTURE, [wood], scene.vary((62, 86, 44), 0.15), "leaf")


def draw_tree(scene: Scene, x: float, foot: float, size: float) -> None:
    """Draw a tree with its foot at height `foot`, in a unit of `size` picture heights."""
    frame = Frame(x, foot, size)
    scene.darken(frame, [ellipse(0.1, 0.0, 0.35, 0.04)], 0.5, 0.02)
    trunk = limb((0.0, 0.0, 0.045), (scene.uniform(-0.04, 0.04), 0.6, 0.03))
    scene.paint(frame, trunk, (96, 74, 54), "bark", 0.04)
    crown = [
        ellipse(scene.uniform(-0.2, 0.2), scene.uniform(0.5, 0.9), scene.uniform(0.12, 0.2), 0.16)
        for _ in range(7)
    ]
    scene.paint(frame, crown, scene.vary((78, 108, 46), 0.15), "leaf", 0.09)


def draw_grass(scene: Scene, top: float, bottom: float = 1.0) -> None:
    """Draw grass: blades near the viewer, a finer texture in the distance, and dry patches."""
    near, far = scene.noise(0.006, 0.03), scene.noise(0.004, 0.004)
    blades = far + (near - far) * scene.descent(top, 1.0)
    shade = as_field(1 + 0.36 * blades + 0.2 * scene.clouds() + 0.1 * scene.noise(0.02, 0.02))
    with scene.drawing("ground"):
        scene.fill(top, bottom, scene.vary((98, 128, 52), 0.12), shade)
    dry = linear_ramp(scene.noise(0.13, 0.1), -0.1, 0.7) * np.float32(0.35)
    scene.wash(top, (176, 162, 92), shade, dry)


def draw_sand(scene: Scene, top: float) -> None:
    """Draw sand: fine grains over wind ripples that widen towards the viewer."""
    near, far = scene.noise(0.2, 0.025), scene.noise(0.12, 0.01)
    ripples = far + (near - far) * scene.descent(top, 1.0)
    shade = 1 + 0.12 * ripples + 0.05 * scene.noise(0.004, 0.004) + 0.08 * scene.clouds()
    with scene.drawing("ground"):
        scene.fill(top, 1.0, scene.vary((206, 174, 124), 0.08), as_field(shade))


def draw_snow(scene: Scene, top: float) -> None:
    """Draw snow: bright, with blue hollows."""
    drifts = as_field(0.7 * scene.noise(0.4, 0.04) + 0.3 * scene.noise(0.13, 0.025))
    shade = as_field(1 + 0.06 * drifts + 0.03 * scene.noise(0.004, 0.004))
    with scene.drawing("ground"):
        scene.fill(top, 1.0, scene.vary((226, 233, 244), 0.03), shade)
    scene.wash(top, (168, 194, 236), shade, linear_ramp(-drifts, -0.2, 0.8) * np.float32(0.8))


def draw_water(scene: Scene, top: float) -> None:
    """Draw water: blue, with waves that get longer and broader towards the viewer."""
    depth, near, far = scene.descent(top, 1.0), scene.noise(0.12, 0.02), scene.noise(0.05, 0.008)
    waves = far + (near - far) * depth
    shade = (1 + 0.24 * waves + 0.12 * scene.noise(0.02, 0.006)) * (1.2 - 0.35 * depth)
    with scene.drawing("water"):
        scene.fill(top, 1.0, scene.vary((58, 120, 164), 0.1), as_field(shade))
