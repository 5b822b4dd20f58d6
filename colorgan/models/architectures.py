"""The networks' architectures: what must be known to build each, and nothing that needs PyTorch."""

from dataclasses import dataclass
from typing import Literal, get_args

from colorgan.errors import ConfigError
from colorgan.images.color_spaces import COLOR_CHANNELS, ColorSpace
from colorgan.options import Configuration, Count, option

Norm = Literal["batch", "instance"]
BackboneName = Literal["vgg16", "efficientnet_lite0", "efficientnet_lite1"]
BACKBONES: tuple[str, ...] = get_args(BackboneName)  # whose features other networks stand on
DISCRIMINATORS = ("patches", "features", "semantic")


@dataclass(frozen=True)
class GeneratorConfig(Configuration):
    """Everything that decides the generator's architecture."""

    size: int = option(
        256,
        "side of the square pictures that the networks see, in pixels: a power of two, or of "
        "encoder_unet a multiple of 32",
    )
    width: Count = option(64, "channels of the generator's first layer (ngf)")
    color_space: Literal["lab", "rgb"] = option("lab", "what the generator writes")
    norm: Norm = option("instance", "normalisation; batch uses running statistics in use")

    def check(self) -> None:
        """Check the size; raises ConfigError."""
        if self.size not in (32, 64, 128, 256, 512, 1024):
            raise ConfigError(f"--size {self.size} is not a power of two from 32 to 1024")

    @property
    def depth(self) -> int:
        """How often the picture is halved on its way to one pixel: 8 at 256 px."""
        return self.size.bit_length() - 1

    @property
    def color_channels(self) -> int:
        """How many channels the generator writes."""
        return COLOR_CHANNELS[self.color_space]


@dataclass(frozen=True)
class EncoderUNetConfig(Configuration):
    """Everything that decides the network's architecture.

    Attributes:
        size: side of the square pictures that it sees, in pixels; a multiple of 32 from 64 on.
        width: channels of the decoder's finest step, a quarter of the size.
        color_space: what it writes.
        norm: normalisation of the decoder.
        encoder: the classifier below; one of BACKBONES.
        attention: whether its decoder has self-attention.
    """

    size: int
    width: Count
    color_space: Literal["lab", "rgb"]
    norm: Norm
    encoder: BackboneName
    attention: bool = False  # older packages do not say it

    def check(self) -> None:
        """Check the size; raises ConfigError."""
        if self.size < 64 or self.size % 32:
            raise ConfigError(f"--size {self.size} is not a multiple of 32 from 64 on")

    @property
    def color_channels(self) -> int:
        """How many channels the generator writes."""
        return COLOR_CHANNELS[self.color_space]


@dataclass(frozen=True)
class HypercolumnConfig(Configuration):
    """Everything that decides the network's architecture.

    Attributes:
        size: side of the square pictures that it sees, in pixels.
        width: channels beside the picture, where the original has 3.
        backbone: whose features it stands on; one of BACKBONES.
    """

    size: Count
    width: Count
    backbone: BackboneName

    @property
    def color_space(self) -> ColorSpace:
        """What the network writes."""
        return "yuv"


@dataclass(frozen=True)
class HeadConfig(Configuration):
    """Everything that decides the head, and what it stands on.

    Attributes:
        classifier: the name of the classifier whose features it reads.
        classifier_sha256: the fingerprint of that classifier's weights.
        features: how many there are.
        classes: what it tells apart, in the order of its outputs.
        temperature: that the logits are divided by, so that probabilities are frequencies
            (Guo et al. 2017, section 4.2).
    """

    classifier: str
    classifier_sha256: str
    features: int
    classes: tuple[str, ...]
    temperature: float = 1.0


Architecture = GeneratorConfig | EncoderUNetConfig | HypercolumnConfig | HeadConfig

# By the kind of a package.
ARCHITECTURES: dict[str, type[Architecture]] = {
    "generator": GeneratorConfig,
    "encoder_unet": EncoderUNetConfig,
    "hypercolumn": HypercolumnConfig,
    "router": HeadConfig,
}
