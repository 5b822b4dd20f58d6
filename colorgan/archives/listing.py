"""The photographs of an archive: files, folders, lists of files, buckets and staged datasets."""

import codecs
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path, PurePosixPath

from colorgan.archives.reading import DATASET, S3, bucket_and_key, open_bucket, row_address
from colorgan.data.dataset import Dataset, open_dataset
from colorgan.data.sources.files import is_folder
from colorgan.data.sources.folders import files_below, files_in, is_left_behind, subfolders
from colorgan.errors import ConfigError
from colorgan.images.formats import FORMATS
from colorgan.storage import Storage

STANDARD = "-"  # standard input as a photograph
LIST = "@"  # the prefix of a list of photographs; @- is a list on standard input
_BOMS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


@dataclass(frozen=True, slots=True)
class Photo:
    """A photograph to colour.

    Attributes:
        address: a file's path, s3://bucket/key, `-` for standard input, or a row of a dataset as
            `row_address` writes it.
        name: its path inside the source that it was found in, which decides the output's name.
    """

    address: str
    name: str

    def absolute(self) -> "Photo":
        """The same photograph, for a process that may have another working directory."""
        if is_file_address(self.address):
            return replace(self, address=os.path.abspath(self.address))  # noqa: PTH100 - keeps ".."
        return self


@dataclass
class Found:
    """The photographs of some sources.

    Attributes:
        photos: the photographs, in the order of the sources; those of a folder by path.
        left_out: number of files in folders that are not named as pictures, by suffix.
        folders: number of subfolders that were not entered.
    """

    photos: list[Photo] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    folders: int = 0

    def notes(self) -> Iterator[str]:
        """Sentences on what was left out."""
        if self.left_out:
            kinds = ", ".join(f"{count} {kind}" for kind, count in self.left_out.most_common(5))
            yield f"left out {self.left_out.total()} files that are not named as pictures: {kinds}"
        if self.folders:
            yield (
                f"left out {self.folders} folder{'s' * (self.folders > 1)} inside: --recursive "
                "takes their photographs, too"
            )


def find_photographs(
    sources: Sequence[str],
    open_datasets: Callable[[], Storage],
    recursive: bool = False,
    output: str | None = None,
    read_stdin: Callable[[], bytes] | None = None,
) -> Found:
    """Find the photographs of some sources.

    Args:
        sources: files, folders, `-` for a photograph on standard input, @FILE for a list with a
            path or address a line (or separated by NUL), @- for such a list on standard input,
            s3://bucket/prefix, or dataset:NAME.
        open_datasets: opens the storage of the datasets; called if a source is a dataset.
        recursive: whether subfolders are entered.
        output: the folder or s3:// prefix of the colourings; what it holds is no source.
        read_stdin: returns the content of standard input; None if it cannot be read.

    Raises:
        ConfigError: a list or folder cannot be read, or a folder is its own output.
        ColorganError: a bucket or dataset cannot be listed.
    """
    finder = _Finder(open_datasets, recursive, output)
    for source in sources:
        if source.startswith(LIST) and len(source) > 1:
            finder.add_list(_lines(source, read_stdin))
        else:
            finder.add(source)
    found = finder.found
    # A photograph that was named twice is coloured once.
    found.photos = list({photo.address: photo for photo in found.photos}.values())
    return found


def is_file_address(address: str) -> bool:
    """Whether an address is the path of a file."""
    return address != STANDARD and not address.startswith((S3, DATASET))


def whole_path(photo: Photo) -> str:
    """The absolute path of a photograph, with a folder for each bucket beside those of files."""
    if is_file_address(photo.address):
        return os.path.abspath(photo.address)  # noqa: PTH100 - symbolic links stay
    return "/" + photo.address.replace("://", ":/")


