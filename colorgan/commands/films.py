"""`colorgan colorize` on films."""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import torch

from colorgan.archives.listing import STANDARD, Photo, file_times
from colorgan.archives.networks import Chosen, choose_models
from colorgan.archives.reading import S3
from colorgan.archives.targets import choose_targets
from colorgan.commands.choices import read_choices
from colorgan.commands.coloring import given_models
from colorgan.commands.counting import Counting
from colorgan.commands.process import EXIT_FAULT
from colorgan.commands.text import print_note, printable
from colorgan.errors import ColorganError, ConfigError
from colorgan.files import NotWritten, check_outputs
from colorgan.film.kinds import CONTAINERS, require_extra
from colorgan.images.writing import SAME
from colorgan.names import OBJECTS
from colorgan.system import choose_device
from colorgan.training.progress import format_seconds

if TYPE_CHECKING:
    from colorgan.film.painting import Painter
    from colorgan.film.plan import Plan
    from colorgan.film.work import Progress, Work

DEFAULT_SUFFIX = ".mkv"  # takes every sound


@dataclass(frozen=True)
class FilmItem:
    """A film and its output.

    Attributes:
        source: the film.
        target: the path of its output in the output folder.
    """

    source: Path
    target: str


def color_films(args: argparse.Namespace, found: Mapping[str, Sequence[Path]]) -> int:
    """Colour films; returns the exit status.

    Args:
        args: the options of `colorgan colorize`.
        found: the films by source; see `find_films`.

    Raises:
        ConfigError: the extra `film` is missing, an option is for photographs alone, or an output
            cannot be written.
    """
    check_film_options(args)
    others = [source for source in args.photographs if source not in found]
    if others:
        raise ConfigError(
            f"{others[0]} is no film, and {next(iter(found))} is one: colour films and photographs "
            "with a command each"
        )
    folder, items = plan_films(args.output, found)
    outputs = [folder / item.target for item in items]
    sources = [item.source for item in items]
    check_outputs(outputs, sources, args.overwrite or args.skip_existing, new_folders=True)
    left = [item for item in items if not (args.skip_existing and (folder / item.target).exists())]
    if len(left) < len(items):
        print(f"skipped {len(items) - len(left)} whose output exists", file=sys.stderr)
    chosen = choose_models(given_models(args), args.storage)
    for note in chosen.notes:
        print_note(note)
    loaded = _Loaded(args, chosen)
    failed = 0
    for number, item in enumerate(left, 1):
        place = f" ({number} of {len(left)})" if len(left) > 1 else ""
        try:
            _color(args, item.source, folder / item.target, loaded, place)
        except NotWritten as error:
            raise ColorganError(f"{error}; the same command continues from there") from None
        except ColorganError as error:
            if len(items) == 1:
                raise
            failed += 1
            print(f"error: {printable(error)}", file=sys.stderr)
    return EXIT_FAULT if failed else 0


def check_film_options(args: argparse.Namespace) -> None:
    """Raise ConfigError if the extra is missing, or an option has no meaning for films."""
    require_extra()
    if args.format not in (None, SAME):
        raise ConfigError(
            f"--format {args.format} is for pictures: a film is written as H.264, or with "
            f"--format {SAME} in its own codec"
        )
    if args.hints:
        raise ConfigError("--hint is a point of one photograph, and things move in a film")
    if args.restore != "off":
        raise ConfigError("--restore mends prints, and not films")
    if (args.variants, args.variant) != (None, None):
        raise ConfigError("--variants and --variant are for photographs: a film has one colouring")
    if args.model == OBJECTS:
        raise ConfigError(
            f"--model {OBJECTS} is for photographs: objects would change their colours from frame "
            "to frame"
        )
    if args.page is not None:
        raise ConfigError("--page is for TIFF files of several pages")


def plan_films(output: str, found: Mapping[str, Sequence[Path]]) -> tuple[Path, list[FilmItem]]:
    """The folder of the outputs of films, and the films with their names there.

    Raises:
        ConfigError: the output cannot be that of films.
    """
    photos = [
        Photo(str(film), film.relative_to(source).as_posix() if film != Path(source) else film.name)
        for source, films in found.items()
        for film in films
    ]
    photos = list({photo.address: photo for photo in photos}.values())
    if output == STANDARD or output.startswith(S3):
        raise ConfigError(f"-o {output}: a film is written to a file; give its name or a folder")
    path = Path(output)
    if path.is_dir() or output.endswith("/") or not path.suffix:
        targets = choose_targets(photos, _suffix)
        folder = path
    elif path.suffix.lower() not in CONTAINERS:
        raise ConfigError(
            f"-o {output}: films are written as {', '.join(CONTAINERS)}; for a folder of that name "
            f"give {output}/"
        )
    elif len(photos) > 1:
        raise ConfigError(f"{output} is one file: give a folder for several films")
    else:
        folder, targets = path.parent, [path.name]
    return folder, [
        FilmItem(Path(photo.address), target) for photo, target in zip(photos, targets, strict=True)
    ]


