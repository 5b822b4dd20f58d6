"""The networks of a training, with their optimisers, steps and validation."""

import copy
from dataclasses import dataclass

import torch
from torch import nn

from colorgan.models.encoder_unet import EncoderUNetGenerator
from colorgan.models.generator import Generator, noise_channels
from colorgan.models.noise import is_noise
from colorgan.models.sharing import share_statistics
from colorgan.models.unet import UNetGenerator
from colorgan.names import BASELINES
from colorgan.training.config import SpeedConfig, TrainingConfig
from colorgan.training.networks import (
    Autocast,
    Classifiers,
    create_discriminators,
    create_generator,
    discriminators_adam,
    find_ruler,
    generators_adam,
    seeded,
)
from colorgan.training.objectives import FrozenClassifiers
from colorgan.training.samples import Keep, Sampler
from colorgan.training.steps import Steps
from colorgan.training.validation import Validation
from colorgan.workers import Part


@dataclass(frozen=True)
class Assembly:
    """All that a training consists of besides its photographs, on its device.

    Attributes:
        learner: the generator that learns.
        generator: the generator that is kept: the one that learns, or its running average.
        adam_g: the learner's optimiser.
        discriminators: the discriminators by name; None if no phase has an adversary.
        adam_d: their optimiser, likewise.
        sampler: makes the inputs of the steps.
        steps: the training's steps.
        validation: measures colourings.
    """

    learner: Generator
    generator: Generator
    adam_g: torch.optim.Adam
    discriminators: nn.ModuleDict | None
    adam_d: torch.optim.Adam | None
    sampler: Sampler
    steps: Steps
    validation: Validation


def assemble(
    config: TrainingConfig,
    model: str,
    device: torch.device,
    speed: SpeedConfig,
    autocast: Autocast,
    part: Part,
    classes: int = 0,
) -> Assembly:
    """Create the networks of a training, with weights drawn from its seed, and what they need.

    Args:
        config: the training's configuration.
        model: the model's name.
        device: the device to train on.
        speed: how to use it.
        autocast: the precision of the networks' arithmetic.
        part: this worker's part of every batch.
        classes: the number of classes of the photographs; 0 if no discriminator is given them.

    Raises:
        ColorganError: the weights of a classifier are not available.
    """
    phases, loaded, networks = config.phases_of(model), Classifiers(), []
    shared = None if part.workers.alone else part
    discriminators: nn.ModuleDict | None = None
    with seeded(config.seed, 0, device):
        learner = create_generator(config, model, loaded)
        _freeze(learner, config)
        if config.sees_colors and model not in BASELINES:
            networks = [loaded.features(name).to(device) for name in config.perceptual_names]
        # Created last, so that the generator's initial weights do not depend on them.
        if any(phase.has_adversary for phase in phases):
            discriminators = create_discriminators(config, learner, networks, classes)
    ruler = find_ruler(config, phases[-1], learner, loaded, device)
    if shared:
        for network in filter(None, (learner, discriminators)):
            share_statistics(network, shared)
        if isinstance(learner, UNetGenerator | EncoderUNetGenerator):
            learner.part = shared
    layout = torch.contiguous_format
    if speed.channels_last_on(device, config.fixes_encoder(model)):
        layout = torch.channels_last
    learner.to(device, memory_format=layout)  # type: ignore[call-overload]
    fused, compiled = speed.fused_adam != "off", speed.compile == "on"
    adam_g, adam_d = generators_adam(learner, config, fused), None
    generator = copy.deepcopy(learner).requires_grad_(False) if config.average else learner
    classifiers = FrozenClassifiers(networks, autocast)
    keep = Keep(
        real=bool(networks) and config.chroma == 1, gray="features" in (discriminators or ())
    )
    space = config.architecture(model).color_space
    steps = Steps(config, learner, adam_g, classifiers, autocast, space, compiled)
    if discriminators is not None:
        discriminators.to(device, memory_format=layout)  # type: ignore[call-overload]
        adam_d = discriminators_adam(discriminators, config, fused)
        steps.oppose(discriminators, adam_d)
    if shared:
        steps.share(shared)
    return Assembly(
        learner,
        generator,
        adam_g,
        discriminators,
        adam_d,
        Sampler(learner, space, autocast, classifiers, keep),
        steps,
        Validation(ruler, part.workers),
    )


def _freeze(learner: Generator, config: TrainingConfig) -> None:
    """Freeze what does not learn: the encoder or, with --noise-only, all but the noise channels."""
    if isinstance(learner, EncoderUNetGenerator):
        learner.encoder.requires_grad_(config.encoder_rate > 0)
    if config.noise_only and noise_channels(learner):
        for name, parameter in learner.named_parameters():
            parameter.requires_grad_(is_noise(name))
