"""Smooths the colours of a scene in time, along its motion."""

import numpy as np
import numpy.typing as npt

from colorgan.film.motion import Floats, FlowSearch, Motion, carry, trust

# Number of frames that an average holds in each direction: the last one weighs 1 / LONGEST.
LONGEST = 12
# Frames before and after a part of a scene that are read for its averages: what lies beyond them
# weighs (1 - 1 / LONGEST) ** AROUND = 0.12.
AROUND = 24

_MOST_CHROMA = 1.25  # the largest factor that restores the chroma


def smooth(colors: npt.NDArray[np.float16], lights: npt.NDArray[np.uint8]) -> None:
    """Replace the colours of a scene's frames by their averages along its motion, in place.

    Each pixel of a frame is followed to the frames before it and after it. In each direction an
    exponential average of what it was coloured there is kept, as long as it is the same thing
    (see `trust`): the average of n frames weighs n, up to LONGEST, and a new thing begins at 1.
    With the averages F and B of the two directions, of n and m frames that both hold the frame's
    own colour c, the result is

        (n F + m B - c) / (n + m - 1).

    An average of colours that differ is grayer than they are, so in the end all colours are
    multiplied by one factor that restores their mean chroma.

    Args:
        colors: (frames, channels, side, side), the predicted colours.
        lights: (frames, side, side), the lightness on the same grid.
    """
    count, channels = colors.shape[:2]
    if count < 2:
        return
    chroma = _chroma(colors)
    search = FlowSearch()
    motions = [_halved(search.motion(*lights[n : n + 2])) for n in range(count - 1)]
    # The average of the past, and in the last channel the number of frames that it holds.
    past = np.empty((count, *lights.shape[1:], channels + 1), np.float16)
    state = _begin(colors[0])
    past[0] = state
    for n in range(1, count):
        motion = motions[n - 1]
        weight = trust(motion.back, motion.forth, lights[n], lights[n - 1])
        state = _average(colors[n], carry(state, motion.back), weight)
        past[n] = state
    state = _begin(colors[-1])
    colors[-1] = past[-1, ..., :channels].transpose(2, 0, 1)
    for n in range(count - 2, -1, -1):
        motion = motions[n]
        weight = trust(motion.forth, motion.back, lights[n], lights[n + 1])
        own = _begin(colors[n])[..., :channels]
        state = _average(colors[n], carry(state, motion.forth), weight)
        before, after = past[n].astype(np.float32), state
        ages = before[..., channels:], after[..., channels:]
        total = ages[0] * before[..., :channels] + ages[1] * after[..., :channels] - own
        colors[n] = (total / (ages[0] + ages[1] - 1)).transpose(2, 0, 1)
    factor = min(_MOST_CHROMA, chroma / max(_chroma(colors), 1e-6))
    np.clip(colors * np.float16(max(1.0, factor)), -1, 1, out=colors)


def _chroma(colors: npt.NDArray[np.float16]) -> float:
    """The mean length of the colours of pixels."""
    squares = (np.square(each.astype(np.float32)).sum(axis=0) for each in colors)
    return float(np.mean([np.sqrt(each).mean() for each in squares]))


def _begin(color: npt.NDArray[np.float16]) -> Floats:
    """The average of one frame."""
    ones = np.ones((1, *color.shape[1:]), np.float32)
    return np.concatenate([color.astype(np.float32), ones]).transpose(1, 2, 0).copy()


def _average(color: npt.NDArray[np.float16], carried: Floats, weight: Floats) -> Floats:
    """The average with a further frame."""
    state = _begin(color)
    age = np.minimum(1 + weight * carried[..., -1], LONGEST)
    share = 1 - 1 / age
    state[..., :-1] += (carried[..., :-1] - state[..., :-1]) * share[..., None]
    state[..., -1] = age
    return state


def _halved(motion: Motion) -> Motion:
    """The same in half the memory."""
    return Motion(motion.back.astype(np.float16), motion.forth.astype(np.float16))
