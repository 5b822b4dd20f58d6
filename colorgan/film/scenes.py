"""Finds the cuts of a film."""

from collections import deque
from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt

from colorgan.film.motion import Floats, FlowSearch, carry

SIDE = 64  # pixels of the square thumbnails that are compared

_DIFFERENT = 0.35  # difference of two frames from which on there may be a cut
_ABOVE_USUAL = 2.5  # as a multiple of the median difference around it, which is that of motion
_SURELY = 0.7  # difference from which on there is a cut even among fast motion
_AROUND = 6  # frames on either side whose differences are the usual ones
_BACK = 0.25  # difference from which on down a picture has come back
_FLASH = 4  # a picture that comes back after so many frames was only flashed at
_FLATTEST = 6.0  # levels of 255: a lower deviation is noise in a plain picture
_BINS = np.linspace(-3, 3, 25)


class CutFinder:
    """Finds cuts from thumbnails, which are added one after the other.

    Two frames differ by what is left of their squared difference after the motion between them,
    and by their histograms. Both are taken of pictures with the same mean and deviation, so that
    neither a pan nor the flicker of an old film is a cut. There is a cut where the difference is
    large, larger than around it, and the picture before does not come back at once, as it does
    after a flash or a damaged frame. Fades and dissolves are no cuts.
    """

    def __init__(self) -> None:
        """Begin with an empty film."""
        self._search = FlowSearch(fast=True)
        self._frames: deque[Floats] = deque(maxlen=2 * _AROUND + 2)
        self._differences: deque[float] = deque(maxlen=2 * _AROUND + 1)
        self._added = 0
        self._flashed_until = 0

    def add(self, thumbnail: npt.NDArray[np.uint8]) -> bool:
        """Add a frame's luma, (SIDE, SIDE) uint8; returns whether a scene may begin with it."""
        frame = _normalised(thumbnail)
        difference = self._difference(self._frames[-1], frame) if self._frames else 0.0
        self._frames.append(frame)
        self._differences.append(difference)
        self._added += 1
        return difference > _DIFFERENT or self._added == 1

    def cut(self) -> int | None:
        """The number of the frame, `_AROUND` before the last one, if a scene begins with it."""
        if len(self._differences) <= _AROUND:
            return None
        return self._decide(_AROUND)

    def rest(self) -> Iterator[int]:
        """The cuts in the frames that `cut` has not decided on, at the end of the film."""
        for after in range(min(_AROUND, len(self._differences)) - 1, -1, -1):
            found = self._decide(after)
            if found is not None:
                yield found

    def _decide(self, after: int) -> int | None:
        """Decide on the frame that is followed by `after` others."""
        place = len(self._differences) - 1 - after
        number = self._added - 1 - after
        difference = self._differences[place]
        if difference <= _DIFFERENT or number < self._flashed_until:
            return None
        others = [each for n, each in enumerate(self._differences) if n != place]
        usual = float(np.median(others)) if others else 0.0
        if difference <= min(_ABOVE_USUAL * usual, _SURELY):
            return None
        frames = list(self._frames)
        here = len(frames) - 1 - after
        before = frames[here - 1]
        for later in range(here + 1, min(here + _FLASH + 1, len(frames))):
            if self._difference(before, frames[later]) < _BACK:
                self._flashed_until = number + (later - here) + 1
                return None
        return number

    def _difference(self, earlier: Floats, later: Floats) -> float:
        """How different two thumbnails are: 0 for the same, about 1 for unlike ones."""
        first, second = (_levels(each) for each in (earlier, later))
        flow = self._search(second, first)
        left = float(np.square(carry(earlier, flow) - later).mean()) / 2
        histograms = [np.histogram(each, _BINS)[0] / each.size for each in (earlier, later)]
        return left + float(np.abs(histograms[0] - histograms[1]).sum()) / 2


def _normalised(thumbnail: npt.NDArray[np.uint8]) -> Floats:
    frame = cv2.GaussianBlur(thumbnail.astype(np.float32), (0, 0), 1)
    return np.asarray((frame - frame.mean()) / max(frame.std(), _FLATTEST), dtype=np.float32)


def _levels(frame: Floats) -> npt.NDArray[np.uint8]:
    return np.clip(frame * 40 + 128, 0, 255).astype(np.uint8)
