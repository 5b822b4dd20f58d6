"""What a source yields: candidates, photographs that may turn out not to be any."""

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

# What gets the bytes at an address; raises ImageRejected where there are none.
Fetch = Callable[[str], bytes]

Item = TypeVar("Item")


class Candidate(Protocol):
    """A photograph that may turn out not to be one. It is small, and can be pickled.

    Attributes:
        label: its class.
        source: where it is, for people; two candidates of one source are the same.
        split: the split that the source put it in, or None to split by content.
        licence: under which it may be used; empty where the source does not say.
        stamp: changes when what is there is known to have changed.
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
        """The file's bytes; raises ImageRejected, or OSError."""
        ...

    def decode(self, data: bytes, max_pixels: int) -> Image.Image:
        """The photograph in these bytes, of mode RGB; raises ImageRejected."""
        ...


class Source(Protocol):
    """A place that photographs come from.

    Attributes:
        description: the source in words, for the manifest.
        classes: the labels, in order.
        names: what people call the classes whose names are not their labels, by label.
        has_splits: whether its candidates name their splits.
        made_up: splits that the source has not, to be taken from its train by content.
        notes: sentences on what may not be as the source's owner means it.
        downloads: whether reading its candidates means asking other people's machines.
        excluded: what the source itself left out, by reason.
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
        """A class's candidates, in an order that is the same every time.

        Args:
            label: one of the classes.
            split: one of train, val and test where the source has splits, None where not.
        """
        ...


class _Encoded:
    """A candidate whose bytes are those of an image file."""

    def decode(self, data: bytes, max_pixels: int) -> Image.Image:
        """Decode what was read."""
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
        """The file's path; readable, whatever its name."""
        return readable(self.path)

    @property
    def stamp(self) -> str:
        """The file's size and the time of its last change."""
        try:
            status = self.path.stat()
        except (OSError, UnicodeEncodeError):
            return ""
        return f"{status.st_size} {status.st_mtime_ns}"

    def read(self, fetch: Fetch) -> bytes:
        """Read the file."""
        if not stat.S_ISREG(self.path.stat().st_mode):  # a pipe would be waited for
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
        """The address, without user name and password."""
        return re.sub(r"^(\w+://)[^/?#]*@", r"\1", self.url)

    def read(self, fetch: Fetch) -> bytes:
        """Download it."""
        return fetch(self.url)


@dataclass(frozen=True)
class MemberCandidate(_Encoded):
    """A photograph in a tar archive, found by its place there.

    Attributes:
        archive: the path of a file, or the key of an object in `storage`.
        storage: address of the storage that holds the archive; empty for a file.
        member: the photograph's name in the archive.
        offset: of its first byte in the archive.
        size: in bytes.
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
        """Read its part of the archive."""
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
    """A scene that is drawn when it is asked for."""

    label: str
    seed: int
    size: int
    split: str | None = None
    licence: str = ""
    stamp: str = ""

    @property
    def source(self) -> str:
        """The scene's name, which draws it again."""
        return f"scenes:{self.label}/{self.seed}"

    def read(self, fetch: Fetch) -> bytes:
        """Nothing: a scene is in no file."""
        return b""

    def decode(self, data: bytes, max_pixels: int) -> Image.Image:
        """Draw the scene, 4:3 with a short side of `size` pixels."""
        return Image.fromarray(
            scenes.draw_scene(self.label, self.seed, self.size, round(self.size * 4 / 3))
        )


def shuffled(items: Iterable[Item], seed: int, name: Callable[[Item], str]) -> list[Item]:
    """Items in a random order that follows from the seed and their names alone.

    So the order is the same whatever the order in which they were found, and items that are added
    later leave the others where they were.
    """

    def place(item: Item) -> bytes:
        text = f"{seed}/{name(item)}".encode("utf-8", "surrogateescape")  # files have any name
        return hashlib.blake2b(text, digest_size=16).digest()

    return sorted(items, key=place)
