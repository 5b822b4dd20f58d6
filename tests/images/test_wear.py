import numpy as np

from colorgan.data.scenes import draw_scene
from colorgan.images.wear import worn


def test_wear_is_repeatable_gray_and_of_every_kind() -> None:
    photograph = draw_scene("animals", 0, 96, 128)
    prints = [worn(photograph, np.random.default_rng(seed)) for seed in range(24)]
    again = worn(photograph, np.random.default_rng(7))
    np.testing.assert_array_equal(prints[7], again)
    for each in prints:
        assert each.dtype == np.uint8
        assert (each == each[..., :1]).all()
        height, width = each.shape[:2]
        margin = height - 96
        assert margin == width - 128 and 0 <= margin <= 24 and margin % 2 == 0
    bordered = sum(each.shape[0] > 96 for each in prints)
    contrasts = [np.ptp(np.percentile(each, (5, 95))) for each in prints]
    assert 0 < bordered < 24
    assert min(contrasts) < 0.5 * max(contrasts)
    assert len({each.tobytes() for each in prints}) > 20


def test_photographs_of_one_pixel_can_be_worn() -> None:
    for seed in range(40):
        assert worn(np.full((1, 1, 3), 99, np.uint8), np.random.default_rng(seed)).size
