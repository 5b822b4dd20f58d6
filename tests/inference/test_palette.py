"""The palette of a reference photograph, and what becomes of a colouring that takes it over."""

import numpy as np
import pytest
import torch
from torch import Tensor

from colorgan.data.scenes import draw_scene
from colorgan.errors import ConfigError
from colorgan.images import lab
from colorgan.images.decoding import Pixels
from colorgan.inference.colorizer import grayscale
from colorgan.inference.finishing import finish
from colorgan.inference.palette import Palette
from tests.inference.test_hints import generated


def channels(rgb: Pixels) -> np.ndarray:
    pixels = torch.from_numpy(np.array(rgb)).permute(2, 0, 1).double() / 255
    return lab.rgb_to_lab(pixels).flatten(1).numpy()


def tinted(shadows: tuple[int, int, int], lights: tuple[int, int, int], seed: int = 0) -> Pixels:
    """A picture whose colours go from one tint to another with its lightness."""
    share = np.random.default_rng(seed).random((60, 80, 1))
    return (share * lights + (1 - share) * shadows).astype(np.uint8)


PHOTOGRAPH = grayscale(draw_scene("people", 2, 240, 320))


@pytest.mark.parametrize("kind", ["animals", "vehicles"])
def test_a_colouring_takes_over_the_mean_and_the_spread_of_the_colours(kind: str) -> None:
    reference = draw_scene(kind, 5, 200, 300)
    like = Palette.of(reference)
    plain = finish(PHOTOGRAPH, generated(), "lab")
    alike = finish(PHOTOGRAPH, generated(), "lab", like=like)
    wanted, before, after = (channels(each)[1:] for each in (reference, plain, alike))
    for measure in (np.mean, np.std):
        goal, start, end = (measure(each, axis=1) for each in (wanted, before, after))
        assert np.abs(end - goal).sum() < np.abs(start - goal).sum() / 2


def test_shadows_and_lights_keep_the_tints_of_the_reference() -> None:
    like = Palette.of(tinted((20, 40, 90), (250, 200, 150)))  # blue below, orange above
    light, _, b = channels(finish(PHOTOGRAPH, torch.zeros(2, 64, 64), "lab", like=like))
    dark, bright = (np.quantile(light, share) for share in (0.1, 0.9))
    assert b[light <= dark].mean() < -5
    assert b[light >= bright].mean() > 5


def test_the_own_palette_changes_next_to_nothing() -> None:
    plain = finish(PHOTOGRAPH, generated(), "lab")
    again = finish(PHOTOGRAPH, generated(), "lab", like=Palette.of(plain))
    assert np.abs(again.astype(int) - plain).mean() < 1.5


def test_the_lightness_stays_the_photographs_own() -> None:
    like = Palette.of(draw_scene("animals", 1, 100, 100))
    alike = finish(PHOTOGRAPH, generated(), "lab", like=like)
    assert np.abs(channels(alike)[0] - channels(PHOTOGRAPH)[0]).mean() < 0.5


def test_noise_in_a_colouring_without_colours_does_not_become_colour() -> None:
    reference = np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype=np.uint8)
    faint = torch.from_numpy(np.random.default_rng(1).normal(0, 0.1 / 110, (2, 64, 64))).float()
    alike = finish(PHOTOGRAPH, faint, "lab", like=Palette.of(reference))
    even = finish(PHOTOGRAPH, torch.zeros(2, 64, 64), "lab", like=Palette.of(reference))
    assert np.abs(channels(alike) - channels(even))[1:].mean() < 1


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 400), (300, 2)])
@pytest.mark.parametrize("color", [torch.zeros(2, 32, 32), torch.full((2, 32, 32), 1.0)])
def test_the_smallest_and_the_flattest_pictures_have_a_palette_too(
    height: int, width: int, color: Tensor
) -> None:
    flat = np.full((height, width, 3), (200, 40, 90), np.uint8)
    alike = finish(flat, color, "lab", like=Palette.of(flat))
    assert alike.shape == flat.shape
    np.testing.assert_allclose(alike.reshape(-1, 3)[0], (200, 40, 90), atol=2)


def test_a_gray_reference_has_no_palette() -> None:
    with pytest.raises(ConfigError, match="no colours to take over"):
        Palette.of(PHOTOGRAPH)
