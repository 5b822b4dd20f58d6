"""A generator with a pretrained encoder: a classifier's features under a U-Net's decoder.

As the "unet learner" of DeOldify (J. Antic 2018) and of fastai: the classifier knows what things
are before the first step, and the decoder has only to learn what colours they have. It doubles the
side by interpolation and a convolution, which leaves no checkerboard (Odena et al. 2016), and ends
at the side of the classifier's second finest features, a quarter of the picture's: the eye sees
colour less sharply than light, as JPEG knows, and the rest would be most of the arithmetic.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from colorgan.models.architectures import EncoderUNetConfig, Norm
from colorgan.models.backbones import Features
from colorgan.models.pictures import scaled
from colorgan.models.unet import normalization

_WIDEST = 4  # times `width`, of the coarsest steps
_ATTENTIVE = 1  # the step, counted from 0, that self-attention follows: an eighth of the side
_COMPARED = 64  # channels in which self-attention compares places


class EncoderUNetGenerator(nn.Module):
    """Lightness in, colour out: a classifier down to its coarsest features, a decoder back.

    Each step of the decoder doubles the side, takes the encoder's features of that side beside what
    it has, and mixes both by two convolutions. Their activations are bounded: otherwise features
    that are rare in training grow from step to step, a hundred times beyond the usual, and end in
    garish colours that differ between machines.

    Attributes:
        stride: by how much the decoder's own side is smaller than the picture's.
    """

    def __init__(self, config: EncoderUNetConfig, classifier: nn.Module | None = None) -> None:
        """Build the network.

        Args:
            config: its architecture.
            classifier: the encoder's whole network with its weights; where it is None they are
                drawn, to be replaced by those of a package.
        """
        super().__init__()
        self.config = config
        self.encoder = Features(config.encoder, classifier).requires_grad_(True)
        channels = self.encoder.channels[1:]
        self.stride = self.encoder.strides[1]
        wide = [config.width * min(2**step, _WIDEST) for step in range(len(channels))]
        self.deepest = _mixed(channels[-1], wide[-1], config.norm)
        self.mix = nn.ModuleList(
            _mixed(coarse + beside, fine, config.norm)
            for (fine, coarse), beside in zip(pairwise(wide), channels, strict=False)
        )
        if config.attention:
            place = -2 - _ATTENTIVE
            self.attention = SelfAttention(wide[place], channels[place])
        self.write = nn.Conv2d(config.width, config.color_channels, 3, padding=1)

    def forward(self, lightness: Tensor, noise: bool = False) -> Tensor:
        """Colour a batch.

        Args:
            lightness: (batch, 1, height, width) in [-1, 1]; height and width are multiples of 32.
            noise: keep dropout in evaluation mode, too; in training mode it is always on.

        Returns:
            (batch, color_channels, height, width) in [-1, 1].
        """
        return scaled(self.decode(self.encode(lightness), noise), lightness)

    def encode(self, lightness: Tensor) -> list[Tensor]:
        """The features that the decoder starts from.

        Args:
            lightness: as that of `forward`.

        Returns:
            From fine to coarse (batch, channels, height / stride, width / stride) each.
        """
        features: list[Tensor] = self.encoder(lightness)
        return features[1:]

    def decode(self, features: Sequence[Tensor], noise: bool = False) -> Tensor:
        """Colour a batch at the decoder's own resolution, at which the generator learns.

        Args:
            features: what `encode` returns.
            noise: as that of `forward`.

        Returns:
            (batch, color_channels, height / stride, width / stride) in [-1, 1], as large as the
            finest of the features.
        """
        skips = list(features)
        x = self.deepest(skips.pop())
        for step, mix in enumerate(reversed(self.mix)):
            if step < 2:
                x = F.dropout(x, 0.2, training=self.training or noise)
            skip = skips.pop()
            x = mix(torch.cat([scaled(x, skip), skip], dim=1))
            if step == _ATTENTIVE and self.config.attention:
                x = self.attention(x, skip)
        return torch.tanh(self.write(x))


class SelfAttention(nn.Module):
    """What the places of a picture tell each other (Zhang et al. 2019, section 3).

    For maps x, with a query q, a key k and a value v at every place:

        y_i = x_i + gain * W (sum over j of softmax_j(q_i . k_j / sqrt(channels)) v_j)

    Convolutions see a neighbourhood; so the door of a car may get another colour than its bonnet.
    Here both see each other. Keys and values are pooled to half the side. The gain is 0 at first.
    """

    def __init__(self, channels: int, beside: int) -> None:
        """Build the layer.

        Args:
            channels: of the maps.
            beside: of the encoder's features, by which places are compared, too.
        """
        super().__init__()
        self.compare = nn.Conv2d(channels + beside, 2 * _COMPARED, 1)
        self.value = nn.Conv2d(channels, _COMPARED, 1)
        self.write = nn.Conv2d(_COMPARED, channels, 1)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        """Let places see each other.

        Args:
            x: (batch, channels, height, width) maps.
            features: (batch, beside, height, width) of the encoder.

        Returns:
            The maps, (batch, channels, height, width).
        """
        query, key = self.compare(torch.cat([x, features], dim=1)).chunk(2, dim=1)
        pooled = (F.max_pool2d(key, 2), F.max_pool2d(self.value(x), 2))
        query, key, value = (maps.flatten(2).transpose(1, 2)[:, None] for maps in (query, *pooled))
        seen = F.scaled_dot_product_attention(query, key, value)[:, 0].transpose(1, 2)
        written: Tensor = self.write(seen.reshape(len(x), -1, *x.shape[2:]))
        return x + self.gain * written


def _mixed(before: int, after: int, norm: Norm) -> nn.Module:
    layers: list[nn.Module] = []
    for channels in (before, after):
        layers += [
            nn.Conv2d(channels, after, 3, padding=1, bias=False),
            normalization(norm, after),
            nn.ReLU6(),
        ]
    return nn.Sequential(*layers)
