from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.color import rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor
from torchvision.models import alexnet

from colorgan.errors import ColorganError
from colorgan.evaluation.metrics import (
    ab_l1,
    ab_rmse,
    colorfulness,
    frechet_distance,
    load_lpips,
    lpips_weights,
    psnr,
    ssim,
)


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


def test_ab_rmse_agrees_with_skimage() -> None:
    one, other = pictures(0), pictures(1)
    ab = [rgb2lab(each.permute(0, 2, 3, 1).numpy())[..., 1:] for each in (one, other)]
    expected = np.sqrt(np.square(ab[0] - ab[1]).mean(axis=(1, 2, 3)))
    np.testing.assert_allclose(ab_rmse(one, other), expected, rtol=1e-4)


@pytest.mark.parametrize("count", [1, 3])
def test_ssim_agrees_with_skimage(count: int) -> None:
    one = torch.rand(count, 3, 40, 50, generator=torch.Generator().manual_seed(0))
    other = (one + 0.2 * torch.rand(one.shape, generator=torch.Generator().manual_seed(1))) / 1.2
    expected = [
        structural_similarity(
            a.numpy(),
            b.numpy(),
            data_range=1.0,
            channel_axis=0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for a, b in zip(one, other, strict=True)
    ]
    np.testing.assert_allclose(ssim(one, other), expected, atol=1e-3)
    np.testing.assert_allclose(ssim(one, one), np.ones(count), atol=1e-6)


def test_colorfulness_by_hand() -> None:
    assert colorfulness(plain(0.3, 0.3, 0.3)).item() == 0
    # Red: rg = 255 and yb = 127.5 everywhere, so only the means count.
    assert colorfulness(plain(1, 0, 0)).item() == pytest.approx(0.3 * np.hypot(255, 127.5))
    # Half red, half green: rg = 255 and -255, yb = 127.5 everywhere.
    halves = torch.zeros(1, 3, 2, 2)
    halves[:, 0, 0] = halves[:, 1, 1] = 1
    assert colorfulness(halves).item() == pytest.approx(255 + 0.3 * 127.5)


def test_the_frechet_distance_of_normal_distributions_by_hand() -> None:
    generator = torch.Generator().manual_seed(0)
    reference = torch.randn(4000, 3, generator=generator).double()
    moved = reference * torch.tensor([1.0, 2.0, 1.0]) + torch.tensor([3.0, 0.0, 0.0])
    # |mean|^2 = 9; of the deviations 1 and 2, (2 - 1)^2 = 1.
    assert frechet_distance(moved, reference) == pytest.approx(10, rel=0.05)
    assert frechet_distance(reference, reference) == pytest.approx(0, abs=1e-6)
    shuffled = reference[torch.randperm(4000, generator=generator)]
    assert frechet_distance(shuffled, reference) == pytest.approx(0, abs=1e-6)


def test_the_frechet_distance_of_fewer_pictures_than_features_is_finite() -> None:
    features = torch.randn(10, 50, generator=torch.Generator().manual_seed(0))
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-6)
    assert 0 < frechet_distance(features + 1, features) < 100


def test_lpips_needs_weights_that_are_at_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ColorganError, match="AlexNet weights"):
        load_lpips()
    lpips_weights().parent.mkdir(parents=True)
    torch.manual_seed(0)
    torch.save(alexnet(weights=None).state_dict(), lpips_weights())
    distance = load_lpips()
    one, other = (torch.rand(2, 3, 64, 64) for _ in range(2))
    assert distance(one, one).tolist() == pytest.approx([0, 0], abs=1e-6)
    assert (distance(one, other) > 0).all()
