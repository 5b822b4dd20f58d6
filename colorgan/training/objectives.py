"""The terms of the training losses.

Channels of lightness and colour lie in [-1, 1]; losses are scalars with gradients.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from colorgan.models.backbones import Features
from colorgan.models.gamut import soft_encode
from colorgan.models.projected import judged_places
from colorgan.training.networks import Autocast
from colorgan.workers import Part

_LOOKED_AT = 128  # px, the largest side that classifiers get
_COMPARED = 28  # px, the side at which `incoherence` compares colours
_MOST_DIFFERENT = 0.05  # the ratio above which `indifference` asks for nothing more
_OFFSETS = (1, 2, 4, 8)  # px, the distances at which it compares them

Logits = Sequence[Tensor]
Seen = list[list[Tensor]]  # per classifier, features from fine to coarse: (batch, channels, ...)


def perceptual_distance(
    seen: Sequence[Sequence[Tensor]],
    wanted: Sequence[Sequence[Tensor]],
    part: Part | None = None,
) -> Tensor:
    """Distance of two batches in classifiers' features (Johnson et al. 2016, section 3.2).

    Args:
        seen: per classifier, its features of the colourings: (batch, channels, height, width).
        wanted: the same for the originals.
        part: the part of the batch that they are; None if they are the whole batch.

    Returns:
        The L1 distance as a share of the originals' mean activation, averaged over all features.
        The mean activation is that of the whole batch.
    """
    pairs = [
        (one.float(), other.float())
        for these, those in zip(seen, wanted, strict=True)
        for one, other in zip(these, those, strict=True)
    ]
    activations: Sequence[Tensor] = [other.abs().mean() for _, other in pairs]
    if part is not None:
        activations = part.mean(torch.stack([*activations])).unbind()
    distances = [
        (one - other).abs().mean() / activation
        for (one, other), activation in zip(pairs, activations, strict=True)
    ]
    return torch.stack(distances).mean()


def incoherence(fake: Tensor, real: Tensor) -> Tensor:
    """How much more the colours of two places differ than they do in the photograph.

        mean over places p and offsets d of  max(0, |G(x)(p + d) - G(x)(p)| - |y(p + d) - y(p)|)

    An adversary demands colour where L1 leaves it open, and each part of an object may get a colour
    of its own. This term penalises a second colour within an object, whichever the first one is.

    Args:
        fake: (batch, channels, side, side), with a side of at least 2 px.
        real: the originals, of the same shape.
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
    """Euclidean distances between colours that are `offset` pixels apart along a dimension."""
    count = channels.shape[along] - offset
    difference = channels.narrow(along, offset, count) - channels.narrow(along, 0, count)
    return (difference.square().sum(dim=1) + 1e-6).sqrt()


def nearest_distance(drawn: Tensor, real: Tensor) -> Tensor:
    """How far the nearest of several colourings of each photograph is from the photograph.

        L = mean over photographs of  min over draws j of  mean |y - G(x, z_j)|

    It is implicit maximum likelihood (Li and Malik 2018, section 3; for pictures given an input Li,
    Zhang and Malik 2019, equation 2). L1 of every draw would teach the generator to ignore z. The
    nearest draw alone is pulled towards y, so that the draws spread over the colours that such
    photographs really have, and no colour has to be far from another for its own sake.

    Args:
        drawn: (draws, batch, channels, side, side); only the nearest draws get a gradient.
        real: the originals, (batch, channels, side, side).
    """
    return (drawn - real).abs().mean(dim=(2, 3, 4)).amin(dim=0).mean()


def indifference(first: Tensor, second: Tensor, z: tuple[Tensor, Tensor]) -> Tensor:
    """How little colourings differ whose noise differs (Yang et al. 2019, section 3, equation 2).

        L = - mean over photographs of  min(|G(x, z_1) - G(x, z_2)| / |z_1 - z_2|, 0.05)

    It is the ratio that mode seeking maximises (Mao et al. 2019, section 3.2), with a bound. Mode
    seeking minimises its reciprocal, whose gradient has no bound while noise changes nothing yet.
    Both distances are mean absolute differences.

    Args:
        first: colourings with the noise z_1, (batch, channels, side, side).
        second: those of the same photographs with z_2.
        z: both noise vectors of each photograph, (batch, noise channels) each.
    """
    distances = (first - second).abs().mean(dim=(1, 2, 3))
    ratio = distances / (z[0] - z[1]).abs().mean(dim=1).clamp_min(1e-5)
    return -ratio.clamp_max(_MOST_DIFFERENT).mean()


