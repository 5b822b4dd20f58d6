"""Photographs by address: `urls:`, a list of addresses a class."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from sys import intern

from colorgan.data.dataset import check_class
from colorgan.data.sources.candidates import UrlCandidate, shuffled
from colorgan.data.sources.excluded import NO_ADDRESS, NO_CLASS, NO_SPLIT
from colorgan.data.sources.files import ListFile, is_address, local_file, without_secrets
from colorgan.errors import ConfigError

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_SUFFIXES = (".txt", *_DELIMITERS)
_SPLITS = {"train": "train", "val": "val", "validation": "val", "test": "test"}
_ALIASES = {"label": "class", "license": "licence"}
_FIELD = re.compile(r"(?:\S+\s+)??(https?://.+)", re.IGNORECASE)

# A photograph's address, its licence and its split.
_Entry = tuple[str, str, str | None]


class UrlListSource:
    """Lists of addresses, in one of three forms:

    - a folder with a file CLASS.txt, CLASS.tsv or CLASS.csv a class;
    - a file: one class of the file's name, or those in its column `class`;
    - CLASS=FILE,CLASS=FILE: lists whose names are not their classes'.

    A line holds an address, or a name and an address with white space between them, as ImageNet's
    lists do (`n02084071_1<TAB>http://…`). A .csv or .tsv file may instead begin with a header that
    has the column `url`; it may have `licence` (or `license`), `split` (train, val or validation,
    test), and in a file of several classes `class` (or `label`). Empty lines and those that begin
    with # are skipped.
    """

    downloads = True

    def __init__(self, spec: str, seed: int) -> None:
        """Read the lists.

        Args:
            spec: folder, file, or CLASS=FILE,….
            seed: of the order.

        Raises:
            ConfigError: a list is missing, holds no address or cannot be read; a name cannot be
                that of a class; or some lists name splits and others do not.
        """
        self.seed = seed
        self.description = f"urls:{without_secrets(spec)}"
        self.excluded: Counter[str] = Counter()
        self._entries: dict[str, list[_Entry]] = {}
        with_splits: dict[bool, str] = {}
        for label, place in _lists(spec):
            with local_file(place, None) as file:
                columns = _header(file)
                with_splits["split" in columns] = file.name
                self._add(self._read(label or file.path.stem, label is None, columns, file), file)
        if len(with_splits) == 2:
            raise ConfigError(
                f"{with_splits[True]} has a column split and {with_splits[False]} has none: "
                "give it to all lists or to none"
            )
        self.has_splits = True in with_splits
        self.classes = tuple(sorted(self._entries))

    def _add(self, found: Iterator[tuple[str, _Entry]], file: ListFile) -> None:
        empty = True
        for label, entry in found:
            if label not in self._entries:
                self._entries[check_class(label)] = []
            self._entries[label].append(entry)
            empty = False
        if empty:
            raise ConfigError(f"{file.name} holds no address of a photograph")

    def _read(
        self, name: str, by_column: bool, columns: Mapping[str, int], file: ListFile
    ) -> Iterator[tuple[str, _Entry]]:
        """The classes and the photographs of a list."""
        if not columns:
            for url in addresses(file.lines(), self.excluded):
                yield name, (url, "", None)
            return
        rows = _rows(file)
        next(rows)
        for row in rows:
            cells = {column: row[at].strip() for column, at in columns.items() if at < len(row)}
            label = cells.get("class", "") if by_column and "class" in columns else name
            split = _SPLITS.get(cells.get("split", "").lower())
            if not is_address(cells.get("url", "")):
                self.excluded[NO_ADDRESS] += 1
            elif not label:
                self.excluded[NO_CLASS] += 1
            elif "split" in columns and not split:
                self.excluded[NO_SPLIT] += 1
            else:
                yield label, (cells["url"], intern(cells.get("licence", "")), split)

    def candidates(self, label: str, split: str | None = None) -> Iterator[UrlCandidate]:
        """Every address of the class, in an order that the list's own has no part in."""
        entries = [entry for entry in self._entries[label] if entry[2] == split]
        for url, licence, _ in shuffled(entries, self.seed, lambda entry: entry[0]):
            yield UrlCandidate(url, label, licence, split)


def addresses(lines: Iterable[str], excluded: Counter[str]) -> Iterator[str]:
    """The addresses on the lines of a list; those that hold none are counted in `excluded`."""
    for line in lines:
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        url = find_address(text)
        if url:
            yield url
        else:
            excluded[NO_ADDRESS] += 1


def find_address(line: str) -> str:
    """The address on a line, alone or after a name; empty where there is none.

    It may hold spaces: some of ImageNet's do.
    """
    for field in line.split("\t"):
        match = _FIELD.fullmatch(field.strip())
        if match and is_address(match[1]):
            return match[1]
    return ""


def _lists(spec: str) -> list[tuple[str | None, str]]:
    """The files' classes and paths; the class is None where the file itself may say it."""
    path = Path(spec)
    if path.is_dir():
        files = sorted(
            file
            for file in path.iterdir()
            if file.suffix.lower() in _SUFFIXES and not file.name.startswith(".")
        )
        if not files:
            raise ConfigError(f"{path} holds no list a class: put the addresses in CLASS.txt")
        return [(file.stem, str(file)) for file in files]
    if "=" not in spec or path.is_file():
        return [(None, spec)]
    named: list[tuple[str | None, str]] = []
    for part in spec.split(","):
        label, _, file_name = part.partition("=")
        if not label or not file_name:
            raise ConfigError(f"{part!r} is not CLASS=FILE")
        named.append((label, file_name))
    return named


def _rows(file: ListFile) -> Iterator[list[str]]:
    for row in file.rows(_DELIMITERS[file.path.suffix.lower()]):
        if any(cell.strip() for cell in row) and not row[0].startswith("#"):
            yield row


def _header(file: ListFile) -> dict[str, int]:
    """The places of the columns, if this is a table whose header has one of addresses."""
    if file.path.suffix.lower() not in _DELIMITERS:
        return {}
    names = {name.strip().lower(): at for at, name in enumerate(next(_rows(file), []))}
    columns = {_ALIASES[name]: at for name, at in names.items() if name in _ALIASES} | names
    return columns if "url" in columns else {}
