"""The discriminator: the 70 x 70 PatchGAN (Isola et al. 2017, section 3.2.2, appendix 6.1.2)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it
from torch.nn.utils.parametrizations import spectral_norm

from colorgan.models.architectures import Norm
from colorgan.models.pictures import Colored, scaled
from colorgan.models.unet import init_weights, normalization


class PatchDiscriminator(nn.Module):
    """Judges each 70 x 70 patch of a coloured photograph, given its lightness.

    In the paper's notation, with `width` = 64: C64-C128-C256-C512, and a convolution to one logit.

    With spectral normalisation (Miyato, Kataoka et al. 2018, section 2), the weights of each
    convolution, as a matrix with a row for each output channel, are divided by their largest
    singular value, which bounds the network's Lipschitz constant. It takes the place of the other
    normalisation, whose layers have no such bound. One power iteration in each pass follows that
    value (algorithm 1 there): in the pass after a step of Adam, it can be some percent too small.
    """

    def __init__(
        self,
        color_channels: int,
        width: int = 64,
        norm: Norm = "instance",
        spectral: bool = False,
    ) -> None:
        """Build the network, with random weights from `init_weights`.

        Args:
            color_channels: number of channels that the generator writes.
            width: channels of the first layer (ndf).
            norm: normalisation of the inner layers.
            spectral: whether spectral normalisation of every layer takes its place.
        """
        super().__init__()
        channels = [1 + color_channels, width, width * 2, width * 4, width * 8, 1]
        strides = [2, 2, 2, 1, 1]
        self.convolutions = nn.ModuleList()
        self.norms = nn.ModuleList()
        for layer, stride in enumerate(strides):
            inner = 0 < layer < len(strides) - 1 and not spectral
            before, after = channels[layer], channels[layer + 1]
            self.convolutions.append(nn.Conv2d(before, after, 4, stride, 1, bias=not inner))
            self.norms.append(normalization(norm, after) if inner else nn.Identity())
        init_weights(self)
        if spectral:
            for convolution in self.convolutions:
                spectral_norm(convolution)

    def forward(self, picture: Colored) -> list[Tensor]:
        """Judge a batch.

        Returns:
            One logit per patch, (batch, 1, about height / 8, about width / 8): above 0 means real.
        """
        return [self.logits(self.maps(picture))]

    def maps(self, picture: Colored) -> Tensor:
        """The last layer's input: (batch, 8 * width, about height / 8, about width / 8)."""
        x = torch.cat([picture.lightness, scaled(picture.color, picture.lightness)], dim=1)
        for convolution, norm in zip(self.convolutions[:-1], self.norms[:-1], strict=True):
            x = F.leaky_relu(norm(convolution(x)), 0.2)
        return x

    def logits(self, maps: Tensor) -> Tensor:
        """The last layer, which judges the result of `maps`."""
        logits: Tensor = self.convolutions[-1](maps)
        return logits
