"""Attacks by colours: they stay inside their bound, keep the lightness, and beat random colours."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from colorgan.images import lab
from colorgan.models.adversarial import Bound, attack, label_loss, noise
from colorgan.models.classifiers import Classifier
from colorgan.models.view import whole_lightness

HALF = (0.5, 0.5, 0.5)


def tiny_classifier(seed: int = 0) -> Classifier:
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.Tanh(), nn.Flatten(), nn.Linear(8 * 15 * 15, 1000)
    )
    return Classifier("tiny", network, whole_lightness(32), HALF, HALF)


def pictures(seed: int = 0) -> Tensor:
    """Lab of random pictures, with pixels of every brightness and at the edges of the gamut."""
    levels = np.random.default_rng(seed).integers(0, 256, (3, 3, 32, 32))
    levels[0, :, :4] = 255
    levels[0, :, 4:8] = 0
    levels[1, 0, :8], levels[1, 1:, :8] = 255, 0
    return lab.rgb_to_lab(torch.from_numpy(levels).float() / 255)


def test_gamut_is_what_srgb_can_show() -> None:
    colors = torch.tensor([[50.0, 0, 0], [50, 100, -100], [100.2, 0, 0], [53, 70, 60]])
    assert lab.in_gamut(colors.T[:, :, None])[0, :, 0].tolist() == [True, False, False, True]


@pytest.mark.parametrize("epsilon", (0.5, 4.0, 60.0))
@pytest.mark.parametrize("change", ("attack", "noise"))
def test_changed_colours_stay_in_their_bound_and_keep_the_lightness(
    change: str, epsilon: float
) -> None:
    before, bound = pictures(), Bound(epsilon, steps=3)
    if change == "attack":
        loss = label_loss(tiny_classifier(), torch.tensor([1, 2, 3]))
        after = attack(before, loss, bound)
    else:
        after = noise(before, bound, seed=0)
    moved = (after - before)[:, 1:].abs()
    assert moved.max() <= epsilon + 1e-4
    assert moved.mean() > 0.1 * min(epsilon, 4)
    assert torch.equal(after[:, :1], before[:, :1])
    # What is seen of them is no other: nothing was clipped that would have changed the lightness.
    seen = lab.rgb_to_lab(lab.lab_to_rgb(after))
    assert (seen[:, :1] - before[:, :1]).abs().max() < 0.02
    assert (seen - before)[:, 1:].abs().max() <= epsilon + 0.1


def test_an_attack_lowers_the_labels_probability_more_than_noise_does() -> None:
    classifier, before, bound = tiny_classifier(), pictures(), Bound(8.0, steps=5)

    def chances(channels: Tensor, labels: Tensor) -> Tensor:
        _, probabilities = classifier(lab.lab_to_rgb(channels))
        return probabilities[range(len(labels)), labels]

    labels = classifier(lab.lab_to_rgb(before))[1].argmax(dim=1)
    attacked = chances(attack(before, label_loss(classifier, labels), bound), labels)
    drawn = chances(noise(before, bound, seed=0), labels)
    assert (attacked < 0.8 * chances(before, labels)).all()
    assert (attacked < drawn).all()


def test_other_seeds_are_other_noise_of_the_same_size() -> None:
    gray = torch.zeros(1, 3, 16, 16)
    gray[:, 0] = 50
    one, same, other = (noise(gray, Bound(3.0), seed) for seed in (0, 0, 1))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert torch.equal(one[:, 1:].abs(), torch.full((1, 2, 16, 16), 3.0))
    assert set(one[:, 1:].unique().tolist()) == {-3.0, 3.0}


def test_a_router_that_sees_lightness_alone_sees_hardly_any_change() -> None:
    classifier, before = tiny_classifier(), pictures()
    after = attack(before, label_loss(classifier, torch.tensor([1, 2, 3])), Bound(16.0))
    files = [(lab.lab_to_rgb(each) * 255).round().byte() for each in (before, after)]
    assert (files[0].float() - files[1].float()).abs().mean() > 5  # levels of 255
    seen = [
        torch.stack([classifier.view(rgb.permute(1, 2, 0).numpy()) for rgb in file])
        for file in files
    ]
    assert (seen[0] - seen[1]).abs().max() < 0.006  # of 1: what 8 bits round