def film_work(args: argparse.Namespace, source: Path, output: Path) -> "Work":
    """What the options say about one film, with notes on what is not kept.

    Raises:
        ColorganError: the film cannot be read, or does not fit into the output.
    """
    from colorgan.film.encoding import choose_encoding
    from colorgan.film.joining import choose_kept
    from colorgan.film.reading import open_film
    from colorgan.film.segments import FilmSettings
    from colorgan.film.work import Work

    film = open_film(source)
    container = CONTAINERS[output.suffix.lower()]
    encoding = choose_encoding(film, container, args.format == SAME, args.quality)
    if args.format == SAME and encoding.codec != film.codec:
        print_note(printable(f"{source} is {film.codec} and becomes {encoding.codec}"))
    kept = choose_kept(film, container, encoding, args.metadata == "keep", args.keep_gps)
    for note in (*film.notes, *kept.notes):
        print_note(printable(note))
    choices = read_choices(args, 1)
    settings = FilmSettings(
        encoding,
        choices,
        batch_size=args.batch_size or 8,
        threads=max(2, torch.get_num_threads()),
    )
    times = file_times(str(source)) if args.keep_times else None
    return Work(film, output, container, kept, settings, args.overwrite, times)


class _Loaded:
    """The networks, which are loaded when the first film needs them."""

    def __init__(self, args: argparse.Namespace, chosen: Chosen) -> None:
        self.chosen = chosen
        self._args = args
        self._painter: Painter | None = None

    def __call__(self) -> "Painter":
        from colorgan.film.painting import Painter

        if self._painter is None:
            device = choose_device(self._args.device)
            self._painter = Painter.load(self.chosen, device, self._args.compile)
        return self._painter


def _color(
    args: argparse.Namespace, source: Path, output: Path, loaded: _Loaded, place: str
) -> None:
    from colorgan.film.work import Parts, color_film, identify

    work = film_work(args, source, output)
    parts = Parts(output, identify(work.film, loaded.chosen, work.settings))
    shown = _Shown(f"{printable(source)}{place}")
    try:
        with Counting(max(2, work.film.frames)) as counting:

            def tell(progress: "Progress") -> None:
                counting.show(*shown.words(progress, work.film.frames))

            plan = color_film(work, parts, loaded, tell)
    except KeyboardInterrupt:
        print(
            f"\nstopped; {shown.done:,} frames are coloured or begun, and the same command "
            "continues after the last whole part",
            file=sys.stderr,
        )
        raise
    print(f"{printable(output)}: {_described(plan, loaded.chosen)}, {shown.rate:.1f} a second")


def _described(plan: "Plan", chosen: Chosen) -> str:
    from colorgan.film.work import models_of

    scenes = sum(segment.first == 0 or segment.before == segment.first for segment in plan.segments)
    total = len(plan.times)
    shares = ", ".join(
        f"{frames * 100 / total:.0f} % by {chosen.cards[model].reference}"
        for model, frames in models_of(plan)
    )
    return f"{total:,} frames in {scenes} scene{'s' * (scenes != 1)}, {shares}"


class _Shown:
    """How fast a film is coloured, in words."""

    def __init__(self, name: str) -> None:
        self.done = 0
        self.rate = 0.0
        self._name = name
        self._began: float | None = None

    def words(self, progress: "Progress", expected: int) -> tuple[int, str]:
        """The number of frames for a bar of as many as expected, and the progress in words."""
        done, total = progress.done, progress.total
        frames = f"{done:,} of {total:,} frames" if total else f"{done:,} frames"
        if progress.step != "colouring":
            return min(done, expected), f"{self._name}: {progress.step}, {frames}"
        now = time.monotonic()
        self._began = self._began or now
        self.done = done
        new, since = done - progress.kept, now - self._began
        words = f"{self._name}: {frames}"
        if new > 1 and since > 0:
            self.rate = new / since
            words += f", {self.rate:.1f} a second"
            if done < total:
                words += f", {format_seconds((total - done) / self.rate)} to go"
        return done * expected // max(1, total), words


def _suffix(name: str) -> str:
    own = PurePosixPath(name).suffix.lower()
    return own if own in CONTAINERS else DEFAULT_SUFFIX
