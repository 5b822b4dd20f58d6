"""Variants: several colourings of one photograph by a generator with noise.

Number 1 is the mean colouring, without noise. The others are drawn from fixed seeds, so that a
number names the same colouring whenever, wherever and beside whatever it is made. Noise are the
noise channels of a generator (see `colorgan.models.noise`) or, in pix2pix's U-Net without such
channels, dropout at test time (Isola et al. 2017, section 3.2).
"""

import threading
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from colorgan.errors import ConfigError
from colorgan.models.architectures import Architecture, EncoderUNetConfig, GeneratorConfig
from colorgan.models.noise import Numbers, variant_noise

MOST_VARIANTS = 16
# The standard deviation of noise in use. In training it is 1, and variants differ so little that
# a person sees tints; twice as much is nearer to the original in the best of eight.
DEVIATION = 2.0

# A batch of photographs with all their variants would take many times the memory of one without.
_AT_ONCE = 8

# Dropout draws from PyTorch's own random state, which all threads of a process share.
_DRAWING = threading.Lock()


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
            f"{names} {'have' if len({*lacking}) > 1 else 'has'} no noise, and so only one "
            "colouring of a photograph: colorgan train --dataset NAME --model MODEL "
            "--noise-channels 8 --noise-only --lambda-diversity 200 --epochs 1 "
            "--start-from MODEL@VERSION adds noise to a model"
        )


def noise_rows(channels: int, numbers: Sequence[int], deviation: float = DEVIATION) -> Tensor:
    """The noise vectors of variants, (variants, channels) float32, of this standard deviation."""
    return torch.stack([variant_noise(channels, number) for number in numbers]) * deviation


def paint_numbers(
    features: Sequence[Tensor],
    numbers: Sequence[Numbers],
    plain: Callable[[Sequence[Tensor]], Tensor],
    drawn: Callable[[Sequence[Tensor], Sequence[int]], Tensor],
) -> list[Tensor]:
    """Generate the variants of photographs from their features.

    Args:
        features: of a batch of photographs.
        numbers: for each photograph, the numbers of its variants.
        plain: colours photographs without noise, from their features.
        drawn: likewise with the noise of a number each, of eight colourings at most.

    Returns:
        For each photograph the colours of its variants, in the order of its numbers.
    """
    places = [(n, number) for n, each in enumerate(numbers) for number in each]
    first, others = (
        [at for at in places if (at[1] == 1) == is_first] for is_first in (True, False)
    )
    made: dict[tuple[int, int], Tensor] = {}
    if first:
        rows = [n for n, _ in first]
        whole = rows == [*range(len(numbers))]  # the same batch as without variants
        made |= zip(first, plain([x if whole else x[rows] for x in features]), strict=True)
    for at in range(0, len(others), _AT_ONCE):
        some = others[at : at + _AT_ONCE]
        rows, chosen = ([*each] for each in zip(*some, strict=True))
        made |= zip(some, drawn([x[rows] for x in features], chosen), strict=True)
    return [torch.stack([made[n, number] for number in each]) for n, each in enumerate(numbers)]


def paint_dropout(
    paint: Callable[..., Tensor],
    features: Sequence[Tensor],
    numbers: Sequence[int],
    device: torch.device,
) -> Tensor:
    """Colours with dropout, whose random numbers are seeded by the number of the variant.

    Args:
        paint: colours photographs from their features; `noise=True` keeps dropout active.
        features: of a photograph per number.
        numbers: the numbers.
        device: the device of the network.
    """
    colors = []
    for place, number in enumerate(numbers):  # one by one, as a batch shares its random numbers
        with _DRAWING, torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(number)
            colors.append(paint([each[place : place + 1] for each in features], noise=True))
    return torch.cat(colors)
