"""The sources of photographs; they yield candidates in an order determined by a seed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from colorgan.classes import PhotoClasses
from colorgan.data.naming import readable
from colorgan.data.sources.candidates import Candidate, Source
from colorgan.data.sources.coco import CocoSource
from colorgan.data.sources.files import (
    Download,
    expand,
    is_archive,
    is_file,
    is_folder,
    without_secrets,
)
from colorgan.data.sources.imagenet import ImageNetPlaces, ImageNetSource
from colorgan.data.sources.local import FolderSource, SceneSource
from colorgan.data.sources.openimages import OpenImagesSource
from colorgan.data.sources.url_lists import UrlListSource
from colorgan.errors import ConfigError
from colorgan.options import Configuration, NaturalNumber, Share, option
from colorgan.storage import Storage

__all__ = [
    "Candidate",
    "CocoSource",
    "Download",
    "FolderSource",
    "ImageNetSource",
    "OpenImagesSource",
    "SceneSource",
    "Source",
    "SourceConfig",
    "UrlListSource",
    "find_source",
    "find_sources",
]

SCENES_PER_CLASS = 120
KINDS = "folder:PATH, scenes, urls:…, imagenet:…, coco:… or openimages:… (docs/datasets.md)"


@dataclass(frozen=True)
class SourceConfig(Configuration):
    """How many photographs are taken from a source, by which rules and in which order."""

    per_class: NaturalNumber = option(
        0,
        "photographs per class, drawn at random and evenly from all sources; 0 takes all, and 120 "
        "of scenes",
    )
    seed: NaturalNumber = option(
        0, "random seed of the scenes, and of the order of other sources' photographs"
    )
    urls_template: str = option(
        "",
        "imagenet: path or address of the address lists, with {wnid} for the synset; or, without "
        "{wnid}, of a single list such as fall11_urls.txt",
    )
    archives: str = option(
        "", "imagenet: path or address of the synsets' tar archives, with {wnid} for the synset"
    )
    is_a: str = option(
        "", "imagenet: WordNet's file wordnet.is_a.txt; a synset then includes its descendants"
    )
    min_area: Share = option(0.05, "coco: minimum share of a picture that its class's objects fill")
    max_others: Share = option(
        0.2, "coco: maximum area of other classes' objects, as a share of that of its own"
    )


def find_sources(
    specs: Sequence[str],
    config: SourceConfig,
    size: int,
    classes: PhotoClasses | None = None,
    download: Download | None = None,
    storage: Storage | None = None,
) -> list[Source]:
    """Open the sources of one dataset; see `find_source`.

    Raises:
        ConfigError: a name is not a source, a source has no photographs, or an option belongs to a
            kind of source that is not among them.
    """
    others = config
    if any(spec.partition(":")[0] == "imagenet" for spec in specs):
        others = replace(config, urls_template="", archives="", is_a="")
    return [
        find_source(
            spec,
            config if spec.partition(":")[0] == "imagenet" else others,
            *(size, classes, download, storage),
        )
        for spec in specs
    ]


def find_source(
    spec: str,
    config: SourceConfig,
    size: int,
    classes: PhotoClasses | None = None,
    download: Download | None = None,
    storage: Storage | None = None,
) -> Source:
    """Open a source; docs/datasets.md describes all kinds.

    Args:
        spec: the source as the user typed it.
        config: the number of photographs, the rules and the order.
        size: short side of the scenes, in pixels.
        classes: the classes for `imagenet:classes`, `coco:` and `openimages:`; None for those of
            classes.toml.
        download: downloads lists and archives from URLs; None refuses URLs.
        storage: keeps downloaded archives; None refuses them.

    Raises:
        ConfigError: there is no such source, or it has no photographs.
    """
    kind, _, rest = spec.partition(":")
    if kind != "imagenet" and (config.urls_template or config.archives or config.is_a):
        raise ConfigError("--urls-template, --archives and --is-a are options of imagenet:")
    if spec == "scenes":
        return SceneSource(config.per_class or SCENES_PER_CLASS, config.seed, size)
    if not rest:
        raise ConfigError(_no_source(spec))
    if kind == "folder":
        return FolderSource(Path(rest), config.seed if config.per_class else None)
    if kind == "urls":
        return UrlListSource(rest, config.seed)
    classes = classes or PhotoClasses.load()
    if kind == "imagenet":
        places = ImageNetPlaces(config.urls_template, config.archives, config.is_a)
        return ImageNetSource(rest, config.seed, places, classes, download, storage)
    if kind == "coco":
        shares = config.min_area, config.max_others
        return CocoSource(rest, config.seed, classes.coco, *shares, download)
    if kind == "openimages":
        return OpenImagesSource(rest, config.seed, classes.openimages, download)
    raise ConfigError(_no_source(spec))


def _no_source(spec: str) -> str:
    shown = readable(without_secrets(spec))
    path = expand(spec)
    if is_archive(path):
        return f"no source {shown!r}: unpack it, and give the unpacked folder as folder:PATH"
    if spec and (is_folder(path) or is_file(path)):
        return (
            f"no source {shown!r}: did you mean {'folder' if is_folder(path) else 'urls'}:{shown}?"
        )
    return f"no source {shown!r}: give {KINDS}"
