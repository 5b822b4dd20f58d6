"""Photographs as a step of a training takes them: computed from their pixels, or read from rows."""

import hashlib
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from colorgan.data.features import Looker
from colorgan.images import lab
from colorgan.images.color_spaces import ColorSpace
from colorgan.models.encoder_unet import EncoderUNetGenerator
from colorgan.models.generator import Generator
from colorgan.models.pictures import scaled
from colorgan.training.networks import Autocast
from colorgan.training.objectives import FrozenClassifiers, Seen


@dataclass(frozen=True)
class Sample:
    """A batch of photographs.

    Attributes:
        gray: what is coloured: lightness (batch, 1, side, side) in [-1, 1], or the features that an
            encoder has of it.
        lightness: the same, as large as coloured pictures are looked at: half the side where the
            generator writes a quarter of it.
        color: of the photographs, (batch, color_channels, ...) in [-1, 1], as large as the
            generator writes it while it learns.
        seen: what the losses' classifiers see in the photographs; None where it is not known.
        seen_gray: what discriminators judge of what they see in the lightness; the same.
    """

    gray: Tensor | list[Tensor]
    lightness: Tensor
    color: Tensor
    seen: Seen | None = None
    seen_gray: Seen | None = None

    @property
    def features(self) -> list[Tensor]:
        """The encoder's features without a gradient; empty where there is no encoder."""
        return [] if isinstance(self.gray, Tensor) else [each.detach() for each in self.gray]


@dataclass(frozen=True)
class Keep:
    """Which of what the losses' classifiers see stands in rows.

    Attributes:
        real: what they see in the photographs.
        gray: what discriminators judge of what they see in the lightness.
    """

    real: bool
    gray: bool


class Sampler:
    """Makes samples for one generator."""

    def __init__(
        self,
        generator: Generator,
        space: ColorSpace,
        autocast: Autocast,
        classifiers: FrozenClassifiers,
        keep: Keep,
    ) -> None:
        """Take the networks.

        Args:
            generator: that learns.
            space: what it writes.
            autocast: the precision of its arithmetic.
            classifiers: that the losses see with.
            keep: which of what those see stands in rows.
        """
        self._generator = generator
        self._space = space
        self._autocast = autocast
        self._classifiers = classifiers
        self._keep = keep
        self._layouts: dict[int, _Layout] = {}

    def of_photographs(self, rgb: Tensor) -> Sample:
        """The sample of (batch, 3, side, side) uint8 sRGB."""
        lightness, color = lab.encode(rgb, self._space)
        if not isinstance(self._generator, EncoderUNetGenerator):
            return Sample(lightness, lightness, color)
        with self._autocast():
            gray = self._generator.encode(lightness)
        stride = self._generator.stride
        return Sample(gray, F.avg_pool2d(lightness, stride // 2), F.avg_pool2d(color, stride))

    def of_rows(self, rows: Tensor, side: int) -> Sample:
        """The sample of the rows that `looker` computed of photographs of a side."""
        layout, begin = self._layout(side), 0

        def take(shape: _Shape) -> Tensor:
            nonlocal begin
            channels, size = shape
            end = begin + channels * size * size
            # Pixel after pixel, as channels_last has it, so nothing is copied.
            each = rows[:, begin:end].view(len(rows), size, size, channels).permute(0, 3, 1, 2)
            begin = end
            # Networks compute with bfloat16, and with no other type of 16 bits.
            return each if rows.dtype == torch.bfloat16 else each.float()

        gray = [take(shape) for shape in layout.gray]
        color, lightness = take(layout.color).float(), take(layout.lightness).float()
        seen, judged = (
            [[take(shape) for shape in network] for network in networks] or None
            for networks in (layout.seen, layout.judged)
        )
        return Sample(gray, lightness, color, seen, judged)

    def looker(self, side: int, dtype: torch.dtype) -> Looker:
        """What computes rows of photographs of a side, in a type of 16 bits."""

        @torch.inference_mode()
        def look(rgb: Tensor) -> Tensor:
            sample = self.of_photographs(rgb)
            seen, judged = self._see(sample)
            maps = [*sample.gray, sample.color, sample.lightness, *chain(*seen), *chain(*judged)]
            return torch.cat([each.permute(0, 2, 3, 1).flatten(1).to(dtype) for each in maps], 1)

        return Looker(look, self._layout(side).length, dtype, f"2 {self._space} {self._name()}")

    def _see(self, sample: Sample) -> tuple[Seen, Seen]:
        """What classifiers see in the photographs and in their lightness, as far as it is kept."""
        see = self._classifiers
        seen = see(picture(sample, sample.color, self._space)) if self._keep.real else []
        return seen, see.judged(sample.lightness) if self._keep.gray else []

    @torch.no_grad()
    def _layout(self, side: int) -> "_Layout":
        """What stands in the row of a photograph of a side."""
        if side not in self._layouts:
            device = next(self._generator.parameters()).device
            black = torch.zeros(1, 3, side, side, dtype=torch.uint8, device=device)
            sample = self.of_photographs(black)
            seen, judged = ([list(map(_shape, each)) for each in s] for s in self._see(sample))
            self._layouts[side] = _Layout(
                gray=list(map(_shape, sample.features)),
                color=_shape(sample.color),
                lightness=_shape(sample.lightness),
                seen=seen,
                judged=judged,
            )
        return self._layouts[side]

    def _name(self) -> str:
        """All that decides what stands in a row: networks by name and SHA-256 of their weights."""
        assert isinstance(self._generator, EncoderUNetGenerator)
        names = [f"{self._generator.config.encoder} {_fingerprint(self._generator.encoder)}"]
        if self._keep.real or self._keep.gray:
            names += [_fingerprint(network) for network in self._classifiers.networks]
        return " ".join([*names, f"{self._keep.real:d}{self._keep.gray:d}"])


_Shape = tuple[int, int]  # channels and side


@dataclass(frozen=True)
class _Layout:
    """The maps in a row, in their order; those of classifiers by classifier."""

    gray: list[_Shape]
    color: _Shape
    lightness: _Shape
    seen: list[list[_Shape]]
    judged: list[list[_Shape]]

    @property
    def length(self) -> int:
        """How many numbers a row has."""
        shapes = [*self.gray, self.color, self.lightness, *chain(*self.seen), *chain(*self.judged)]
        return sum(channels * size * size for channels, size in shapes)


def _shape(maps: Tensor) -> _Shape:
    return maps.shape[1], maps.shape[3]


def _fingerprint(network: nn.Module) -> str:
    """SHA-256 (hex) of a network's weights and their names."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor.cpu().numpy()).data)
    return digest.hexdigest()


def picture(sample: Sample, color: Tensor, space: ColorSpace) -> Tensor:
    """Coloured photographs as they are looked at.

    Args:
        sample: whose lightness they have.
        color: as that of the sample.
        space: what `color` holds.

    Returns:
        (batch, 3, ...) sRGB in [0, 1], as large as the sample's lightness.
    """
    return lab.decode(sample.lightness, scaled(color.float(), sample.lightness), space)
