"""The discriminator that judges colours, given what an encoder sees in the gray photograph."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from colorgan.models.pictures import Colored, scaled

_CHROMA = 2.0  # photographs' colours take up less than half of [-1, 1]


class SemanticDiscriminator(nn.Module):
    """Judge lightness and colour as the generator wrote it, beside features of the gray photograph.

    Each level halves the side by a convolution of stride 2, as in a PatchGAN, takes the frozen
    encoder's features of that side beside its own, and judges both. So it knows what things are,
    and looks at their colours with its own weights alone: there is no fixed network in between
    whose blind spots the generator could learn. Spectral normalisation is of Miyato et al. 2018.
    """

    def __init__(self, color_channels: int, beside: Sequence[int], width: int = 48) -> None:
        """Build the network.

        Args:
            color_channels: channels that the generator writes.
            beside: channels of the encoder's features at each level, from fine to coarse.
            width: channels of the first layer, and of the features as they stand beside a level's.
        """
        super().__init__()
        self.first = _convolution(1 + color_channels, width, stride=1)
        after = [width] + [2 * width] * (len(beside) - 1)
        before = [width] + [channels + width for channels in after[:-1]]
        self.down = nn.ModuleList(
            _convolution(coming, going, stride=2)
            for coming, going in zip(before, after, strict=True)
        )
        self.project = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in beside)
        self.heads = nn.ModuleList(
            nn.Sequential(
                _convolution(channels + width, width, stride=1),
                spectral_norm(nn.Conv2d(width, 1, 1)),
            )
            for channels in after
        )

    def forward(self, picture: Colored) -> list[Tensor]:
        """Judge a batch; returns (batch, 1, ...) logits a level: above 0 says "real"."""
        lightness = scaled(picture.lightness, picture.color)
        x = self.first(torch.cat([lightness, _CHROMA * picture.color], dim=1))
        logits = []
        levels = zip(self.down, self.project, self.heads, picture.gray[1:], strict=True)
        for down, project, head, features in levels:
            x = torch.cat([down(x), project(features)], dim=1)
            logits.append(head(x))
        return logits


def _convolution(before: int, after: int, stride: int) -> nn.Module:
    size = 4 if stride == 2 else 3
    return nn.Sequential(
        spectral_norm(nn.Conv2d(before, after, size, stride, padding=1)), nn.LeakyReLU(0.2)
    )
