"""The plan of a film: its frames, its scenes with their models, and its segments."""

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from torch import Tensor

from colorgan.film.painting import Painter
from colorgan.film.reading import Film, FilmRejected, frames, picture, thumbnail
from colorgan.film.scenes import SIDE, CutFinder
from colorgan.film.temporal import AROUND
from colorgan.images.decoding import Pixels
from colorgan.inference.router import Route

_ROUTED_EVERY = 12  # frames; the first frame of every scene is routed as well
_ROUTED_AT_ONCE = 8  # frames of a batch of the router
_MOST_BYTES = 320 * 2**20  # of the colours and motions of a segment
_LEAST_FRAMES, _MOST_FRAMES = 32, 240  # of a part of a long scene

Tell = Callable[[int], None]


@dataclass(frozen=True)
class Segment:
    """A scene or a part of one, which is coloured and written by itself.

    Attributes:
        number: its place among the segments, from 0.
        model: the model that colours the scene.
        first: its first frame.
        end: the frame after its last one.
        before: the first frame that is read for it, of the same scene.
        after: the frame after the last one that is read for it.
    """

    number: int
    model: str
    first: int
    end: int
    before: int
    after: int


@dataclass(frozen=True)
class Plan:
    """What is to be done with a film.

    Attributes:
        times: the times of its frames, in the film's time base.
        last: duration of the last frame.
        segments: the segments, in order.
    """

    times: tuple[int, ...]
    last: int
    segments: tuple[Segment, ...]

    def write(self) -> bytes:
        """The plan as JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def read(cls, data: bytes) -> "Plan":
        """A plan from its JSON; raises ValueError, KeyError or TypeError."""
        found = json.loads(data)
        segments = tuple(Segment(**each) for each in found["segments"])
        return cls(tuple(found["times"]), int(found["last"]), segments)


def make_plan(film: Film, painter: Painter, tell: Tell = lambda frames: None) -> Plan:
    """Read a film to find its scenes, and the model for each.

    The router sees one frame in twelve, and decides for the scene as a whole, so that the model
    never changes within one.

    Args:
        film: the film.
        painter: the networks.
        tell: called with the number of frames read so far.

    Raises:
        FilmRejected: it cannot be read, or has no frames.
    """
    finder, routes = CutFinder(), _Routes(painter)
    times: list[int] = []
    cuts = [0]
    last = 0
    for frame in frames(film):
        candidate = finder.add(thumbnail(frame, SIDE))
        if candidate or len(times) % _ROUTED_EVERY == 0:
            routes.add(len(times), picture(frame, film))
        times.append(frame.pts or 0)
        last = frame.duration or 0
        cut = finder.cut()
        if cut:
            cuts.append(cut)
        tell(len(times))
    if not times:
        raise FilmRejected(f"{film.path} has no frame that can be decoded: the file is damaged")
    cuts += [cut for cut in finder.rest() if cut]
    found = routes.all()
    scenes = list(zip(cuts, [*cuts[1:], len(times)], strict=True))
    models = [
        painter.choose([route for number, route in found if first <= number < end])
        for first, end in scenes
    ]
    usual = times[-1] - times[-2] if len(times) > 1 else round(1 / (film.rate * film.time_base))
    longest = longest_part(painter.largest)
    return Plan(tuple(times), last or max(1, usual), _segments(scenes, models, longest))


def longest_part(side: int) -> int:
    """The most frames of a part of a scene, which bounds the memory for their colours.

    Args:
        side: side of the squares of colours, in pixels.
    """
    bytes_a_frame = side**2 * 20  # colours, averages and ages, motions: ten of two bytes
    room = _MOST_BYTES // bytes_a_frame - 2 * AROUND
    return max(_LEAST_FRAMES, min(_MOST_FRAMES, room))


class _Routes:
    """Routes frames in batches."""

    def __init__(self, painter: Painter) -> None:
        self._painter = painter
        self._waiting: list[tuple[int, Tensor | None]] = []
        self._found: list[tuple[int, Route | None]] = []

    def add(self, number: int, frame: Pixels) -> None:
        self._waiting.append((number, self._painter.view(frame)))
        if len(self._waiting) == _ROUTED_AT_ONCE:
            self._work()

    def all(self) -> list[tuple[int, Route | None]]:
        self._work()
        return self._found

    def _work(self) -> None:
        routes = self._painter.route([view for _, view in self._waiting])
        self._found += [(n, route) for (n, _), route in zip(self._waiting, routes, strict=True)]
        self._waiting = []


def _segments(
    scenes: Sequence[tuple[int, int]], models: Sequence[str], longest: int
) -> tuple[Segment, ...]:
    segments: list[Segment] = []
    for (first, end), model in zip(scenes, models, strict=True):
        parts = -(-(end - first) // longest)
        bounds = [first + (end - first) * n // parts for n in range(parts + 1)]
        for begin, stop in itertools.pairwise(bounds):
            around = max(first, begin - AROUND), min(end, stop + AROUND)
            segments.append(Segment(len(segments), model, begin, stop, *around))
    return tuple(segments)
