"""Flicker: how much colours change along the motion of a film."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt
import torch

from colorgan.film.motion import Floats, FlowSearch, carry, trust
from colorgan.images import lab
from colorgan.images.decoding import Pixels

SIDE = 320  # pixels of the longer side at which colours are compared

_SURE = 0.5  # pixels that are trusted less are not compared


@dataclass
class Flicker:
    """Measures the flicker of colourings of one film, all along the film's own motion.

    The flicker of two frames is the mean absolute difference in a and b of CIE Lab between each
    pixel of the later one and the place in the earlier one that it comes from, over the two
    channels and the pixels that are the same thing in both (see `trust`). Still and moving things
    count alike, and cuts do not count. It is 0 for a colouring that is painted on the things; the
    noise and the inexact motion of a film leave its true colours some flicker as well.

    Attributes:
        sums: the sum over the pairs of frames, by the colouring's name.
        pairs: number of pairs of frames that were compared.
    """

    sums: dict[str, float] = field(default_factory=dict)
    pairs: int = 0
    _search: FlowSearch = field(default_factory=FlowSearch)
    _light: npt.NDArray[np.uint8] | None = None
    _colors: dict[str, Floats] = field(default_factory=dict)

    def add(self, film: Pixels, colorings: Mapping[str, Pixels], cut: bool = False) -> None:
        """Add the next frame.

        Args:
            film: the film's own frame, (height, width, 3) uint8 sRGB.
            colorings: the same frame of each colouring, of the same size; the film itself may be
                one of them, if it is in colour.
            cut: whether a scene begins with it.
        """
        light = (lab.lightness(_small(film)) * 255).round().astype(np.uint8)
        colors = {name: _ab(_small(each)) for name, each in colorings.items()}
        if self._light is not None and not cut:
            motion = self._search.motion(self._light, light)
            sure = trust(motion.back, motion.forth, light, self._light) > _SURE
            if sure.any():
                self.pairs += 1
                for name, color in colors.items():
                    change = np.abs(color - carry(self._colors[name], motion.back))
                    value = float(change[sure].mean())
                    self.sums[name] = self.sums.get(name, 0.0) + value
        self._light, self._colors = light, colors

    def values(self) -> dict[str, float]:
        """The mean flicker of each colouring, in Lab units; empty before the second frame."""
        return {name: value / self.pairs for name, value in self.sums.items()}


def _small(rgb: Pixels) -> Pixels:
    height, width = rgb.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _ab(rgb: Pixels) -> Floats:
    """a and b of CIE Lab: (height, width, 2) float32."""
    pixels = torch.from_numpy(rgb.astype(np.float32) / 255).permute(2, 0, 1)
    return np.ascontiguousarray(lab.rgb_to_lab(pixels)[1:].permute(1, 2, 0).numpy())
