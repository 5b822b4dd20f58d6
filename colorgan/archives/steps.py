"""The steps of a photograph of an archive: read and decode it; recombine, encode and write it.

Between them, `colorgan.archives.networks` predicts its colours. Every fault of a photograph ends as
a `Failure`, so that it stops no other one.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import PurePosixPath

from colorgan.archives.destination import Destination
from colorgan.archives.listing import Photo, file_times
from colorgan.archives.networks import Inputs, Predicted, Squares
from colorgan.archives.reading import Reader
from colorgan.errors import ColorganError, ConfigError, ImageRejected, NotInStorage
from colorgan.files import NotWritten
from colorgan.images.borders import Box
from colorgan.images.prints import restore
from colorgan.images.writing import Original, OutputOptions, read_original, write_colored
from colorgan.inference.finishing import Choices
from colorgan.models.noise import FIRST, Numbers

NOT_FOUND = "not found"
NOT_WRITTEN = "not written"


@dataclass(frozen=True)
class Item:
    """A photograph and its output.

    Attributes:
        photo: the photograph.
        target: the path of its output in the destination.
        numbers: the numbers of its variants; see `colorgan.inference.variants`.
        numbered: whether the outputs are named by the numbers: `out-1.png`, `out-2.png`, ….
    """

    photo: Photo
    target: str
    numbers: Numbers = FIRST
    numbered: bool = False

    @property
    def targets(self) -> tuple[str, ...]:
        """The paths of its outputs, one for each number."""
        if not self.numbered:
            return (self.target,)
        path = PurePosixPath(self.target)
        return tuple(
            str(path.with_name(f"{path.stem}-{number}{path.suffix}")) for number in self.numbers
        )


@dataclass(frozen=True)
class Settings:
    """How an archive is coloured; it can be pickled.

    Attributes:
        reader: reads the photographs.
        destination: where the outputs go.
        options: how they are written.
        choices: the user's choices of colours.
        page: the page of multi-page files; None if they have one page.
        overwrite: whether existing files are replaced.
        keep_times: whether files get the times of their photographs.
    """

    reader: Reader
    destination: Destination
    options: OutputOptions
    choices: Choices = field(default_factory=Choices)
    page: int | None = None
    overwrite: bool = False
    keep_times: bool = False


@dataclass(frozen=True)
class Failure:
    """Why a photograph was not coloured.

    Attributes:
        reason: the kind of fault, from a small set: those of ImageRejected, `not found`,
            `not readable`, `not written`, ….
        detail: what exactly was found; may be empty.
        sentence: both as a message for the user, which names the photograph.
        of_the_file: whether the photograph itself is at fault, so that trying again is no use.
        full: whether nothing else could be written either, because the disk is full.
    """

    reason: str
    detail: str
    sentence: str
    of_the_file: bool = False
    full: bool = False


@dataclass
class Outcome:
    """What became of a photograph.

    Attributes:
        item: the photograph.
        failure: why it was not coloured; None if it was.
        photo_class: the class that the router found; empty if it was not coloured.
        by: how it was coloured, as a phrase.
        notes: oddities of the file that were tolerated.
        seconds: time of each step.
        existed: whether another process had written the output in the meantime.
    """

    item: Item
    failure: Failure | None = None
    photo_class: str = ""
    by: str = ""
    notes: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    existed: bool = False


@dataclass(frozen=True)
class Loaded:
    """A photograph that has been read; it can be pickled.

    Attributes:
        item: the photograph and its output.
        original: its pixels, and what its file says.
        seconds: time of each step so far.
        box: the picture within its border; None if it has no border, or restores nothing.
    """

    item: Item
    original: Original
    seconds: Mapping[str, float]
    box: Box | None = None


def load(item: Item, settings: Settings, inputs: Inputs) -> tuple[Loaded, Squares] | Outcome:
    """Read and decode a photograph, and prepare it for the networks."""
    seconds: dict[str, float] = {}
    try:
        with _timed(seconds, "read"):
            data = settings.reader.read(item.photo.address)
        with _timed(seconds, "decode"):
            target = item.target if settings.destination.names_files else ""
            original = read_original(data, settings.options, settings.page, target)
            del data
        with _timed(seconds, "prepare"):
            restored = restore(original.photograph, settings.choices.restore)
            squares = replace(inputs(restored.seen), numbers=item.numbers)
            original = replace(original, photograph=restored.photograph)
    except Exception as error:
        return Outcome(item, failure_of(item.photo.address, error), seconds=seconds)
    return Loaded(item, original, seconds, restored.box), squares


def finish(loaded: Loaded, predicted: Predicted, settings: Settings) -> Outcome:
    """Recombine a photograph with its colours, encode and write it.

    Raises:
        ConfigError: the user's choices do not fit the photograph.
    """
    item, seconds = loaded.item, {**loaded.seconds, "color": predicted.seconds}
    photograph = loaded.original.photograph
    outcome = Outcome(item, notes=photograph.notes, seconds=seconds)
    try:
        times = file_times(item.photo.address) if settings.keep_times else None
        for target, variant in zip(item.targets, predicted.variants(), strict=True):
            coloring = partial(variant.strips, photograph.rgb, settings.choices, loaded.box)
            with _timed(seconds, "encode"):
                written = write_colored(coloring, loaded.original, settings.options)
            outcome.notes += tuple(note for note in written.notes if note not in outcome.notes)
            with _timed(seconds, "write"):
                settings.destination.write(target, written.data, settings.overwrite, times)
    except ConfigError:
        raise
    except NotWritten as error:
        outcome.existed = error.exists
        outcome.failure = Failure(NOT_WRITTEN, str(error), str(error), full=error.full)
    except Exception as error:
        outcome.failure = failure_of(item.photo.address, error)
    else:
        outcome.photo_class, outcome.by = predicted.photo_class, predicted.by
    return outcome


def failure_of(address: str, error: BaseException, done: str = "coloured") -> Failure:
    """Describe an exception for failed.csv and, with what is `done`, for the user."""
    name = "stdin" if address == "-" else address
    if isinstance(error, ImageRejected):
        more = "; --max-pixels N takes more" * (error.reason == "too many pixels")
        sentence = f"{name} cannot be {done}: {error}{more}"
        return Failure(error.reason, error.detail, sentence, of_the_file=True)
    if isinstance(error, NotInStorage):
        return Failure(NOT_FOUND, str(error), f"{name}: {error}")
    if isinstance(error, ColorganError):
        return Failure("not readable", str(error), f"{name}: {error}")
    if isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError):
        detail = error.strerror or str(error)
        return Failure(NOT_FOUND, detail, f"{name}: {detail}", of_the_file=True)
    if isinstance(error, OSError):
        detail = error.strerror or str(error)
        return Failure("not readable", detail, f"{error.filename or name}: {detail}")
    if isinstance(error, MemoryError):
        return Failure("out of memory", "", f"{name} needs more memory than there is")
    detail = f"{type(error).__name__}: {error}"
    return Failure("error", detail, f"{name} cannot be {done}: {detail}")


@contextmanager
def _timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    started = time.perf_counter()
    try:
        yield
    finally:
        seconds[step] = seconds.get(step, 0.0) + time.perf_counter() - started
