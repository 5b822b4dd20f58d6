"""A batch of coloured photographs, the input of discriminators."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it


@dataclass(frozen=True)
class Colored:
    """A batch of coloured photographs, real or generated.

    Attributes:
        lightness: (batch, 1, height, width) in [-1, 1].
        color: (batch, color_channels, ...) in [-1, 1], at the generator's own resolution.
        gray: the features of the gray photographs from the generator's encoder, without gradient,
            from fine to coarse: (batch, channels, ...), the finest as large as `color`; empty if
            the generator has no such encoder.
        seen: by classifier, its features of the coloured photographs, from fine to coarse; empty
            if no discriminator uses them.
        seen_gray: by classifier, its features of the gray photographs, restricted to those that are
            judged.
        labels: (batch,) int64, the number of each photograph's class; None if no discriminator is
            given the class.
    """

    lightness: Tensor
    color: Tensor
    gray: Sequence[Tensor] = ()
    seen: Sequence[Sequence[Tensor]] = ()
    seen_gray: Sequence[Sequence[Tensor]] = ()
    labels: Tensor | None = None


def scaled(x: Tensor, like: Tensor) -> Tensor:
    """Scale channels to another tensor's height and width."""
    if x.shape[-2:] == like.shape[-2:]:
        return x
    return F.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=False)
