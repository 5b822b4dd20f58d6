"""Scenes of vehicles: cars, buses and trucks on roads, and boats in harbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from colorgan.data.scenes.canvas import PICTURE, Blend, Finish, Frame, Scene, as_field, shaded
from colorgan.data.scenes.outdoors import draw_distance, draw_grass, draw_sky, draw_water
from colorgan.data.scenes.shapes import (
    CIRCLE,
    Colour,
    Shape,
    box,
    ellipse,
    limb,
    mirrored,
    moved,
    polygon,
    smooth,
)


@dataclass(frozen=True)
class _CarModel:
    """A car's outlines, in units of its length, and its paint."""

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
# Luminance reveals the paint, as does the car: dark paint is blue, medium red, bright yellow.
_RED, _BLUE, _YELLOW = (196, 32, 34), (30, 48, 104), (232, 182, 44)
_CARS: tuple[_CarModel, ...] = (
    _CarModel(_RED, *_LOW, roof=0.27, sill=0.185, lamp=0.13),
    _CarModel(_YELLOW, *_SALOON, roof=0.335, sill=0.225, lamp=0.17, taxi=True),
    _CarModel(_BLUE, *_TALL, roof=0.4, sill=0.265, lamp=0.2),
)


def paint_vehicles(scene: Scene) -> None:
    """Paint a scene of vehicles on a road or in a harbour."""
    if scene.happens(0.3):
        _harbour(scene)
    else:
        _roadside(scene)


def _roadside(scene: Scene) -> None:
    """Draw a vehicle on a road in front of a town, fields or the sea."""
    horizon, kerb, place = scene.uniform(0.3, 0.45), scene.uniform(0.58, 0.66), scene.uniform(0, 1)
    draw_sky(scene, horizon + 0.02)
    if place < 0.25:
        with scene.drawing("ground"):
            scene.fill(horizon, 1.0, (176, 166, 152), as_field(1 + scene.texture("stone")))
        _town(scene, kerb - 0.03)
    elif place < 0.85:
        draw_distance(scene, horizon, lush=True)
        draw_grass(scene, horizon, kerb)
    else:
        draw_water(scene, horizon)
        rail = [box(0, kerb - 0.08, scene.aspect, kerb - 0.065)]
        posts = int(scene.aspect / 0.2) + 1
        rail += [box(0.2 * i, kerb - 0.08, 0.2 * i + 0.015, kerb) for i in range(posts)]
        scene.paint(PICTURE, rail, (206, 204, 198), bulge=0.01)
    with scene.drawing("ground"):
        _asphalt(scene, kerb)
    scene.defocus(scene.uniform(0.003, 0.012))
    x, size = scene.aspect * scene.uniform(0.4, 0.6), scene.uniform(0.6, 1.1)
    frame = Frame(x, scene.uniform(0.78, 0.9), size, scene.pick((-1.0, 1.0)))
    scene.darken(frame, [ellipse(scene.light[0] * -0.1, 0.0, 0.56, 0.05)], 0.5, 0.03)
    scene.darken(frame, [box(-0.5, -0.01, 0.5, 0.04)], 0.75, 0.015)
    with scene.drawing("vehicle"):
        scene.pick((_car, _car, _car, _car, _bus, _truck))(scene, frame)


def _asphalt(scene: Scene, kerb: float) -> None:
    """Draw the road: coarse grey asphalt, a kerb, and double yellow or dashed white lines."""
    grit = 1 + 0.16 * scene.noise(0.004, 0.004) + 0.12 * scene.clouds()
    shade = grit * (0.85 + 0.25 * scene.descent(kerb, 1.0))
    scene.fill(kerb, 1.0, scene.vary((94, 98, 112)), as_field(shade))
    scene.paint(PICTURE, [box(0, kerb - 0.012, scene.aspect, kerb + 0.01)], (162, 154, 142))
    y = scene.uniform(0.92, 0.96)
    if scene.happens(0.6):
        lines = [box(0, y + d, scene.aspect, y + d + 0.012) for d in (0.0, 0.022)]
        scene.paint(PICTURE, lines, (214, 172, 62), "stone")
    else:
        count = int(scene.aspect / 0.34) + 1
        dashes = [box(0.34 * i, y, 0.34 * i + 0.2, y + 0.02) for i in range(count)]
        scene.paint(PICTURE, dashes, (222, 220, 214), "stone")


def _town(scene: Scene, base: float) -> None:
    """Draw a row of brick, sandstone or glass buildings, which differ in tone and windows."""
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
        scene.paint(PICTURE, [box(left, top, right, base)], scene.vary(wall), "wall", 0.015)
        xs = [left + 0.025 + 0.05 * i for i in range(int((right - left - 0.03) / 0.05))]
        ys = [top + 0.03 + 0.07 * i for i in range(int((base - top - 0.06) / 0.07))]
        panes = [box(x, y, x + width, y + 0.045) for x in xs for y in ys]
        scene.paint(PICTURE, panes, pane, "glass")
        left = right


