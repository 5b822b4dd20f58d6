"""The motion between two frames, and values that are carried along it."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Light = npt.NDArray[np.uint8]

# Where the way forth and back do not meet, something is hidden in one of the frames: the bounds of
# Sundaram, Brox and Keutzer, "Dense point trajectories by GPU-accelerated large displacement
# optical flow" (2010), section 3.
_APART_SHARE, _APART = 0.01, 0.5
_LIGHT_SIGMA = 16.0  # of 255; what differs by more is another thing
_AROUND = 31  # pixels of the window whose mean is no difference: lamps and old films flicker


@dataclass(frozen=True)
class Motion:
    """Where the pixels of two frames come from, in pixels.

    Attributes:
        back: (height, width, 2), from each pixel of the later frame to its place in the earlier.
        forth: the same from the earlier frame to the later.
    """

    back: npt.NDArray[np.floating]
    forth: npt.NDArray[np.floating]


class FlowSearch:
    """Finds dense optical flow.

    Kroeger, Timofte, Dai and Van Gool, "Fast Optical Flow using Dense Inverse Search" (2016), as
    OpenCV implements it. An instance belongs to one thread.
    """

    def __init__(self, fast: bool = False) -> None:
        """Prepare the search; `fast` finds a coarser flow."""
        fastest, usual = cv2.DISOPTICAL_FLOW_PRESET_FAST, cv2.DISOPTICAL_FLOW_PRESET_MEDIUM
        self._search = cv2.DISOpticalFlow.create(fastest if fast else usual)

    def __call__(self, start: Light, end: Light) -> Floats:
        """Where the pixels of `start` are in `end`, both (height, width) uint8 lightness.

        Returns:
            (height, width, 2), from each pixel to its place, in pixels to the right and down.
        """
        found = self._search.calc(start, end, None)  # type: ignore[call-overload] # None: a new one
        return np.asarray(found, dtype=np.float32)

    def motion(self, earlier: Light, later: Light) -> Motion:
        """The motion between two frames."""
        return Motion(self(later, earlier), self(earlier, later))


def carry(values: Floats, flow: npt.NDArray[np.floating]) -> Floats:
    """Fetch values from where a flow points: (height, width, channels), or (height, width)."""
    fetched = cv2.remap(  # type: ignore[call-overload] # both coordinates in one map
        values, _places(flow), None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(fetched, dtype=np.float32)


def trust(
    flow: npt.NDArray[np.floating], other: npt.NDArray[np.floating], here: Light, there: Light
) -> Floats:
    """How far each pixel of a frame is the same thing as where its flow points.

    Args:
        flow: (height, width, 2), from the frame to the other one.
        other: the same from the other frame to this one.
        here: (height, width) uint8, the frame's lightness.
        there: the same of the other frame.

    Returns:
        (height, width) from 0, hidden or another thing, to 1.
    """
    flow, other = (np.asarray(each, dtype=np.float32) for each in (flow, other))
    returned = carry(other, flow)
    bound = _APART_SHARE * (_squared(flow) + _squared(returned)) + _APART
    meets = _squared(flow + returned) < bound
    places = _places(flow)
    columns, rows = places[..., 0], places[..., 1]
    height, width = here.shape
    meets &= (columns >= -0.5) & (columns < width - 0.5) & (rows >= -0.5) & (rows < height - 0.5)
    change = carry(there.astype(np.float32), flow) - here
    change -= cv2.blur(change, (_AROUND, _AROUND))
    alike = np.exp(-np.square(change / _LIGHT_SIGMA))
    return np.asarray(alike * meets, dtype=np.float32)


def _squared(flow: Floats) -> Floats:
    """The squared lengths of a flow."""
    return np.asarray(np.square(flow[..., 0]) + np.square(flow[..., 1]), dtype=np.float32)


def _places(flow: npt.NDArray[np.floating]) -> Floats:
    places = np.array(flow, dtype=np.float32)
    places[..., 0] += np.arange(flow.shape[1], dtype=np.float32)
    places[..., 1] += np.arange(flow.shape[0], dtype=np.float32)[:, None]
    return places
