"""The border of a print, in exact pixels, and what looks like one and is none."""

from collections.abc import Sequence

import numpy as np
import pytest

from colorgan.data.scenes import draw_scene
from colorgan.images.borders import Box, find_border
from colorgan.images.decoding import Pixels, decode
from tests.conftest import CHECKOUT

SAMPLES = sorted((CHECKOUT / "serve/page/samples").glob("*.jpg"))


def scene(height: int = 200, width: int = 260, seed: int = 3) -> Pixels:
    return draw_scene("animals", seed, height, width)


def framed(picture: Pixels, widths: Sequence[int], paper: float | Pixels = 235) -> Pixels:
    """A picture with a border of these widths: top, bottom, left, right."""
    top, bottom, left, right = widths
    height, width = picture.shape[:2]
    print_ = np.empty((height + top + bottom, width + left + right, 3), np.uint8)
    print_[:] = paper
    print_[top : top + height, left : left + width] = picture
    return print_


def inside(print_: Pixels, widths: Sequence[int]) -> Box:
    top, bottom, left, right = widths
    return Box(top, print_.shape[0] - bottom, left, print_.shape[1] - right)


@pytest.mark.parametrize("paper", [255, 235, 200, 0], ids=["white", "cream", "gray", "film"])
@pytest.mark.parametrize(
    "widths",
    [(20, 20, 20, 20), (9, 48, 9, 9), (2, 3, 5, 7), (0, 24, 18, 18), (30, 30, 0, 0), (0, 0, 9, 12)],
    ids=["even", "instant", "narrow", "three sides", "top and bottom", "left and right"],
)
def test_a_border_is_found_in_exact_pixels(widths: tuple[int, ...], paper: int) -> None:
    print_ = framed(scene(), widths, paper)
    assert find_border(print_) == inside(print_, widths)


def test_the_paper_may_have_a_grain_a_tint_and_a_shade() -> None:
    widths = (16, 20, 24, 28)
    print_ = framed(scene(), widths, np.uint8([232, 214, 170])).astype(float)
    print_ += np.random.default_rng(0).normal(0, 4, print_.shape)
    print_ += np.linspace(-6, 6, print_.shape[1])[:, None]
    worn = print_.clip(0, 255).astype(np.uint8)
    assert find_border(worn) == inside(worn, widths)


def test_a_border_around_a_border_is_found() -> None:
    paper = framed(scene(), (12, 12, 12, 12), 205)
    print_ = framed(paper, (30, 8, 20, 20), 252)
    assert find_border(print_) == inside(print_, (42, 20, 32, 32))


def test_a_sky_as_light_as_the_paper_does_not_hide_the_border() -> None:
    picture = scene()
    picture[:60] = 235
    print_ = framed(picture, (20, 20, 20, 20), 235)
    assert find_border(print_) == inside(print_, (20, 20, 20, 20)), "as wide as the others"


def test_the_border_of_a_large_print_is_as_exact() -> None:
    widths = (101, 118, 77, 203)
    large = np.asarray(scene(120, 160).repeat(20, axis=0).repeat(20, axis=1))
    print_ = framed(large, widths)
    assert min(print_.shape[:2]) > 2 * 1024
    assert find_border(print_) == inside(print_, widths)


def sky() -> Pixels:
    """A white sky, and hills below it."""
    picture = scene()
    hills = 70 + 25 * np.sin(np.arange(260) / 30)
    picture[np.arange(200)[:, None] < hills] = 250
    return picture


def backdrop() -> Pixels:
    """A round thing before a white wall."""
    down, right = np.ogrid[:200, :260]
    round_ = (down - 100) ** 2 + (right - 130) ** 2 < 70**2
    return np.where(round_[..., None], scene(), np.uint8(245))


def sea() -> Pixels:
    """A white sky over a straight horizon."""
    picture = scene()
    picture[:50] = 250
    return picture


def dark() -> Pixels:
    """A window in a dark room."""
    picture = np.full((200, 260, 3), 4, np.uint8)
    picture[40:90, 180:220] = 240
    return picture


NONE = {
    "a sky": sky,
    "a backdrop": backdrop,
    "a horizon": sea,
    "a dark room": dark,
    "one tone": lambda: np.full((200, 260, 3), 235, np.uint8),
    "a pixel": lambda: np.full((1, 1, 3), 235, np.uint8),
    "a line": lambda: np.full((1, 3000, 3), 235, np.uint8),
    **{f"scene {seed}": lambda seed=seed: scene(seed=seed) for seed in range(6)},
    **{path.stem: lambda path=path: decode(path.read_bytes()).rgb for path in SAMPLES},
}


@pytest.mark.parametrize("name", NONE)
def test_what_is_no_border_is_left_alone(name: str) -> None:
    assert find_border(NONE[name]()) is None
