"""A training's networks before their first step, their optimisers, and what they draw from."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from colorgan.hyperparameters import TrainingConfig
from colorgan.models.architectures import EncoderUNetConfig, HypercolumnConfig
from colorgan.models.backbones import Features
from colorgan.models.encoder_unet import EncoderUNetGenerator
from colorgan.models.generator import Generator
from colorgan.models.hypercolumn import HypercolumnNetwork
from colorgan.models.unet import UNetGenerator


def create_generator(config: TrainingConfig, model: str) -> Generator:
    """A model's network before its training; its weights are drawn from PyTorch's random state.

    Raises:
        ColorganError: the backbone's weights cannot be had.
    """
    architecture = config.architecture(model)
    if isinstance(architecture, HypercolumnConfig):
        return HypercolumnNetwork(architecture, _classifier(architecture.backbone))
    if isinstance(architecture, EncoderUNetConfig):
        return EncoderUNetGenerator(architecture, _classifier(architecture.encoder))
    return UNetGenerator(architecture)


def perceptual_features(config: TrainingConfig, generator: Generator) -> Features:
    """What the perceptual term sees with: the encoder's classifier as it was pretrained, frozen.

    Args:
        config: which classifier.
        generator: the network of `create_generator`, before anything is trained or loaded.

    Raises:
        ColorganError: the classifier's weights cannot be had.
    """
    if isinstance(generator, EncoderUNetGenerator):
        # A copy: the encoder may be trained, or be replaced by that of a base model; and on a CPU
        # features of another memory layout, as the encoder gets, are rounded otherwise.
        features = copy.deepcopy(generator.encoder)
    else:
        features = Features(config.encoder, _classifier(config.encoder))
    return features.requires_grad_(False)


def create_adam(network: nn.Module, config: TrainingConfig, fused: bool) -> torch.optim.Adam:
    """Adam for a network; `share` of a group is that of the learning rate which it has."""
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


def _classifier(name: str) -> nn.Module:
    # torchvision takes seconds to import, and the paper's generator needs none of it.
    from colorgan.models.classifiers import load_classifier

    return load_classifier(name).network


@contextmanager
def seeded(seed: int, epoch: int, device: torch.device) -> Iterator[None]:
    """Draw from (seed, epoch) inside, and leave the caller's random state as it was."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0]))
        yield
