"""What the generators learn by: the terms of the losses.

Channels of lightness and colour lie in [-1, 1]; losses are scalars, with their gradients.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from colorgan.models.backbones import Features
from colorgan.models.projected import judged_places
from colorgan.training.networks import Autocast

_LOOKED_AT = 128  # px, by classifiers
_COMPARED = 28  # px, the side at which the colours of places are compared
_OFFSETS = (1, 2, 4, 8)  # px, how far those places lie apart

Logits = Sequence[Tensor]
Seen = list[list[Tensor]]  # by classifier, its features from fine to coarse: (batch, channels, ...)


def perceptual_distance(
    seen: Sequence[Sequence[Tensor]], wanted: Sequence[Sequence[Tensor]]
) -> Tensor:
    """Distance of two batches in classifiers' features (Johnson et al. 2016, section 3.2).

    Args:
        seen: by classifier, its features of what was coloured: (batch, channels, height, width).
        wanted: the same of what it should be.

    Returns:
        The mean over all features of the L1 distance as a share of the original's mean activation.
    """
    distances = [
        (one.float() - other.float()).abs().mean() / other.float().abs().mean()
        for these, those in zip(seen, wanted, strict=True)
        for one, other in zip(these, those, strict=True)
    ]
    return torch.stack(distances).mean()


def incoherence(fake: Tensor, real: Tensor) -> Tensor:
    """By how much colours differ between two places where those of the photograph do not.

        mean over places p and offsets d of  max(0, |G(x)(p + d) - G(x)(p)| - |y(p + d) - y(p)|)

    An adversary asks for colours where L1 has none to give, and each part of a thing may get a
    colour of its own. This term does not mind which colour a thing has, but that it has two.

    Args:
        fake: (batch, channels, side, side) of a side of 2 px or more.
        real: the same of what it should be.
    """
    side = min(_COMPARED, fake.shape[-1])
    fake, real = F.adaptive_avg_pool2d(fake, side), F.adaptive_avg_pool2d(real, side)
    excesses = [
        F.relu(_steps(fake, offset, along) - _steps(real, offset, along)).mean()
        for offset in _OFFSETS
        if offset < side
        for along in (2, 3)
    ]
    return torch.stack(excesses).mean()


def _steps(channels: Tensor, offset: int, along: int) -> Tensor:
    """Euclidean distances of the colours that lie `offset` pixels apart along a dimension."""
    count = channels.shape[along] - offset
    difference = channels.narrow(along, offset, count) - channels.narrow(along, 0, count)
    return (difference.square().sum(dim=1) + 1e-6).sqrt()


def chroma_distance(fake: Tensor, real: Tensor) -> Tensor:
    """Euclidean distance on U and V, and on both blurred by 3 and by 5 pixels (Dahl 2016).

    Args:
        fake: (batch, 2, side, side).
        real: the same of what it should be.
    """
    difference = fake - real
    distances = [_blurred(difference, size).square().sum(dim=1) for size in (1, 3, 5)]
    return torch.stack([(each + 1e-6).sqrt().mean() for each in distances]).mean()


@dataclass(frozen=True)
class AdversarialLoss:
    """What a discriminator and its generator learn by, of (batch, 1, ...) logits at several places.

    Attributes:
        judge: the discriminator's loss, of its logits of real and of generated pictures.
        deceive: the generator's, of the logits of its pictures.
    """

    judge: Callable[[Logits, Logits], Tensor]
    deceive: Callable[[Logits], Tensor]


def _cross_entropy(real: Logits, fake: Logits) -> Tensor:
    # It is halved, to slow the discriminator against the generator (Isola et al., section 3.3).
    return 0.5 * (_verdict(real, 1.0) + _verdict(fake, 0.0))


def _not_saturating(fake: Logits) -> Tensor:
    # The generator maximises log D(x, G(x)) instead of minimising log(1 - D(x, G(x))).
    return _verdict(fake, 1.0)


def _verdict(logits: Logits, verdict: float) -> Tensor:
    """Binary cross-entropy of logits against one verdict for all."""
    return _mean(
        F.binary_cross_entropy_with_logits(each.float(), torch.full_like(each, verdict).float())
        for each in logits
    )


def _hinge(real: Logits, fake: Logits) -> Tensor:
    return _mean(F.relu(1 - each.float()).mean() for each in real) + _mean(
        F.relu(1 + each.float()).mean() for each in fake
    )


def _raise_logits(fake: Logits) -> Tensor:
    return -_mean(each.float().mean() for each in fake)


def _mean(losses: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(losses)).mean()


CROSS_ENTROPY = AdversarialLoss(_cross_entropy, _not_saturating)  # Goodfellow et al. 2014
HINGE = AdversarialLoss(_hinge, _raise_logits)  # Lim and Ye 2017


class FrozenClassifiers:
    """The classifiers that losses see coloured pictures with."""

    def __init__(self, networks: Sequence[Features], autocast: Autocast) -> None:
        """Take the networks on their device, and the precision of their arithmetic."""
        self.networks = tuple(networks)
        self._autocast = autocast

    def __call__(self, rgb: Tensor) -> Seen:
        """What they see in (batch, 1 or 3, ...) pictures in [0, 1], gray or sRGB."""
        if rgb.shape[-1] > _LOOKED_AT:  # which would cost more than all else
            size = (_LOOKED_AT, _LOOKED_AT)
            rgb = F.interpolate(rgb, size, mode="bilinear", antialias=True, align_corners=False)
        with self._autocast():
            return [network(rgb * 2 - 1) for network in self.networks]

    def judged(self, lightness: Tensor) -> Seen:
        """Of what they see in (batch, 1, ...) lightness in [-1, 1], what discriminators judge."""
        seen = zip(self.networks, self((lightness + 1) / 2), strict=True)
        return [[maps[place] for place in judged_places(network)] for network, maps in seen]


def _blurred(channels: Tensor, size: int) -> Tensor:
    """Channels under a Gaussian of `size` pixels, of OpenCV's standard deviation for that size."""
    if size == 1:
        return channels
    offsets = torch.arange(size, device=channels.device, dtype=channels.dtype) - size // 2
    deviation = 0.3 * ((size - 1) * 0.5 - 1) + 0.8
    line = torch.exp(-offsets.square() / (2 * deviation**2))
    kernel = line[:, None] * line / line.sum() ** 2
    count = channels.shape[1]
    return F.conv2d(channels, kernel.expand(count, 1, size, size), padding="same", groups=count)
