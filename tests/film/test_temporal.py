"""Scenes, motion, smoothing and flicker."""

import numpy as np
import pytest

from benchmarks import film as film_benchmark
from benchmarks.face import Settings
from colorgan.film.flicker import Flicker
from colorgan.film.plan import longest_part
from colorgan.film.scenes import SIDE, CutFinder
from colorgan.film.temporal import AROUND, LONGEST, smooth
from colorgan.images.decoding import Pixels
from colorgan.storage import Storage
from tests.film.films import gray, pan


def cuts(pictures: list[Pixels]) -> list[int]:
    finder, found = CutFinder(), []
    for rgb in pictures:
        finder.add(np.ascontiguousarray(rgb[..., 0]))
        if cut := finder.cut():
            found.append(cut)
    return [*found, *(cut for cut in finder.rest() if cut)]


def scene(seed: int, count: int = 24) -> list[Pixels]:
    return gray(pan(seed, max(count, 24), SIDE, SIDE)[:count])


def flickering(pictures: list[Pixels]) -> list[Pixels]:
    """An old film, whose exposure changes from frame to frame."""
    gains = np.random.default_rng(0).uniform(0.75, 1.2, len(pictures))
    return [
        np.clip(rgb * gain, 0, 255).astype(np.uint8)
        for rgb, gain in zip(pictures, gains, strict=True)
    ]


def flash(pictures: list[Pixels], at: int) -> list[Pixels]:
    white = [np.full_like(pictures[0], 250)] * 2
    return [*pictures[:at], *white, *pictures[at + 2 :]]


def fade(first: list[Pixels], second: list[Pixels]) -> list[Pixels]:
    shares = np.linspace(0, 1, len(first))
    return [
        (a * (1 - share) + b * share).astype(np.uint8)
        for a, b, share in zip(first, second, shares, strict=True)
    ]


BLACK = [np.zeros((SIDE, SIDE, 3), np.uint8)] * 12


@pytest.mark.parametrize(
    ("pictures", "expected"),
    [
        pytest.param(scene(0) + scene(1) + scene(2), [24, 48], id="pans"),
        pytest.param(scene(3, 3) + scene(4, 3) + scene(5, 12), [3, 6], id="short scenes"),
        pytest.param(flickering(scene(0) + scene(1)), [24], id="flickering exposure"),
        pytest.param(flash(scene(0, 40), 20), [], id="a flash"),
        pytest.param(BLACK + scene(6), [12], id="from black"),
        pytest.param(fade(scene(0), scene(1)), [], id="a dissolve"),
        pytest.param(scene(0, 1), [], id="one frame"),
        pytest.param(scene(7) + scene(8, 2), [24], id="a cut at the end"),
    ],
)
def test_cuts_are_found_and_nothing_else(pictures: list[Pixels], expected: list[int]) -> None:
    assert cuts(pictures) == expected


def test_many_cuts_of_pans_are_found() -> None:
    seeds = range(20)
    pictures = [rgb for seed in seeds for rgb in scene(seed, 16)]
    expected = set(range(16, 20 * 16, 16))
    found = set(cuts(pictures))
    assert not found - expected
    assert len(found) >= len(expected) - 1


