"""The discriminator: the 70 x 70 PatchGAN (Isola et al. 2017, section 3.2.2, appendix 6.1.2)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from colorgan.models.architectures import Norm
from colorgan.models.pictures import Colored, scaled
from colorgan.models.unet import init_weights, normalization


class PatchDiscriminator(nn.Module):
    """Judges each 70 x 70 patch of a coloured photograph, given its lightness.

    In the paper's notation, with `width` = 64: C64-C128-C256-C512, and a convolution to one logit.
    """

    def __init__(self, color_channels: int, width: int = 64, norm: Norm = "instance") -> None:
        """Build the network, with random weights from `init_weights`.

        Args:
            color_channels: number of channels that the generator writes.
            width: channels of the first layer (ndf).
            norm: normalisation of the inner layers.
        """
        super().__init__()
        channels = [1 + color_channels, width, width * 2, width * 4, width * 8, 1]
        strides = [2, 2, 2, 1, 1]
        self.convolutions = nn.ModuleList()
        self.norms = nn.ModuleList()
        for layer, stride in enumerate(strides):
            inner = 0 < layer < len(strides) - 1
            before, after = channels[layer], channels[layer + 1]
            self.convolutions.append(nn.Conv2d(before, after, 4, stride, 1, bias=not inner))
            self.norms.append(normalization(norm, after) if inner else nn.Identity())
        init_weights(self)

    def forward(self, picture: Colored) -> list[Tensor]:
        """Judge a batch.

        Returns:
            One logit per patch, (batch, 1, about height / 8, about width / 8): above 0 means real.
        """
        x = torch.cat([picture.lightness, scaled(picture.color, picture.lightness)], dim=1)
        for layer, (convolution, norm) in enumerate(
            zip(self.convolutions, self.norms, strict=True)
        ):
            x = norm(convolution(x if layer == 0 else F.leaky_relu(x, 0.2)))
        return [x]
