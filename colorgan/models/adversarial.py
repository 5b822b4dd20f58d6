"""Colours that change what a classifier says, and random ones under the same bound.

Kurakin, Goodfellow and Bengio 2016, "Adversarial examples in the physical world": the basic
iterative method of section 2.2, here in a and b of Lab instead of RGB. The lightness L stays as it
is, so every such picture is another colouring of the same black-and-white photograph.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from colorgan.images import lab
from colorgan.models.classifiers import Classifier

# Together, the steps of an attack can go this many times as far as its bound (Madry et al. 2018).
_REACH = 2.5

# Halvings of the interval in which the largest change that stays in the gamut is searched.
_HALVINGS = 6


@dataclass(frozen=True)
class Bound:
    """How far colours may be changed.

    Attributes:
        epsilon: the largest change of a and of b in every pixel, in Lab units.
        steps: number of gradient steps.
    """

    epsilon: float
    steps: int = 5


# From sRGB pictures in [0, 1], (batch, 3, side, side), to what an attack is to raise: a number.
Loss = Callable[[Tensor], Tensor]


def label_loss(classifier: Classifier, labels: Tensor) -> Loss:
    """The cross-entropy of ImageNet labels, (batch,) int64; a higher one makes them less likely."""

    def loss(pictures: Tensor) -> Tensor:
        logits = classifier.network(classifier.normalized(pictures.to(classifier.device)))
        return F.cross_entropy(logits, labels.to(logits.device), reduction="sum")

    return loss


def attack(channels: Tensor, loss: Loss, bound: Bound) -> Tensor:
    """Change colours by gradient steps that raise a loss.

    Args:
        channels: (batch, 3, side, side) Lab of pictures of a classifier's view, within sRGB's
            gamut; the pictures' a and b are a generator's.
        loss: what to raise. Its classifier must compute in float32.
        bound: the bound.

    Returns:
        Lab of the changed pictures: the shape and the lightness are those of `channels`, a and b
        differ by at most epsilon, and the colours lie within sRGB's gamut.
    """
    lightness, colors = channels[:, :1], channels[:, 1:]
    step = _REACH * bound.epsilon / bound.steps
    change = torch.zeros_like(colors)
    for _ in range(bound.steps):
        change.requires_grad_(True)
        value = loss(lab.lab_to_rgb(torch.cat([lightness, colors + change], dim=1)))
        (slope,) = torch.autograd.grad(value, change)
        change = _within(channels, change.detach() + step * slope.sign(), bound.epsilon)
    return _changed(channels, change)


def noise(channels: Tensor, bound: Bound, seed: int) -> Tensor:
    """Change colours by random signs under the same bound; arguments and result as in `attack`."""
    random = torch.Generator().manual_seed(seed)
    signs = torch.randint(0, 2, channels[:, 1:].shape, generator=random) * 2 - 1
    return _changed(channels, _within(channels, signs * bound.epsilon, bound.epsilon))


def _within(channels: Tensor, change: Tensor, epsilon: float) -> Tensor:
    """The change, limited to the bound, and shortened in each pixel that would leave the gamut."""
    change = change.clamp(-epsilon, epsilon)
    outside = ~lab.in_gamut(_changed(channels, change))
    if not outside.any():
        return change
    share, step = torch.zeros_like(channels[:, :1]), 0.5
    for _ in range(_HALVINGS):
        fits = lab.in_gamut(_changed(channels, change * (share + step)))
        share += step * fits
        step /= 2
    return torch.where(outside, share, 1.0) * change


def _changed(channels: Tensor, change: Tensor) -> Tensor:
    return torch.cat([channels[:, :1], channels[:, 1:] + change], dim=1)
