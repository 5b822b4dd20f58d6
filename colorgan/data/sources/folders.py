"""Folders of photographs: their content, and which folders are classes or splits."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from colorgan.data.naming import ClassNames, class_name, readable
from colorgan.data.sources.files import is_folder
from colorgan.data.splits import split_named
from colorgan.errors import ConfigError

# Names left among files by operating systems, archivers and network storage, besides hidden ones.
_LEFT_BEHIND = {
    *("__macosx", "icon\r", "@eadir", "#recycle", "$recycle.bin", "system volume information"),
    *("lost+found", "thumbs.db", "ehthumbs.db", "desktop.ini"),
}

_NAMED = 10  # maximum number of folders named in a sentence


def is_left_behind(name: str) -> bool:
    """Whether a file or folder is hidden or made by the system (`__MACOSX`, `._a.jpg`)."""
    return name.startswith(".") or name.lower() in _LEFT_BEHIND


def subfolders(folder: Path) -> list[Path]:
    """The folders directly in a folder, including links to folders, sorted by name.

    Links to the folder itself or to one of its parents are left out.

    Raises:
        ConfigError: the folder cannot be read.
    """
    around = _identities(folder)
    return [
        path for path, is_inner in _entries(folder) if is_inner and _identity(path) not in around
    ]


def files_in(folder: Path) -> list[Path]:
    """The files directly in a folder, sorted by name; raises ConfigError if it cannot be read."""
    return [path for path, is_inner in _entries(folder) if not is_inner]


def files_below(folder: Path) -> list[Path]:
    """All files in a folder and its subfolders, sorted by path.

    Links to files and folders are followed. Each folder is entered once, and parents of this one
    never, so that cyclic links do no harm. The result may include pipes and broken links.

    Raises:
        ConfigError: a folder cannot be read.
    """
    entered = _identities(folder)
    found, waiting = [], [folder]
    while waiting:
        for path, is_inner in _entries(waiting.pop()):
            if not is_inner:
                found.append(path)
            elif (identity := _identity(path)) not in entered:
                entered.add(identity)
                waiting.append(path)
    return sorted(found)


def _entries(folder: Path) -> list[tuple[Path, bool]]:
    """The entries of a folder by name, and whether each is a folder or a link to one."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(
                # DirEntry.is_dir raises for a link to itself.
                (entry.name, is_folder(Path(entry)) if entry.is_symlink() else entry.is_dir())
                for entry in entries
                if not is_left_behind(entry.name)
            )
    except OSError as error:
        raise _unreadable(folder, error) from None
    return [(folder / name, is_inner) for name, is_inner in names]


def _identity(folder: Path) -> tuple[int, int]:
    try:
        status = folder.stat()
    except OSError as error:
        raise _unreadable(folder, error) from None
    return status.st_dev, status.st_ino


def _identities(folder: Path) -> set[tuple[int, int]]:
    """The identities of a folder and its parents, independent of their names."""
    return {_identity(each) for each in (folder, *folder.resolve().parents)}


def _unreadable(folder: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"{readable(folder)} cannot be read ({error.strerror}): change its permissions, or move it "
        "away"
    )


# A class's name, its split if there is one, and a folder of its photographs.
_Found = tuple[str, str | None, Path]


@dataclass(frozen=True)
class Layout:
    """The classes and splits of a folder tree.

    Attributes:
        folders: the folders by class key and split; the split is None if there are no splits.
        names: the names of the classes whose names differ from their keys, by key.
        splits: the splits that exist: train, val or test.
        strays: number of files with a picture's suffix outside the folder of any class.
        notes: sentences on whatever may differ from the owner's intent.
    """

    folders: Mapping[tuple[str, str | None], Sequence[Path]]
    names: Mapping[str, str]
    splits: frozenset[str]
    strays: int
    notes: tuple[str, ...]


