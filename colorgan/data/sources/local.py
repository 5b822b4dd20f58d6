"""Local sources: folders of photographs, and drawn scenes."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from colorgan.data import scenes
from colorgan.data.naming import readable
from colorgan.data.sources.candidates import FileCandidate, SceneCandidate, shuffled
from colorgan.data.sources.excluded import NO_FOLDER
from colorgan.data.sources.files import check_folder
from colorgan.data.sources.folders import files_below, read_layout
from colorgan.data.splits import missing_splits


class FolderSource:
    """One folder per class, or SPLIT/CLASS/ or CLASS/SPLIT/ for photographs already split."""

    downloads = False

    def __init__(self, path: Path, seed: int | None = None) -> None:
        """Find the classes and splits by the folders' names.

        Args:
            path: the folder.
            seed: the seed of the files' random order; None sorts them by path.

        Raises:
            ConfigError: the folder does not exist or cannot be read, holds no class, or holds
                splits and classes side by side.
        """
        self.path = check_folder(path)
        self.seed = seed
        layout = read_layout(self.path)
        self._folders = layout.folders
        self.classes = tuple(sorted({label for label, _ in layout.folders}))
        self.names = layout.names
        self.notes = layout.notes
        self.has_splits = bool(layout.splits)
        self.made_up = missing_splits(layout.splits)
        self.excluded: Counter[str] = Counter({NO_FOLDER: layout.strays} if layout.strays else {})
        self.description = f"folder:{readable(self.path)}"

    def candidates(self, label: str, split: str | None = None) -> Iterator[FileCandidate]:
        """Every file below the class's folders, except hidden files and those of systems."""
        files = [
            (path, path.relative_to(folder))
            for folder in self._folders.get((label, split), ())
            for path in files_below(folder)
        ]
        if self.seed is not None:
            # By relative path, so that a moved folder gives the same order.
            files = shuffled(files, self.seed, lambda file: str(file[1]))
        for path, _ in files:
            yield FileCandidate(path, label, split)


class SceneSource:
    """The embedded dataset: procedurally drawn scenes, determined by a seed, without downloads."""

    has_splits = False
    made_up = ()
    downloads = False
    names: Mapping[str, str] = MappingProxyType({})
    notes = ()
    excluded: Mapping[str, int] = MappingProxyType({})

    def __init__(self, per_class: int, seed: int, size: int) -> None:
        """Describe the scenes; nothing is drawn yet.

        Args:
            per_class: number of scenes per class.
            seed: determines the scenes.
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
