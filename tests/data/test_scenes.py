import numpy as np
import pytest

from colorgan.data.scenes import CLASSES, REGIONS, draw_both, draw_mask, draw_scene
from colorgan.data.scenes.canvas import PICTURE, Finish, Scene
from colorgan.data.scenes.shapes import box

HEIGHT, WIDTH = 72, 96
SEEDS = range(24)


def lab(rgb: np.ndarray) -> np.ndarray:
    """Convert sRGB pixels to CIE Lab (D65), so that the test doesn't rest on the code it tests."""
    scaled = rgb.astype(np.float64) / 255
    linear = np.where(scaled > 0.04045, ((scaled + 0.055) / 1.055) ** 2.4, scaled / 12.92)
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    xyz = linear @ to_xyz.T / np.array([0.9505, 1.0, 1.089])
    root = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = root[..., 0], root[..., 1], root[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


@pytest.fixture(scope="module")
def scenes() -> dict[str, np.ndarray]:
    """Some scenes of every class, in Lab: (scene, height, width, 3)."""
    return {
        label: np.stack([lab(draw_scene(label, seed, HEIGHT, WIDTH)) for seed in SEEDS])
        for label in CLASSES
    }


@pytest.mark.parametrize("label", CLASSES)
def test_the_same_arguments_give_the_same_pixels(label: str) -> None:
    first = draw_scene(label, 5, HEIGHT, WIDTH)
    assert np.array_equal(first, draw_scene(label, 5, HEIGHT, WIDTH))
    other = draw_scene(label, 6, HEIGHT, WIDTH)
    assert np.abs(first.astype(int) - other.astype(int)).mean() > 10


# Mean colours of the upper and the lower half of some scenes, each from left to right in thirds.
DRAWN = {
    ("animals", 0): "ada89f bab5ab aea79b b59a74 b2a083 bfa177",
    ("animals", 1): "849fac 6c90a5 62828a 6e7f46 708340 6c764b",
    ("people", 0): "ad8571 a48980 e6d0b2 825633 66462f 9e724f",
    ("people", 1): "946656 84715f a59072 9b6947 a88343 997358",
    ("vehicles", 0): "6b9acb 72a2d4 719fce 35729d 537795 3f7197",
    ("vehicles", 1): "635c65 6a6167 85847e 736a5e 766f4c 757261",
}


@pytest.mark.parametrize(("label", "seed"), DRAWN)
def test_a_scene_is_what_it_has_always_been(label: str, seed: int) -> None:
    """Datasets of scenes, and what was measured on them, can be made again."""
    blocks = draw_scene(label, seed, HEIGHT, WIDTH).reshape(2, HEIGHT // 2, 3, WIDTH // 3, 3)
    expected = np.array([list(bytes.fromhex(each)) for each in DRAWN[label, seed].split()])
    # Libraries may round a few pixels otherwise.
    assert np.abs(blocks.mean(axis=(1, 3)).reshape(6, 3) - expected).max() < 1.5


def test_every_class_has_its_own_scenes() -> None:
    first, second, third = (draw_scene(label, 0, HEIGHT, WIDTH) for label in CLASSES)
    assert not np.array_equal(first, second)
    assert not np.array_equal(second, third)


@pytest.mark.parametrize("label", CLASSES)
@pytest.mark.parametrize("size", [(32, 32), (33, 91), (101, 47), (143, 191)])
def test_any_size_can_be_drawn(label: str, size: tuple[int, int]) -> None:
    for seed in range(3):
        scene = draw_scene(label, seed, *size)
        assert scene.shape == (*size, 3)
        assert scene.dtype == np.uint8
        assert scene.flags.writeable


@pytest.mark.parametrize("label", CLASSES)
def test_a_seed_gives_the_same_composition_at_every_size(label: str) -> None:
    for seed in range(4):
        small = draw_scene(label, seed, HEIGHT, WIDTH).astype(float)
        large = draw_scene(label, seed, 2 * HEIGHT, 2 * WIDTH).astype(float)
        halved = large.reshape(HEIGHT, 2, WIDTH, 2, 3).mean(axis=(1, 3))
        assert np.corrcoef(small.ravel(), halved.ravel())[0, 1] > 0.8


def test_the_usual_size_is_the_default() -> None:
    assert draw_scene("animals", 0).shape == (286, 382, 3)


@pytest.mark.parametrize("seed", [-1, 2**63, 2**70])
def test_any_integer_is_a_seed(seed: int) -> None:
    assert draw_scene("people", seed, 32, 32).shape == (32, 32, 3)


def test_an_unknown_class_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown class 'plants'"):
        draw_scene("plants", 0)


@pytest.mark.parametrize("size", [(31, 64), (64, 31)])
def test_a_picture_too_small_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least 32"):
        draw_scene("animals", 0, *size)


@pytest.mark.parametrize("label", CLASSES)
def test_scenes_are_colourful_and_well_exposed(label: str, scenes: dict[str, np.ndarray]) -> None:
    assert 10 < np.abs(scenes[label][..., 1:]).mean() < 25
    luminance = scenes[label][..., 0]
    assert 35 < luminance.mean() < 75
    assert luminance.std(axis=(1, 2)).min() > 5


def test_the_classes_differ_in_palette(scenes: dict[str, np.ndarray]) -> None:
    means = {label: pixels[..., 1:].mean(axis=(0, 1, 2)) for label, pixels in scenes.items()}
    for first, second in (("animals", "people"), ("people", "vehicles"), ("vehicles", "animals")):
        assert np.linalg.norm(means[first] - means[second]) > 8


def test_the_sky_above_animals_is_bluer_than_the_ground_below(
    scenes: dict[str, np.ndarray],
) -> None:
    blueness = -scenes["animals"][..., 2]
    above, below = blueness[:, : HEIGHT // 8], blueness[:, -HEIGHT // 8 :]
    assert above.mean() - below.mean() > 15
    assert np.mean(above.mean(axis=(1, 2)) > below.mean(axis=(1, 2))) > 0.8


@pytest.mark.parametrize("label", CLASSES)
def test_colour_follows_luminance_and_place(label: str, scenes: dict[str, np.ndarray]) -> None:
    """Guessing by brightness and height alone already beats leaving unseen scenes gray."""
    rows = np.arange(HEIGHT)[None, :, None] * 6 // HEIGHT
    cell = rows * 8 + np.clip(scenes[label][..., 0] / 12.5, 0, 7).astype(int)
    colour = scenes[label][..., 1:]
    half = len(SEEDS) // 2
    guess = np.zeros((48, 2))
    for index in np.unique(cell[:half]):
        guess[index] = np.median(colour[:half][cell[:half] == index], axis=0)
    error = np.abs(colour[half:] - guess[cell[half:]]).mean()
    assert error < 0.9 * np.abs(colour[half:]).mean()


SUBJECTS = {"animals": "animal", "people": "person", "vehicles": "vehicle"}


@pytest.mark.parametrize("label", CLASSES)
def test_a_scenes_mask_shows_its_subject_and_no_other(label: str) -> None:
    for seed in SEEDS:
        pixels, mask = draw_both(label, seed, HEIGHT, WIDTH)
        assert np.array_equal(pixels, draw_scene(label, seed, HEIGHT, WIDTH))
        assert np.array_equal(mask, draw_mask(label, seed, HEIGHT, WIDTH))
        assert (mask.shape, mask.dtype) == ((HEIGHT, WIDTH), np.uint8)
        shown = {REGIONS[place] for place in np.unique(mask)}
        assert shown & {*SUBJECTS.values()} == {SUBJECTS[label]}
        assert 0.01 < (mask == REGIONS.index(SUBJECTS[label])).mean() < 0.9


def test_the_sky_is_above_and_the_ground_or_the_water_below() -> None:
    for seed in SEEDS:
        for label in ("animals", "vehicles"):
            mask = draw_mask(label, seed, HEIGHT, WIDTH)
            assert (mask[0] == REGIONS.index("sky")).mean() > 0.5
            below = [REGIONS.index(name) for name in ("ground", "water")]
            assert np.isin(mask[-1], below).mean() > 0.5
            assert not (mask[-1] == REGIONS.index("sky")).any()


@pytest.mark.parametrize("label", CLASSES)
def test_a_mask_is_the_same_composition_at_every_size(label: str) -> None:
    for seed in range(4):
        small = draw_mask(label, seed, HEIGHT, WIDTH)
        large = draw_mask(label, seed, 2 * HEIGHT, 2 * WIDTH)[::2, ::2]
        assert (small == large).mean() > 0.95


def test_opaque_paint_and_filled_bands_are_the_region_that_is_drawn() -> None:
    scene = Scene(0, 0, 40, 40)
    shade = np.ones((40, 40), np.float32)
    with scene.drawing("ground"):
        scene.fill(0.5, 1.0, (90, 90, 90), shade)
    with scene.drawing("animal"):
        scene.paint(PICTURE, [box(0.25, 0.25, 0.75, 0.75)], (200, 100, 50))
        scene.paint(PICTURE, [box(0, 0, 1, 1)], (0, 0, 0), finish=Finish(opacity=0.7))
        scene.darken(PICTURE, [box(0, 0, 1, 1)], 0.5, 0.02)
    expected = np.zeros((40, 40), np.uint8)
    expected[20:] = REGIONS.index("ground")
    expected[10:30, 10:30] = REGIONS.index("animal")
    # Outlines end on the middle of a pixel's rim, which the pen includes.
    assert (scene.regions != expected).sum() <= 4 * 20
    assert np.array_equal(scene.regions[11:29, 11:29], expected[11:29, 11:29])
    outside = np.ones((40, 40), bool)
    outside[9:31, 9:31] = False
    assert np.array_equal(scene.regions[outside], expected[outside])
