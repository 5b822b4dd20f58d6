"""How the colours of objects end, and how they are joined with the others."""

import math

import numpy as np
import pytest
import torch

from colorgan.images.lab import lightness, recolor
from colorgan.inference.colorizer import grayscale, recombine
from colorgan.inference.layers import (
    Layer,
    canvas,
    crop,
    feathered,
    guided,
    join,
    raised_cosine,
    surroundings,
)
from colorgan.models.detection import Detection, Place

WHOLE = Place(0.0, 1.0, 0.0, 1.0)
MIDDLE = Detection("people", "person", 0.9, Place(0.25, 0.75, 0.25, 0.75))


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_half_a_cosine_falls_across_the_edge_of_a_mask() -> None:
    inside = np.arange(12)[None].repeat(3, axis=0) < 6
    row = raised_cosine(inside, 4.0)[1]
    # The edge is between cells 5 and 6; their centres are half a cell from it.
    shares = [(0.5 - 0.5 * math.cos(math.pi * (0.5 + d / 4))) for d in (1.5, 0.5, -0.5, -1.5)]
    np.testing.assert_allclose(row[4:8], shares, atol=1e-6)
    assert (row[:4] == 1).all() and (row[8:] == 0).all()
    assert (raised_cosine(np.ones((2, 2), bool), 4.0) == 1).all()
    assert (raised_cosine(np.zeros((2, 2), bool), 4.0) == 0).all()


def test_colours_are_joined_by_their_weights_at_points_computed_by_hand() -> None:
    below = torch.zeros(2, 8, 8)
    below[0], below[1] = 0.2, -0.4
    weights = np.full((4, 4), 0.25, np.float32)
    first = Layer(Place(0.0, 0.5, 0.0, 0.5), torch.full((2, 4, 4), 0.6), weights)
    second = Layer(Place(0.25, 0.75, 0.25, 0.75), torch.full((2, 4, 4), -0.8), 2 * weights)
    joined = join(below, [first, second], 8, 8)
    at = {(0, 0): 1, (2, 2): 2, (5, 5): 3, (7, 7): 0}
    once = (0.75 * 0.2 + 0.25 * 0.6, 0.75 * -0.4 + 0.25 * 0.6)
    twice = tuple(0.5 * each + 0.5 * -0.8 for each in once)
    alone = tuple(0.5 * each + 0.5 * -0.8 for each in (0.2, -0.4))
    expected = {0: (0.2, -0.4), 1: once, 2: twice, 3: alone}
    for (y, x), layers in at.items():
        torch.testing.assert_close(joined[:, y, x], torch.tensor(expected[layers]))
    assert torch.equal(join(below, [], 8, 8), below)


@pytest.mark.parametrize("edges", ["cosine", "guided"])
def test_the_lightness_is_untouched_wherever_objects_are(edges: str) -> None:
    picture = grayscale(90 + noise(60, 80) // 3)
    weights = feathered(MIDDLE, picture, edges)  # type: ignore[arg-type]
    assert weights.min() >= 0 and weights.max() <= 1
    layer = Layer(surroundings(MIDDLE), torch.full((2, 8, 8), 0.1), weights)
    joined = join(torch.full((2, 8, 8), -0.1), [layer], 60, 80)
    made = recombine(picture, joined, "lab")
    assert (made[30, 40] != made[0, 0]).any()
    # What `recombine` rounds, and nothing else: joined colours are used as they are.
    assert (made == recolor(picture, joined.numpy())).all()
    assert np.abs(lightness(made) - lightness(picture)).max() < 0.006


def test_a_box_is_whole_in_its_middle_and_nothing_at_the_edge_of_what_its_model_sees() -> None:
    picture = noise(100, 100)
    for edges in ("cosine", "guided"):
        weights = feathered(MIDDLE, picture, edges)  # type: ignore[arg-type]
        assert weights.shape == crop(picture, surroundings(MIDDLE)).shape[:2]
        rim = (weights[0], weights[-1], weights[:, 0], weights[:, -1])
        assert max(each.max() for each in rim) < 0.02
        assert weights[len(weights) // 2, len(weights) // 2] > 0.9


def test_the_edge_of_the_photograph_is_no_edge_of_an_object() -> None:
    picture = noise(40, 40)
    left = Detection("people", "person", 0.9, Place(0.0, 1.0, 0.0, 0.5))
    weights = feathered(left, picture)
    assert (weights[:, :14] == 1).all() and (weights[0] == weights[20]).all()
    assert (feathered(Detection("people", "person", 0.9, WHOLE), picture) == 1).all()
    assert (feathered(Detection("people", "person", 0.9, WHOLE), picture, "guided") > 0.99).all()


def test_a_mask_is_placed_in_its_box() -> None:
    mask = np.zeros((10, 10), np.uint8)
    mask[:, :5] = 255
    half = Detection("people", "person", 0.9, Place(0.2, 0.8, 0.2, 0.8), mask)
    weights = feathered(half, noise(100, 100))
    rows, columns = weights.shape
    assert weights[rows // 2, columns // 4] == 1
    assert weights[rows // 2, 3 * columns // 4] == 0


def test_a_guided_mask_follows_the_lightness() -> None:
    light = np.zeros((40, 40), np.float32)
    light[:, 23:] = 1
    mask = (np.arange(40)[None].repeat(40, axis=0) < 20).astype(np.float32)
    weights = guided(mask, light, 5)
    assert weights[20, 22] > weights[20, 23] + 0.3, "the step is where the lightness has its edge"


def test_large_photographs_are_joined_at_a_reduced_size() -> None:
    assert canvas(600, 800) == (600, 800)
    height, width = canvas(4000, 8000)
    assert height * width <= 2_010_000 and width == pytest.approx(2 * height, abs=2)
    assert canvas(1, 100_000_000)[0] == 1
