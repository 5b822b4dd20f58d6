from collections.abc import Callable

import numpy as np
import pytest
import torch
from skimage.color import rgb2lab
from skimage.metrics import peak_signal_noise_ratio
from torch import Tensor

from colorgan.evaluation.metrics import ab_l1, psnr


def pictures(seed: int) -> Tensor:
    return torch.rand(3, 3, 20, 30, generator=torch.Generator().manual_seed(seed))


def plain(*rgb: float) -> Tensor:
    return torch.tensor(rgb, dtype=torch.float32)[None, :, None, None].expand(1, 3, 4, 5)


def test_ab_l1_agrees_with_skimage() -> None:
    one, other = pictures(0), pictures(1)
    ab = [rgb2lab(each.permute(0, 2, 3, 1).numpy())[..., 1:] for each in (one, other)]
    expected = np.abs(ab[0] - ab[1]).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(ab_l1(one, other), expected, rtol=1e-4)


def test_ab_l1_of_red_and_black() -> None:
    # Red has a = 80.09 and b = 67.20.
    assert ab_l1(plain(1, 0, 0), plain(0, 0, 0)).item() == pytest.approx(73.65, abs=0.02)


def test_ab_l1_sees_colours_and_not_the_lightness() -> None:
    assert ab_l1(plain(0.2, 0.2, 0.2), plain(0.9, 0.9, 0.9)).item() < 0.01
    assert ab_l1(pictures(0), pictures(0)).tolist() == [0, 0, 0]


def test_psnr_agrees_with_skimage() -> None:
    one = pictures(0)
    other = (one + torch.tensor([0.01, 0.1, 0.5])[:, None, None, None] * pictures(1)).clamp(0, 1)
    expected = [
        peak_signal_noise_ratio(b.numpy(), a.numpy(), data_range=1)
        for a, b in zip(one, other, strict=True)
    ]
    np.testing.assert_allclose(psnr(one, other), expected, rtol=1e-4)


def test_psnr_of_known_errors() -> None:
    assert psnr(plain(0.5, 0.5, 0.5), plain(0.6, 0.6, 0.6)).item() == pytest.approx(20, abs=1e-3)
    # One channel of three is wrong by 1: the mean squared error is 1/3.
    assert psnr(plain(1, 0, 0), plain(0, 0, 0)).item() == pytest.approx(4.771, abs=1e-3)


def test_psnr_of_equal_pictures_is_a_hundred() -> None:
    np.testing.assert_allclose(psnr(pictures(0), pictures(0)), [100] * 3, rtol=1e-6)


@pytest.mark.parametrize("metric", [ab_l1, psnr])
def test_every_picture_of_a_batch_is_measured_by_itself(
    metric: Callable[[Tensor, Tensor], Tensor],
) -> None:
    one, other = pictures(0), pictures(1)
    together = metric(one, other)
    assert together.shape == (3,)
    alone = torch.cat([metric(one[i : i + 1], other[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(together, alone, rtol=1e-5)
