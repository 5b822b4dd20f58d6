"""The generator: the U-Net of pix2pix (Isola et al. 2017, section 3.2.1 and appendix 6.1.1)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from colorgan.models.architectures import GeneratorConfig, Norm
from colorgan.models.noise import noise_for
from colorgan.models.sharing import dropout
from colorgan.workers import Part


def normalization(norm: Norm, channels: int) -> nn.Module:
    """The normalisation layer of generators and discriminators."""
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    return nn.InstanceNorm2d(channels, affine=True)


def init_weights(network: nn.Module) -> None:
    """Draw the weights from N(0, 0.02) and the scales of normalisations from N(1, 0.02).

    Isola et al. 2017, appendix 6.2.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d | nn.InstanceNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
            nn.init.zeros_(module.bias)


class UNetGenerator(nn.Module):
    """Lightness in, colour out: an encoder to one pixel and a decoder, with skip connections.

    In the paper's notation, at 256 px with `width` = 64, the encoder is
    C64-C128-C256-C512-C512-C512-C512-C512 and the decoder CD512-CD512-CD512-C512-C256-C128-C64.

    Attributes:
        part: the part of the batch that it gets in training mode; None if it gets the whole batch.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        """Build the network from its configuration, with random weights from `init_weights`."""
        super().__init__()
        self.config = config
        self.part: Part | None = None
        depth, width = config.depth, config.width
        channels = [width * min(2**level, 8) for level in range(depth)]
        # The outermost layers have no normalisation, nor does the innermost one, where a single
        # pixel remains, which instance statistics would erase.
        self.down = nn.ModuleList()
        self.down_norm = nn.ModuleList()
        for level in range(depth):
            inner = 0 < level < depth - 1
            before = channels[level - 1] if level else 1
            self.down.append(nn.Conv2d(before, channels[level], 4, 2, 1, bias=not inner))
            self.down_norm.append(
                normalization(config.norm, channels[level]) if inner else nn.Identity()
            )
        self.up = nn.ModuleList()
        self.up_norm = nn.ModuleList()
        for level in reversed(range(depth)):
            before = channels[level] * (1 if level == depth - 1 else 2)
            after = channels[level - 1] if level else config.color_channels
            self.up.append(nn.ConvTranspose2d(before, after, 4, 2, 1, bias=not level))
            self.up_norm.append(normalization(config.norm, after) if level else nn.Identity())
        init_weights(self)
        if config.noise_channels:
            self.noise = nn.ModuleList(noise_for(config.noise_channels, up) for up in self.up)

    def forward(self, lightness: Tensor, noise: bool = False, z: Tensor | None = None) -> Tensor:
        """Colour a batch.

        Args:
            lightness: (batch, 1, height, width) in [-1, 1]; height and width are multiples of
                2**depth.
            noise: whether to apply dropout, the paper's noise z, in evaluation mode; in training
                mode it is always applied.
            z: noise vectors (batch, noise_channels); None is the zero vector.

        Returns:
            (batch, color_channels, height, width) in [-1, 1].
        """
        skips: list[Tensor] = []
        x = lightness
        for level, (down, norm) in enumerate(zip(self.down, self.down_norm, strict=True)):
            x = norm(down(x if level == 0 else F.leaky_relu(x, 0.2)))
            skips.append(x)
        x = skips.pop()
        last = len(self.up) - 1
        for step, (up, norm) in enumerate(zip(self.up, self.up_norm, strict=True)):
            x = F.relu(x)
            x = norm(up(x) if z is None else up(x) + self.noise[step](x, z))
            if step < last:
                if step < 3:
                    x = dropout(
                        x, 0.5, self.training or noise, self.part if self.training else None
                    )
                x = torch.cat([x, skips.pop()], dim=1)
        return torch.tanh(x)
