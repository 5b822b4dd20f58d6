"""The source `imagenet:`, photographs of ImageNet's synsets from lists of URLs or archives."""

import hashlib
import re
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from colorgan.classes import PhotoClasses
from colorgan.data.naming import ClassNames, readable
from colorgan.data.sources.candidates import Candidate, MemberCandidate, UrlCandidate, shuffled
from colorgan.data.sources.excluded import BROKEN_ARCHIVE, NO_ADDRESS, NO_ARCHIVE, NO_LIST
from colorgan.data.sources.files import (
    Download,
    ListFile,
    expand,
    is_address,
    is_file,
    local_file,
    without_secrets,
)
from colorgan.data.sources.url_lists import addresses, find_address
from colorgan.errors import ColorganError, ConfigError
from colorgan.options import Configuration
from colorgan.storage import Storage
from colorgan.temporary import temporary_folder

WNID = "{wnid}"

# A photograph's name in an archive, its offset and size in bytes, the archive and the synset.
_Member = tuple[str, int, int, "_Archive", str]


@dataclass(frozen=True)
class ImageNetPlaces(Configuration):
    """The location of ImageNet's photographs; exactly one of the two templates is given.

    Attributes:
        urls_template: path or URL of a list of URLs, as `urls:` reads it. With {wnid} in it, there
            is one list per synset; without, a single list, whose lines begin with the synset and a
            number (`n02084071_1<TAB>http://…`), as in fall11_urls.txt.
        archives: path or URL of a synset's tar archive, with {wnid} in it.
        is_a: a file with lines `parent child`, such as WordNet's wordnet.is_a.txt; the descendants
            of a synset then belong to its class.
    """

    urls_template: str = ""
    archives: str = ""
    is_a: str = ""

    def check(self) -> None:
        """Check the templates; raises ConfigError."""
        if not self.urls_template and not self.archives:
            raise ConfigError(
                "ImageNet's service of addresses no longer answers: say where the photographs are, "
                "as lists of addresses (--urls-template) or as archives (--archives)"
            )
        if self.urls_template and self.archives:
            raise ConfigError("give --urls-template or --archives, not both")
        if self.archives and WNID not in self.archives:
            raise ConfigError(f"--archives {without_secrets(self.archives)} has no {WNID} in it")


@dataclass(frozen=True)
class _Archive:
    """A tar archive: a local file, or an object in the storage with this URI."""

    path: str
    storage: str
    stamp: str


class ImageNetSource:
    """Classes made of WordNet's synsets, in one of three forms:

    - CLASS=WNID+WNID,CLASS=WNID: `animals=n02084071+n02121808,vehicles=n04524313`;
    - a file with lines `CLASS WNID`, and comments after #;
    - `classes`: those of colorgan/classes.toml, or of the user's own file in that format.

    ImageNet has one uncompressed archive per synset, with the files `n02084071_1.JPEG`, …; they are
    read in place and never extracted. Archives at a URL are downloaded into storage once, where
    every machine can read them.
    """

    has_splits = False
    made_up = ()
    notes = ()

    def __init__(
        self,
        spec: str,
        seed: int,
        places: ImageNetPlaces,
        classes: PhotoClasses,
        download: Download | None = None,
        storage: Storage | None = None,
    ) -> None:
        """Read the lists or the indexes of the archives.

        Args:
            spec: CLASS=WNID+…, a file, or `classes`.
            seed: the seed of the order.
            places: the location of the photographs.
            classes: the classes that `classes` refers to.
            download: downloads lists and archives from URLs.
            storage: keeps archives that are downloaded.

        Raises:
            ConfigError: the classes cannot be read, two of them share a synset, or one of them has
                no photograph.
        """
        self.seed = seed
        self.downloads = bool(places.urls_template)
        where = without_secrets(places.urls_template or places.archives)
        self.description = f"imagenet:{readable(f'{spec}, {where}')}"
        self.excluded: Counter[str] = Counter()
        names = ClassNames()
        synsets = _read_classes(spec, classes, names)
        self.names = names.different
        if places.is_a:
            self.description += f", with descendants by {places.is_a}"
            synsets = _with_descendants(synsets, ListFile(expand(places.is_a), places.is_a))
        owners = _owners(synsets)
        self.classes = tuple(synsets)
        self._download = download
        self._storage = storage
        self._urls: dict[str, list[str]] = {label: [] for label in synsets}
        self._members: dict[str, list[_Member]] = {label: [] for label in synsets}
        self._failure = ""
        if places.archives:
            self._read_archives(places.archives, owners)
        elif WNID in places.urls_template:
            self._read_lists(places.urls_template, owners)
        else:
            self._read_list(places.urls_template, owners)
        for label in synsets:
            if not self._urls[label] and not self._members[label]:
                reason = f" ({self._failure})" if self._failure else ""
                raise ConfigError(f"no photograph of {label} in {where}{reason}")

    def candidates(self, label: str, split: str | None = None) -> Iterator[Candidate]:
        """Every photograph of the class's synsets."""
        for url in shuffled(self._urls[label], self.seed, str):
            yield UrlCandidate(url, label)
        members = shuffled(self._members[label], self.seed, lambda it: f"{it[4]}/{it[0]}")
        for name, offset, size, archive, _ in members:
            yield MemberCandidate(
                archive.path, archive.storage, name, offset, size, label, stamp=archive.stamp
            )

    def _read_lists(self, template: str, owners: Mapping[str, str]) -> None:
        for wnid, label in owners.items():
            try:
                with local_file(template.replace(WNID, wnid), self._download) as file:
                    self._urls[label].extend(addresses(file.lines(), self.excluded))
            except ColorganError as error:
                self._miss(NO_LIST, error)

    def _read_list(self, place: str, owners: Mapping[str, str]) -> None:
        missing = set(owners)
        with local_file(place, self._download) as file:
            for line in file.lines():
                wnid = line[:9]
                if wnid not in owners:
                    continue
                missing.discard(wnid)
                url = find_address(line)
                if url:
                    self._urls[owners[wnid]].append(url)
                else:
                    self.excluded[NO_ADDRESS] += 1
        if missing:
            self.excluded[NO_LIST] += len(missing)

    def _read_archives(self, template: str, owners: Mapping[str, str]) -> None:
        for wnid, label in owners.items():
            try:
                archive, index = self._archive(template.replace(WNID, wnid))
            except tarfile.TarError as error:
                self._miss(BROKEN_ARCHIVE, error)
            except _MissingArchive as error:
                self._miss(NO_ARCHIVE, error)
            else:
                self._members[label].extend((*member, archive, wnid) for member in index)

    def _archive(self, place: str) -> tuple[_Archive, list[tuple[str, int, int]]]:
        """An archive and its index; an archive at a URL is copied to storage first."""
        if is_address(place):
            return self._stored_archive(place)
        path = expand(place)
        if not is_file(path):
            raise _MissingArchive(f"{path} is not a file")
        with path.open("rb") as file:
            status = path.stat()
            stamp = f"{status.st_size} {status.st_mtime_ns}"
            return _Archive(str(path), "", stamp), _index(file)

    def _stored_archive(self, url: str) -> tuple[_Archive, list[tuple[str, int, int]]]:
        if self._storage is None or self._download is None:
            raise ConfigError(f"{without_secrets(url)} cannot be downloaded here")
        key = f"downloads/{hashlib.sha256(url.encode()).hexdigest()}.tar"
        archive = _Archive(key, self._storage.uri, "")
        if self._storage.exists(key):
            with self._storage.open(key) as stored:
                return archive, _index(stored)
        with temporary_folder("download") as folder:
            path = folder / "archive.tar"
            try:
                self._download(url, path)
            except ColorganError as error:
                raise _MissingArchive(str(error)) from error
            with path.open("rb") as file:
                index = _index(file)
            self._storage.put_file(key, path)
        return archive, index

    def _miss(self, reason: str, error: Exception) -> None:
        self.excluded[reason] += 1
        self._failure = str(error)


