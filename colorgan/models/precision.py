"""In which numbers and in which layout a network in use computes fastest, at equal results."""

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

from colorgan.models.efficientnet_lite import fold_norms
from colorgan.system import cpu_has_bfloat16

Network = TypeVar("Network", bound=nn.Module)


def fastest_dtype(device: torch.device) -> torch.dtype:
    """The type that a network in use computes fastest in on a device.

    It is bfloat16 where the device multiplies that itself, which is about twice as fast; elsewhere
    it is float32. Of 255 levels bfloat16 moves a colour by 0.3 on average with pix2pix's U-Net, and
    by 1.0 with a generator on a classifier after four short epochs (99 % by 5 at most).
    """
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = device.type == "cpu" and cpu_has_bfloat16()
    return torch.bfloat16 if native else torch.float32


def in_use(network: Network) -> Network:
    """A network as it computes fastest on its device: itself, or a copy in another type and layout.

    Args:
        network: float32, in evaluation mode.
    """
    device = next(network.parameters()).device
    dtype = fastest_dtype(device)
    if dtype == torch.float32 and device.type == "cpu":
        return network
    faster = copy.deepcopy(network).requires_grad_(False)
    fold_norms(faster)
    norms = [module for module in faster.modules() if isinstance(module, nn.BatchNorm2d)]
    exact = [copy.deepcopy(norm.state_dict()) for norm in norms]
    faster = faster.to(dtype)
    # Statistics in bfloat16 would double the error, and save no time.
    for norm, state in zip(norms, exact, strict=True):
        norm.float().load_state_dict(state)
    # Depthwise convolutions in bfloat16 are far slower in PyTorch's usual layout.
    return faster.to(memory_format=torch.channels_last)


def halved(tensor: Tensor) -> Tensor:
    """Weights as a package stores them: float16 where that is as good as float32, or unchanged.

    The kernels are halved, which are nearly all of the bytes. What has one dimension stays as it
    is: biases, and the statistics and scales of normalisations, whose variances may exceed what
    float16 can hold. So does a kernel with a value of that kind, or with none that float16 can tell
    from zero.

    Values are rounded to odd (Boldo and Melquiond 2008, Emulation of FMA and correctly rounded
    sums): what is inexact takes of its two neighbours the one whose last bit is 1. A network in use
    rounds them once more, to bfloat16, and the outcome is then that of rounding float32 at once.
    Rounded to the nearest, one in sixteen would differ.
    """
    if tensor.ndim < 2 or tensor.dtype != torch.float32:
        return tensor
    nearest = tensor.half()
    bits = nearest.view(torch.int16)
    toward_zero = bits - (nearest.float().abs() > tensor.abs()).to(torch.int16)
    inexact = toward_zero.view(torch.float16).float() != tensor
    rounded = torch.where(inexact, toward_zero | 1, toward_zero).view(torch.float16)
    error, largest = (rounded.float() - tensor).abs().max(), tensor.abs().max()
    return rounded if error <= largest * torch.finfo(torch.float16).eps else tensor
