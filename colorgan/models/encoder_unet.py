"""A generator with a pretrained encoder: a classifier's features and a U-Net's decoder.

It resembles the "unet learner" of fastai and DeOldify (J. Antic 2018): the classifier recognises
objects before the first step, and the decoder only has to learn their colours. The decoder doubles
the side by interpolation and a convolution, which avoids checkerboard artefacts (Odena et al.
2016). It ends at the side of the classifier's second finest features, a quarter of the picture's
for EfficientNet-Lite: the eye resolves colour less sharply than light, which JPEG exploits too, and
finer steps would take most of the arithmetic.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from colorgan.models.architectures import EncoderUNetConfig, Norm
from colorgan.models.backbones import Features
from colorgan.models.noise import noise_for
from colorgan.models.pictures import scaled
from colorgan.models.sharing import dropout
from colorgan.models.unet import normalization
from colorgan.workers import Part

_WIDEST = 4  # channels of the coarsest steps, in multiples of `width`
_ATTENTIVE = 1  # the step, from 0, after which self-attention is applied: an eighth of the side
_COMPARED = 64  # channels of self-attention's queries, keys and values


class EncoderUNetGenerator(nn.Module):
    """Lightness in, colour out: a classifier down to its coarsest features, and a decoder.

    Each step of the decoder doubles the side, concatenates the encoder's features of that side, and
    mixes both with two convolutions. Their activations are bounded: otherwise, features that are
    rare in training grow from step to step to a hundred times the usual values, and lead to garish
    colours that differ between machines.

    Attributes:
        stride: the ratio of the picture's side to that of the decoder's output.
        part: the part of the batch that it gets in training mode; None if it gets the whole batch.
    """

    def __init__(self, config: EncoderUNetConfig, classifier: nn.Module | None = None) -> None:
        """Build the network.

        Args:
            config: the architecture.
            classifier: the encoder's whole network with its weights; None for random weights, to
                be replaced by those of a package.
        """
        super().__init__()
        self.config = config
        self.part: Part | None = None
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
        if config.noise_channels:
            steps = [next(each.children()) for each in (self.deepest, *reversed(self.mix))]
            self.noise = nn.ModuleList(
                noise_for(config.noise_channels, layer) for layer in (*steps, self.write)
            )

    def forward(self, lightness: Tensor, noise: bool = False, z: Tensor | None = None) -> Tensor:
        """Colour a batch.

        Args:
            lightness: (batch, 1, height, width) in [-1, 1]; height and width are multiples of 32.
            noise: whether to apply dropout in evaluation mode; in training mode it is always
                applied.
            z: noise vectors (batch, noise_channels); None is the zero vector.

        Returns:
            (batch, color_channels, height, width) in [-1, 1].
        """
        return scaled(self.decode(self.encode(lightness), noise, z), lightness)

    def encode(self, lightness: Tensor) -> list[Tensor]:
        """Compute the features that the decoder starts from.

        Args:
            lightness: as for `forward`.

        Returns:
            Maps (batch, channels, height / stride, width / stride), from fine to coarse.
        """
        features: list[Tensor] = self.encoder(lightness)
        return features[1:]

    def decode(
        self, features: Sequence[Tensor], noise: bool = False, z: Tensor | None = None
    ) -> Tensor:
        """Colour a batch at the decoder's own resolution, which is used in training.

        Args:
            features: the result of `encode`.
            noise: as for `forward`.
            z: as for `forward`.

        Returns:
            (batch, color_channels, height / stride, width / stride) in [-1, 1], as large as the
            finest of the features.
        """
        skips = list(features)
        x = self._mixed(0, self.deepest, skips.pop(), z)
        for step, mix in enumerate(reversed(self.mix)):
            assert isinstance(mix, nn.Sequential)
            if step < 2:
                x = dropout(x, 0.2, self.training or noise, self.part if self.training else None)
            skip = skips.pop()
            x = self._mixed(step + 1, mix, torch.cat([scaled(x, skip), skip], dim=1), z)
            if step == _ATTENTIVE and self.config.attention:
                x = self.attention(x, skip)
        color = self.write(x) if z is None else self.write(x) + self.noise[-1](x, z)
        return torch.tanh(color)

    def _mixed(self, step: int, mix: nn.Sequential, x: Tensor, z: Tensor | None) -> Tensor:
        """The output of a step's convolutions, whose first one has the noise channels."""
        if z is None:
            return cast(Tensor, mix(x))
        first, *others = mix
        x = first(x) + self.noise[step](x, z)
        for layer in others:
            x = layer(x)
        return x


class SelfAttention(nn.Module):
    """Self-attention between the positions of a picture (Zhang et al. 2019, section 3).

    For maps x, with a query q, a key k and a value v at every position:

        y_i = x_i + gain * W (sum over j of softmax_j(q_i . k_j / sqrt(channels)) v_j)

    A convolution sees only a neighbourhood, so the door of a car may get another colour than its
    bonnet. With self-attention, each position sees all others. Keys and values are pooled to half
    the side. The gain starts at 0.
    """

    def __init__(self, channels: int, beside: int) -> None:
        """Build the layer.

        Args:
            channels: channels of the maps.
            beside: channels of the encoder's features, from which queries and keys are also
                computed.
        """
        super().__init__()
        self.compare = nn.Conv2d(channels + beside, 2 * _COMPARED, 1)
        self.value = nn.Conv2d(channels, _COMPARED, 1)
        self.write = nn.Conv2d(_COMPARED, channels, 1)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        """Apply self-attention.

        Args:
            x: maps (batch, channels, height, width).
            features: the encoder's features (batch, beside, height, width).

        Returns:
            Maps (batch, channels, height, width).
        """
        query, key = self.compare(torch.cat([x, features], dim=1)).chunk(2, dim=1)
        pooled = (F.max_pool2d(key, 2), F.max_pool2d(self.value(x), 2))
        query, key, value = (maps.flatten(2).transpose(1, 2)[:, None] for maps in (query, *pooled))
        seen = F.scaled_dot_product_attention(query, key, value)[:, 0].transpose(1, 2)
        written: Tensor = self.write(seen.reshape(x.shape[0], -1, *x.shape[2:]))
        return x + self.gain * written


def _mixed(before: int, after: int, norm: Norm) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (before, after):
        layers += [
            nn.Conv2d(channels, after, 3, padding=1, bias=False),
            normalization(norm, after),
            nn.ReLU6(),
        ]
    return nn.Sequential(*layers)