class _MissingArchive(ColorganError):  # noqa: N818
    """A synset has no archive; the other synsets are still used."""


def _index(file: BinaryIO) -> list[tuple[str, int, int]]:
    """The regular files in an uncompressed tar archive: names, offsets and sizes in bytes.

    The names are only displayed, never used as paths. Raises tarfile.TarError.
    """
    index = []
    with tarfile.open(fileobj=file, mode="r:", encoding="utf-8", errors="replace") as archive:
        for member in archive:
            if member.size < 0:
                raise tarfile.ReadError("a member has a negative size")
            if member.isreg() and not member.issparse():
                index.append((member.name, member.offset_data, member.size))
        # tarfile ends at any invalid header, but a complete archive ends in a block of zeros.
        file.seek(archive.offset)
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("the archive is cut short")
    return index


def _read_classes(spec: str, classes: PhotoClasses, names: ClassNames) -> dict[str, list[str]]:
    """The synsets of each class; raises ConfigError."""
    if spec == "classes":
        return {label: list(wnids) for label, wnids in classes.synsets.items()}
    synsets: dict[str, list[str]] = {}
    if "=" in spec and not is_file(expand(spec)):
        pairs = [part.partition("=")[::2] for part in spec.split(",")]
        lines = [[label, *wnids.split("+")] for label, wnids in pairs]
    else:
        with local_file(spec, None) as file:
            lines = [line.partition("#")[0].split() for line in file.lines()]
    for label, *wnids in filter(None, lines):
        for wnid in wnids:
            if not _is_wnid(wnid):
                raise ConfigError(f"{wnid!r} of {label} is not a synset: n and 8 digits")
        known = synsets.setdefault(names.add(label), [])
        known.extend(wnid for wnid in wnids if wnid not in known)
    if not synsets:
        raise ConfigError(f"{spec} names no class: give lines CLASS WNID")
    return synsets


def _is_wnid(text: str) -> bool:
    return re.fullmatch(r"n[0-9]{8}", text) is not None


def _owners(synsets: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The class of each synset; raises ConfigError if a synset is in two classes."""
    owners: dict[str, str] = {}
    for label, wnids in synsets.items():
        for wnid in wnids:
            if owners.setdefault(wnid, label) != label:
                raise ConfigError(f"{wnid} is in {owners[wnid]} and in {label}")
    return owners


def _with_descendants(synsets: Mapping[str, Sequence[str]], is_a: ListFile) -> dict[str, list[str]]:
    """The synsets of each class with all their descendants."""
    children = _children(is_a)
    closed: dict[str, list[str]] = {}
    for label, wnids in synsets.items():
        reached = dict.fromkeys(wnids)
        waiting = list(reached)
        while waiting:
            for child in children.get(waiting.pop(), []):
                if child not in reached:
                    reached[child] = None
                    waiting.append(child)
        closed[label] = list(reached)
    return closed


def _children(file: ListFile) -> dict[str, list[str]]:
    children: dict[str, list[str]] = {}
    for number, line in enumerate(file.lines(), 1):
        words = line.split()
        if not words:
            continue
        if len(words) != 2 or not all(map(_is_wnid, words)):
            raise ConfigError(f"{file.name}, line {number} is not two synsets, parent and child")
        children.setdefault(words[0], []).append(words[1])
    return children
