"""Photographs as a step of a training takes them: computed from their pixels, or read from rows."""

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from colorgan.data.features import Looker
from colorgan.images import lab
from colorgan.images.color_spaces import ColorSpace
from colorgan.models.encoder_unet import EncoderUNetGenerator
from colorgan.models.generator import Generator
from colorgan.models.pictures import scaled
from colorgan.networks import Autocast


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
    """

    gray: Tensor | list[Tensor]
    lightness: Tensor
    color: Tensor

    @property
    def features(self) -> list[Tensor]:
        """The encoder's features without a gradient; empty where there is no encoder."""
        return [] if isinstance(self.gray, Tensor) else [each.detach() for each in self.gray]


class Sampler:
    """Makes samples for one generator."""

    def __init__(self, generator: Generator, space: ColorSpace, autocast: Autocast) -> None:
        """Take the generator that learns, what it writes, and the precision of its arithmetic."""
        self._generator = generator
        self._space = space
        self._autocast = autocast

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
        maps, begin = [], 0
        for channels, size in self._layout(side):
            end = begin + channels * size * size
            # Pixel after pixel, as channels_last has it, so nothing is copied.
            each = rows[:, begin:end].view(len(rows), size, size, channels).permute(0, 3, 1, 2)
            maps.append(each)
            begin = end
        *gray, color, lightness = maps
        if rows.dtype != torch.bfloat16:  # with that, networks compute
            gray = [each.float() for each in gray]
        return Sample(gray, lightness.float(), color.float())

    def looker(self, side: int, dtype: torch.dtype) -> Looker:
        """What computes rows of photographs of a side, in a type of 16 bits."""

        @torch.inference_mode()
        def look(rgb: Tensor) -> Tensor:
            sample = self.of_photographs(rgb)
            maps = [*sample.gray, sample.color, sample.lightness]
            return torch.cat([each.permute(0, 2, 3, 1).flatten(1).to(dtype) for each in maps], 1)

        length = sum(channels * size * size for channels, size in self._layout(side))
        return Looker(look, length, dtype, f"1 {self._space} {self._fingerprint()}")

    def _layout(self, side: int) -> list[tuple[int, int]]:
        """Channels and side of the maps in a row."""
        generator = self._generator
        assert isinstance(generator, EncoderUNetGenerator)
        encoder, stride = generator.encoder, generator.stride
        features = zip(encoder.channels[1:], encoder.strides[1:], strict=True)
        return [
            *((channels, side // each) for channels, each in features),
            (generator.config.color_channels, side // stride),
            (1, side // (stride // 2)),
        ]

    def _fingerprint(self) -> str:
        """SHA-256 (hex) of the encoder."""
        assert isinstance(self._generator, EncoderUNetGenerator)
        digest = hashlib.sha256(self._generator.config.encoder.encode())
        for name, tensor in self._generator.encoder.state_dict().items():
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
