"""The fully convolutional network of Long, Shelhamer and Darrell 2015, on a frozen classifier."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from colorgan.models.architectures import SegmenterConfig
from colorgan.models.backbones import Features


class FCN8s(nn.Module):
    """FCN-8s: what each pixel of a photograph shows (section 4.2).

    The features of strides 32, 16 and 8 are scored by 1 x 1 convolutions. Each coarser score is
    doubled by bilinear interpolation and added to the finer one; the sum at stride 8 is scaled to
    the picture. As in the paper, the two finer scores start from zero. The encoder is frozen, in
    place of the paper's fine-tuning, so that its features are computed once per training.
    """

    def __init__(self, config: SegmenterConfig, classifier: nn.Module | None = None) -> None:
        """Build the network.

        Args:
            config: the architecture.
            classifier: the encoder's whole network with its weights; None for random weights, to
                be replaced by those of a package.
        """
        super().__init__()
        self.config = config
        self.encoder = Features(config.encoder, classifier).requires_grad_(False)
        fine, middle, coarse = self.encoder.channels[-3:]
        count = len(config.classes)
        self.coarse = nn.Sequential(
            nn.Conv2d(coarse, config.width, 3, padding=1),
            nn.ReLU(),
            nn.Dropout2d(0.5),
            nn.Conv2d(config.width, count, 1),
        )
        self.middle, self.fine = nn.Conv2d(middle, count, 1), nn.Conv2d(fine, count, 1)
        for skip in (self.middle, self.fine):
            nn.init.zeros_(skip.weight)
            nn.init.zeros_(skip.bias)  # type: ignore[arg-type]

    def forward(self, pictures: Tensor) -> Tensor:
        """Score a batch.

        Args:
            pictures: (batch, 3, height, width) sRGB in [-1, 1]; both sides multiples of 32.

        Returns:
            (batch, classes, height, width) logits.
        """
        return self.decode(self.encode(pictures))

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> list[Tensor]:
        """The encoder's features of strides 8, 16 and 32; arguments as for `forward`."""
        maps: list[Tensor] = self.encoder(pictures)
        return maps[-3:]

    def decode(self, maps: Sequence[Tensor]) -> Tensor:
        """The logits of `encode`'s features; result as of `forward`."""
        fine, middle, coarse = maps
        scores = self.middle(middle) + _scaled(self.coarse(coarse), 2)
        scores = self.fine(fine) + _scaled(scores, 2)
        return _scaled(scores, 8)


def _scaled(scores: Tensor, factor: int) -> Tensor:
    return F.interpolate(scores, scale_factor=factor, mode="bilinear", align_corners=False)
