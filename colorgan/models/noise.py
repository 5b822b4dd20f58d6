"""Noise as channels at several layers of a generator (Cao et al. 2017, section 3.2).

A photograph has many plausible colourings, and the vector z chooses one of them. Cao et al. draw
z for every pixel, which leads to patches; here, one vector is spread over the whole picture, and a
gate computed from the features x says where each of its channels acts, so that a channel can
recolour one kind of object and leave the rest:

    n = z * sigmoid(gate(x)),    layer([x, n]) = layer(x) + noise(n)

The weights for the noise channels stand apart from the layer's own and start from zero. The zero
vector therefore adds exactly nothing: it gives the colouring that the network without noise gives.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn

from colorgan.workers import Part

# One photograph's variants by number: number 1 is the zero vector, the mean colouring.
Numbers = tuple[int, ...]
FIRST: Numbers = (1,)

_GATES = 2.0  # deviation of what the gates' sigmoid gets, for features of deviation 1
_SEED = 20_171  # of the vectors of variants, which are the same for everybody


class NoiseChannels(nn.Module):
    """The noise channels at the input of one layer, with that layer's weights for them."""

    def __init__(self, channels: int, before: int, layer: nn.Conv2d | nn.ConvTranspose2d) -> None:
        """Build them.

        Args:
            channels: number of noise channels, the length of z.
            before: channels of the layer's own input, from which the gates are computed.
            layer: a convolution from `channels` to the layer's output; its weights become 0.
        """
        super().__init__()
        self.gate = nn.Conv2d(before, channels, 1)
        # So wide that a gate begins open for some objects and closed for others.
        nn.init.normal_(self.gate.weight, 0.0, _GATES / math.sqrt(before))
        self.layer = layer
        nn.init.zeros_(self.layer.weight)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """What the noise adds to the layer's output.

        Args:
            x: the layer's input (batch, before, height, width).
            z: noise vectors (batch, channels).
        """
        added: Tensor = self.layer(torch.sigmoid(self.gate(x)) * z[:, :, None, None].to(x.dtype))
        return added


def noise_for(channels: int, layer: nn.Module) -> NoiseChannels:
    """The noise channels at the input of a convolution, which may be transposed."""
    assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
    kind = nn.Conv2d if isinstance(layer, nn.Conv2d) else nn.ConvTranspose2d
    shape = (layer.kernel_size[0], layer.stride[0], int(layer.padding[0]))
    made = kind(channels, layer.out_channels, *shape, bias=False)
    return NoiseChannels(channels, layer.in_channels, made)


def variant_noise(channels: int, number: int) -> Tensor:
    """The noise vector of a variant, the same on every machine.

    Args:
        channels: its length.
        number: the variant's number from 1; number 1 is the zero vector.

    Returns:
        (channels,) float32; of standard normal numbers.
    """
    if number == 1:
        return torch.zeros(channels)
    drawn = np.random.default_rng([_SEED, number]).standard_normal(channels)
    return torch.from_numpy(drawn.astype(np.float32))


def draw_noise(count: int, channels: int, device: torch.device, part: Part | None) -> Tensor:
    """Draw a noise vector for every photograph of a batch in training.

    Every worker draws the vectors of the whole batch, so their random numbers stay the same.

    Args:
        count: the number of photographs; a part's is its own.
        channels: the length of a vector.
        device: the device, whose random state is used.
        part: the part of the batch; None if it is the whole batch.

    Returns:
        (count, channels) float32 standard normal numbers.
    """
    if part is None:
        return torch.randn(count, channels, device=device)
    positions = part.positions
    whole = torch.randn(part.total, channels, device=device)
    return whole[positions.start : positions.stop]


def is_noise(name: str) -> bool:
    """Whether a parameter or buffer of a generator belongs to its noise channels, by its name."""
    return name.startswith("noise.")
