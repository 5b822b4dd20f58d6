"""The source `coco:`, photographs of COCO or a dataset in its format, selected by their objects.

Lin et al. 2014, "Microsoft COCO: Common Objects in Context"; the file format is described at
https://cocodataset.org/#format-data.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from sys import intern
from types import MappingProxyType
from typing import Any, BinaryIO

import ijson

from colorgan.data.naming import readable
from colorgan.data.sources.candidates import Candidate, FileCandidate, UrlCandidate, shuffled
from colorgan.data.sources.excluded import MIXED, NO_ADDRESS, NO_CLASS, TOO_SMALL
from colorgan.data.sources.files import (
    Download,
    ListFile,
    check_folder,
    is_address,
    local_file,
    without_secrets,
)
from colorgan.errors import ConfigError

_BUFFER = 1 << 20  # bytes

# An image's file name, URL, area in pixels and licence id.
_Image = tuple[str, str, float, str]


class CocoSource:
    """Photographs in which objects of one class fill a large part, and other classes' little.

    The class of an object is that of its category's supercategory. The segment areas (`area`, in
    pixels) of a class's objects are added up and capped at the area of the image.
    """

    has_splits = False
    made_up = ()
    names: Mapping[str, str] = MappingProxyType({})
    notes = ()

    def __init__(
        self,
        spec: str,
        seed: int,
        classes: Mapping[str, tuple[str, ...]],
        min_area: float,
        max_others: float,
        download: Download | None = None,
    ) -> None:
        """Read the annotations, once, as a stream.

        Args:
            spec: ANNOTATIONS or ANNOTATIONS,IMAGES: path or URL of a file such as
                instances_val2017.json, and the folder of its images; without the folder, they are
                downloaded from their `coco_url`.
            seed: the seed of the order.
            classes: supercategories by class.
            min_area: minimum share of the picture that objects of the class must fill.
            max_others: maximum area of other classes' objects, relative to that of the class.
            download: downloads annotations from a URL.

        Raises:
            ConfigError: the file or folder is missing, or the file has another format or no
                photograph of any class.
        """
        annotations, comma, folder = spec.rpartition(",")
        if not comma:
            annotations, folder = spec, ""
        if not classes:
            raise ConfigError(
                "the classes' file has no table [coco]: list each class's supercategories there"
            )
        self._folder = check_folder(folder) if folder else None
        self.seed = seed
        self.downloads = self._folder is None
        self.description = f"coco:{readable(without_secrets(spec))}"
        self.excluded: Counter[str] = Counter()
        self.classes = tuple(classes)
        self._entries: dict[str, list[tuple[str, str]]] = {label: [] for label in classes}
        with local_file(annotations, download) as file:
            content = _read(file)
        areas = content.areas_by_class(classes)
        for id_, (file_name, url, area, licence) in content.images.items():
            place = file_name if self._folder else url
            label = self._class_of(area, areas.get(id_, {}), min_area, max_others)
            if label and self._is_place(place):
                self._entries[label].append((place, content.licences.get(licence, "")))
        if not any(self._entries.values()):
            found = ", ".join(f"{count} {reason}" for reason, count in self.excluded.items())
            raise ConfigError(
                f"{file.name} has no photograph of a class ({found or 'it has no images'})"
            )

    def _class_of(
        self, image: float, areas: Mapping[str, float], min_area: float, max_others: float
    ) -> str:
        """The class of an image by the areas of its objects; empty if the image is excluded."""
        capped = {label: min(area, image) for label, area in areas.items()}
        label = max(capped, key=capped.__getitem__, default="")
        largest = capped.pop(label, 0.0)
        if largest <= 0:
            self.excluded[NO_CLASS] += 1
        elif largest < min_area * image:
            self.excluded[TOO_SMALL] += 1
        elif sum(capped.values()) > max_others * largest:
            self.excluded[MIXED] += 1
        else:
            return label
        return ""

    def _is_place(self, place: str) -> bool:
        if self._folder is None:
            valid = is_address(place)
        else:
            # The name comes from the annotations and must not lead out of the folder.
            path = PurePosixPath(place)
            valid = bool(path.name) and not path.is_absolute() and ".." not in path.parts
            valid = valid and "\0" not in place and readable(place) == place
        self.excluded.update([] if valid else [NO_ADDRESS])
        return valid

    def candidates(self, label: str, split: str | None = None) -> Iterator[Candidate]:
        """Every photograph of the class."""
        for place, licence in shuffled(self._entries[label], self.seed, lambda entry: entry[0]):
            if self._folder:
                yield FileCandidate(self._folder / place, label, licence=licence)
            else:
                yield UrlCandidate(place, label, licence)


class _Content:
    """The part of the annotations that is kept in memory."""

    def __init__(self) -> None:
        self.images: dict[Any, _Image] = {}
        self.licences: dict[str, str] = {}
        self._categories: dict[Any, str] = {}
        self._areas: Counter[tuple[Any, Any]] = Counter()

    def add(self, name: str, item: dict[str, Any]) -> None:
        """Add an item of the list with this name; raises KeyError, TypeError or ValueError."""
        if name == "annotations":
            self._areas[item["image_id"], item["category_id"]] += item["area"]
        elif name == "images":
            self.images[item["id"]] = (
                str(item.get("file_name", "")),
                str(item.get("coco_url", "")),
                float(item["width"] * item["height"]),
                intern(str(item.get("license", ""))),
            )
        elif name == "categories":
            self._categories[item["id"]] = item["supercategory"]
        elif name == "licenses":
            self.licences[str(item["id"])] = str(item.get("name", ""))

    def areas_by_class(self, classes: Mapping[str, tuple[str, ...]]) -> dict[Any, dict[str, float]]:
        """The area of each class's objects in each image, in pixels, by image id."""
        owners = {name: label for label, names in classes.items() for name in names}
        labels = {id_: owners.get(name) for id_, name in self._categories.items()}
        areas: dict[Any, dict[str, float]] = {}
        for (image, category), area in self._areas.items():
            label = labels.get(category)
            if label:
                found = areas.setdefault(image, {})
                found[label] = found.get(label, 0.0) + area
        return areas


def _read(file: ListFile) -> _Content:
    """Read the annotations; raises ConfigError."""
    content = _Content()
    try:
        with file.open() as data:
            for name, item in _items(data):
                content.add(name, item)
    except ijson.JSONError:
        # The message of ijson quotes the file.
        raise ConfigError(f"{file.name} is incomplete or not JSON") from None
    except KeyError as error:
        raise ConfigError(f"{file.name} is not of COCO's form: something has no {error}") from None
    except (TypeError, ValueError):
        raise ConfigError(f"{file.name} is not of COCO's form") from None
    return content


def _items(data: BinaryIO) -> Iterator[tuple[str, dict[str, Any]]]:
    """The names of the lists and their items, without nested values, in the file's order."""
    depth, name, key = 0, "", ""
    item: dict[str, Any] = {}
    for event, value in ijson.basic_parse(data, use_float=True, buf_size=_BUFFER):
        if depth > 3 and event == "number":
            continue  # nearly all of the file: the objects' outlines
        if event in ("start_map", "start_array"):
            depth += 1
            if depth == 3:
                item = {}
        elif event in ("end_map", "end_array"):
            if depth == 3:
                yield name, item
            depth -= 1
        elif event == "map_key" and depth == 1:
            name = value
        elif event == "map_key" and depth == 3:
            key = value
        elif depth == 3:
            item[key] = value
