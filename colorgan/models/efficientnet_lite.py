"""EfficientNet-Lite (the TensorFlow team, 2020), compatible with its published weights.

The layers are named as in timm, because the names are part of a classifier's fingerprint and of
packages. timm itself is not used: importing it takes longer than colouring a photograph.
"""

import math
from collections import OrderedDict
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it
from torch.nn.utils.fusion import fuse_conv_bn_eval

_STEM, _HEAD = 32, 1280  # channels, the same for every size
_EPSILON = 1e-3


@dataclass(frozen=True)
class _Stage:
    """A stage: its number of blocks, kernel, stride of the first block, expansion and channels."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


# EfficientNet-B0 (Tan and Le 2019, table 1), without squeeze-and-excitation.
_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)

# By name, the factors for the channels and the number of blocks of the stages.
_SCALES = {
    "efficientnet_lite0": (1.0, 1.0),
    "efficientnet_lite1": (1.0, 1.1),
    "efficientnet_lite2": (1.1, 1.2),
}


def efficientnet_lite(name: str) -> nn.Sequential:
    """Build `efficientnet_lite0`, `efficientnet_lite1` or `efficientnet_lite2`.

    Returns:
        A network (batch, 3, height, width) sRGB in [-1, 1] -> (batch, 1000) logits, with random
        weights.
    """
    width, depth = _SCALES[name]
    stages, before = [], _STEM
    for stage in _STAGES:
        after = _rounded(stage.channels * width)
        ends = stage in (_STAGES[0], _STAGES[-1])
        count = stage.blocks if ends else math.ceil(stage.blocks * depth)
        blocks = []
        for number in range(count):
            stride = stage.stride if number == 0 else 1
            blocks.append(_Block(before, after, stage.kernel, stride, stage.expansion))
            before = after
        stages.append(nn.Sequential(*blocks))
    layers: dict[str, nn.Module] = {
        "conv_stem": _Convolution(3, _STEM, 3, 2),
        "bn1": _Normalization(_STEM),
        "blocks": nn.Sequential(*stages),
        "conv_head": _Convolution(before, _HEAD, 1),
        "bn2": _Normalization(_HEAD),
        "global_pool": nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        "classifier": nn.Linear(_HEAD, 1000),
    }
    return nn.Sequential(OrderedDict(layers))


def _rounded(channels: float) -> int:
    """The nearest multiple of 8 that is at least nine tenths of the number."""
    near = max(8, int(channels + 4) // 8 * 8)
    return near + 8 if near < 0.9 * channels else near


class _Block(nn.Sequential):
    """An inverted residual block (Sandler et al. 2018); without expansion in the first stage."""

    def __init__(self, before: int, after: int, kernel: int, stride: int, expansion: int) -> None:
        inner = before * expansion
        depthwise = _Convolution(inner, inner, kernel, stride, groups=inner)
        layers: dict[str, nn.Module]
        if expansion == 1:
            layers = {
                "conv_dw": depthwise,
                "bn1": _Normalization(inner),
                "conv_pw": _Convolution(inner, after, 1),
                "bn2": _Normalization(after, linear=True),
            }
        else:
            layers = {
                "conv_pw": _Convolution(before, inner, 1),
                "bn1": _Normalization(inner),
                "conv_dw": depthwise,
                "bn2": _Normalization(inner),
                "conv_pwl": _Convolution(inner, after, 1),
                "bn3": _Normalization(after, linear=True),
            }
        super().__init__(OrderedDict(layers))
        self._residual = stride == 1 and before == after

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
        return x + y if self._residual else y


class _Convolution(nn.Conv2d):
    """A convolution without bias, padded as in TensorFlow: uneven padding has less at the start."""

    def __init__(
        self, before: int, after: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(before, after, kernel, stride, padding, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        if stride > 1:
            height, width = (
                max((math.ceil(length / stride) - 1) * stride + kernel - length, 0)
                for length in x.shape[-2:]
            )
            x = F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))
        return super().forward(x)


class _Normalization(nn.BatchNorm2d):
    """Batch normalisation followed by ReLU6, unless `linear`."""

    def __init__(self, channels: int, linear: bool = False) -> None:
        super().__init__(channels, eps=_EPSILON)
        self.act = nn.Identity() if linear else nn.ReLU6(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(super().forward(x))
        return y


def fold_norms(network: nn.Module) -> None:
    """Fold the normalisations of every EfficientNet-Lite in a network into its convolutions.

    This saves a third of its time in bfloat16, at the same error. Other networks keep their
    normalisations: a package may hold their weights in float16, which equals float32 in use only
    if they are not multiplied first.

    Args:
        network: a float32 network in evaluation mode, which is modified.
    """
    for layers in network.modules():
        if not isinstance(layers, nn.Sequential):
            continue
        for (name, layer), (after, norm) in pairwise([*layers.named_children()]):
            if isinstance(layer, _Convolution) and isinstance(norm, _Normalization):
                layers.set_submodule(name, fuse_conv_bn_eval(layer, norm))
                layers.set_submodule(after, norm.act)
