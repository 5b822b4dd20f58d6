"""The source `openimages:`, photographs of Open Images selected by human-verified labels.

Kuznetsova et al. 2020, "The Open Images Dataset V4"; the file format is described at
https://storage.googleapis.com/openimages/web/download_v7.html.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from sys import intern
from types import MappingProxyType

from colorgan.data.naming import readable
from colorgan.data.sources.candidates import UrlCandidate, shuffled
from colorgan.data.sources.excluded import MIXED, NO_ADDRESS, NOT_LISTED
from colorgan.data.sources.files import Download, ListFile, is_address, local_file, without_secrets
from colorgan.errors import ConfigError

_LISTED = 1  # a bit besides those of the classes: the image was found in a list of images


class OpenImagesSource:
    """Photographs with verified labels of exactly one class.

    The label files have the columns ImageID, LabelName and Confidence (1: present; 0: absent);
    files with boxes have them too. The image files have ImageID, OriginalURL and License; their
    column Subset is not used as the split.
    """

    has_splits = False
    made_up = ()
    downloads = True
    names: Mapping[str, str] = MappingProxyType({})
    notes = ()

    def __init__(
        self,
        spec: str,
        seed: int,
        classes: Mapping[str, tuple[str, ...]],
        download: Download | None = None,
    ) -> None:
        """Read the files, each once, as a stream.

        Args:
            spec: LABELS,IMAGES: paths or URLs of CSV files; several are joined by +.
            seed: the seed of the order.
            classes: MIDs by class.
            download: downloads files from URLs.

        Raises:
            ConfigError: a file is missing or lacks a column, or there is no photograph of any
                class.
        """
        labels, _, images = spec.partition(",")
        if not labels or not images:
            raise ConfigError(
                "openimages: needs the labels and the images: openimages:LABELS_CSV,IMAGES_CSV"
            )
        if not classes:
            raise ConfigError(
                "the classes' file has no table [openimages]: list each class's MIDs there"
            )
        self.seed = seed
        self.description = f"openimages:{readable(without_secrets(spec))}"
        self.excluded: Counter[str] = Counter()
        self.classes = tuple(classes)
        self._entries: dict[str, list[tuple[str, str]]] = {label: [] for label in classes}
        # The classes of an image are bits, to keep a dictionary of millions of images small.
        bits = {label: _LISTED << number for number, label in enumerate(classes, 1)}
        mids = {mid: bits[label] for label, names in classes.items() for mid in names}
        found: dict[str, int] = {}
        for place in labels.split("+"):
            with local_file(place, download) as file:
                _read_labels(file, mids, found)
        for place in images.split("+"):
            with local_file(place, download) as file:
                self._read_images(file, found, {bit: label for label, bit in bits.items()})
        missing = sum(not value & _LISTED for value in found.values())
        if missing:
            self.excluded[NOT_LISTED] = missing
        if not any(self._entries.values()):
            reasons = ", ".join(f"{count} {reason}" for reason, count in self.excluded.items())
            raise ConfigError(
                f"{self.description} has no photograph of a class ({reasons or 'no such label'})"
            )

    def _read_images(
        self, file: ListFile, found: dict[str, int], labels: Mapping[int, str]
    ) -> None:
        for image, url, licence in _columns(file, "ImageID", "OriginalURL", "License"):
            value = found.get(image, 0)
            if not value:
                continue
            found[image] = value | _LISTED
            label = labels.get(value & ~_LISTED)
            if not label:
                self.excluded[MIXED] += 1
            elif not is_address(url):
                self.excluded[NO_ADDRESS] += 1
            else:
                self._entries[label].append((url, intern(licence)))

    def candidates(self, label: str, split: str | None = None) -> Iterator[UrlCandidate]:
        """Every photograph of the class."""
        for url, licence in shuffled(self._entries[label], self.seed, lambda entry: entry[0]):
            yield UrlCandidate(url, label, licence)


def _read_labels(file: ListFile, mids: Mapping[str, int], found: dict[str, int]) -> None:
    """Add the classes of the images' verified labels to `found`."""
    for image, mid, confidence in _columns(file, "ImageID", "LabelName", "Confidence"):
        if mid in mids and _is_one(confidence):
            found[image] = found.get(image, 0) | mids[mid]


def _is_one(text: str) -> bool:
    try:
        return float(text) == 1
    except ValueError:
        return False


def _columns(file: ListFile, *names: str) -> Iterator[tuple[str, ...]]:
    """The cells of the named columns, row by row; cells missing from short rows are empty."""
    rows = file.rows()
    header = [name.strip().lower() for name in next(rows, [])]
    missing = [name for name in names if name.lower() not in header]
    if missing:
        raise ConfigError(f"{file.name} has no column {' and no column '.join(missing)}")
    places = [header.index(name.lower()) for name in names]
    for row in rows:
        yield tuple(row[place].strip() if place < len(row) else "" for place in places)
