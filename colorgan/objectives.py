"""What the generators learn by: the terms of the losses.

Channels of lightness and colour lie in [-1, 1]; losses are scalars, with their gradients.
"""

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from colorgan.models.backbones import Features

_LOOKED_AT = 128  # px, by the perceptual term


def perceptual_distance(
    features: Features, fake: Tensor, real: Tensor, autocast: AbstractContextManager[Any]
) -> Tensor:
    """Distance of two batches in a classifier's features (Johnson et al. 2016, section 3.2).

    Args:
        features: the classifier's.
        fake: (batch, 3, side, side) sRGB in [0, 1].
        real: the same of what it should be.
        autocast: in which precision the classifier computes.

    Returns:
        The mean over the layers of the L1 distance as a share of the original's mean activation.
    """
    pictures = [_small(rgb) for rgb in (fake, real)]
    with autocast:
        seen, wanted = (features(rgb * 2 - 1) for rgb in pictures)
    distances = [
        (one.float() - other.float()).abs().mean() / other.float().abs().mean()
        for one, other in zip(seen, wanted, strict=True)
    ]
    return torch.stack(distances).mean()


def chroma_distance(fake: Tensor, real: Tensor) -> Tensor:
    """Euclidean distance on U and V, and on both blurred by 3 and by 5 pixels (Dahl 2016).

    Args:
        fake: (batch, 2, side, side).
        real: the same of what it should be.
    """
    difference = fake - real
    distances = [_blurred(difference, size).square().sum(dim=1) for size in (1, 3, 5)]
    return torch.stack([(each + 1e-6).sqrt().mean() for each in distances]).mean()


def verdict_loss(logits: Tensor, verdict: float) -> Tensor:
    """Binary cross-entropy of the discriminator's logits against one verdict for all."""
    target = torch.full_like(logits, verdict, dtype=torch.float32)
    return F.binary_cross_entropy_with_logits(logits.float(), target)


def _small(rgb: Tensor) -> Tensor:
    """Pictures as the perceptual term looks at them: it would cost more than all else."""
    if rgb.shape[-1] <= _LOOKED_AT:
        return rgb
    size = (_LOOKED_AT, _LOOKED_AT)
    return F.interpolate(rgb, size, mode="bilinear", antialias=True, align_corners=False)


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
