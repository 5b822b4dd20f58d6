"""How far a colouring is from the original."""

import torch
from torch import Tensor

from colorgan.images.lab import rgb_to_lab


def ab_l1(colored: Tensor, original: Tensor) -> Tensor:
    """Mean absolute difference in a and b of CIE Lab, over channels and pixels.

    Args:
        colored: (batch, 3, height, width) floating point sRGB in [0, 1].
        original: the same shape.

    Returns:
        (batch,) in Lab units; 0 is best.
    """
    difference = rgb_to_lab(colored)[:, 1:] - rgb_to_lab(original)[:, 1:]
    return difference.abs().mean(dim=(1, 2, 3))


def psnr(colored: Tensor, original: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in sRGB.

    Args:
        colored: (batch, 3, height, width) floating point sRGB in [0, 1].
        original: the same shape.

    Returns:
        (batch,) in dB; higher is better, capped at 100 for equal pictures.
    """
    error = (colored - original).square().mean(dim=(1, 2, 3))
    return -10 * torch.log10(error.clamp(min=1e-10))
