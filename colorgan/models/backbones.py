"""Backbones: classifiers whose features other networks use."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from colorgan.errors import ConfigError
from colorgan.models import EMBEDDED
from colorgan.models.architectures import BACKBONES
from colorgan.models.efficientnet_lite import efficientnet_lite


@dataclass(frozen=True)
class Backbone:
    """A classifier whose features can be used.

    Attributes:
        layers: returns the layers of the whole network.
        taps: the indices of the layers whose outputs are the features, from fine to coarse, each
            with half the side of the previous one.
        channels: channels per output when hypercolumns are joined; outputs with another number are
            projected by a 1 x 1 convolution.
        mean: mean of the sRGB channels, in [0, 1], that the network's input is normalised by.
        std: standard deviation of the sRGB channels, for the same.
        build: builds the whole network, with arbitrary weights.
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


def _vgg_layers(network: nn.Module) -> list[nn.Module]:
    return list(network.get_submodule("features").children())


def _efficientnet_layers(network: nn.Module) -> list[nn.Module]:
    stem = [network.get_submodule(name) for name in ("conv_stem", "bn1")]
    return [*stem, *network.get_submodule("blocks").children()]


_BACKBONES = {
    # After conv1_2, conv2_2, conv3_3 and conv4_3, as in Dahl's hypercolumns.
    "vgg16": Backbone(
        _vgg_layers,
        (3, 8, 15, 22),
        (64, 128, 256, 512),
        (0.485, 0.456, 0.406),
        (0.229, 0.224, 0.225),
        _vgg16,
    ),
    **{
        name: Backbone(
            _efficientnet_layers,
            (2, 3, 4, 6, 8),
            (64, 96, 128, 192, 320),
            (0.5, 0.5, 0.5),
            (0.5, 0.5, 0.5),
            partial(efficientnet_lite, name),
        )
        for name in (EMBEDDED, "efficientnet_lite1")
    },
}


def find_backbone(name: str) -> Backbone:
    """Find a backbone by its name; raises ConfigError if there is none."""
    if name not in BACKBONES:
        raise ConfigError(f"no backbone {name!r}: choose from {', '.join(BACKBONES)}")
    return _BACKBONES[name]


def tapped(name: str, network: nn.Module) -> list[nn.Module]:
    """The layers of a classifier whose outputs are its features; empty if it is not a backbone."""
    if name not in BACKBONES:
        return []
    backbone = find_backbone(name)
    layers = backbone.layers(network)
    return [layers[place] for place in backbone.taps]


def same_weights(features: "Features", name: str, network: nn.Module) -> bool:
    """Whether a classifier has exactly the same weights as these features.

    Args:
        features: features of the backbone.
        name: the backbone's name.
        network: the classifier's whole network, on any device.
    """
    layers = find_backbone(name).layers(network)[: len(features)]
    theirs = nn.Sequential(*layers).state_dict()
    ours = features.state_dict()
    return ours.keys() == theirs.keys() and all(
        torch.equal(ours[key], theirs[key].to(ours[key].device)) for key in ours
    )


class Features(nn.Sequential):
    """A classifier's features of pictures; its running statistics never change.

    Attributes:
        name: the backbone's name.
        channels: channels of the features, from fine to coarse.
        strides: ratios of the picture's side to those of the features, from fine to coarse.
    """

    def __init__(self, name: str, classifier: nn.Module | None = None) -> None:
        """Take a classifier's layers.

        Args:
            name: the backbone's name.
            classifier: the whole network with its weights; None for random weights, to be replaced
                by those of a package.
        """
        self.name = name
        backbone = find_backbone(name)
        whole = backbone.build() if classifier is None else classifier
        super().__init__(*backbone.layers(whole)[: backbone.taps[-1] + 1])
        self._taps = backbone.taps
        self.mean: Tensor
        self.std: Tensor
        for statistic, values in (("mean", backbone.mean), ("std", backbone.std)):
            self.register_buffer(statistic, torch.tensor(values)[:, None, None], persistent=False)
        self.eval()
        with torch.no_grad():
            maps = self(torch.zeros(1, 1, 64, 64))
        self.channels = tuple(each.shape[1] for each in maps)
        self.strides = tuple(64 // each.shape[-1] for each in maps)

    def train(self, mode: bool = True) -> "Features":
        """Stay in evaluation mode, whatever `mode` is."""
        return super().train(False)

    def forward(self, light: Tensor) -> list[Tensor]:
        """Compute the features of a batch.

        Args:
            light: (batch, 1 or 3, height, width) in [-1, 1], gray or sRGB; height and width are
                multiples of the backbone's stride.

        Returns:
            Maps (batch, channels, height / stride, width / stride), from fine to coarse.
        """
        # One factor and one summand: for EfficientNet-Lite these are 1 and 0, exact in bfloat16.
        x = light * (0.5 / self.std) + (0.5 - self.mean) / self.std
        outputs = []
        for place, layer in enumerate(self):
            x = layer(x)
            if place in self._taps:
                outputs.append(x)
        return outputs
