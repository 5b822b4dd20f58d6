"""The photographs on a command line, and the files to which their colourings are written."""

import argparse
import sys
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO

from colorgan.archives.destination import Destination, Times, open_destination
from colorgan.archives.listing import STANDARD, Found, Photo, find_photographs
from colorgan.archives.reading import S3, Reader, read_stdin
from colorgan.archives.steps import Item
from colorgan.archives.targets import choose_targets
from colorgan.commands.choices import given_numbers
from colorgan.commands.output import DEFAULT_FORMAT, add_output_options, read_output_options
from colorgan.commands.text import print_note, printable
from colorgan.errors import ColorganError, ConfigError
from colorgan.files import check_stream
from colorgan.images.encoding import find_format, suffixes
from colorgan.images.writing import OutputOptions
from colorgan.storage import open_storage

_STDIN, _STDOUT = 0, 1


class Stream(Destination):
    """Standard output, for one picture."""

    uri = STANDARD
    names_files = False

    def __init__(self, stream: TextIO) -> None:
        """Take the open stream."""
        self._stream = stream

    def present(self, paths: Sequence[str]) -> set[str]:  # noqa: D102
        return set()

    def tidy(self, paths: Sequence[str]) -> None:  # noqa: D102
        pass

    def read(self, path: str) -> bytes | None:  # noqa: D102
        return None

    def write(  # noqa: D102
        self, path: str, data: bytes, overwrite: bool = False, times: Times | None = None
    ) -> None:
        self._stream.buffer.write(data)
        self._stream.flush()

    def check(  # noqa: D102
        self, photos: Sequence[Photo], targets: Sequence[str], overwrite: bool = False
    ) -> None:
        (photo,) = photos
        check_stream(_STDOUT, [_STDIN if photo.address == STANDARD else Path(photo.address)])

    def location(self, path: str) -> str:  # noqa: D102
        return path


@dataclass(frozen=True)
class Outputs:
    """The destinations of colourings, decided before any work.

    Attributes:
        destination: the folder, prefix or stream that they are written to.
        options: how they are written.
        items: the photographs to colour, and the output of each.
        skipped: number of photographs whose colouring already exists, with --skip-existing.
    """

    destination: Destination
    options: OutputOptions
    items: list[Item]
    skipped: int = 0

    @property
    def stream(self) -> bool:
        """Whether the colouring is written to standard output."""
        return isinstance(self.destination, Stream)


def add_photographs(parser: argparse.ArgumentParser) -> None:
    """Add the arguments for photographs, and the options --recursive and --page."""
    parser.add_argument(
        "photographs",
        metavar="PHOTO",
        nargs="+",
        help=f"a file, a folder, s3://bucket/prefix, dataset:NAME, @FILE for a list of them, or "
        f"{STANDARD} for a photograph on standard input (@{STANDARD} for a list)",
    )
    add_recursive(parser)
    add_page(parser)


def add_recursive(parser: argparse.ArgumentParser, default: bool = False) -> None:
    """Add the option --recursive."""
    parser.add_argument(
        "--recursive",
        action=argparse.BooleanOptionalAction if default else "store_true",
        default=default,
        help="also the photographs in the subfolders of folders",
    )


def add_page(parser: argparse.ArgumentParser) -> None:
    """Add the option --page."""
    parser.add_argument(
        "--page", type=int, metavar="N", help="page of multi-page TIFF files, counted from 1"
    )


def check_page(page: int | None) -> None:
    """Raise ConfigError if --page is less than 1."""
    if page is not None and page < 1:
        raise ConfigError("--page counts from 1")


def find_photos(args: argparse.Namespace, output: str | None = None) -> list[Photo]:
    """The photographs of the arguments, with notes on what is left out.

    Args:
        args: the options of `add_photographs`.
        output: the folder or prefix of the colourings; what it holds is no photograph.

    Raises:
        ColorganError: there is none, or a source cannot be listed.
    """
    sources: Sequence[str] = args.photographs
    found = find_photographs(
        sources, lambda: open_storage(args.storage), args.recursive, output, read_stdin
    )
    return noted(found, sources)


def noted(found: Found, sources: Sequence[str]) -> list[Photo]:
    """Print notes on what was left out; raises ColorganError if nothing was found."""
    notes = list(found.notes())
    if not found.photos:
        raise ColorganError("; ".join([f"no photograph in {', '.join(sources)}", *notes]))
    for note in notes:
        print_note(printable(note))
    return found.photos