class _Finder:
    def __init__(
        self, open_datasets: Callable[[], Storage], recursive: bool, output: str | None
    ) -> None:
        self.found = Found()
        self._open_datasets = open_datasets
        self._recursive = recursive
        self._output = output

    def add(self, source: str) -> None:
        if source.startswith(S3):
            self._add_bucket(source)
        elif source.startswith(DATASET):
            dataset = open_dataset(self._open_datasets(), source.removeprefix(DATASET))
            self.found.photos += _rows(dataset)
        elif source != STANDARD and is_folder(Path(source)):
            self._add_folder(Path(source))
        else:
            name = "stdin" if source == STANDARD else PurePosixPath(source).name
            self.found.photos.append(Photo(source, name))

    def add_list(self, lines: Iterable[str]) -> None:
        """Add the photographs of a list, named by their paths inside their common folder."""
        before = self.found.photos
        self.found.photos = []
        for line in lines:
            self.add(line)
        listed = self.found.photos
        paths = [whole_path(photo) for photo in listed]
        common = common_folder(paths)
        named = (path[len(common) :] for path in paths)
        self.found.photos = before + [
            replace(photo, name=name) for photo, name in zip(listed, named, strict=True)
        ]

    def _add_folder(self, folder: Path) -> None:
        output = None
        if self._output and is_file_address(self._output):
            output = Path(self._output).resolve()
            if output == folder.resolve():
                raise ConfigError(f"{folder} is both read and written: give another output folder")
        if self._recursive:
            paths = files_below(folder)
        else:
            paths = files_in(folder)
            self.found.folders += len(subfolders(folder))
        inside = output is not None and folder.resolve() in output.parents
        for path in paths:
            if inside and output in path.resolve().parents:
                continue
            self._take(str(path), path.relative_to(folder).as_posix())

    def _add_bucket(self, source: str) -> None:
        bucket, key = bucket_and_key(source)
        storage = open_bucket(bucket)
        if key and storage.exists(key):
            self.found.photos.append(Photo(source, PurePosixPath(key).name))
            return
        prefix = f"{key}/" if key else ""
        output = f"{self._output.rstrip('/')}/" if self._output else None
        if output == f"{S3}{bucket}/{prefix}":
            raise ConfigError(f"{source} is both read and written: give another output")
        folders = set()
        for each in storage.list(key):
            name = each.removeprefix(prefix)
            address = f"{S3}{bucket}/{each}"
            if (output and address.startswith(output)) or any(
                is_left_behind(part) for part in name.split("/")
            ):
                continue
            if "/" in name and not self._recursive:
                folders.add(name.partition("/")[0])
                continue
            self._take(address, name)
        self.found.folders += len(folders)

    def _take(self, address: str, name: str) -> None:
        suffix = PurePosixPath(name).suffix.lower()
        if suffix and suffix not in _picture_suffixes():
            self.found.left_out[suffix] += 1
        else:
            self.found.photos.append(Photo(address, name))


def common_folder(paths: Sequence[str]) -> str:
    """The folder that holds all of some absolute paths, with a slash at its end."""
    if not paths:
        return ""
    common = os.path.commonpath([path.rpartition("/")[0] or "/" for path in paths])
    return common if common.endswith("/") else f"{common}/"


@cache
def _picture_suffixes() -> frozenset[str]:
    """The suffixes of every known format, also of those that are refused with a way out."""
    return frozenset(
        suffix
        for each in FORMATS
        if not any(kind.startswith("video/") for kind in each.media_types)
        for suffix in each.suffixes
    )


def _lines(source: str, read_stdin: Callable[[], bytes] | None) -> Iterator[str]:
    path = source.removeprefix(LIST)
    try:
        if path == STANDARD:
            if read_stdin is None:
                raise ConfigError("a list cannot be read from standard input here: give a file")
            data = read_stdin()
        else:
            data = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{source}: {error.strerror or error}") from None
    for mark, encoding in _BOMS.items():
        if data.startswith(mark):
            data = data.decode(encoding, "replace").encode()
    separator = b"\0" if b"\0" in data else b"\n"
    for line in data.removeprefix(codecs.BOM_UTF8).split(separator):
        # Names of files are bytes: what is no UTF-8 must still name the same file.
        if text := os.fsdecode(line.rstrip(b"\r") if separator == b"\n" else line):
            yield text


def _rows(dataset: Dataset) -> Iterator[Photo]:
    """The photographs of a dataset, named CLASS/SPLIT/ and as the file that they came from."""
    manifest = dataset.manifest
    for shard in manifest.shards:
        for number, source in enumerate(dataset.sources_in(shard)):
            stem = PurePosixPath(source.replace(":", "/")).name or f"{number:06d}"
            address = row_address(manifest.name, shard.key, number)
            yield Photo(address, f"{shard.label}/{shard.split}/{stem}")
