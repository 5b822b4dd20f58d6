"""Colours a segment of a film."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from colorgan.data.mapping import batched
from colorgan.film.encoding import Encoding, encode
from colorgan.film.painting import Painter
from colorgan.film.plan import Plan, Segment
from colorgan.film.reading import Film, frames_at, picture
from colorgan.film.temporal import smooth
from colorgan.images.decoding import Pixels
from colorgan.inference.finishing import Choices, finish


@dataclass(frozen=True)
class FilmSettings:
    """How a film is coloured; it can be pickled.

    Attributes:
        encoding: how it is encoded.
        choices: the user's choices of colours; hints are not used.
        smoothed: whether colours are carried along; without, each frame is coloured by itself.
        batch_size: number of frames that the networks take at once.
        threads: number of threads that join frames with their colours.
    """

    encoding: Encoding = field(default_factory=Encoding)
    choices: Choices = field(default_factory=Choices)
    smoothed: bool = True
    batch_size: int = 8
    threads: int = 2


def color_segment(
    film: Film,
    plan: Plan,
    segment: Segment,
    painter: Painter,
    settings: FilmSettings,
    tell: Callable[[int], None] = lambda frames: None,
) -> bytes:
    """Colour a segment, whose content follows from the arguments alone.

    It is the same in batches of any size, and so whenever a film is continued. On a processor of
    another kind, the networks may compute in another type of numbers (see `fastest_dtype`): colours
    then differ by less than a level of 255 on average, and the encoder's choices with them.

    Args:
        film: the film.
        plan: its plan.
        segment: the segment.
        painter: the networks.
        settings: how to colour.
        tell: called with the number of frames that are finished so far.

    Returns:
        The encoded frames; see `encode`.

    Raises:
        ColorganError: the film cannot be read again.
    """
    colors = _predict(film, plan, segment, painter, settings)
    times = plan.times[segment.first : segment.end]
    space = painter.color_space(segment.model)

    def join(frame: npt.NDArray[np.uint8], color: npt.NDArray[np.float16]) -> Pixels:
        choices = settings.choices
        given = torch.from_numpy(color.astype(np.float32))
        return finish(frame, given, space, choices.vividness, (), choices.like)

    def joined() -> Iterator[tuple[int, Pixels]]:
        with ThreadPoolExecutor(settings.threads) as pool:
            waiting: deque[Future[Pixels]] = deque()
            done = 0
            source = zip(frames_at(film, times), colors, strict=True)
            for frame, color in source:
                waiting.append(pool.submit(join, picture(frame, film), color))
                if len(waiting) > settings.threads:
                    yield times[done], waiting.popleft().result()
                    done += 1
                    tell(done)
            while waiting:
                yield times[done], waiting.popleft().result()
                done += 1
                tell(done)

    return encode(joined(), film, settings.encoding)


def _predict(
    film: Film, plan: Plan, segment: Segment, painter: Painter, settings: FilmSettings
) -> npt.NDArray[np.float16]:
    """The colours of a segment's frames, (frames, channels, side, side)."""
    before, after = (
        (segment.before, segment.after) if settings.smoothed else (segment.first, segment.end)
    )
    colors, lights = [], []
    for batch in batched(frames_at(film, plan.times[before:after]), settings.batch_size):
        some = painter.paint(segment.model, [picture(frame, film) for frame in batch])
        colors.append(some[0])
        lights.append(some[1])
    predicted = np.concatenate(colors)
    del colors
    if settings.smoothed:
        smooth(predicted, np.concatenate(lights))
    return predicted[segment.first - before : segment.end - before]
