"""All generators, from lightness to colour in the colour space of their `config`, in two steps."""

from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from colorgan.models.backbones import Features
from colorgan.models.cic import CicNetwork
from colorgan.models.encoder_unet import EncoderUNetGenerator
from colorgan.models.hypercolumn import HypercolumnNetwork
from colorgan.models.unet import UNetGenerator

Generator = UNetGenerator | EncoderUNetGenerator | HypercolumnNetwork | CicNetwork


def noise_channels(generator: Generator) -> int:
    """The number of a generator's noise channels; 0 if it has none."""
    return int(getattr(generator.config, "noise_channels", 0))


class Look(nn.Module):
    """The first step of a colouring: the features of the generator's encoder.

    Attributes:
        encoder: the generator's encoder; None if it has no separate encoder and starts from the
            lightness.
    """

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.encoder: Features | None = getattr(generator, "encoder", None)

    def forward(self, lightness: Tensor) -> tuple[Tensor, ...]:
        """(batch, 1, size, size) in [-1, 1] -> the maps of `Features`, or just the lightness."""
        return (lightness,) if self.encoder is None else tuple(self.encoder(lightness))


class Paint(nn.Module):
    """The second step of a colouring: colours from the result of `Look`."""

    def __init__(self, generator: Generator, size: int) -> None:
        """Take a generator, and the side of the square that it sees, in pixels."""
        super().__init__()
        self.generator = generator
        self.size = size

    def forward(self, *features: Tensor, noise: bool = False, z: Tensor | None = None) -> Tensor:
        """Colours at the generator's size: (batch, color channels, size, size) float32.

        `z` are noise vectors, (batch, noise channels), of a generator that has such channels.
        """
        generator = self.generator
        if not isinstance(generator, EncoderUNetGenerator):
            chosen = {} if z is None else {"z": z}
            return cast(Tensor, generator(features[0], noise=noise, **chosen)).float()
        color = generator.decode(features[1:], noise, z).float()
        return F.interpolate(color, size=self.size, mode="bilinear")
