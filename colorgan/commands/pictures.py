"""The photographs on a command line, and the files to which their colourings are written."""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from colorgan.commands.output import DEFAULT_FORMAT, add_output_options, read_output_options
from colorgan.commands.text import printable
from colorgan.errors import ConfigError
from colorgan.files import Input, check_outputs, check_stream, write_file
from colorgan.images.encoding import find_format, suffixes
from colorgan.images.writing import OutputOptions

STANDARD = "-"  # standard input as a photograph, standard output as an output
_STDIN, _STDOUT = 0, 1


@dataclass(frozen=True)
class Source:
    """A photograph to read.

    Attributes:
        path: path of the file; `stdin` for standard input.
        standard: whether the photograph is read from standard input.
    """

    path: Path
    standard: bool = False

    @classmethod
    def of(cls, argument: str) -> "Source":
        """Create a source from an argument: a path, or `-` for standard input."""
        return cls(Path("stdin"), True) if argument == STANDARD else cls(Path(argument))

    @property
    def input(self) -> Input:
        """The path or file descriptor, for `check_outputs`."""
        return _STDIN if self.standard else self.path

    def read(self) -> bytes:
        """Read the whole file; raises OSError."""
        if not self.standard:
            return self.path.read_bytes()
        if sys.stdin is None:
            raise OSError("standard input is closed")
        return sys.stdin.buffer.read()

    def times(self) -> tuple[int, int] | None:
        """When the file was last read and changed, in nanoseconds; None if that is not known."""
        if self.standard:
            return None
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_atime_ns, status.st_mtime_ns

    def __str__(self) -> str:
        """The path in printable form, for messages."""
        return printable(self.path)


@dataclass(frozen=True)
class Outputs:
    """The destinations of colourings, decided before any work.

    Attributes:
        options: how they are written.
        targets: the file to write for each photograph; None for standard output.
        skipped: number of photographs whose colouring already exists, with --skip-existing.
        replaced: files that --overwrite allows to be replaced.
        stream: standard output, if the colouring is written to it.
        keep_times: whether files get the times of their photographs.
    """

    options: OutputOptions
    targets: dict[Source, Path | None]
    skipped: int = 0
    replaced: frozenset[Path] = frozenset()
    stream: TextIO | None = None
    keep_times: bool = False

    def write(self, source: Source, data: bytes) -> str:
        """Write a photograph's colouring, and return the destination's name; raises NotWritten."""
        target = self.targets[source]
        if target is not None:
            times = source.times() if self.keep_times else None
            write_file(target, data, overwrite=target in self.replaced, times=times)
            return printable(target)
        assert self.stream is not None
        self.stream.buffer.write(data)
        self.stream.flush()
        return str(source)


def add_photographs(parser: argparse.ArgumentParser) -> None:
    """Add the arguments for photographs, and the option --page."""
    parser.add_argument(
        "photographs",
        metavar="PHOTO",
        nargs="+",
        type=Source.of,
        help=f"a file, or {STANDARD} for standard input",
    )
    parser.add_argument(
        "--page", type=int, metavar="N", help="page of multi-page TIFF files, counted from 1"
    )


def check_page(page: int | None) -> None:
    """Raise ConfigError if --page is less than 1."""
    if page is not None and page < 1:
        raise ConfigError("--page counts from 1")


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """Add the options for the destinations of colourings."""
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        required=True,
        help=f"a folder; or for one photograph a file, whose suffix ({suffixes()}) decides the "
        f"format, or {STANDARD} for standard output",
    )
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


def plan_outputs(args: argparse.Namespace) -> Outputs:
    """Decide the destinations of colourings; raises ConfigError if one would destroy a file."""
    sources: Sequence[Source] = args.photographs
    inputs = [source.input for source in sources]
    if args.output == STANDARD:
        return _standard_output(sources, read_output_options(args, args.format or DEFAULT_FORMAT))
    named = _named_format(args.output)
    options = read_output_options(args, named or args.format or DEFAULT_FORMAT)
    if named:
        if len(sources) > 1:
            raise ConfigError(f"{args.output} is one file: give a folder for several photographs")
        if args.format not in (None, named):
            raise ConfigError(f"-o {args.output} is {named}: drop --format {args.format}")
        targets = {sources[0]: Path(args.output)}
    else:
        targets = _in_folder(sources, Path(args.output), options)
    allowed = args.overwrite or args.skip_existing
    check_outputs(list(targets.values()), inputs, allowed, new_folders=True)
    there = frozenset(target for target in targets.values() if os.path.lexists(target))
    return Outputs(
        options,
        {
            source: target
            for source, target in targets.items()
            if not (args.skip_existing and target in there)
        },
        skipped=len(there) if args.skip_existing else 0,
        replaced=there,
        keep_times=args.keep_times,
    )


def _standard_output(sources: Sequence[Source], options: OutputOptions) -> Outputs:
    if len(sources) > 1:
        raise ConfigError("standard output takes one photograph: give a folder for several")
    if sys.stdout is None:
        raise ConfigError("standard output is closed: give -o a file")
    if sys.stdout.isatty():
        raise ConfigError("standard output is a terminal: redirect it, or give -o a file")
    check_stream(_STDOUT, [sources[0].input])
    return Outputs(options, {sources[0]: None}, stream=sys.stdout)


def _named_format(output: str) -> str | None:
    """The format of an output that is one file, or None for a folder; raises ConfigError."""
    path = Path(output)
    if path.is_dir() or output.endswith("/"):
        return None
    found = find_format(output)
    if found:
        return found
    if path.exists():
        raise ConfigError(f"{output} is neither a folder nor named as a picture ({suffixes()})")
    if path.suffix:
        raise ConfigError(
            f"-o {output}: pictures are written as {suffixes()}; for a folder of that name give "
            f"{output}/"
        )
    return None


def _in_folder(
    sources: Sequence[Source], folder: Path, options: OutputOptions
) -> dict[Source, Path]:
    names = (f"{source.path.stem}{options.suffix(source.path.name)}" for source in sources)
    targets = [(source, folder / name) for source, name in zip(sources, names, strict=True)]
    for target, count in Counter(target for _, target in targets).items():
        if count > 1:
            raise ConfigError(f"{count} photographs would be written to {target}")
    return dict(targets)
