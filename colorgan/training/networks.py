"""A training's networks before their first step, their optimisers, and what they draw from."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from colorgan.models.architectures import EncoderUNetConfig, HypercolumnConfig
from colorgan.models.backbones import Features
from colorgan.models.classifiers import Classifier, load_classifier
from colorgan.models.encoder_unet import EncoderUNetGenerator
from colorgan.models.generator import Generator
from colorgan.models.hypercolumn import HypercolumnNetwork
from colorgan.models.patchgan import PatchDiscriminator
from colorgan.models.projected import FeatureDiscriminator
from colorgan.models.semantic import SemanticDiscriminator
from colorgan.models.unet import UNetGenerator
from colorgan.training.config import TrainingConfig

Autocast = Callable[[], AbstractContextManager[Any]]  # enters the precision of the arithmetic


class Classifiers:
    """Pretrained classifiers, each of which is loaded once."""

    def __init__(self) -> None:
        """Begin with none."""
        self._loaded: dict[str, Classifier] = {}

    def whole(self, name: str, device: torch.device | None = None) -> Classifier:
        """A classifier as it is, on the CPU or on another device; raises ColorganError."""
        if device and device.type != "cpu":
            return load_classifier(name, device=device)
        if name not in self._loaded:
            self._loaded[name] = load_classifier(name)
        return self._loaded[name]

    def network(self, name: str) -> nn.Module:
        """A copy of a classifier's network, which may be trained or replaced."""
        return copy.deepcopy(self.whole(name).network)

    def features(self, name: str) -> Features:
        """A classifier's features, frozen."""
        return Features(name, self.network(name)).requires_grad_(False)


def create_generator(
    config: TrainingConfig, model: str, classifiers: Classifiers | None = None
) -> Generator:
    """A model's network before its training; its weights are drawn from PyTorch's random state.

    Args:
        config: of the training.
        model: its name.
        classifiers: where its backbone's weights come from.

    Raises:
        ColorganError: the backbone's weights cannot be had.
    """
    network = (classifiers or Classifiers()).network
    architecture = config.architecture(model)
    if isinstance(architecture, HypercolumnConfig):
        return HypercolumnNetwork(architecture, network(architecture.backbone))
    if isinstance(architecture, EncoderUNetConfig):
        return EncoderUNetGenerator(architecture, network(architecture.encoder))
    return UNetGenerator(architecture)


def create_discriminators(
    config: TrainingConfig, generator: Generator, classifiers: Sequence[Features]
) -> nn.ModuleDict:
    """The discriminators that a training's configuration names, by name.

    Args:
        config: of the training.
        generator: whose pictures they judge.
        classifiers: whose features of those the discriminator `features` judges.
    """
    channels, width = config.color_channels, config.discriminator_width
    found: dict[str, nn.Module] = {}
    for name, _ in config.discriminator_weights:
        if name == "patches":
            found[name] = PatchDiscriminator(channels, width, config.norm)
        elif name == "features":
            found[name] = FeatureDiscriminator(classifiers, width)
        else:
            assert isinstance(generator, EncoderUNetGenerator)
            beside = generator.encoder.channels[2:]
            found[name] = SemanticDiscriminator(channels, beside, width)
    return nn.ModuleDict(found)


def generators_adam(network: nn.Module, config: TrainingConfig, fused: bool) -> torch.optim.Adam:
    """Adam for a generator; `share` of a group is that of the learning rate which it has."""
    own: list[nn.Parameter] = []
    pretrained: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            (pretrained if name.startswith("encoder.") else own).append(parameter)
    return torch.optim.Adam(
        [{"params": own, "share": 1.0}, {"params": pretrained, "share": config.encoder_rate}],
        lr=config.learning_rate,
        betas=(config.beta1, 0.999),
        fused=fused,
    )


def discriminators_adam(
    networks: nn.ModuleDict, config: TrainingConfig, fused: bool
) -> torch.optim.Adam:
    """Adam for discriminators, a group each."""
    return torch.optim.Adam(
        [
            {
                "params": list(network.parameters()),
                "share": config.discriminator_rate,
                # pix2pix's own; or those of Projected GANs (Sauer et al. 2021).
                "betas": (config.beta1, 0.999) if name == "patches" else (0.0, 0.99),
            }
            for name, network in networks.items()
        ],
        lr=config.learning_rate,
        fused=fused,
    )


@contextmanager
def seeded(seed: int, epoch: int, device: torch.device) -> Iterator[None]:
    """Draw from (seed, epoch) inside, and leave the caller's random state as it was."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0]))
        yield
