"""The baseline: a residual encoder on a classifier's hypercolumns.

R. Dahl, "Automatic Colorization" (2016), <https://tinyclouds.org/colorize>, after B. Hariharan et
al., "Hypercolumns for Object Segmentation and Fine-grained Localization" (2015).
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from colorgan.images.color_spaces import COLOR_CHANNELS
from colorgan.models.architectures import HypercolumnConfig
from colorgan.models.backbones import Features, find_backbone


class HypercolumnNetwork(nn.Module):
    """Luma in, U and V out: features of a frozen classifier, joined from coarse to fine.

    Each step reduces the channels to those of the next finer features, doubles the side, and adds
    the normalised finer features, like the residual connections of He et al. (2015).
    """

    def __init__(self, config: HypercolumnConfig, classifier: nn.Module | None = None) -> None:
        """Build the network.

        Args:
            config: the architecture.
            classifier: the backbone's whole network with its weights; None for random weights, to
                be replaced by those of a package.
        """
        super().__init__()
        self.config = config
        self.backbone = Features(config.backbone, classifier).requires_grad_(False)
        channels = find_backbone(config.backbone).channels
        self.norm = nn.ModuleList(
            _normalized(before, wanted)
            for before, wanted in zip(self.backbone.channels, channels, strict=True)
        )
        self.join = nn.ModuleList(
            nn.Conv2d(coarse, fine, 3, padding=1) for fine, coarse in pairwise(channels)
        )
        self.widen = nn.Conv2d(channels[0], config.width, 3, padding=1)
        self.luma = nn.Conv2d(1, config.width, 3, padding=1)
        self.write = nn.Conv2d(config.width, COLOR_CHANNELS["yuv"], 3, padding=1)

    def forward(self, luma: Tensor, noise: bool = False) -> Tensor:
        """Colour a batch.

        Args:
            luma: (batch, 1, height, width) in [-1, 1]; height and width are multiples of the
                backbone's stride.
            noise: ignored, because this network has no dropout.

        Returns:
            (batch, 2, height, width) in [-1, 1].
        """
        with torch.no_grad():
            features = self.backbone(luma)
        x = self.norm[-1](features[-1])
        for place in reversed(range(len(self.join))):
            x = _double(F.relu(self.join[place](x))) + self.norm[place](features[place])
        x = F.relu(self.widen(x))
        if x.shape[-1] != luma.shape[-1]:
            x = _double(x)
        return torch.tanh(self.write(F.relu(x + self.luma(luma))))


def _normalized(channels: int, wanted: int) -> nn.Module:
    norm = nn.BatchNorm2d(channels)
    if channels == wanted:
        return norm
    return nn.Sequential(norm, nn.Conv2d(channels, wanted, 1))


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
