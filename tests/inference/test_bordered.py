"""The colouring of a print whose border stays gray."""

import numpy as np
import pytest

from colorgan.errors import ConfigError
from colorgan.images.borders import Box
from colorgan.images.color_spaces import COLOR_CHANNELS, ColorSpace
from colorgan.images.decoding import Pixels
from colorgan.inference import colorizer
from colorgan.inference.colorizer import grayscale
from colorgan.inference.finishing import Choices, finish, finished_print, finished_strips
from colorgan.inference.hints import Hint
from tests.images.test_borders import framed, scene
from tests.inference.test_hints import generated, in_print

WIDTHS = (12, 20, 9, 31)
BOX = Box(12, 212, 9, 269)


def tinted() -> Pixels:
    return framed(scene(), WIDTHS, np.uint8([240, 210, 160]))


def outside(picture: np.ndarray) -> np.ndarray:
    """The pixels of the border, (pixels, 3)."""
    border = np.ones(picture.shape[:2], bool)
    BOX.of(border)[:] = False
    return np.asarray(picture[border])


@pytest.mark.parametrize("strip_pixels", [700, 2_000_000])
@pytest.mark.parametrize("space", ["lab", "yuv", "rgb"])
def test_the_border_is_gray_and_the_picture_is_coloured_as_if_it_had_none(
    space: ColorSpace, strip_pixels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(colorizer, "_STRIP_PIXELS", strip_pixels)
    print_, color = tinted(), generated(channels=COLOR_CHANNELS[space])
    finished = finish(print_, color, space, 1.3, box=BOX)
    assert finished.shape == print_.shape
    np.testing.assert_array_equal(outside(finished), outside(grayscale(print_)))
    np.testing.assert_array_equal(BOX.of(finished), finish(scene(), color, space, 1.3))


def test_sixteen_bits_stay_sixteen_bits() -> None:
    print_ = tinted()
    deep = np.random.default_rng(0).integers(0, 65536, print_.shape[:2]).astype(np.uint16)
    strips = finished_print(print_, BOX, generated(), "lab", Choices(), deep)
    finished = np.concatenate(list(strips))
    assert finished.dtype == np.uint16
    np.testing.assert_array_equal(outside(finished)[:, 1], outside(deep[..., None])[:, 0])
    inner = finished_strips(scene(), generated(), "lab", Choices(), BOX.of(deep))
    np.testing.assert_array_equal(BOX.of(finished), np.concatenate(list(inner)))


def test_hints_are_points_of_the_whole_print() -> None:
    hints = [Hint(9, 12, "#2a52be"), Hint(268, 211, "#c04020"), Hint(100, 80, "#20a040")]
    finished = finish(tinted(), generated(), "lab", hints=hints, box=BOX)
    for hint in hints:
        np.testing.assert_allclose(
            finished[hint.y, hint.x], in_print(tinted(), hint), atol=1, err_msg=str(hint)
        )


@pytest.mark.parametrize("point", [(8, 50), (269, 50), (50, 11), (50, 212), (0, 0), (299, 231)])
def test_a_hint_on_the_border_is_refused(point: tuple[int, int]) -> None:
    hint = Hint(*point, "#2a52be")
    with pytest.raises(ConfigError, match=f"{point[0]},{point[1]} lies on the border of the print"):
        finish(tinted(), generated(), "lab", hints=[hint], box=BOX)
    with pytest.raises(ConfigError, match="lies outside of the photograph, which has 300 x 232"):
        finish(tinted(), generated(), "lab", hints=[Hint(300, 0, "#2a52be")], box=BOX)
