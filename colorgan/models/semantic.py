"""The discriminator that judges colours, given an encoder's features of the gray photograph."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from colorgan.models.pictures import Colored, scaled

_CHROMA = 2.0  # the colours of photographs use less than half of [-1, 1]


class SemanticDiscriminator(nn.Module):
    """Judges lightness and the generator's colour, together with features of the gray photograph.

    Each level halves the side with a convolution of stride 2, as in a PatchGAN, concatenates the
    frozen encoder's features of that side with its own, and judges both. The discriminator thus
    recognises objects, but judges their colours with its own weights only: there is no fixed
    network in between whose blind spots the generator could exploit. Spectral normalisation follows
    Miyato et al. 2018. By default, the projections of the encoder's features do without it: they do
    not depend on the picture that is judged.
    """

    def __init__(
        self,
        color_channels: int,
        beside: Sequence[int],
        width: int = 48,
        spectral: bool = False,
    ) -> None:
        """Build the network.

        Args:
            color_channels: number of channels that the generator writes.
            beside: channels of the encoder's features at each level, from fine to coarse.
            width: channels of the first layer, and to which the encoder's features are projected.
            spectral: whether those projections have spectral normalisation, too.
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
        if spectral:
            for projection in self.project:
                spectral_norm(projection)
        self.heads = nn.ModuleList(
            nn.Sequential(
                _convolution(channels + width, width, stride=1),
                spectral_norm(nn.Conv2d(width, 1, 1)),
            )
            for channels in after
        )

    def forward(self, picture: Colored) -> list[Tensor]:
        """Judge a batch; returns logits (batch, 1, ...) per level: above 0 means real."""
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