def moving_block(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A textured block that moves over a textured ground: lightness, true colours, where it is."""
    generator = np.random.default_rng(3)
    ground = generator.integers(60, 120, (8, 8)).astype(np.float32).repeat(12, 0).repeat(12, 1)
    block = generator.integers(150, 240, (4, 4)).astype(np.float32).repeat(8, 0).repeat(8, 1)
    lights = np.repeat(ground[None], count, 0)
    inside = np.zeros((count, 96, 96), bool)
    for n in range(count):
        inside[n, 30:62, 10 + 2 * n : 42 + 2 * n] = True
        lights[n][inside[n]] = block.ravel()
    lights = np.clip(lights + generator.normal(0, 2, lights.shape), 0, 255).astype(np.uint8)
    colors = np.where(inside[:, None], 0.5, -0.2) * np.ones((1, 2, 1, 1))
    return lights, colors.astype(np.float32), inside


def test_smoothing_takes_the_flicker_and_leaves_the_colours_to_their_things() -> None:
    lights, true, inside = moving_block(20)
    generator = np.random.default_rng(0)
    tint = generator.normal(0, 0.1, (20, 2, 1, 1))
    blobs = generator.normal(0, 0.1, (20, 2, 12, 12)).repeat(8, 2).repeat(8, 3)
    predicted = (true + tint + blobs).astype(np.float16)
    smoothed = predicted.copy()
    smooth(smoothed, lights)

    def error(colors: np.ndarray) -> float:
        return float(np.abs(colors.astype(np.float32) - true).mean())

    assert error(smoothed) < error(predicted) / 2.5
    # The block keeps its colour up to its edge, and the ground that it uncovers its own.
    edge = inside & ~np.roll(inside, 3, axis=2)
    for place, expected in ((edge, 0.5), (~inside, -0.2)):
        found = smoothed[:, 0][place].astype(np.float32)
        assert abs(float(found.mean()) - expected) < 0.05


def test_what_is_the_same_in_every_frame_stays_as_it_is() -> None:
    lights = np.repeat(pan(0, 1)[0][None, ..., 0], 9, 0)
    rows, columns = np.mgrid[:48, :64] / 10
    colors = np.repeat(np.stack([np.sin(rows), np.cos(columns)])[None] / 3, 9, 0)
    smoothed = colors.astype(np.float16)
    smooth(smoothed, lights)
    assert np.abs(smoothed - colors).max() < 2e-3


def test_a_scene_in_two_parts_is_as_smooth_as_in_one() -> None:
    """What lies beyond AROUND frames counts so little that the parts fit."""
    generator = np.random.default_rng(0)
    count, middle = 2 * AROUND + 40, AROUND + 20
    lights = np.repeat(generator.integers(0, 255, (1, 32, 32)).astype(np.uint8), count, 0)
    predicted = generator.normal(0, 0.2, (count, 2, 1, 1)) + np.zeros((1, 2, 32, 32))
    predicted = predicted.astype(np.float16)
    whole, first, second = (
        predicted.copy(),
        predicted[: middle + AROUND].copy(),
        predicted[middle - AROUND :].copy(),
    )
    smooth(whole, lights)
    smooth(first, lights[: len(first)])
    smooth(second, lights[: len(second)])
    parts = np.concatenate([first[:middle], second[AROUND:]])
    usual = np.abs(np.diff(whole.astype(np.float32), axis=0)).mean()
    assert np.abs((parts - whole).astype(np.float32)).max() < 0.03
    assert np.abs(parts[middle] - parts[middle - 1]).mean() < 5 * usual + 0.01
    assert (1 - 1 / LONGEST) ** AROUND < 0.13


def test_flicker_is_the_change_of_colour_along_the_motion() -> None:
    film = pan(1, 10, 96, 72, grain=0)

    def tinted(red: float) -> list[Pixels]:
        return [
            np.clip(rgb + np.array([red * (n % 2), 0, 0]), 0, 255).astype(np.uint8)
            for n, rgb in enumerate(film)
        ]

    flicker = Flicker()
    for number, row in enumerate(zip(film, film, tinted(12), tinted(24), strict=True)):
        names = ("itself", "weak", "strong")
        flicker.add(row[0], dict(zip(names, row[1:], strict=True)), cut=number == 5)
    values = flicker.values()
    assert flicker.pairs == 8
    assert values["itself"] < 1
    assert values["itself"] + 1 < values["weak"] < values["strong"] / 1.5


def test_the_benchmark_compares_both_ways_on_one_film(embedded: Storage) -> None:
    by_frame, carried, itself = film_benchmark.run(Settings("quick"))
    assert (by_frame.variant, carried.variant) == (film_benchmark.REFERENCE, "colorgan")
    assert carried.value is not None and by_frame.value is not None and itself.value is not None
    assert 0 < carried.value < by_frame.value
    for row in (by_frame, carried):
        assert (row.facts["scenes"], row.facts["sound"]) == ("2", "identical")
        assert float(row.facts["L1"]) > 0


@pytest.mark.parametrize(("side", "most"), [(64, 240), (224, 240), (448, 35), (1024, 32)])
def test_long_scenes_are_coloured_in_parts_of_bounded_memory(side: int, most: int) -> None:
    assert longest_part(side) == most