def reader_of(photos: Sequence[Photo], storage: str | None) -> Reader:
    """A reader of photographs; a photograph on standard input is read now.

    Ctrl-C could not interrupt another thread that reads it.
    """
    given: dict[str, bytes | OSError] = {}
    if any(photo.address == STANDARD for photo in photos):
        try:
            given[STANDARD] = read_stdin()
        except OSError as error:
            given[STANDARD] = error
    return Reader(storage, given)


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """Add the options for the destinations of colourings."""
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        required=True,
        help=f"a folder, or s3://bucket/prefix; or for one photograph a file, whose suffix "
        f"({suffixes()}) decides the format, or {STANDARD} for standard output",
    )
    add_writing(parser)


def add_writing(parser: argparse.ArgumentParser) -> None:
    """Add the options for the format of colourings, and for files that exist."""
    add_output_options(parser)
    there = parser.add_mutually_exclusive_group()
    there.add_argument(
        "--overwrite",
        action="store_true",
        help="replace files that exist; a photograph that is read is never replaced",
    )
    there.add_argument(
        "--skip-existing",
        action="store_true",
        help="skip photographs whose output exists, to continue after an interruption",
    )


def given_options(args: argparse.Namespace, named: str | None = None) -> OutputOptions:
    """How the options of `add_writing`, or the name of the one output, say to write.

    Raises:
        ConfigError: an option is out of range, or does not fit the format.
    """
    return read_output_options(args, named or args.format or DEFAULT_FORMAT)


def plan_outputs(args: argparse.Namespace) -> Outputs:
    """Decide the destinations of colourings.

    Raises:
        ConfigError: one would destroy a file, or cannot be written.
        ColorganError: there is no photograph.
    """
    if args.output == STANDARD:
        return _standard_output(find_photos(args), args)
    named = _named_format(args.output)
    photos = find_photos(args, None if named else args.output)
    options = given_options(args, named)
    if not named:
        destination = open_destination(args.output)
        targets = choose_targets(photos, options.suffix)
    elif len(photos) > 1:
        raise ConfigError(f"{args.output} is one file: give a folder for several photographs")
    elif args.format not in (None, named):
        raise ConfigError(f"-o {args.output} is {named}: drop --format {args.format}")
    else:
        folder, _, name = args.output.rpartition("/")
        destination = open_destination(folder or ("/" if args.output.startswith("/") else "."))
        targets = [name]
    return plan(photos, targets, destination, options, args)


def plan(
    photos: Sequence[Photo],
    targets: Sequence[str],
    destination: Destination,
    options: OutputOptions,
    args: argparse.Namespace,
) -> Outputs:
    """Check the outputs, and leave out those that exist, with --skip-existing.

    Raises:
        ConfigError: an output would destroy a file, or cannot be written.
    """
    numbers, numbered = given_numbers(args)
    items = [
        Item(photo, target, numbers, numbered)
        for photo, target in zip(photos, targets, strict=True)
    ]
    written = [target for item in items for target in item.targets]
    destination.check(photos, written, args.overwrite or args.skip_existing)
    there = destination.present(written) if args.skip_existing else set()
    destination.tidy(written)
    left = [each for each in (_left(item, there) for item in items) if each.numbers]
    return Outputs(destination, options, left, len(items) - len(left))


def _left(item: Item, there: Container[str]) -> Item:
    """The item with the numbers of the variants whose outputs are not there."""
    pairs = zip(item.numbers, item.targets, strict=True)
    return replace(item, numbers=tuple(number for number, target in pairs if target not in there))


def _standard_output(photos: Sequence[Photo], args: argparse.Namespace) -> Outputs:
    if len(photos) > 1:
        raise ConfigError("standard output takes one photograph: give a folder for several")
    if sys.stdout is None:
        raise ConfigError("standard output is closed: give -o a file")
    if sys.stdout.isatty():
        raise ConfigError("standard output is a terminal: redirect it, or give -o a file")
    destination = Stream(sys.stdout)
    (photo,) = photos
    destination.check(photos, [STANDARD])
    target = "stdin" if photo.address == STANDARD else photo.address
    numbers, numbered = given_numbers(args)
    if numbered:
        raise ConfigError("standard output takes one variant: give -o a folder, or --variant N")
    return Outputs(destination, given_options(args), [Item(photo, target, numbers)])


def _named_format(output: str) -> str | None:
    """The format of an output that is one file, or None for a folder; raises ConfigError."""
    path = Path(output)
    if path.is_dir() or output.endswith("/"):
        return None
    found = find_format(output)
    if found or output.startswith(S3):
        return found
    if path.exists():
        raise ConfigError(f"{output} is neither a folder nor named as a picture ({suffixes()})")
    if path.suffix:
        raise ConfigError(
            f"-o {output}: pictures are written as {suffixes()}; for a folder of that name give "
            f"{output}/"
        )
    return None
