"""What is wrong with a print is measured, and mended for the networks; a good one is left alone."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from colorgan.data.scenes import draw_scene
from colorgan.errors import ConfigError
from colorgan.images import prints
from colorgan.images.borders import Box
from colorgan.images.decoding import Photograph, Pixels, decode
from colorgan.images.prints import Restored, Restoring, check_restoring, restore
from tests.images.test_borders import SAMPLES, framed


def picture() -> np.ndarray:
    """A photograph without colours, (240, 320) in [0, 1], from black to white."""
    rough = gaussian_filter(np.random.default_rng(1).normal(size=(240, 320)), 6)
    gray = (rough - rough.min()) / (rough.max() - rough.min())
    return np.asarray(np.clip(2 * gray - 0.55, 0.02, 0.97))


def pixels(gray: np.ndarray) -> Pixels:
    levels = (gray.clip(0, 1) * 255).round().astype(np.uint8)
    return levels[..., None].repeat(3, axis=-1)


def sepia(gray: np.ndarray) -> Pixels:
    toned = np.stack([gray * 1.05 + 0.02, gray * 0.88 + 0.01, gray * 0.68], axis=-1)
    return np.asarray((toned.clip(0, 1) * 255).round().astype(np.uint8))


def scratched(gray: np.ndarray, columns: tuple[int, ...]) -> np.ndarray:
    worn = gray.copy()
    worn[:, list(columns)] = 0.95
    return worn


def restored(rgb: Pixels) -> Restored:
    return restore(Photograph(rgb), "colors")


def grain(deviation: float) -> np.ndarray:
    return np.random.default_rng(2).normal(0, deviation, picture().shape)


SCRATCHES = (17, 18, 80, 150, 300)

WORN = {
    "faded": 0.45 + 0.4 * picture(),
    "faint": 0.45 + 0.1 * picture(),
    "noisy": picture() + grain(0.1),
    "scratched": scratched(picture(), SCRATCHES),
    "everything": 0.3 + 0.4 * scratched(picture(), SCRATCHES) + grain(0.03),
}


def test_each_wear_is_measured() -> None:
    found = {name: restored(pixels(worn)).condition for name, worn in WORN.items()}
    assert {name for name, each in found.items() if each.tones} == {
        *("faded", "faint", "everything"),
    }
    for name, black, white in (("faded", 0.45, 0.85), ("faint", 0.45, 0.55)):
        np.testing.assert_allclose(found[name].tones, (black, white), atol=0.03, err_msg=name)
    assert found["noisy"].noise == pytest.approx(0.1, rel=0.2)
    assert found["faded"].noise == found["scratched"].noise == 0
    assert found["everything"].noise == pytest.approx(0.03 / 0.4, rel=0.3)
    assert found["scratched"].scratches == found["everything"].scratches == SCRATCHES
    assert found["noisy"].scratches == ()


@pytest.mark.parametrize("name", WORN)
def test_what_the_networks_see_is_nearer_to_the_photograph(name: str) -> None:
    seen = restored(pixels(WORN[name])).seen
    assert seen.dtype == np.uint8 and seen.shape == (240, 320, 3)
    before, after = (
        np.abs(each[..., 0] / 255 - picture()).mean() for each in (pixels(WORN[name]), seen)
    )
    assert after < 0.6 * before


def test_a_tint_does_not_matter_and_the_border_is_not_seen() -> None:
    gray = 0.45 + 0.4 * picture()
    neutral = restored(framed(pixels(gray), (9, 9, 12, 12), 250))
    assert neutral.box == Box(9, 249, 12, 332)
    np.testing.assert_array_equal(neutral.seen, restored(pixels(gray)).seen)
    toned = restored(framed(sepia(gray), (9, 9, 12, 12), np.uint8([250, 230, 180])))
    assert toned.box == neutral.box
    assert (toned.seen.max(axis=-1) == toned.seen.min(axis=-1)).all()
    assert np.abs(toned.seen.astype(float) - neutral.seen).mean() < 12


def light() -> np.ndarray:
    """A high-key photograph: most of it nearly white, with some black."""
    return np.asarray(1 - (1 - picture()) ** 3)


def night() -> np.ndarray:
    """A low-key photograph: most of it nearly black, with lamps."""
    dark = 0.2 * picture()
    dark[100:120, 40:70] = dark[60:75, 200:230] = 0.98
    return np.asarray(dark)


GOOD = {
    "clean": pixels(picture()),
    "sepia": sepia(picture()),
    "high-key": pixels(light()),
    "night": pixels(night()),
    "a dark room": pixels(0.35 * picture()),
    "dusk, in which nothing is black": pixels(0.15 + 0.3 * picture()),
    "texture": pixels(np.random.default_rng(0).uniform(0, 1, (60, 80)).repeat(4, 0).repeat(4, 1)),
    "a drawn scene": draw_scene("people", 1, 240, 320),
    "a pixel": np.zeros((1, 1, 3), np.uint8),
    "one tone": np.full((50, 60, 3), 99, np.uint8),
    **{path.stem: decode(path.read_bytes()).rgb for path in SAMPLES},
}


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("restoring", ["colors", "full"])
def test_a_good_photograph_is_left_as_it_is(name: str, restoring: Restoring) -> None:
    photograph = Photograph(GOOD[name], notes=("a note",))
    found = restore(photograph, restoring)
    assert found.seen is photograph.rgb, "to the last bit"
    assert found.photograph == photograph and found.box is None


def test_nothing_is_measured_when_it_is_off() -> None:
    photograph = Photograph(framed(pixels(WORN["everything"]), (9, 9, 9, 9)))
    off = restore(photograph, "off")
    assert off.seen is photograph.rgb and off.photograph is photograph and off.box is None


def test_colors_keeps_the_print_and_full_mends_it_inside_its_border() -> None:
    print_ = framed(pixels(WORN["everything"]), (9, 9, 12, 12), 250)
    deep = (print_[..., 0].astype(np.uint16) * 257) + 3
    photograph = Photograph(print_, deep=deep)
    kept = restore(photograph, "colors").photograph
    assert kept.rgb is print_ and kept.deep is deep
    full = restore(photograph, "full")
    box = full.box
    assert box is not None and full.photograph.deep is not None
    np.testing.assert_allclose(box.of(full.photograph.rgb), full.seen, atol=2)
    np.testing.assert_allclose(
        box.of(full.photograph.deep) / 257, box.of(full.photograph.rgb)[..., 0], atol=1
    )
    for before, after in ((print_, full.photograph.rgb), (deep, full.photograph.deep)):
        np.testing.assert_array_equal(before[:9], after[:9])
        np.testing.assert_array_equal(before[:, :12], after[:, :12])
    assert full.photograph.notes == (
        "the border of the print stays gray",
        "faded contrast, scratches, noise mended for the networks",
    )


def test_a_large_print_is_measured_small_and_mended_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prints, "_STRIP_PIXELS", 100_000)
    large = pixels((0.45 + 0.4 * picture()).repeat(8, axis=0).repeat(8, axis=1))
    full = restore(Photograph(large), "full")
    assert full.seen.shape == (480, 640, 3)
    whole = full.photograph.rgb
    assert whole.shape == large.shape and whole is not large
    assert np.abs(whole[::8, ::8, 0] / 255 - picture()).mean() < 0.05
    assert (whole.reshape(240, 8, -1)[:, 0] == whole.reshape(240, 8, -1)[:, 7]).all()


def test_another_value_is_refused() -> None:
    assert check_restoring("full") == "full"
    with pytest.raises(ConfigError, match="restore is one of off, colors, full, not 'tones'"):
        check_restoring("tones")
