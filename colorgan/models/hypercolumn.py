"""The baseline: a residual encoder on a classifier's hypercolumns.

R. Dahl, "Automatic Colorization" (2016), <https://tinyclouds.org/colorize>, after B. Hariharan et
al., "Hypercolumns for Object Segmentation and Fine-grained Localization" (2015).
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from colorgan.errors import ConfigError
from colorgan.images.lab import COLOR_CHANNELS, ColorSpace
from colorgan.models import EMBEDDED


@dataclass(frozen=True)
class Backbone:
    """A classifier whose features can be used.

    Attributes:
        layers: its layers, given the whole network.
        taps: the places in `layers` whose outputs are used, from fine to coarse, each coarser one
            of half the side.
        channels: that these outputs have where they are joined; where the backbone has others, a
            convolution of one pixel makes them so.
        mean: of the sRGB channels, in [0, 1], that the network expects at zero.
        std: of the same, that it expects at one.
        build: the whole network, with any weights.
    """

    layers: Callable[[nn.Module], list[nn.Module]]
    taps: tuple[int, ...]
    channels: tuple[int, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    build: Callable[[], nn.Module]


def _vgg16() -> nn.Module:
    from torchvision.models import vgg16

    network: nn.Module = vgg16(weights=None, init_weights=False)
    return network


def _efficientnet_lite0() -> nn.Module:
    try:
        import timm
    except ImportError:
        raise ConfigError(f"{EMBEDDED} needs an extra: pip install 'colorgan[router]'") from None
    network: nn.Module = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    return network


def _vgg_layers(network: nn.Module) -> list[nn.Module]:
    return list(network.get_submodule("features").children())


def _efficientnet_layers(network: nn.Module) -> list[nn.Module]:
    stem = [network.get_submodule(name) for name in ("conv_stem", "bn1")]
    return [*stem, *network.get_submodule("blocks").children()]


BACKBONES = {
    # After conv1_2, conv2_2, conv3_3 and conv4_3, as in the original.
    "vgg16": Backbone(
        _vgg_layers,
        (3, 8, 15, 22),
        (64, 128, 256, 512),
        (0.485, 0.456, 0.406),
        (0.229, 0.224, 0.225),
        _vgg16,
    ),
    EMBEDDED: Backbone(
        _efficientnet_layers,
        (2, 3, 4, 6, 8),
        (64, 96, 128, 192, 320),
        (0.5, 0.5, 0.5),
        (0.5, 0.5, 0.5),
        _efficientnet_lite0,
    ),
}


@dataclass(frozen=True)
class HypercolumnConfig:
    """Everything that decides the network's architecture.

    Attributes:
        size: side of the square pictures that it sees, in pixels.
        width: channels beside the picture, where the original has 3.
        backbone: whose features it stands on; one of BACKBONES.
    """

    size: int
    width: int
    backbone: str

    def __post_init__(self) -> None:
        """Check the values; raises ConfigError."""
        if self.backbone not in BACKBONES:
            raise ConfigError(
                f"no hypercolumns of {self.backbone!r}: there are those of {', '.join(BACKBONES)}"
            )

    @property
    def color_space(self) -> ColorSpace:
        """What the network writes."""
        return "yuv"


class HypercolumnNetwork(nn.Module):
    """Luma in, U and V out: features of a frozen classifier, joined from coarse to fine.

    Each step takes as many channels as the next finer features have, doubles the side, and adds
    those features, normalised: as the residual connections of He et al. (2015).
    """

    def __init__(self, config: HypercolumnConfig, classifier: nn.Module | None = None) -> None:
        """Build the network.

        Args:
            config: its architecture.
            classifier: the backbone's whole network with its weights; where it is None they are
                drawn, to be replaced by those of a package.
        """
        super().__init__()
        self.config = config
        backbone = BACKBONES[config.backbone]
        whole = backbone.build() if classifier is None else classifier
        self._taps = backbone.taps
        self.backbone = nn.Sequential(*backbone.layers(whole)[: backbone.taps[-1] + 1])
        self.backbone.requires_grad_(False)
        self.mean: Tensor
        self.std: Tensor
        for name, values in (("mean", backbone.mean), ("std", backbone.std)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)
        self.backbone.eval()
        with torch.no_grad():
            features = self._features(torch.zeros(1, 1, 64, 64))
        channels = backbone.channels
        self.norm = nn.ModuleList(
            _normalized(feature.shape[1], count)
            for feature, count in zip(features, channels, strict=True)
        )
        self.join = nn.ModuleList(
            nn.Conv2d(coarse, fine, 3, padding=1) for fine, coarse in pairwise(channels)
        )
        self.widen = nn.Conv2d(channels[0], config.width, 3, padding=1)
        self.luma = nn.Conv2d(1, config.width, 3, padding=1)
        self.write = nn.Conv2d(config.width, COLOR_CHANNELS["yuv"], 3, padding=1)

    def train(self, mode: bool = True) -> "HypercolumnNetwork":
        """Switch the part that is trained; the backbone always keeps its running statistics."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, luma: Tensor, noise: bool = False) -> Tensor:
        """Colour a batch.

        Args:
            luma: (batch, 1, height, width) in [-1, 1]; height and width are multiples of the
                backbone's stride.
            noise: not used: this network has none.

        Returns:
            (batch, 2, height, width) in [-1, 1].
        """
        with torch.no_grad():
            features = self._features(luma)
        x = self.norm[-1](features[-1])
        for place in reversed(range(len(self.join))):
            x = _double(F.relu(self.join[place](x))) + self.norm[place](features[place])
        x = F.relu(self.widen(x))
        if x.shape[-1] != luma.shape[-1]:
            x = _double(x)
        return torch.tanh(self.write(F.relu(x + self.luma(luma))))

    def _features(self, luma: Tensor) -> list[Tensor]:
        x = ((luma + 1) / 2 - self.mean) / self.std
        features = []
        for place, layer in enumerate(self.backbone):
            x = layer(x)
            if place in self._taps:
                features.append(x)
        return features


def _normalized(channels: int, wanted: int) -> nn.Module:
    norm = nn.BatchNorm2d(channels)
    if channels == wanted:
        return norm
    return nn.Sequential(norm, nn.Conv2d(channels, wanted, 1))


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
