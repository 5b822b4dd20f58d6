"""Where photographs come from: a source yields candidates, in a fixed order."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from colorgan.data import scenes
from colorgan.data.dataset import SPLITS, check_class
from colorgan.errors import ConfigError
from colorgan.images.decoding import Photograph, decode


class Candidate(Protocol):
    """A photograph that may turn out not to be one.

    Attributes:
        label: its class.
        source: where it is, for people.
        split: the split that the source put it in, or None to split by content.
    """

    @property
    def label(self) -> str: ...  # noqa: D102
    @property
    def source(self) -> str: ...  # noqa: D102
    @property
    def split(self) -> str | None: ...  # noqa: D102

    def decode(self, max_pixels: int) -> Photograph:
        """Fetch and decode it; raises ImageRejected with the reason why it cannot be used."""
        ...


class Source(Protocol):
    """A place that photographs come from.

    Attributes:
        description: the source in words, for the manifest.
        classes: the labels, in order.
        has_splits: whether its candidates name their splits.
    """

    has_splits: bool

    @property
    def description(self) -> str: ...  # noqa: D102
    @property
    def classes(self) -> tuple[str, ...]: ...  # noqa: D102

    def candidates(self) -> Iterator[Candidate]:
        """Every candidate, in an order that is the same every time."""
        ...


@dataclass(frozen=True)
class FileCandidate:
    """A photograph in a file."""

    path: Path
    label: str
    split: str | None = None

    @property
    def source(self) -> str:
        """The file's path."""
        return str(self.path)

    def decode(self, max_pixels: int) -> Photograph:
        """Read and decode the file; raises ImageRejected."""
        return decode(self.path.read_bytes(), max_pixels)


class FolderSource:
    """A folder a class, or `{train,val,test}/CLASS` where the split exists already."""

    def __init__(self, path: Path, per_class: int | None = None, seed: int = 0) -> None:
        """Look at the folders' names.

        Args:
            path: the folder.
            per_class: at most so many photographs a class (and split), drawn at random.
            seed: of that draw.

        Raises:
            ConfigError: the folder does not exist, or holds no class.
        """
        if not path.is_dir():
            raise ConfigError(f"{path} is not a folder")
        self.path = path
        self.per_class = per_class
        self.seed = seed
        children = _folders(path)
        self.has_splits = bool(children) and set(children) <= set(SPLITS)
        labels = (
            sorted({label for split in children for label in _folders(path / split)})
            if self.has_splits
            else children
        )
        if not labels:
            raise ConfigError(f"{path} holds no folder a class: put the photographs in CLASS/")
        for label in labels:
            check_class(label)
        self.classes = tuple(labels)
        self.description = f"folder:{path}"

    def candidates(self) -> Iterator[FileCandidate]:
        """Every file under the folders of the classes but hidden ones, sorted by path."""
        for label in self.classes:
            for split in SPLITS if self.has_splits else (None,):
                folder = self.path / split / label if split else self.path / label
                for path in self._sample(folder):
                    yield FileCandidate(path, label, split)

    def _sample(self, folder: Path) -> list[Path]:
        files = sorted(
            path
            for path in folder.rglob("*")
            if path.is_file()
            and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        )
        if self.per_class is None or len(files) <= self.per_class:
            return files
        return sorted(random.Random(f"{self.seed}/{folder.name}").sample(files, self.per_class))


def _folders(path: Path) -> list[str]:
    return sorted(
        child.name for child in path.iterdir() if child.is_dir() and not child.name.startswith(".")
    )


@dataclass(frozen=True)
class SceneCandidate:
    """A scene that is drawn when it is asked for."""

    label: str
    seed: int
    size: int
    split: str | None = None

    @property
    def source(self) -> str:
        """The scene's name, which draws it again."""
        return f"scenes:{self.label}/{self.seed}"

    def decode(self, max_pixels: int) -> Photograph:
        """Draw the scene, 4:3 with a short side of `size` pixels."""
        return Photograph(
            scenes.draw_scene(self.label, self.seed, self.size, round(self.size * 4 / 3))
        )


class SceneSource:
    """The embedded dataset: procedurally drawn scenes, deterministic by seed, no download."""

    has_splits = False

    def __init__(self, per_class: int, seed: int, size: int) -> None:
        """Describe the scenes; nothing is drawn yet.

        Args:
            per_class: scenes a class.
            seed: another seed, other scenes.
            size: short side, in pixels.
        """
        self.per_class = per_class
        self.seed = seed
        self.size = size
        self.classes = scenes.CLASSES
        self.description = f"scenes, {per_class} a class, seed {seed}"

    def candidates(self) -> Iterator[SceneCandidate]:
        """Every scene, class by class."""
        for label in self.classes:
            for number in range(self.per_class):
                yield SceneCandidate(label, self.seed * 1_000_000 + number, self.size)


def find_source(spec: str, per_class: int | None, seed: int, size: int) -> Source:
    """The source that `folder:PATH` or `scenes` names.

    Args:
        spec: what the user typed.
        per_class: photographs a class; all of a folder's, and 120 scenes, where None.
        seed: of the scenes, or of the draw from a folder.
        size: short side of the scenes, in pixels.

    Raises:
        ConfigError: there is no such source.
    """

    if per_class is not None and per_class < 1:
        raise ConfigError("--per-class must be at least 1")
    if seed < 0:
        raise ConfigError("--seed must not be negative")
    kind, _, path = spec.partition(":")
    if kind == "folder" and path:
        return FolderSource(Path(path), per_class, seed)
    if spec == "scenes":
        return SceneSource(per_class or 120, seed, size)
    raise ConfigError(f"no source {spec!r}: give folder:PATH or scenes")
