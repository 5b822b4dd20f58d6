"""The configurations that each network is built from, without importing PyTorch."""

from dataclasses import dataclass, replace
from typing import Literal, get_args

from colorgan.errors import ConfigError
from colorgan.images.color_spaces import COLOR_CHANNELS, ColorSpace
from colorgan.options import Configuration, Count, NaturalNumber, option

Norm = Literal["batch", "instance"]
BackboneName = Literal["vgg16", "efficientnet_lite0", "efficientnet_lite1"]
BACKBONES: tuple[str, ...] = get_args(BackboneName)  # classifiers whose features networks use
SegmenterEncoder = Literal["efficientnet_lite0", "efficientnet_lite1"]  # strides down to 32
DISCRIMINATORS = ("patches", "features", "semantic", "projection")


@dataclass(frozen=True)
class GeneratorConfig(Configuration):
    """Everything that determines the architecture of `UNetGenerator`."""

    size: int = option(
        256,
        "side of the networks' square input, in pixels: a power of two, or a multiple of 32 for "
        "encoder_unet",
    )
    width: Count = option(64, "channels of the generator's first layer (ngf)")
    color_space: Literal["lab", "rgb"] = option("lab", "color space of the generator's output")
    norm: Norm = option("instance", "normalisation; batch uses running statistics at inference")
    noise_channels: NaturalNumber = option(
        0,
        "channels of noise at the generator's decoder layers, which choose a colouring; 0 is none",
    )

    def check(self) -> None:
        """Check the size; raises ConfigError."""
        if self.size not in (32, 64, 128, 256, 512, 1024):
            raise ConfigError(f"--size {self.size} is not a power of two from 32 to 1024")

    @property
    def depth(self) -> int:
        """How often the picture is halved until one pixel remains: 8 times at 256 px."""
        return self.size.bit_length() - 1

    @property
    def color_channels(self) -> int:
        """The number of channels that the generator writes."""
        return COLOR_CHANNELS[self.color_space]


@dataclass(frozen=True)
class EncoderUNetConfig(Configuration):
    """Everything that determines the architecture of `EncoderUNetGenerator`.

    Attributes:
        size: side of its square input, in pixels; a multiple of 32, at least 64.
        width: channels of the decoder's finest step.
        color_space: the colour space that it writes.
        norm: normalisation of the decoder.
        encoder: the classifier that is the encoder; one of BACKBONES.
        attention: whether the decoder has self-attention.
        noise_channels: channels of noise at the decoder's layers; 0 is none.
    """

    size: int
    width: Count
    color_space: Literal["lab", "rgb"]
    norm: Norm
    encoder: BackboneName
    attention: bool = False  # absent in older packages
    noise_channels: NaturalNumber = 0  # likewise

    def check(self) -> None:
        """Check the size; raises ConfigError."""
        if self.size < 64 or self.size % 32:
            raise ConfigError(f"--size {self.size} is not a multiple of 32 of at least 64")

    @property
    def color_channels(self) -> int:
        """The number of channels that the generator writes."""
        return COLOR_CHANNELS[self.color_space]


@dataclass(frozen=True)
class HypercolumnConfig(Configuration):
    """Everything that determines the architecture of `HypercolumnNetwork`.

    Attributes:
        size: side of its square input, in pixels.
        width: channels of the last layers, at the picture's resolution; the original has 3.
        backbone: the classifier whose features it uses; one of BACKBONES.
    """

    size: Count
    width: Count
    backbone: BackboneName

    @property
    def color_space(self) -> ColorSpace:
        """The colour space that the network writes."""
        return "yuv"


@dataclass(frozen=True)
class CicConfig(Configuration):
    """Everything that determines the architecture of `CicNetwork`.

    Attributes:
        size: side of its square input, in pixels; a multiple of 8.
        width: channels of the first block; the original has 64.
    """

    size: int
    width: Count

    def check(self) -> None:
        """Check the size; raises ConfigError."""
        if self.size < 8 or self.size % 8:
            raise ConfigError(f"--size {self.size} is not a multiple of 8")

    @property
    def color_space(self) -> ColorSpace:
        """The colour space that the network writes."""
        return "lab"


@dataclass(frozen=True)
class HeadConfig(Configuration):
    """Everything that determines the router's head, and the classifier below it.

    Attributes:
        classifier: the name of the classifier whose features it uses.
        classifier_sha256: the fingerprint of that classifier's weights.
        features: number of the classifier's features.
        classes: the classes, in the order of its outputs.
        temperature: the divisor of the logits, which calibrates the probabilities
            (Guo et al. 2017, section 4.2).
    """

    classifier: str
    classifier_sha256: str
    features: int
    classes: tuple[str, ...]
    temperature: float = 1.0


@dataclass(frozen=True)
class SegmenterConfig(Configuration):
    """Everything that determines the architecture of `FCN8s`.

    Attributes:
        size: side of its square input, in pixels; a multiple of 32.
        width: channels of the layer on the encoder's coarsest features.
        encoder: the classifier that is the encoder; one of SEGMENTER_ENCODERS.
        classes: what a pixel can show, in the order of its outputs.
    """

    size: int
    width: Count
    encoder: SegmenterEncoder
    classes: tuple[str, ...]

    def check(self) -> None:
        """Check the size; raises ConfigError."""
        if self.size < 32 or self.size % 32:
            raise ConfigError(f"--size {self.size} is not a multiple of 32")


@dataclass(frozen=True)
class DetectorConfig(Configuration):
    """Everything that determines the architecture of `ObjectDetector`.

    Attributes:
        size: short side to which it scales photographs, in pixels.
        width: channels of the feature pyramid and of the heads; a multiple of 32.
        encoder: the classifier that is the encoder.
        classes: what it finds, in the order of its outputs.
    """

    size: int
    width: Count
    encoder: SegmenterEncoder
    classes: tuple[str, ...]

    def check(self) -> None:
        """Check the size and the width; raises ConfigError."""
        if self.size < 32:
            raise ConfigError(f"--size {self.size} is less than 32")
        if self.width % 32:  # the heads normalise groups of 32 channels
            raise ConfigError(f"--width {self.width} is not a multiple of 32")


Architecture = (
    GeneratorConfig
    | EncoderUNetConfig
    | HypercolumnConfig
    | CicConfig
    | HeadConfig
    | SegmenterConfig
    | DetectorConfig
)

# The type of configuration by the kind of a package.
ARCHITECTURES: dict[str, type[Architecture]] = {
    "generator": GeneratorConfig,
    "encoder_unet": EncoderUNetConfig,
    "hypercolumn": HypercolumnConfig,
    "cic": CicConfig,
    "router": HeadConfig,
    "segmenter": SegmenterConfig,
    "detector": DetectorConfig,
}


def is_base(base: Architecture, architecture: Architecture) -> bool:
    """Whether a network can start from one of another architecture, its base.

    Both are the same, or the base lacks the noise channels, whose weights then start from zero.
    """
    if isinstance(base, GeneratorConfig | EncoderUNetConfig) and not base.noise_channels:
        noise = getattr(architecture, "noise_channels", 0)
        return replace(base, noise_channels=noise) == architecture
    return base == architecture
