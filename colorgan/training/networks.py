"""Creating a training's networks and optimisers, and seeding its random numbers."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from colorgan.models.architectures import CicConfig, EncoderUNetConfig, HypercolumnConfig
from colorgan.models.backbones import Features
from colorgan.models.cic import CicNetwork
from colorgan.models.classifiers import Classifier, load_classifier
from colorgan.models.encoder_unet import EncoderUNetGenerator
from colorgan.models.generator import Generator
from colorgan.models.hypercolumn import HypercolumnNetwork
from colorgan.models.patchgan import PatchDiscriminator
from colorgan.models.projected import FeatureDiscriminator
from colorgan.models.projection import ProjectionDiscriminator
from colorgan.models.semantic import SemanticDiscriminator
from colorgan.models.unet import UNetGenerator
from colorgan.training.config import TrainingConfig
from colorgan.training.phases import Phase

# Creates a context that sets the precision of the arithmetic.
Autocast = Callable[[], AbstractContextManager[Any]]


class Classifiers:
    """Loads pretrained classifiers, and keeps those on the CPU."""

    def __init__(self) -> None:
        """Start without any."""
        self._loaded: dict[str, Classifier] = {}

    def whole(self, name: str, device: torch.device | None = None) -> Classifier:
        """The classifier itself, on the CPU or another device; raises ColorganError."""
        if device and device.type != "cpu":
            return load_classifier(name, device=device)
        if name not in self._loaded:
            self._loaded[name] = load_classifier(name)
        return self._loaded[name]

    def network(self, name: str) -> nn.Module:
        """A copy of a classifier's network, which the caller may train or change."""
        return copy.deepcopy(self.whole(name).network)

    def features(self, name: str) -> Features:
        """A frozen feature extractor of a classifier."""
        return Features(name, self.network(name)).requires_grad_(False)


def create_generator(
    config: TrainingConfig, model: str, classifiers: Classifiers | None = None
) -> Generator:
    """Create a model's untrained network, with weights drawn from PyTorch's random state.

    Args:
        config: the training's configuration.
        model: the model's name.
        classifiers: source of the backbone's pretrained weights.

    Raises:
        ColorganError: the backbone's weights are not available.
    """
    network = (classifiers or Classifiers()).network
    architecture = config.architecture(model)
    if isinstance(architecture, HypercolumnConfig):
        return HypercolumnNetwork(architecture, network(architecture.backbone))
    if isinstance(architecture, CicConfig):
        return CicNetwork(architecture)
    if isinstance(architecture, EncoderUNetConfig):
        return EncoderUNetGenerator(architecture, network(architecture.encoder))
    return UNetGenerator(architecture)


def create_discriminators(
    config: TrainingConfig,
    generator: Generator,
    classifiers: Sequence[Features],
    classes: int = 0,
) -> nn.ModuleDict:
    """Create the discriminators of a training, by name.

    Args:
        config: the training's configuration.
        generator: the generator whose pictures they judge.
        classifiers: the classifiers whose features the discriminator `features` judges.
        classes: the number of classes of the photographs, for the discriminator `projection`.
    """
    channels, width = config.color_channels, config.discriminator_width
    norm, spectral = config.norm, config.spectral_norm
    found: dict[str, nn.Module] = {}
    for name, _ in config.discriminator_weights:
        if name == "patches":
            found[name] = PatchDiscriminator(channels, width, norm, spectral)
        elif name == "projection":
            found[name] = ProjectionDiscriminator(channels, classes, width, norm, spectral)
        elif name == "features":
            found[name] = FeatureDiscriminator(classifiers, width)
        else:
            assert isinstance(generator, EncoderUNetGenerator)
            beside = generator.encoder.channels[2:]
            found[name] = SemanticDiscriminator(channels, beside, width, spectral)
    return nn.ModuleDict(found)


def find_ruler(
    config: TrainingConfig,
    last: Phase,
    generator: Generator,
    classifiers: Classifiers,
    device: torch.device,
) -> Classifier | None:
    """The encoder's classifier, with whose features a training measures the Fréchet distance.

    It is measured if the last phase is adversarial. The paper's U-Net needs no classifier; one is
    loaded for it only if the distance chooses the published epoch. Otherwise the result is None.
    """
    chooses = config.publish == "nearest"
    measured = chooses or isinstance(generator, EncoderUNetGenerator)
    if last.objective != "adversarial" or not measured:
        return None
    classifier = classifiers.whole(config.encoder, device)
    classifier.use_fastest_type()
    return classifier


@torch.no_grad()
def update_average(average: nn.Module, learned: nn.Module, decay: float, step: int) -> None:
    """Update the running average of a network's weights after a step, counted from 1.

    Args:
        average: the network that holds the average.
        learned: the network that learns.
        decay: see `TrainingConfig.average`; it is lower in the first steps.
        step: the number of steps done.
    """
    # The first weights are random, so they are forgotten quickly.
    decay = min(decay, (1 + step) / (10 + step))
    kept, new = average.state_dict(), learned.state_dict()
    weights = [name for name, tensor in kept.items() if tensor.is_floating_point()]
    torch._foreach_lerp_(
        [kept[name] for name in weights], [new[name] for name in weights], 1 - decay
    )


def generators_adam(network: nn.Module, config: TrainingConfig, fused: bool) -> torch.optim.Adam:
    """Adam for a generator; the `share` of a parameter group multiplies its learning rate."""
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
    """Adam for discriminators, with one parameter group for each."""
    return torch.optim.Adam(
        [
            {
                "params": list(network.parameters()),
                "share": config.discriminator_rate,
                # As in pix2pix, or as in Projected GANs (Sauer et al. 2021).
                "betas": (config.beta1, 0.999)
                if isinstance(network, PatchDiscriminator)
                else (0.0, 0.99),
            }
            for name, network in networks.items()
        ],
        lr=config.learning_rate,
        fused=fused,
    )


@contextmanager
def seeded(seed: int, epoch: int, device: torch.device) -> Iterator[None]:
    """Seed PyTorch by (seed, epoch) inside, and restore the caller's random state after."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0]))
        yield