def read_layout(root: Path) -> Layout:
    """Find the classes of a tree: CLASS/, SPLIT/CLASS/ or CLASS/SPLIT/.

    A split is a folder with the name of a split (`split_named`) that holds folders. Beside classes,
    a folder `train` without folders is itself a class, like a train beside `car`.

    Raises:
        ConfigError: there is no class, splits and classes are side by side, two folders would be
            the same class, or a folder cannot be read.
    """
    children = subfolders(root)
    below = {child: subfolders(child) for child in children}
    named = [child for child in children if split_named(child.name)]
    classes = [child for child in children if child not in named]
    if classes and any(below[child] or split_named(child.name) != "train" for child in named):
        raise ConfigError(
            f"{readable(root)} holds splits ({_listed(named)}) and classes ({_listed(classes)}) "
            "side by side: move the classes into the splits, or rename those that are not splits"
        )
    if classes:
        return _by_class(root, children, below)
    if not any(below.values()):
        count = _pictures([root, *named])
        raise ConfigError(
            f"{readable(root)} has no folder per class: put the photographs of each class into "
            f"{readable(root / named[0].name if named else root)}/CLASS"
            + (f" (photographs outside of any class folder: {count})" if count else "")
        )
    found = [(each.name, split_named(child.name), each) for child in named for each in below[child]]
    notes = [
        f"{readable(child)} has no folder per class, so the classes of its photographs are unknown."
        for child in named
        if not below[child] and _pictures([child])
    ]
    return _layout(found, [root, *named], notes)


def _by_class(root: Path, children: Sequence[Path], below: Mapping[Path, Sequence[Path]]) -> Layout:
    """The layout of a tree CLASS/ or CLASS/SPLIT/; raises ConfigError."""
    splits = {child: {split_named(each.name) for each in below[child]} for child in children}
    divided = [child for child in children if len(splits[child] - {None}) > 1]
    if divided and len(children) == 1 and (None in splits[divided[0]] or _deep(below[divided[0]])):
        raise ConfigError(
            f"{readable(root)} holds one folder, {_listed(divided)}, and the splits are in that: "
            f"give folder:{readable(divided[0])}"
        )
    if divided and all(splits[child] and None not in splits[child] for child in children):
        found: list[_Found] = [
            (child.name, split_named(each.name), each)
            for child in children
            for each in below[child]
        ]
        return _layout(found, [root, *children], ())
    if divided:
        raise ConfigError(
            f"in {readable(root)}, {_listed(divided)} holds splits, and not all classes hold "
            "splits alone: divide all of them in the same way, or none"
        )
    notes = [
        f"{readable(child)} holds no folder, so it is taken as a class, not as a split."
        for child in children
        if split_named(child.name)
    ]
    if len(children) == 1 and below[children[0]] and not _pictures(children):
        inside = _listed(below[children[0]])
        notes.append(
            f"{_listed(children)} is taken as the only class; if the classes are {inside} in it, "
            f"give folder:{readable(children[0])}."
        )
    return _layout([(child.name, None, child) for child in children], [root], notes)


def _layout(found: Sequence[_Found], around: Sequence[Path], notes: Sequence[str]) -> Layout:
    names = ClassNames()
    folders: dict[tuple[str, str | None], list[Path]] = {}
    for name, split, folder in found:
        folders.setdefault((names.add(name), split), []).append(folder)
    splits = frozenset(split for _, split, _ in found if split)
    return Layout(folders, names.different, splits, _pictures(around), tuple(notes))


def _deep(folders: Sequence[Path]) -> bool:
    return any(subfolders(folder) for folder in folders)


def _pictures(folders: Sequence[Path]) -> int:
    """The number of files directly in the folders that have a picture's suffix."""
    suffixes = Image.registered_extensions()
    return sum(path.suffix.lower() in suffixes for folder in folders for path in files_in(folder))


def _listed(folders: Sequence[Path]) -> str:
    names = [class_name(folder.name) for folder in folders[:_NAMED]]
    more = [f"{len(folders) - _NAMED} more"] if len(folders) > _NAMED else []
    return ", ".join(names + more)