def chroma_distance(fake: Tensor, real: Tensor) -> Tensor:
    """Euclidean distance of U and V, unblurred and blurred by 3 and by 5 pixels (Dahl 2016).

    Args:
        fake: (batch, 2, side, side).
        real: the originals, of the same shape.
    """
    difference = fake - real
    distances = [_blurred(difference, size).square().sum(dim=1) for size in (1, 3, 5)]
    return torch.stack([(each + 1e-6).sqrt().mean() for each in distances]).mean()


def rebalanced_cross_entropy(logits: Tensor, ab: Tensor, bins: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy of quantised colours, rebalanced (Zhang et al. 2016, section 2.1, equation 2).

        L = - mean over places of  v(Z) * sum over q of Z_q log(Z'_q),   v(Z) = w of Z's nearest bin

    Args:
        logits: (batch, bins, height, width), of which the softmax is Z'.
        ab: the photographs' colours in Lab units, (batch, 2, height, width), encoded softly as Z;
            see `gamut.soft_encode`.
        bins: (bins, 2) in Lab units.
        weights: (bins,) the weights w; see `gamut.class_weights`.
    """
    numbers, shares = soft_encode(ab, bins)
    likely = logits.float().log_softmax(dim=1).gather(1, numbers)
    return -(weights[numbers[:, 0]] * (shares * likely).sum(dim=1)).mean()


@dataclass(frozen=True)
class AdversarialLoss:
    """The losses of a discriminator and its generator, given lists of (batch, 1, ...) logits.

    Attributes:
        judge: the discriminator's loss, given the logits of real and of generated pictures.
        deceive: the generator's loss, given the logits of its pictures.
    """

    judge: Callable[[Logits, Logits], Tensor]
    deceive: Callable[[Logits], Tensor]


def _cross_entropy(real: Logits, fake: Logits) -> Tensor:
    # Halved to slow the discriminator relative to the generator (Isola et al., section 3.3).
    return 0.5 * (_verdict(real, 1.0) + _verdict(fake, 0.0))


def _not_saturating(fake: Logits) -> Tensor:
    # The generator maximises log D(x, G(x)) instead of minimising log(1 - D(x, G(x))).
    return _verdict(fake, 1.0)


def _verdict(logits: Logits, verdict: float) -> Tensor:
    """Binary cross-entropy of all logits against the same target."""
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
    """The frozen classifiers whose features the losses use."""

    def __init__(self, networks: Sequence[Features], autocast: Autocast) -> None:
        """Take networks that are on their device, and the precision of their arithmetic."""
        self.networks = tuple(networks)
        self._autocast = autocast

    def __call__(self, rgb: Tensor) -> Seen:
        """Compute the features of (batch, 1 or 3, ...) pictures in [0, 1], gray or sRGB."""
        if rgb.shape[-1] > _LOOKED_AT:  # which would cost more than the rest of a step
            size = (_LOOKED_AT, _LOOKED_AT)
            rgb = F.interpolate(rgb, size, mode="bilinear", antialias=True, align_corners=False)
        with self._autocast():
            return [network(rgb * 2 - 1) for network in self.networks]

    def judged(self, lightness: Tensor) -> Seen:
        """Compute those features of (batch, 1, ...) lightness that discriminators judge.

        The lightness lies in [-1, 1].
        """
        seen = zip(self.networks, self((lightness + 1) / 2), strict=True)
        return [[maps[place] for place in judged_places(network)] for network, maps in seen]


def _blurred(channels: Tensor, size: int) -> Tensor:
    """Blur by a Gaussian of `size` pixels, with OpenCV's standard deviation for that size."""
    if size == 1:
        return channels
    offsets = torch.arange(size, device=channels.device, dtype=channels.dtype) - size // 2
    deviation = 0.3 * ((size - 1) * 0.5 - 1) + 0.8
    line = torch.exp(-offsets.square() / (2 * deviation**2))
    kernel = line[:, None] * line / line.sum() ** 2
    count = channels.shape[1]
    return F.conv2d(channels, kernel.expand(count, 1, size, size), padding="same", groups=count)
