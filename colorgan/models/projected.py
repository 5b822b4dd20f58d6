"""The discriminator on features of frozen classifiers, as in Projected GANs (Sauer et al. 2021)."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from colorgan.models.backbones import Features
from colorgan.models.pictures import Colored

STRIDES = (4, 8, 16)  # strides of the features that are judged


def judged_places(classifier: Features) -> list[int]:
    """The indices of a classifier's features that are judged."""
    return [place for place, stride in enumerate(classifier.strides) if stride in STRIDES]


class FeatureDiscriminator(nn.Module):
    """Judges classifiers' features of a coloured picture, given their features of the gray one.

    Each classifier has a head of three convolutions at each of the strides 4, 8 and 16, with
    spectral normalisation (Miyato et al. 2018). Because the classifiers recognise objects from the
    first step, this discriminator learns early to distinguish real from generated pictures. Because
    it has no other input, a generator may learn to please the classifiers instead of people.
    """

    def __init__(self, classifiers: Sequence[Features], width: int = 64) -> None:
        """Build the heads; the classifiers themselves are not kept.

        Args:
            classifiers: the classifiers whose features are judged.
            width: channels of each head.
        """
        super().__init__()
        self._places = [judged_places(each) for each in classifiers]
        self.heads = nn.ModuleList(
            nn.ModuleList(_head(2 * each.channels[place], width) for place in places)
            for each, places in zip(classifiers, self._places, strict=True)
        )

    def forward(self, picture: Colored) -> list[Tensor]:
        """Judge a batch; returns logits (batch, 1, ...) per head: above 0 means real."""
        logits = []
        for heads, places, seen, gray in zip(
            self.heads, self._places, picture.seen, picture.seen_gray, strict=True
        ):
            judged = [seen[place] for place in places]
            for head, one, other in zip(cast(nn.ModuleList, heads), judged, gray, strict=True):
                logits.append(head(torch.cat([one, other], dim=1)))
        return logits


def _head(channels: int, width: int) -> nn.Module:
    return nn.Sequential(
        spectral_norm(nn.Conv2d(channels, width, 1)),
        nn.LeakyReLU(0.2),
        spectral_norm(nn.Conv2d(width, width, 3, padding=1)),
        nn.LeakyReLU(0.2),
        spectral_norm(nn.Conv2d(width, 1, 3, padding=1)),
    )
