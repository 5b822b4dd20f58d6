"""Photographs that are here already: in folders, or drawn."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from colorgan.data import scenes
from colorgan.data.dataset import SPLITS, check_class
from colorgan.data.sources.candidates import FileCandidate, SceneCandidate, shuffled
from colorgan.errors import ConfigError


class FolderSource:
    """A folder a class, or `{train,val,test}/CLASS` where the split exists already."""

    downloads = False
    excluded: Mapping[str, int] = MappingProxyType({})

    def __init__(self, path: Path, seed: int | None = None) -> None:
        """Look at the folders' names.

        Args:
            path: the folder.
            seed: of the files' random order; None sorts them by path.

        Raises:
            ConfigError: the folder does not exist, or holds no class.
        """
        if not path.is_dir():
            raise ConfigError(f"{path} is not a folder")
        self.path = path
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

    def candidates(self, label: str, split: str | None = None) -> Iterator[FileCandidate]:
        """Every file under the folder of the class but hidden ones."""
        folder = self.path / split / label if split else self.path / label
        files = sorted(
            path
            for path in folder.rglob("*")
            if path.is_file()
            and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        )
        if self.seed is not None:
            # By the path inside the folder: the same photographs elsewhere are drawn the same.
            files = shuffled(files, self.seed, lambda path: str(path.relative_to(folder)))
        for path in files:
            yield FileCandidate(path, label, split)


def _folders(path: Path) -> list[str]:
    return sorted(
        child.name for child in path.iterdir() if child.is_dir() and not child.name.startswith(".")
    )


class SceneSource:
    """The embedded dataset: procedurally drawn scenes, deterministic by seed, no download."""

    has_splits = False
    downloads = False
    excluded: Mapping[str, int] = MappingProxyType({})

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

    def candidates(self, label: str, split: str | None = None) -> Iterator[SceneCandidate]:
        """Every scene of the class."""
        for number in range(self.per_class):
            yield SceneCandidate(label, self.seed * 1_000_000 + number, self.size)
