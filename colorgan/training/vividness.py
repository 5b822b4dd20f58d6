"""Raising the colourfulness of a generator before it is published, within limits on its error.

A network that minimises an error writes colours that are too pale, because the mean of the possible
colours is pale (Blau and Michaeli 2018, the perception-distortion trade-off). Therefore the last
layer of a trained generator, before its tanh, is multiplied by a factor; strong colours grow less
than weak ones.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from itertools import chain
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from colorgan.data.batches import PhotoBank
from colorgan.images import lab
from colorgan.images.colorfulness import colorfulness
from colorgan.inference.colorizer import Colorizer
from colorgan.metrics import ab_l1
from colorgan.models.encoder_unet import EncoderUNetGenerator
from colorgan.models.generator import Generator, noise_channels
from colorgan.models.noise import NoiseChannels
from colorgan.models.unet import UNetGenerator
from colorgan.names import BASELINES
from colorgan.training.config import TrainingConfig
from colorgan.training.records import EpochRecord
from colorgan.training.validation import Validation

MOST = 1.5  # the largest factor
_DEARER = 1.05  # the factor by which the validation L1 may grow
_LOOKED_AT = 112  # px, enough to measure colourfulness
_BATCH = 32  # photographs
_HALVINGS = 10  # bisections of the interval of factors


class Colorings:
    """Colourings of validation photographs, on which factors are tried."""

    def __init__(self, generator: Generator, photographs: PhotoBank) -> None:
        """Colour photographs of the size that the generator takes."""
        written, originals = [], []
        for color, original in _colored(generator, photographs):
            written.append(_small(color).clamp(-0.999, 0.999).atanh())
            originals.append(_small(original))
        self._written, self._originals = torch.cat(written), torch.cat(originals)
        self._lightness = lab.rgb_to_lab(self._originals)[:, :1] / 50 - 1
        self._colorfulness = max(colorfulness(self._originals).mean().item(), 1e-6)

    def measure(self, factor: float) -> tuple[float, float]:
        """The mean L1 in ab (Lab units) and the colourfulness ratio with a factor."""
        colored = lab.decode(self._lightness, torch.tanh(self._written * factor), "lab")
        ratio = colorfulness(colored).mean().item() / self._colorfulness
        return ab_l1(colored, self._originals).mean().item(), ratio


def best_factor(colorings: Colorings, wanted: float) -> float:
    """The largest factor from 1 to MOST whose colourfulness ratio does not exceed the wanted one.

    It is smaller where L1 would grow by more than a twentieth.

    Args:
        colorings: colourings of the validation photographs.
        wanted: the wanted ratio of the mean colourfulness to that of the originals.
    """
    allowed = colorings.measure(1.0)[0] * _DEARER

    def fits(factor: float) -> bool:
        l1, ratio = colorings.measure(factor)
        return ratio <= wanted and l1 <= allowed

    low, high = 1.0, MOST
    if fits(high):
        return high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def as_published(
    generator: Generator,
    record: EpochRecord,
    model: str,
    config: TrainingConfig,
    photographs: Callable[[], PhotoBank],
) -> tuple[Generator, dict[str, float]]:
    """The generator that a training publishes, and its metrics.

    With `--colorfulness` it is the `enlivened` copy, and the factor is the metric `vividness`.
    Baselines stay as they are, and so does a generator of which noise alone has learned.

    Args:
        generator: the trained generator.
        record: the record of its epoch.
        model: a class, `general`, `hypercolumn` or `cic`.
        config: the hyper-parameters of its training.
        photographs: loads the validation photographs, of the size that the generator takes; called
            only if they are needed.
    """
    more: dict[str, float] = {}
    if config.colorfulness and model not in BASELINES and not config.noise_only:
        generator, record, factor = enlivened(generator, record, photographs(), config.colorfulness)
        more["vividness"] = factor
    measured = {name: value for name, value in asdict(record).items() if value is not None}
    return generator, measured | more


def enlivened(
    generator: Generator, record: EpochRecord, photographs: PhotoBank, wanted: float
) -> tuple[Generator, EpochRecord, float]:
    """Copy a trained generator and raise its colourfulness by `best_factor`.

    Args:
        generator: the generator, which writes a and b of Lab through a tanh.
        record: the record of its epoch.
        photographs: the validation photographs, of the size that the generator takes.
        wanted: see `best_factor`.

    Returns:
        The copy, the record with the copy's metrics on the photographs, and the factor.
    """
    factor = best_factor(Colorings(generator, photographs), wanted)
    vivid = copy.deepcopy(generator)
    last: list[nn.Module] = [_last_layer(vivid)]
    if noise_channels(vivid):
        last.append(cast(NoiseChannels, vivid.noise[-1]).layer)  # type: ignore[index]
    with torch.no_grad():
        for parameter in chain.from_iterable(layer.parameters() for layer in last):
            parameter.mul_(factor)
    measured = Validation(None)(_pairs(vivid, photographs), distance=False)
    record = replace(
        record,
        val_l1=measured.l1,
        val_psnr=measured.psnr,
        val_colorfulness=measured.colorfulness,
    )
    return vivid, record, factor


def _last_layer(generator: Generator) -> nn.Module:
    if isinstance(generator, EncoderUNetGenerator):
        return generator.write
    assert isinstance(generator, UNetGenerator)
    return generator.up[-1]


def _colored(generator: Generator, photographs: PhotoBank) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of colours in [-1, 1] and of the originals in [0, 1]."""
    colorizer = Colorizer(generator)
    for rgb in photographs.in_order(_BATCH):
        yield colorizer.generate(rgb), rgb.float() / 255


def _pairs(generator: Generator, photographs: PhotoBank) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of colourings and of the originals, both sRGB in [0, 1]."""
    for color, original in _colored(generator, photographs):
        lightness = lab.rgb_to_lab(original)[:, :1] / 50 - 1
        yield lab.decode(lightness, color, "lab"), original


def _small(channels: Tensor) -> Tensor:
    if channels.shape[-1] <= _LOOKED_AT:
        return channels
    size = (_LOOKED_AT, _LOOKED_AT)
    return F.interpolate(channels, size, mode="bilinear", antialias=True, align_corners=False)
