import math

import pytest
import torch
from torch import Tensor

from colorgan.images.lab import rgb_to_lab
from colorgan.models.gamut import (
    BINS,
    annealed_mean,
    bins_in_gamut,
    class_weights,
    smoothed_prior,
    soft_encode,
)
from colorgan.training.objectives import rebalanced_cross_entropy

# Some rows of the bins: a, and the least and the greatest b. Green (-86.2, 83.2) lies between the
# first two rows, red (80.1, 67.2) and blue (79.2, -107.9) near the fourth, and magenta
# (98.2, -60.8) below the last.
ROWS = {-90: (50, 90), -80: (20, 90), 0: (-70, 100), 80: (-110, 70), 100: (-90, 0)}


def places(*colors: tuple[float, float]) -> Tensor:
    """(1, 2, 1, places) in Lab units."""
    return torch.tensor(colors).T[None, :, None]


def encoded(a: float, b: float) -> dict[tuple[float, float], float]:
    """The share of each bin in the soft encoding of a colour."""
    bins = bins_in_gamut()
    numbers, shares = soft_encode(places((a, b)), bins)
    named = [(*bins[number].tolist(),) for number in numbers.flatten()]
    return dict(zip(named, shares.flatten().tolist(), strict=True))


def test_313_bins_are_in_gamut() -> None:
    bins = bins_in_gamut()
    assert bins.shape == (BINS, 2) == (313, 2)
    points = [(*point,) for point in bins.tolist()]
    assert points == sorted({*points})
    for a, (low, high) in ROWS.items():
        assert [b for other, b in points if other == a] == [*range(low, high + 1, 10)]


def test_every_colour_of_a_screen_lies_among_bins() -> None:
    level = torch.linspace(0, 1, 9)
    rgb = torch.cartesian_prod(level, level, level).T[None, :, :, None]
    square = (rgb_to_lab(rgb)[0, 1:, :, 0].T / 10).floor() * 10
    bins = {(*point,) for point in bins_in_gamut().tolist()}
    for a, b in square.tolist():
        assert {(a, b), (a + 10, b), (a, b + 10), (a + 10, b + 10)} <= bins


@pytest.mark.parametrize(
    ("color", "squares"),
    [
        # Squared distances by hand, of the five nearest bins.
        ((0, 0), {(0, 0): 0, (10, 0): 100, (-10, 0): 100, (0, 10): 100, (0, -10): 100}),
        ((3, 2), {(0, 0): 13, (10, 0): 53, (0, 10): 73, (10, 10): 113, (0, -10): 153}),
        # At the edge of the gamut, where (-100, 80) is no bin.
        ((-88, 81), {(-90, 80): 5, (-80, 80): 65, (-90, 90): 85, (-90, 70): 125, (-80, 90): 145}),
    ],
)
def test_a_colour_is_shared_by_its_five_nearest_bins(
    color: tuple[int, int], squares: dict[tuple[int, int], int]
) -> None:
    gaussian = {point: math.exp(-square / 50) for point, square in squares.items()}
    expected = {point: value / sum(gaussian.values()) for point, value in gaussian.items()}
    assert encoded(*color) == pytest.approx(expected, abs=1e-6)


def test_the_prior_is_smoothed_within_the_gamut() -> None:
    bins = bins_in_gamut()
    counts = torch.zeros(BINS)
    gray, edge = (bins.tolist().index(point) for point in ([0, 0], [100, 0]))
    counts[gray] = 30
    prior = smoothed_prior(counts, bins)
    assert prior.sum().item() == pytest.approx(1)
    assert prior.argmax() == gray
    beside, diagonal = (bins.tolist().index(point) for point in ([10, 0], [10, 10]))
    assert (prior[beside] / prior[gray]).item() == pytest.approx(math.exp(-2))
    assert (prior[diagonal] / prior[gray]).item() == pytest.approx(math.exp(-4))
    counts[edge] = 10
    assert smoothed_prior(counts, bins)[edge] > prior[gray] / 4  # fewer neighbours share it
    nothing = smoothed_prior(torch.zeros(BINS), bins)
    torch.testing.assert_close(nothing, torch.full((BINS,), 1 / BINS))


def test_rare_colours_weigh_more_and_the_expected_weight_is_one() -> None:
    # 1 / (0.45 + 0.25) and 1 / (0.05 + 0.25), divided by their expectation 34 / 21
    weights = class_weights(torch.tensor([0.9, 0.1]))
    torch.testing.assert_close(weights, torch.tensor([15 / 17, 35 / 17]))
    prior = smoothed_prior(torch.arange(BINS).float() ** 2, bins_in_gamut())
    assert (prior * class_weights(prior)).sum().item() == pytest.approx(1)
    torch.testing.assert_close(class_weights(torch.full((BINS,), 1 / BINS)), torch.ones(BINS))


@pytest.mark.parametrize(
    ("temperature", "expected"),
    [
        (1.0, (3.0, 2.0)),  # the mean
        (0.5, (0.9 / 0.38, 0.4 / 0.38)),  # of the squared probabilities
        (1e-4, (0.0, 0.0)),  # the mode
    ],
)
def test_the_annealed_mean_lies_between_mean_and_mode(
    temperature: float, expected: tuple[float, float]
) -> None:
    logits = torch.tensor([0.5, 0.3, 0.2]).log()[None, :, None, None] + 7
    bins = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    mean = annealed_mean(logits, bins, temperature)
    torch.testing.assert_close(mean.flatten(), torch.tensor(expected))


def test_the_loss_is_the_weighted_cross_entropy_of_the_soft_encoding() -> None:
    bins = bins_in_gamut()
    ab = places((0, 0), (3, 2), (60, 40))
    weights = torch.ones(BINS)
    weights[bins.tolist().index([60, 40])] = 4
    even = torch.zeros(1, BINS, 1, 3)
    loss = rebalanced_cross_entropy(even, ab, bins, weights)
    assert loss.item() == pytest.approx((1 + 1 + 4) / 3 * math.log(BINS))
    torch.manual_seed(0)
    logits = torch.randn(1, BINS, 1, 3)
    encoding = torch.zeros(1, BINS, 1, 3).scatter(1, *soft_encode(ab, bins))
    entropies = -(encoding * logits.softmax(dim=1).log()).sum(dim=1).flatten()
    expected = (entropies * torch.tensor([1, 1, 4])).mean()
    torch.testing.assert_close(rebalanced_cross_entropy(logits, ab, bins, weights), expected)
