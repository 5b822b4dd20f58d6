"""Layers whose result depends on the whole batch, for a worker that computes a part of it."""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from colorgan.models.backbones import Features
from colorgan.workers import Part


def dropout(x: Tensor, share: float, active: bool, part: Part | None) -> Tensor:
    """Dropout of which a part of the batch gets what the whole batch would have given it.

    Every worker draws the mask of the whole batch, so their random numbers also stay the same.

    Args:
        x: maps (batch, channels, height, width): those of the part, if there is one.
        share: the share of the values that become 0.
        active: whether to apply it.
        part: the part of the batch; None if it is the whole batch.
    """
    if part is None or not active:
        return F.dropout(x, share, training=active)
    # The order in which a mask is drawn depends on the layout in memory.
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    layout = torch.channels_last if last else torch.contiguous_format
    whole = torch.ones((part.total, *x.shape[1:]), dtype=x.dtype, device=x.device)
    mask = F.dropout(whole.contiguous(memory_format=layout), share)
    positions = part.positions
    return x * mask[positions.start : positions.stop]


class SharedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation by the statistics of the whole batch, of which a worker has a part.

    PyTorch's SyncBatchNorm computes on GPUs alone, and counts photographs of the weight 0.
    """

    part: Part

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (batch, channels, height, width); in evaluation mode as `BatchNorm2d` does."""
        if not self.training:
            return super().forward(x)
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        return cast(Tensor, _Normalize.apply(x, self.weight, self.bias, self))

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor, float]:
        """The mean and the biased variance by channel of the whole batch, and their count."""
        share, places = self.part.share, x.shape[2] * x.shape[3]
        variance, mean = torch.var_mean(x.float(), dim=(0, 2, 3), correction=0)
        # The variance around the common mean, which avoids the difference of two large numbers.
        common = self.part.mean(mean)
        around = self.part.workers.sum((variance + (mean - common).square()) * share)
        return common, around, float(self.part.total * places)


class _Normalize(torch.autograd.Function):
    """The normalisation of `SharedBatchNorm` with its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, norm: SharedBatchNorm) -> Tensor:
        mean, variance, count = norm.statistics(x)
        if count == 1:
            raise ValueError(f"batch normalisation of a single value per channel: {tuple(x.shape)}")
        running_mean, running_var = norm.running_mean, norm.running_var
        assert running_mean is not None and running_var is not None and norm.momentum is not None
        running_mean.lerp_(mean, norm.momentum)
        running_var.lerp_(variance * (count / (count - 1)), norm.momentum)
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.norm, ctx.count, ctx.share = norm, count, norm.part.share
        return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=norm.eps)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight, mean, variance = ctx.saved_tensors
        scale = (variance + ctx.norm.eps).rsqrt()
        centered = (x.float() - mean[:, None, None]) * scale[:, None, None]
        gradient = gradient.float()
        of_bias = gradient.sum(dim=(0, 2, 3))
        of_weight = (gradient * centered).sum(dim=(0, 2, 3))
        sums = ctx.norm.part.workers.sum(torch.stack([of_bias, of_weight])) / ctx.count
        if ctx.share:  # otherwise the statistics do not depend on x
            shift, slope = sums[:, :, None, None]
            gradient = gradient - shift - centered * slope
        return (gradient * (weight * scale)[:, None, None]).to(x.dtype), of_weight, of_bias, None


def share_statistics(network: nn.Module, part: Part) -> None:
    """Let a network's batch normalisations use the statistics of the whole batch.

    A classifier's never use a batch's. To be called before the network's optimiser is created, as
    the layers are replaced by others with copies of their parameters.
    """
    for name, child in network.named_children():
        if isinstance(child, Features):
            continue  # it never uses a batch's statistics
        if type(child) is nn.BatchNorm2d:
            shared = SharedBatchNorm(child.num_features, child.eps, child.momentum)
            shared.load_state_dict(child.state_dict())
            shared.part = part
            setattr(network, name, shared)
        else:
            share_statistics(child, part)