def _wheels(scene: Scene, frame: Frame, places: Sequence[float], radius: float) -> None:
    rim, hubs = radius * 0.62, [(x, radius) for x in places]
    arches = [ellipse(x, y, radius * 1.18, radius * 1.18) for x, y in hubs]
    scene.paint(frame, arches, (24, 24, 26))
    tyres = [ellipse(x, y, radius, radius) for x, y in hubs]
    scene.paint(frame, tyres, (44, 43, 44), "rubber", radius * 0.3)
    scene.paint(frame, [ellipse(x, y, rim, rim) for x, y in hubs], (168, 170, 174), bulge=0.02)
    turns = ((0.6, 0.0), (0.19, 0.57), (-0.49, 0.35), (-0.49, -0.35), (0.19, -0.57))
    holes = [moved(CIRCLE * rim * 0.2, x + rim * c, y + rim * s) for x, y in hubs for c, s in turns]
    scene.paint(frame, holes, (58, 58, 62))


def _glaze(scene: Scene, frame: Frame, panes: list[Shape], low: float, high: float) -> None:
    """Paint windows, dark at the bottom and reflecting the sky at the top."""
    sky = Blend((164, 190, 208), 1 - scene.descent(frame.row(high) - 0.01, frame.row(low)))
    scene.paint(frame, panes, (40, 50, 58), "glass", blend=sky)


def _bodywork(scene: Scene, frame: Frame, shapes: list[Shape], colour: Colour, high: float) -> None:
    """Paint glossy sheet metal, which reflects the road at the bottom and the sky at the top."""
    road = scene.descent(frame.row(high / 2), frame.y + 0.01)
    dark = Blend(shaded(colour, 0.45), road)
    scene.paint(frame, shapes, colour, "metal", 0.05, blend=dark, finish=Finish(gloss=0.7))


def _lamps(scene: Scene, frame: Frame, y: float) -> None:
    scene.paint(frame, [ellipse(0.465, y, 0.026, 0.018)], (246, 240, 214), bulge=0.01)
    scene.paint(frame, [ellipse(-0.482, y + 0.03, 0.016, 0.02)], (196, 40, 32), bulge=0.01)
    scene.paint(frame, mirrored([box(0.42, 0.06, 0.505, 0.075)]), (70, 70, 72), bulge=0.01)


def _car(scene: Scene, frame: Frame) -> None:
    """Draw a car from the side."""
    model = scene.pick(_CARS)
    paint, sill, cabin = scene.vary(model.paint, 0.1), model.sill, smooth(model.cabin, 1)
    _bodywork(scene, frame, [cabin, smooth(model.body)], paint, model.roof)
    centre = cabin.mean(axis=0)
    pane = moved((cabin - centre) * (0.86, 0.72) + centre, 0.0, 0.006)
    _glaze(scene, frame, [pane], sill, model.roof)
    middle = float(centre[0]) + 0.02
    pillar = box(middle, sill, middle + 0.018, model.roof - 0.005)
    scene.paint(frame, [pillar], shaded(paint, 0.8))
    seams = [box(x, 0.08, x + 0.004, sill) for x in (middle - 0.2, middle, middle + 0.2)]
    scene.paint(frame, seams, shaded(paint, 0.35), finish=Finish(opacity=0.7))
    handle = box(middle - 0.05, sill - 0.03, middle - 0.01, sill - 0.02)
    scene.paint(frame, [handle], (190, 192, 196))
    if model.taxi:
        corners = [(-0.44 + 0.04 * i, 0.13 + 0.015 * (i % 2)) for i in range(21)]
        scene.paint(frame, [box(x, y, x + 0.02, y + 0.015) for x, y in corners], (30, 30, 32))
        scene.paint(frame, [box(-0.16, 0.335, -0.06, 0.365)], (240, 232, 200), bulge=0.01)
    _lamps(scene, frame, model.lamp)
    _wheels(scene, frame, (-0.31, 0.31), 0.078)


def _bus(scene: Scene, frame: Frame) -> None:
    """Draw a yellow coach or a red double-decker from the side."""
    double = scene.happens(0.4)
    high = 0.5 if double else 0.36
    paint = scene.vary(_RED if double else _YELLOW, 0.08)
    _bodywork(scene, frame, [box(-0.5, 0.06, 0.5, high, 0.03)], paint, high)
    for low in (0.2, 0.36) if double else (0.2,):
        panes = [box(-0.46 + 0.115 * i, low, -0.36 + 0.115 * i, low + 0.1) for i in range(7)]
        _glaze(scene, frame, [*panes, box(0.43, low, 0.5, low + 0.11)], low, low + 0.1)
    trim = [box(-0.5, y, 0.5, y + 0.007) for y in (0.165, 0.11)]
    scene.paint(frame, trim, (232, 222, 200) if double else (34, 32, 30))
    _glaze(scene, frame, [box(0.345, 0.08, 0.415, 0.3)], 0.08, 0.3)
    _lamps(scene, frame, 0.12)
    _wheels(scene, frame, (-0.3, 0.25), 0.068)


