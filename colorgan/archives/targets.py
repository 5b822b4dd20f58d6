"""Where each colouring goes: the tree and the names of the photographs are kept."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import PurePosixPath

from colorgan.archives.listing import Photo, common_folder, whole_path

Suffix = Callable[[str], str]  # the suffix of the output of a photograph of this name


def choose_targets(photos: Sequence[Photo], suffix: Suffix) -> list[str]:
    """The outputs of photographs, as paths in the output folder.

    `sub/a.jpg` becomes `sub/a.png`. If photographs of several folders would get the same name, all
    of them keep their paths below the folder that they have in common. Photographs of one folder
    that differ by their suffix alone, such as `a.jpg` and `a.tif`, keep their names whole:
    `a.jpg.png` and `a.tif.png`; one that has the output's suffix, `a.png`, keeps its own.

    Args:
        photos: the photographs; no two have the same address.
        suffix: returns the output's suffix for a photograph's name.

    Returns:
        A path for each, with slashes. No two differ by upper and lower case alone, as not every
        file system tells them apart.
    """
    names = [photo.name for photo in photos]
    folders: dict[str, set[str]] = {}
    for photo, name in zip(photos, names, strict=True):
        folders.setdefault(_short(name, suffix).casefold(), set()).add(_folder(photo))
    if any(len(sources) > 1 for sources in folders.values()):
        paths = [whole_path(photo) for photo in photos]
        common = common_folder(paths)
        names = [path[len(common) :] for path in paths]
    return _distinct(names, suffix)


def _distinct(names: Sequence[str], suffix: Suffix) -> list[str]:
    counts = Counter(_short(name, suffix).casefold() for name in names)
    # Names that nobody else wants are given first, so that others do not take them.
    chosen: dict[int, str] = {}
    taken: set[str] = set()
    for alone in (True, False):
        for number, name in enumerate(names):
            short = _short(name, suffix)
            if (counts[short.casefold()] == 1) != alone:
                continue
            keeps = name.casefold() == short.casefold()
            choice = short if alone or keeps else name + suffix(name)
            chosen[number] = _free(choice, taken)
            taken.add(chosen[number].casefold())
    return [chosen[number] for number in range(len(names))]


def _free(path: str, taken: Iterable[str]) -> str:
    stem, ending = os.path.splitext(path)  # noqa: PTH122 - a path as text, which may have no folder
    number = 1
    while path.casefold() in taken:
        number += 1
        path = f"{stem}-{number}{ending}"
    return path


def _short(name: str, suffix: Suffix) -> str:
    """The name with the output's suffix instead of its own."""
    path = PurePosixPath(name)
    return str(path.with_name(path.stem + suffix(name)))


def _folder(photo: Photo) -> str:
    return whole_path(photo).rpartition("/")[0]
