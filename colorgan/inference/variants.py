"""Variants: several colourings of one photograph by a generator with noise.

Number 1 is the mean colouring, without noise. The others are drawn from fixed seeds, so that a
number names the same colouring whenever, wherever and beside whatever it is made. Noise are the
noise channels of a generator (see `colorgan.models.noise`) or, in pix2pix's U-Net without such
channels, dropout at test time (Isola et al. 2017, section 3.2).
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from colorgan.errors import ConfigError
from colorgan.models.architectures import Architecture, EncoderUNetConfig, GeneratorConfig
from colorgan.models.noise import FIRST, Numbers, variant_noise

MOST_VARIANTS = 16


def first_numbers(count: int) -> Numbers:
    """The numbers of the first variants; raises ConfigError if there are not 1 to MOST_VARIANTS."""
    if not 1 <= count <= MOST_VARIANTS:
        raise ConfigError(f"{count} variants: choose from 1 to {MOST_VARIANTS}")
    return tuple(range(1, count + 1))


def has_noise(architecture: Architecture) -> bool:
    """Whether a generator of an architecture has noise, so that it has variants."""
    if isinstance(architecture, EncoderUNetConfig):
        return architecture.noise_channels > 0
    return isinstance(architecture, GeneratorConfig)


def check_noise(models: Iterable[tuple[str, Architecture]]) -> None:
    """Check that models have noise.

    Args:
        models: name and architecture of each.

    Raises:
        ConfigError: one has none.
    """
    lacking = [name for name, architecture in models if not has_noise(architecture)]
    if lacking:
        names = ", ".join(dict.fromkeys(lacking))
        raise ConfigError(
            f"{names} {'have' if len({*lacking}) > 1 else 'has'} no noise, and so one colouring of "
            "a photograph: colorgan train --noise-channels 8 --noise-only --lambda-diversity 10 "
            "--start-from MODEL@VERSION adds noise to a model"
        )


def noise_rows(channels: int, numbers: Sequence[int]) -> Tensor:
    """The noise vectors of variants, (variants, channels) float32."""
    return torch.stack([variant_noise(channels, number) for number in numbers])


__all__ = ["FIRST", "Numbers", "check_noise", "first_numbers", "has_noise", "noise_rows"]
