"""The inputs of training steps, computed from pixels or read from cached feature rows."""

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
    """A batch of photographs, as a training step takes it.

    Attributes:
        gray: the generator's input: lightness (batch, 1, side, side) in [-1, 1], or the encoder's
            features of it.
        lightness: the lightness at the resolution at which the losses see coloured pictures: half
            the side where the generator writes a quarter of it.
        color: the photographs' colours, (batch, color_channels, ...) in [-1, 1], at the resolution
            that the generator writes in training.
        seen: features of the photographs by the losses' classifiers; None if not computed yet.
        seen_gray: those features of the lightness that discriminators judge; None likewise.
        labels: (batch,) int64, the number of each photograph's class; see `Labels`.
    """

    gray: Tensor | list[Tensor]
    lightness: Tensor
    color: Tensor
    seen: Seen | None = None
    seen_gray: Seen | None = None
    labels: Tensor | None = None

    @property
    def features(self) -> list[Tensor]:
        """The encoder's features without a gradient; empty if there is no encoder."""
        return [] if isinstance(self.gray, Tensor) else [each.detach() for each in self.gray]


@dataclass(frozen=True)
class Keep:
    """Which features of the losses' classifiers the rows contain.

    Attributes:
        real: those of the photographs.
        gray: those of the lightness that discriminators judge.
    """

    real: bool
    gray: bool


class Sampler:
    """Creates samples for one generator."""

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
            generator: the generator that learns.
            space: the colour space that it writes.
            autocast: the precision of its arithmetic.
            classifiers: the classifiers whose features the losses use.
            keep: which of those features the rows contain.
        """
        self._generator = generator
        self._space = space
        self._autocast = autocast
        self._classifiers = classifiers
        self._keep = keep
        self._layouts: dict[int, _Layout] = {}

    def of_photographs(self, rgb: Tensor) -> Sample:
        """Create a sample from (batch, 3, side, side) uint8 sRGB."""
        lightness, color = lab.encode(rgb, self._space)
        if not isinstance(self._generator, EncoderUNetGenerator):
            return Sample(lightness, lightness, color)
        with self._autocast():
            gray = self._generator.encode(lightness)
        stride = self._generator.stride
        return Sample(gray, F.avg_pool2d(lightness, stride // 2), F.avg_pool2d(color, stride))

    def of_rows(self, rows: Tensor, side: int) -> Sample:
        """Create a sample from (batch, length) rows that `looker` computed.

        Args:
            rows: of a 16-bit type.
            side: the photographs' side in pixels.
        """
        layout, begin = self._layout(side), 0

        def take(shape: _Shape) -> Tensor:
            nonlocal begin
            channels, size = shape
            end = begin + channels * size * size
            # Rows are stored pixel by pixel, as in channels_last, so nothing is copied.
            each = rows[:, begin:end].view(len(rows), size, size, channels).permute(0, 3, 1, 2)
            begin = end
            # bfloat16 is the only 16-bit type that the networks compute in.
            return each if rows.dtype == torch.bfloat16 else each.float()

        gray = [take(shape) for shape in layout.gray]
        color, lightness = take(layout.color).float(), take(layout.lightness).float()
        seen, judged = (
            [[take(shape) for shape in network] for network in networks] or None
            for networks in (layout.seen, layout.judged)
        )
        return Sample(gray, lightness, color, seen, judged)

    def looker(self, side: int, dtype: torch.dtype) -> Looker:
        """What computes the rows of photographs.

        Args:
            side: the photographs' side in pixels.
            dtype: the rows' type, of 16 bits.
        """

        @torch.inference_mode()
        def look(rgb: Tensor) -> Tensor:
            sample = self.of_photographs(rgb)
            seen, judged = self._see(sample)
            maps = [*sample.gray, sample.color, sample.lightness, *chain(*seen), *chain(*judged)]
            return torch.cat([each.permute(0, 2, 3, 1).flatten(1).to(dtype) for each in maps], 1)

        return Looker(look, self._layout(side).length, dtype, f"2 {self._space} {self._name()}")

    def _see(self, sample: Sample) -> tuple[Seen, Seen]:
        """The classifiers' features of the photographs and of their lightness that are kept."""
        see = self._classifiers
        seen = see(picture(sample, sample.color, self._space)) if self._keep.real else []
        return seen, see.judged(sample.lightness) if self._keep.gray else []

    @torch.no_grad()
    def _layout(self, side: int) -> "_Layout":
        """The layout of the rows of photographs of side x side pixels."""
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
        """All that determines a row: the networks' names and the SHA-256 of their weights."""
        assert isinstance(self._generator, EncoderUNetGenerator)
        names = [f"{self._generator.config.encoder} {_fingerprint(self._generator.encoder)}"]
        if self._keep.real or self._keep.gray:
            names += [_fingerprint(network) for network in self._classifiers.networks]
        return " ".join([*names, f"{self._keep.real:d}{self._keep.gray:d}"])


_Shape = tuple[int, int]  # channels and side


@dataclass(frozen=True)
class _Layout:
    """The feature maps in a row, in order; those of the classifiers are grouped by classifier."""

    gray: list[_Shape]
    color: _Shape
    lightness: _Shape
    seen: list[list[_Shape]]
    judged: list[list[_Shape]]

    @property
    def length(self) -> int:
        """Number of values in a row."""
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
    """Coloured photographs, as the losses see them.

    Args:
        sample: the sample whose lightness they have.
        color: colours of the same shape and range as the sample's.
        space: the colour space of `color`.

    Returns:
        (batch, 3, ...) sRGB in [0, 1], of the size of the sample's lightness.
    """
    return lab.decode(sample.lightness, scaled(color.float(), sample.lightness), space)
