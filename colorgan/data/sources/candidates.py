"""The interface of sources and of the candidates that they yield."""

import hashlib
import io
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol, TypeVar

from PIL import Image

from colorgan.data import scenes
from colorgan.data.naming import readable
from colorgan.errors import ImageRejected
from colorgan.images.decoding import decode_colors
from colorgan.storage import Storage, open_storage

# Downloads the bytes at a URL; raises ImageRejected on failure.
Fetch = Callable[[str], bytes]

Item = TypeVar("Item")


class Candidate(Protocol):
    """A possible photograph, which examination may reject. It is small and can be pickled.

    Attributes:
        label: its class.
        source: its path or URL, for people; two candidates with equal sources are the same.
        split: the split that the source assigns, or None to split by content.
        licence: its licence; empty if the source does not give one.
        stamp: a text that differs if the file is known to have changed.
    """

    @property
    def label(self) -> str: ...  # noqa: D102
    @property
    def source(self) -> str: ...  # noqa: D102
    @property
    def split(self) -> str | None: ...  # noqa: D102
    @property
    def licence(self) -> str: ...  # noqa: D102
    @property
    def stamp(self) -> str: ...  # noqa: D102

    def read(self, fetch: Fetch) -> bytes:
        """The file's bytes; raises ImageRejected or OSError."""
        ...

    def decode(self, data: bytes, max_pixels: int) -> Image.Image:
        """Decode the bytes to a photograph of mode RGB; raises ImageRejected."""
        ...


class Source(Protocol):
    """A source of photographs.

    Attributes:
        description: the source as text, for the manifest.
        classes: the labels, in order.
        names: the names of the classes whose names differ from their labels, by label.
        has_splits: whether it assigns its candidates to splits.
        made_up: the splits that it lacks, to be divided off its train split by content.
        notes: sentences on whatever may differ from the owner's intent.
        downloads: whether reading its candidates downloads them from the web.
        excluded: number of photographs that the source itself left out, by reason.
    """

    has_splits: bool
    downloads: bool

    @property
    def made_up(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def names(self) -> Mapping[str, str]: ...  # noqa: D102
    @property
    def notes(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def description(self) -> str: ...  # noqa: D102
    @property
    def classes(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def excluded(self) -> Mapping[str, int]: ...  # noqa: D102

    def candidates(self, label: str, split: str | None = None) -> Iterator[Candidate]:
        """The candidates of a class, always in the same order.

        Args:
            label: one of the classes.
            split: train, val or test if the source has splits, otherwise None.
        """
        ...


class _Encoded:
    """A candidate whose bytes are an image file."""

    def decode(self, data: bytes, max_pixels: int) -> Image.Image:
        """Decode the bytes of the image file."""
        return decode_colors(data, max_pixels)


@dataclass(frozen=True)
class FileCandidate(_Encoded):
    """A photograph in a file."""

    path: Path
    label: str
    split: str | None = None
    licence: str = ""

    @property
    def source(self) -> str:
        """The file's path as valid Unicode."""
        return readable(self.path)

    @property
    def stamp(self) -> str:
        """The file's size and modification time."""
        try:
            status = self.path.stat()
        except (OSError, UnicodeEncodeError):
            return ""
        return f"{status.st_size} {status.st_mtime_ns}"

    def read(self, fetch: Fetch) -> bytes:
        """Read the file."""
        if not stat.S_ISREG(self.path.stat().st_mode):  # reading a pipe would block
            raise ImageRejected("not a file", "a pipe, a socket or a device")
        return self.path.read_bytes()


@dataclass(frozen=True)
class UrlCandidate(_Encoded):
    """A photograph at an http:// or https:// address."""

    url: str
    label: str
    licence: str = ""
    split: str | None = None
    stamp: str = ""

    @property
    def source(self) -> str:
        """The URL without user name and password."""
        return re.sub(r"^(\w+://)[^/?#]*@", r"\1", self.url)

    def read(self, fetch: Fetch) -> bytes:
        """Download the photograph."""
        return fetch(self.url)


@dataclass(frozen=True)
class MemberCandidate(_Encoded):
    """A photograph in a tar archive, located by its offset.

    Attributes:
        archive: the path of a file, or the key of an object in `storage`.
        storage: URI of the storage that holds the archive; empty for a file.
        member: the photograph's name in the archive.
        offset: the offset of its first byte in the archive.
        size: its size in bytes.
    """

    archive: str
    storage: str
    member: str
    offset: int
    size: int
    label: str
    split: str | None = None
    licence: str = ""
    stamp: str = ""

    @property
    def source(self) -> str:
        """The archive's path or key, and the photograph's name in it."""
        return readable(f"{self.archive}/{self.member}")

    def read(self, fetch: Fetch) -> bytes:
        """Read the photograph's bytes from the archive."""
        with self._open() as file:
            file.seek(self.offset)
            return file.read(self.size)

    def _open(self) -> io.BufferedReader:
        if self.storage:
            return _storage(self.storage).open(self.archive)
        return Path(self.archive).open("rb")


@cache
def _storage(uri: str) -> Storage:
    return open_storage(uri)


@dataclass(frozen=True)
class SceneCandidate:
    """A scene, drawn on demand."""

    label: str
    seed: int
    size: int
    split: str | None = None
    licence: str = ""
    stamp: str = ""

    @property
    def source(self) -> str:
        """The scene's name, which is enough to draw it again."""
        return f"scenes:{self.label}/{self.seed}"

    def read(self, fetch: Fetch) -> bytes:
        """Return no bytes: a scene has no file."""
        return b""

    def decode(self, data: bytes, max_pixels: int) -> Image.Image:
        """Draw the scene, 4:3 with a short side of `size` pixels."""
        return Image.fromarray(
            scenes.draw_scene(self.label, self.seed, self.size, round(self.size * 4 / 3))
        )


def shuffled(items: Iterable[Item], seed: int, name: Callable[[Item], str]) -> list[Item]:
    """Sort items in a random order that depends only on the seed and their names.

    The order does not depend on the order in which items were found, and items that are added later
    do not change the order of the others.
    """

    def place(item: Item) -> bytes:
        text = f"{seed}/{name(item)}".encode("utf-8", "surrogateescape")  # for any file name
        return hashlib.blake2b(text, digest_size=16).digest()

    return sorted(items, key=place)
