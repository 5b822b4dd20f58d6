from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.color import rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor
from torchmetrics.image.fid import FrechetInceptionDistance
from torchvision.models import alexnet

from colorgan.errors import ColorganError
from colorgan.images.lab import lab_to_rgb, rgb_to_lab
from colorgan.metrics import (
    FEWEST_PHOTOGRAPHS,
    PairedFrechet,
    ab_l1,
    ab_rmse,
    colorfulness,
    colorfulness_ratio,
    frechet_distance,
    hue_invariant,
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


class Same(torch.nn.Module):
    """What torchmetrics takes for the features: they themselves."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


def by_torchmetrics(one: Tensor, other: Tensor) -> float:
    distance = FrechetInceptionDistance(Same(one.shape[1])).set_dtype(torch.float64)
    distance.update(one.double(), real=False)
    distance.update(other.double(), real=True)
    return float(distance.compute())


def features(count: int, width: int, seed: int, moved: float = 0) -> Tensor:
    """Correlated features, no less than zero, as a classifier's pooled ones are."""
    mix = torch.randn(12, width, generator=torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(seed)
    inner = torch.randn(count, 12, generator=generator) + moved
    return (inner @ mix / 4 + 0.2 * torch.randn(count, width, generator=generator)).relu()


@pytest.mark.parametrize(
    ("counts", "width"), [((24, 24), 300), ((40, 25), 300), ((150, 90), 64), ((90, 90), 90)]
)
def test_the_frechet_distance_is_torchmetrics(counts: tuple[int, int], width: int) -> None:
    one, other = features(counts[0], width, 2, moved=0.4), features(counts[1], width, 3)
    expected = by_torchmetrics(one, other)
    assert expected > 1
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-3)
    assert frechet_distance(other.numpy(), one.numpy()) == pytest.approx(expected, rel=1e-3)


def test_the_frechet_distance_sees_what_is_off_the_references_directions() -> None:
    reference, colored = torch.zeros(30, 40), torch.zeros(30, 40)
    reference[:, :2] = torch.randn(30, 2, generator=torch.Generator().manual_seed(0))
    colored[:, :2] = reference[:, :2]
    colored[:, 20:] = 5 * torch.randn(30, 20, generator=torch.Generator().manual_seed(1))
    assert frechet_distance(colored, reference) == pytest.approx(
        by_torchmetrics(colored, reference), rel=1e-3
    )
    assert frechet_distance(colored, reference) > 400


@pytest.mark.parametrize("count", [0, 1, FEWEST_PHOTOGRAPHS - 1])
def test_a_frechet_distance_of_few_photographs_is_refused(count: int) -> None:
    few, enough = features(count, 8, 2), features(FEWEST_PHOTOGRAPHS, 8, 3)
    for pair in ((few, enough), (enough, few)):
        with pytest.raises(ColorganError, match=f"needs at least 20 photographs, not {count}"):
            frechet_distance(*pair)
    assert frechet_distance(enough, enough) == pytest.approx(0, abs=1e-6)


def test_the_bootstrap_weighs_photographs_as_drawing_them_does() -> None:
    one, other = features(30, 50, 2, moved=0.4), features(30, 50, 3)
    pair = PairedFrechet(one, other)
    generator = np.random.default_rng(7)
    drawn = [generator.integers(30, size=30) for _ in range(50)]
    expected = np.std([frechet_distance(one[each], other[each]) for each in drawn], ddof=1)
    assert pair.standard_error(seed=7, resamples=50) == pytest.approx(expected, rel=1e-9)
    assert PairedFrechet(one, one).standard_error(resamples=5) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("count", [40, 350, 2100])
def test_the_standard_error_is_how_far_other_photographs_are(count: int) -> None:
    width, few = 16, 12 if count > 1000 else 60
    noise = [features(count, width, 1000 + n) for n in range(few)]
    pairs = [(0.6 * each + 0.1 * features(count, width, n), each) for n, each in enumerate(noise)]
    distances = [frechet_distance(*pair) for pair in pairs]
    errors = [PairedFrechet(*pair).standard_error(resamples=40) for pair in pairs[:6]]
    assert np.mean(errors) == pytest.approx(np.std(distances, ddof=1), rel=0.5)


def test_hue_invariance_tells_a_pale_colouring_from_a_wrong_one() -> None:
    original = lab_to_rgb(
        torch.cat([40 + 20 * pictures(0)[:, :1], 30 * (pictures(1)[:, 1:] - 0.5)], dim=1)
    )
    lab = rgb_to_lab(original)
    pale = lab_to_rgb(torch.cat([lab[:, :1], 0.3 * lab[:, 1:]], dim=1))
    wrong = lab_to_rgb(torch.cat([lab[:, :1], -lab[:, 1:]], dim=1))
    torch.testing.assert_close(hue_invariant(pale, original), original, atol=2e-3, rtol=0)
    torch.testing.assert_close(hue_invariant(wrong, original), wrong, atol=2e-3, rtol=0)
    chroma = rgb_to_lab(hue_invariant(pale, original))[:, 1:].square().sum(1).sqrt().mean((1, 2))
    expected = lab[:, 1:].square().sum(1).sqrt().mean((1, 2))
    torch.testing.assert_close(chroma, expected, atol=0.05, rtol=0)
    torch.testing.assert_close(rgb_to_lab(hue_invariant(pale, original))[:, 0], lab[:, 0])


def test_gray_has_no_hue_and_a_gray_original_takes_all_colour() -> None:
    gray, red = plain(0.4, 0.4, 0.4), plain(0.8, 0.3, 0.3)
    torch.testing.assert_close(hue_invariant(gray, red), gray, atol=1e-3, rtol=0)
    assert rgb_to_lab(hue_invariant(red, gray))[:, 1:].abs().max() < 0.1
    strong = hue_invariant(plain(0.6, 0.5, 0.5), plain(1, 0, 0))
    assert strong.min() >= 0 and strong.max() <= 1


def test_the_colourfulness_ratio_is_that_of_the_means() -> None:
    assert colorfulness_ratio([10, 30], [40, 40]) == pytest.approx(0.5)
    assert colorfulness_ratio([10, 10], [1, 39]) == pytest.approx(0.5)  # not the mean of ratios
    assert colorfulness_ratio([0, 0], [20, 30]) == 0
    assert np.isnan(colorfulness_ratio([1, 2], [0, 0])) and np.isnan(colorfulness_ratio([], []))


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