def _truck(scene: Scene, frame: Frame) -> None:
    """Draw a truck from the side: a red cab in front of a canvas load or a tank."""
    tanker = scene.happens(0.4)
    paint = scene.vary(_RED, 0.1)
    scene.paint(frame, [box(-0.5, 0.1, 0.48, 0.14)], (42, 40, 42), bulge=0.015)
    if tanker:
        tank = [box(-0.5, 0.15, 0.2, 0.38, 0.06)]
        scene.paint(frame, tank, (180, 188, 198), "metal", 0.12, finish=Finish(gloss=0.6))
    else:
        load = [box(-0.5, 0.14, 0.21, 0.44, 0.02)]
        scene.paint(frame, load, scene.vary((190, 168, 120)), "canvas", 0.04)
    cab = polygon(".23,.1 .23,.39 .25,.41 .38,.41 .46,.25 .5,.22 .5,.08")
    _bodywork(scene, frame, [cab], paint, 0.4)
    _glaze(scene, frame, [polygon(".3,.26 .3,.37 .385,.37 .43,.26")], 0.26, 0.37)
    _lamps(scene, frame, 0.15)
    _wheels(scene, frame, (-0.4, -0.22, 0.36), 0.07)


def _harbour(scene: Scene) -> None:
    """Draw a boat on open water, with the shore behind it."""
    horizon = scene.uniform(0.32, 0.52)
    draw_sky(scene, horizon)
    draw_distance(scene, horizon, lush=scene.happens(0.6))
    draw_water(scene, horizon)
    scene.defocus(scene.uniform(0.002, 0.006))
    x, size = scene.aspect * scene.uniform(0.36, 0.64), scene.uniform(0.5, 0.9)
    frame = Frame(x, scene.uniform(0.72, 0.85), size, scene.pick((-1.0, 1.0)))
    with scene.drawing("vehicle"):
        scene.pick((_yacht, _trawler))(scene, frame)


def _hull(scene: Scene, frame: Frame, colour: Colour, boot: Colour) -> None:
    """Draw a hull with its dark reflection in the water and the foam along it."""
    scene.darken(frame, [smooth("-.46,0 -.4,-.16 .4,-.18 .48,0", 3)], 0.45, 0.02)
    _bodywork(scene, frame, [polygon("-.46,0 -.5,.13 -.1,.11 .3,.13 .56,.18 .42,0")], colour, 0.14)
    scene.paint(frame, [polygon("-.465,0 -.472,.025 .445,.03 .42,0")], boot)
    foam = [smooth("-.52,0 -.3,.012 .46,.014 .5,-.01 -.3,-.014")]
    scene.paint(frame, foam, (226, 234, 238), "wool", finish=Finish(opacity=0.6))


def _yacht(scene: Scene, frame: Frame) -> None:
    """Draw a yacht: white, or of varnished wood with tanned sails; both have a blue stripe."""
    wooden = scene.happens(0.4)
    _hull(scene, frame, (142, 84, 44) if wooden else (238, 238, 234), (38, 62, 120))
    scene.paint(frame, limb((0.05, 0.1, 0.012), (0.05, 0.92, 0.006)), (112, 84, 58))
    cloth = scene.vary((182, 98, 62) if wooden else (240, 236, 224), 0.05)
    for sail in (".03,.2 .03,.9 -.1,.72 -.28,.45 -.42,.21", ".08,.19 .07,.82 .26,.5 .48,.2"):
        scene.paint(frame, [polygon(sail)], cloth, "sail", 0.1)


def _trawler(scene: Scene, frame: Frame) -> None:
    """Draw a fishing boat: blue hull, red bottom, white wheelhouse, orange buoys."""
    _hull(scene, frame, scene.vary((44, 92, 158)), (164, 48, 40))
    scene.paint(frame, [box(-0.3, 0.11, 0.04, 0.34)], (234, 232, 224), "sail", 0.03)
    scene.paint(frame, [box(-0.33, 0.33, 0.07, 0.36)], (196, 84, 40), bulge=0.012)
    panes = [box(x, 0.22, x + 0.07, 0.3) for x in (-0.27, -0.17, -0.07)]
    _glaze(scene, frame, panes, 0.22, 0.3)
    mast = limb((0.2, 0.1, 0.012), (0.2, 0.62, 0.008))
    boom = limb((0.2, 0.2, 0.008), (-0.02, 0.52, 0.006))
    scene.paint(frame, mast + boom, (186, 150, 96), bulge=0.01)
    buoys = [ellipse(x, 0.1, 0.03, 0.035) for x in (-0.4, 0.14, 0.3)]
    scene.paint(frame, buoys, (226, 110, 36), bulge=0.02)
