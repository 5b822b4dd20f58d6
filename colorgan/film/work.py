"""Colours a film in this process, and goes on where an earlier process has stopped."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from colorgan.archives.networks import Chosen
from colorgan.errors import ConfigError, Held
from colorgan.files import finished_file, write_file
from colorgan.film.joining import Kept, join
from colorgan.film.painting import Painter
from colorgan.film.plan import Plan, make_plan
from colorgan.film.reading import Film
from colorgan.film.segments import FilmSettings, color_segment
from colorgan.film.temporal import AROUND, LONGEST
from colorgan.inference.assembled import Assembly
from colorgan.locks import lock, unlock
from colorgan.version import __version__

PARTS = ".colorgan-parts"  # suffix of the folder beside the output

_PLAN, _LOCK = "plan.json", "lock"
_SAMPLE = 1 << 20  # bytes of a film's beginning and end that identify it


@dataclass(frozen=True)
class Progress:
    """How far a film is.

    Attributes:
        step: `looking for scenes`, `colouring` or `joining`.
        done: frames that are finished.
        total: frames of the film; 0 if the file does not say it.
        kept: frames that an earlier process had coloured.
    """

    step: str
    done: int
    total: int
    kept: int = 0


Tell = Callable[[Progress], None]


def identify(film: Film, chosen: Chosen, settings: FilmSettings) -> str:
    """The film, the models and the options on which the content of segments depends, as JSON."""
    path = Path(film.path)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        size = path.stat().st_size
        digest.update(file.read(_SAMPLE))
        file.seek(max(0, size - _SAMPLE))
        digest.update(file.read(_SAMPLE))
    like = settings.choices.like
    return json.dumps(
        {
            "film": {"bytes": size, "sha256_of_ends": digest.hexdigest(), "stream": film.stream},
            "models": sorted(card.reference for card in chosen.cards.values()),
            "router": repr(chosen.assembly.choice)
            if isinstance(chosen.assembly, Assembly)
            else None,
            "render_size": chosen.render_size,
            "encoding": repr(settings.encoding),
            "vividness": settings.choices.vividness,
            "like": None if like is None else repr(like),
            "smoothed": [LONGEST, AROUND] if settings.smoothed else None,
            "colorgan": __version__,
        },
        sort_keys=True,
    )


class Parts:
    """The folder of the segments of a film, beside its output."""

    def __init__(self, output: Path, identity: str) -> None:
        """Take the output and what the segments depend on; see `identify`."""
        self.folder = output.with_name(output.name + PARTS)
        self._identity = identity

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Hold the folder; what is in it for another film or other options is deleted.

        Raises:
            Held: another process works on the same output.
            ConfigError: the folder exists and is none of colorgan's.
        """
        path = self.folder / _LOCK
        if self.folder.exists() and not path.exists() and any(self.folder.iterdir()):
            raise ConfigError(f"{self.folder} is in the way: move it, or give another output")
        self.folder.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            if not lock(file):
                raise Held(f"another process works in {self.folder}: wait for it, or stop it")
            try:
                yield
            finally:
                unlock(file)

    def plan(self) -> Plan | None:
        """The plan of an earlier process, if it has worked on the same; otherwise tidies up."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            document = json.loads((self.folder / _PLAN).read_text())
            if document["of"] == self._identity:
                return Plan.read(document["plan"])
        for path in self.folder.iterdir():
            if path.name != _LOCK:
                path.unlink()
        return None

    def keep_plan(self, plan: Plan) -> None:
        """Write the plan; raises NotWritten."""
        document = {"of": self._identity, "plan": plan.write().decode()}
        write_file(self.folder / _PLAN, json.dumps(document).encode(), overwrite=True)

    def has(self, number: int) -> bool:
        """Whether a segment is written."""
        return self._path(number).exists()

    def read(self, number: int) -> bytes:
        """A segment."""
        return self._path(number).read_bytes()

    def write(self, number: int, data: bytes) -> None:
        """Write a segment, which appears whole; raises NotWritten."""
        write_file(self._path(number), data, overwrite=True)

    def delete(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:05d}.nut"


@dataclass(frozen=True)
class Work:
    """A film to colour.

    Attributes:
        film: the film.
        output: the file to write.
        container: FFmpeg's name of its container.
        kept: what is kept of the film's file.
        settings: how it is coloured.
        overwrite: whether an existing output is replaced.
        times: the times of the output file; see `write_file`.
    """

    film: Film
    output: Path
    container: str
    kept: Kept
    settings: FilmSettings
    overwrite: bool = False
    times: tuple[int, int] | None = None


def color_film(
    work: Work, parts: Parts, load: Callable[[], Painter], tell: Tell = lambda progress: None
) -> Plan:
    """Colour a film, or what is left of it; returns its plan.

    If it is stopped, the segments that are written stay in the folder of `parts`, and the same call
    goes on from there.

    Args:
        work: what is to be done.
        parts: where the segments are kept.
        load: loads the networks; it is called if they are needed.
        tell: called after every frame.

    Raises:
        Held: another process works on the same output.
        ColorganError: the film cannot be read, or something cannot be written.
    """
    painters: list[Painter] = []

    def painter() -> Painter:
        if not painters:
            painters.append(load())
        return painters[0]

    film = work.film
    with parts.opened():
        plan = parts.plan()
        if plan is None:
            plan = make_plan(
                film, painter(), lambda n: tell(Progress("looking for scenes", n, film.frames))
            )
            parts.keep_plan(plan)
        _color_segments(work, plan, parts, painter, tell)
        total = len(plan.times)
        tell(Progress("joining", total, total))
        finish(work, plan, parts)
    return plan


def finish(work: Work, plan: Plan, parts: Parts) -> None:
    """Write a film of which every segment is coloured, and delete the segments.

    Raises:
        NotWritten: the film cannot be written.
        ColorganError: FFmpeg cannot join its parts.
    """
    with finished_file(work.output, work.overwrite, work.times) as path:
        join(work.film, plan, work.kept, parts.read, path, work.container)
    parts.delete()


def _color_segments(
    work: Work, plan: Plan, parts: Parts, painter: Callable[[], Painter], tell: Tell
) -> None:
    total = len(plan.times)
    left = [segment for segment in plan.segments if not parts.has(segment.number)]
    kept = done = total - sum(segment.end - segment.first for segment in left)
    for segment in left:

        def told(frames: int, before: int = done) -> None:
            tell(Progress("colouring", before + frames, total, kept))

        data = color_segment(work.film, plan, segment, painter(), work.settings, told)
        parts.write(segment.number, data)
        done += segment.end - segment.first


def models_of(plan: Plan) -> Sequence[tuple[str, int]]:
    """The models of a plan, with the number of frames of each, the most frequent first."""
    counts: dict[str, int] = {}
    for segment in plan.segments:
        counts[segment.model] = counts.get(segment.model, 0) + segment.end - segment.first
    return sorted(counts.items(), key=lambda pair: -pair[1])
