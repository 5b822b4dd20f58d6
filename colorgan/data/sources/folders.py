"""Folders of photographs: what is in them, and which of them are classes and which are splits."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from colorgan.data.naming import ClassNames, class_name, readable
from colorgan.data.sources.files import is_folder
from colorgan.data.splits import split_named
from colorgan.errors import ConfigError

# What operating systems, archivers and network storage leave among files, beside hidden names.
_LEFT_BEHIND = {
    *("__macosx", "icon\r", "@eadir", "#recycle", "$recycle.bin", "system volume information"),
    *("lost+found", "thumbs.db", "ehthumbs.db", "desktop.ini"),
}

_NAMED = 10  # folders in a sentence


def is_left_behind(name: str) -> bool:
    """Whether a file or folder is hidden, or none of its user's own, as `__MACOSX` or `._a.jpg`."""
    return name.startswith(".") or name.lower() in _LEFT_BEHIND


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, and those that links in it lead to, by name.

    Links that lead back to the folder, or to one that it is in, are left out.

    Raises:
        ConfigError: the folder cannot be read.
    """
    around = _identities(folder)
    return [
        path for path, is_inner in _entries(folder) if is_inner and _identity(path) not in around
    ]


def files_in(folder: Path) -> list[Path]:
    """What is in a folder itself and no folder, by name; raises ConfigError."""
    return [path for path, is_inner in _entries(folder) if not is_inner]


def files_below(folder: Path) -> list[Path]:
    """All in a folder, and in those in it, that is no folder itself, sorted by path.

    Links to files and folders are followed. A folder is entered once, and none that this one is in,
    so links that lead in a circle do no harm. What is listed may be a pipe, or a link to nothing.

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
    """What is in a folder by name, and whether it is a folder, or a link to one."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(
                # Of a link to itself, is_dir of the entry raises.
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
    """What tells a folder, and those that it is in, from others by whatever name."""
    return {_identity(each) for each in (folder, *folder.resolve().parents)}


def _unreadable(folder: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"{readable(folder)} cannot be read ({error.strerror}): let yourself read it, or move it "
        "away"
    )


# A class's name, its split where there is one, and a folder of its photographs.
_Found = tuple[str, str | None, Path]


@dataclass(frozen=True)
class Layout:
    """What the folders of a tree are.

    Attributes:
        folders: those of each class, by its key, in each split; None where there are no splits.
        names: what people call the classes whose names are not their keys.
        splits: those that the tree has, of train, val and test.
        strays: files called like pictures that are in the folder of no class.
        notes: sentences on what may not be as its owner means it.
    """

    folders: Mapping[tuple[str, str | None], Sequence[Path]]
    names: Mapping[str, str]
    splits: frozenset[str]
    strays: int
    notes: tuple[str, ...]


def read_layout(root: Path) -> Layout:
    """Find the classes of a tree: CLASS/, SPLIT/CLASS/ or CLASS/SPLIT/.

    A split is a folder that is called like one (`split_named`) and holds folders. Beside classes, a
    folder `train` that holds none is a class, as it may be beside `car`.

    Raises:
        ConfigError: there is no class; splits and classes are side by side; two folders would be
            one class; or a folder cannot be read.
    """
    children = subfolders(root)
    below = {child: subfolders(child) for child in children}
    named = [child for child in children if split_named(child.name)]
    classes = [child for child in children if child not in named]
    if classes and any(below[child] or split_named(child.name) != "train" for child in named):
        raise ConfigError(
            f"{readable(root)} holds splits ({_listed(named)}) and classes ({_listed(classes)}) "
            "side by side: move the classes into the splits, or rename what is no split"
        )
    if classes:
        return _by_class(root, children, below)
    if not any(below.values()):
        count = _pictures([root, *named])
        raise ConfigError(
            f"{readable(root)} holds no folder a class: put the photographs of each class into "
            f"{readable(root / named[0].name if named else root)}/CLASS"
            + (f" (there are {count} outside of any)" if count else "")
        )
    found = [(each.name, split_named(child.name), each) for child in named for each in below[child]]
    notes = [
        f"{readable(child)} holds no folder a class, so nobody knows the classes of its "
        "photographs."
        for child in named
        if not below[child] and _pictures([child])
    ]
    return _layout(found, [root, *named], notes)


def _by_class(root: Path, children: Sequence[Path], below: Mapping[Path, Sequence[Path]]) -> Layout:
    """CLASS/ or CLASS/SPLIT/."""
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
        f"{readable(child)} holds no folder, so it is taken for a class and not for a split."
        for child in children
        if split_named(child.name)
    ]
    if len(children) == 1 and below[children[0]] and not _pictures(children):
        inside = _listed(below[children[0]])
        notes.append(
            f"{_listed(children)} is taken for the one class there is; if {inside} in it are the "
            f"classes, give folder:{readable(children[0])}."
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
    """How many files in the folders themselves are called like pictures."""
    suffixes = Image.registered_extensions()
    return sum(path.suffix.lower() in suffixes for folder in folders for path in files_in(folder))


def _listed(folders: Sequence[Path]) -> str:
    names = [class_name(folder.name) for folder in folders[:_NAMED]]
    more = [f"{len(folders) - _NAMED} more"] if len(folders) > _NAMED else []
    return ", ".join(names + more)
