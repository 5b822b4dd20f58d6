"""The steps of a photograph of an archive: read and decode it; recombine, encode and write it.

Between them, `colorgan.archives.networks` predicts its colours. Every fault of a photograph ends as
a `Failure`, so that it stops no other one.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from colorgan.archives.destination import Destination
from colorgan.archives.encoding import Encoding
from colorgan.archives.listing import Photo
from colorgan.archives.networks import Inputs, Predicted, Squares
from colorgan.archives.reading import Reader
from colorgan.errors import ColorganError, ImageRejected, NotInStorage
from colorgan.files import NotWritten
from colorgan.images.decoding import Photograph, decode

NOT_FOUND = "not found"
NOT_WRITTEN = "not written"


@dataclass(frozen=True)
class Item:
    """A photograph and its output.

    Attributes:
        photo: the photograph.
        target: the path of its output in the destination.
    """

    photo: Photo
    target: str


@dataclass(frozen=True)
class Settings:
    """How an archive is coloured; it can be pickled.

    Attributes:
        reader: reads the photographs.
        destination: where the outputs go.
        encoding: how they are encoded.
        vividness: the factor for the chroma; see `recombine`.
        page: the page of multi-page files; None if they have one page.
        overwrite: whether existing files are replaced.
    """

    reader: Reader
    destination: Destination
    encoding: Encoding
    vividness: float = 1.0
    page: int | None = None
    overwrite: bool = False


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
        photograph: its pixels.
        seconds: time of each step so far.
    """

    item: Item
    photograph: Photograph
    seconds: Mapping[str, float]


def load(item: Item, settings: Settings, inputs: Inputs) -> tuple[Loaded, Squares] | Outcome:
    """Read and decode a photograph, and prepare it for the networks."""
    seconds: dict[str, float] = {}
    try:
        with _timed(seconds, "read"):
            data = settings.reader.read(item.photo.address)
        with _timed(seconds, "decode"):
            photograph = decode(data, page=settings.page)
            settings.encoding.check(photograph)
        with _timed(seconds, "prepare"):
            squares = inputs(photograph.rgb)
    except Exception as error:
        return Outcome(item, failure_of(item.photo.address, error), seconds=seconds)
    return Loaded(item, photograph, seconds), squares


def finish(loaded: Loaded, predicted: Predicted, settings: Settings) -> Outcome:
    """Recombine a photograph with its colours, encode and write it."""
    item, seconds = loaded.item, {**loaded.seconds, "color": predicted.seconds}
    outcome = Outcome(item, notes=loaded.photograph.notes, seconds=seconds)
    try:
        with _timed(seconds, "recombine"):
            rgb = predicted.picture(loaded.photograph.rgb, settings.vividness)
        with _timed(seconds, "encode"):
            data = settings.encoding.encode(loaded.photograph, rgb)
        with _timed(seconds, "write"):
            settings.destination.write(item.target, data, settings.overwrite)
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
        sentence = f"{name} cannot be {done}: {error}"
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
        seconds[step] = time.perf_counter() - started
