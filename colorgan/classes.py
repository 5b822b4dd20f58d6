"""The photo classes and the names that datasets use for each, read from classes.toml."""

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from colorgan.errors import ConfigError
from colorgan.names import check_class


@dataclass(frozen=True)
class ImageNetLabel:
    """One of the 1,000 labels of ImageNet-1k: its WordNet synset (n01440764) and its name."""

    synset: str
    name: str


@cache
def imagenet_labels() -> tuple[ImageNetLabel, ...]:
    """The labels in the order of a classifier's outputs (Russakovsky et al. 2015)."""
    table = resources.files("colorgan").joinpath("imagenet.tsv").read_text("utf-8")
    return tuple(ImageNetLabel(*line.split("\t")) for line in table.splitlines())


@cache
def coco_supercategories() -> Mapping[str, str]:
    """COCO's supercategory ("animal") of each of its 80 categories (Lin et al. 2014).

    PASCAL VOC's names of the same things are keys, too.
    """
    table = resources.files("colorgan").joinpath("coco.tsv").read_text("utf-8")
    found: dict[str, str] = {}
    for line in table.splitlines():
        category, supercategory, *others = line.split("\t")
        found |= dict.fromkeys((category, *others), supercategory)
    return found


@dataclass(frozen=True)
class PhotoClasses:
    """The rule that routes a photograph to a class, and the names that datasets use for each class.

    Attributes:
        synsets: the ImageNet synset ids of each class.
        threshold: the lowest probability at which a label decides the class.
        fallback: the class of a photograph whose labels all stay below the threshold.
        coco: COCO supercategories ("animal") of each class; classes without any are left out.
        openimages: Open Images MIDs ("/m/0jbk") of each class; classes without any are left out.
    """

    synsets: Mapping[str, tuple[str, ...]]
    threshold: float
    fallback: str
    coco: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    openimages: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The classes, in order."""
        return tuple(self.synsets)

    def class_of(self, thing: str) -> str | None:
        """The class of a thing that a detector names; None if it belongs to none.

        The table `coco` decides: the name is a category or a supercategory of COCO, a class of
        PASCAL VOC, or that of a class itself.
        """
        if thing in self.names:
            return thing
        known = {thing, coco_supercategories().get(thing, thing)}
        return next((name for name, listed in self.coco.items() if known & {*listed}), None)

    @classmethod
    def load(cls, path: Path | None = None) -> "PhotoClasses":
        """Read a file in the format of classes.toml, by default classes.toml itself.

        Raises:
            ConfigError: the file cannot be read, names a synset that is not in ImageNet-1k, or
                puts the same synset, supercategory or MID in two classes.
        """
        try:
            if path is None:
                text = resources.files("colorgan").joinpath("classes.toml").read_text("utf-8")
            else:
                text = path.read_text("utf-8")
            return _build(tomllib.loads(text))
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from None
        except ValueError as error:  # from _build, TOML or UTF-8
            raise ConfigError(f"the classes in {path} cannot be used: {error}") from None


def _build(document: dict[str, Any]) -> PhotoClasses:
    unknown = document.keys() - {"classes", "threshold", "fallback", "coco", "openimages"}
    if unknown:
        raise ConfigError(f"unknown setting {', '.join(sorted(unknown))}")
    tables = document.get("classes")
    if not isinstance(tables, dict) or not tables:
        raise ConfigError('give a table [classes.NAME] with lines like n01440764 = "tench"')
    known = {label.synset for label in imagenet_labels()}
    owner: dict[str, str] = {}
    for name, table in tables.items():
        check_class(name)
        if not isinstance(table, dict) or not table:
            raise ConfigError(f'[classes.{name}] has no line n01440764 = "tench"')
        for synset in table:
            if synset not in known:
                raise ConfigError(f"{synset} in {name} is not a synset of ImageNet-1k")
            if synset in owner:
                raise ConfigError(f"{synset} is listed in both {owner[synset]} and {name}")
            owner[synset] = name
    threshold, fallback = document.get("threshold", 0.05), document.get("fallback")
    if not isinstance(threshold, float | int) or not 0 <= threshold <= 1:
        raise ConfigError(f"threshold {threshold!r} is not a probability")
    if not isinstance(fallback, str) or fallback not in tables:
        raise ConfigError(f"fallback = {fallback!r} is not one of its classes")
    return PhotoClasses(
        {name: tuple(table) for name, table in tables.items()},
        float(threshold),
        fallback,
        _names(document, "coco", tables, bool, "a supercategory such as animal"),
        _names(document, "openimages", tables, _is_mid, "a MID such as /m/0jbk"),
    )


def _is_mid(name: str) -> bool:
    return re.fullmatch(r"/[a-z]+/[0-9a-z_]+", name) is not None


def _names(
    document: dict[str, Any],
    setting: str,
    classes: Mapping[str, object],
    valid: Callable[[str], bool],
    kind: str,
) -> dict[str, tuple[str, ...]]:
    """Read the names of each class from the table [coco] or [openimages]; empty if it is absent."""
    table = document.get(setting, {})
    if not isinstance(table, dict):
        raise ConfigError(f"[{setting}] must be a table with lines class = [names]")
    owner: dict[str, str] = {}
    for label, names in table.items():
        if label not in classes:
            raise ConfigError(f"[{setting}] has {label}, which is not one of the classes")
        if not isinstance(names, list) or not names:
            raise ConfigError(f"{label} in [{setting}] must be a non-empty list of names")
        for name in names:
            if not isinstance(name, str) or not valid(name):
                raise ConfigError(f"{name!r} in [{setting}] is not {kind}")
            if name in owner:
                raise ConfigError(
                    f"{name} is listed in both {owner[name]} and {label} of [{setting}]"
                )
            owner[name] = label
    return {label: tuple(table[label]) for label in classes if label in table}
