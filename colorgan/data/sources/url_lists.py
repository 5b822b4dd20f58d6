"""The source `urls:`, lists of the photographs' URLs."""

import re
from collections import Counter
from collections.abc import Container, Iterable, Iterator
from itertools import chain
from sys import intern
from typing import Any

import ijson

from colorgan.data.naming import ClassNames, readable
from colorgan.data.sources.candidates import UrlCandidate, shuffled
from colorgan.data.sources.excluded import NO_ADDRESS, NO_CLASS, NO_SPLIT
from colorgan.data.sources.files import (
    ListFile,
    expand,
    is_address,
    is_file,
    is_folder,
    local_file,
    without_secrets,
)
from colorgan.data.sources.folders import files_in
from colorgan.data.splits import missing_splits, split_named
from colorgan.errors import ConfigError

_JSON = (".json", ".jsonl", ".ndjson")
_SUFFIXES = (".txt", ".csv", ".tsv", *_JSON)
_BLOCK = 1024  # bytes
_ALIASES = {"label": "class", "license": "licence"}
_FIELD = re.compile(r"(?:\S+\s+)??(https?://.+)", re.IGNORECASE)

# A photograph's URL, licence and split.
_Entry = tuple[str, str, str | None]
# A table's row by column.
_Cells = dict[str, str]


class UrlListSource:
    """Lists of URLs, in one of three forms:

    - a folder with one file per class: CLASS.txt, CLASS.tsv, CLASS.csv, CLASS.json or CLASS.jsonl;
    - a file, whose classes are in its column `class`, or which is one class with the file's name;
    - CLASS=FILE,CLASS=FILE, for files whose names are not their classes.

    A line holds a URL, or a name and a URL separated by white space, as in ImageNet's lists
    (`n02084071_1<TAB>http://…`). A file may instead begin with a header that has the column `url`;
    it may also have `licence` (or `license`), `split` (train, val or valid, test) and, in a file
    with several classes, `class` (or `label`), separated by commas, semicolons, tabs or bars. JSON
    is a list, or lines, of URLs or of objects with such fields. Empty lines and those that begin
    with # are skipped.
    """

    downloads = True
    notes = ()

    def __init__(self, spec: str, seed: int) -> None:
        """Read the lists.

        Args:
            spec: folder, file, or CLASS=FILE,….
            seed: the seed of the order.

        Raises:
            ConfigError: a list is missing, contains no URL or cannot be read; a name is not valid
                for a class; or only some of the lists have splits.
        """
        self.seed = seed
        self.description = f"urls:{readable(without_secrets(spec))}"
        self.excluded: Counter[str] = Counter()
        self._entries: dict[str, list[_Entry]] = {}
        names = ClassNames()
        with_splits: dict[bool, str] = {}
        for label, place in _lists(spec):
            with local_file(place, None) as file:
                columns, rows = _table(file)
                with_splits["split" in columns] = file.name
                if columns:
                    found = self._read(label or file.path.stem, label is None, columns, rows)
                else:
                    found = self._read_lines(label or file.path.stem, file)
                self._add(found, file, names)
        if len(with_splits) == 2:
            raise ConfigError(
                f"{with_splits[True]} has a column split and {with_splits[False]} has none: "
                "give it to all lists or to none"
            )
        self.has_splits = True in with_splits
        splits = {split for entries in self._entries.values() for _, _, split in entries if split}
        self.made_up = missing_splits(splits)
        self.classes = tuple(sorted(self._entries))
        self.names = names.different

    def _add(self, found: Iterator[tuple[str, _Entry]], file: ListFile, names: ClassNames) -> None:
        keys: dict[str, str] = {}
        for name, entry in found:
            if name not in keys:
                keys[name] = names.add(name)
            self._entries.setdefault(keys[name], []).append(entry)
        if not keys:
            raise ConfigError(f"{file.name} holds no address of a photograph")

    def _read_lines(self, name: str, file: ListFile) -> Iterator[tuple[str, _Entry]]:
        """The class and entry of each photograph in a list without columns."""
        for url in addresses(file.lines(), self.excluded):
            yield name, (url, "", None)

    def _read(
        self, name: str, by_column: bool, columns: Container[str], rows: Iterable[_Cells]
    ) -> Iterator[tuple[str, _Entry]]:
        """The class and entry of each photograph in a table."""
        for cells in rows:
            label = cells.get("class", "") if by_column and "class" in columns else name
            split = split_named(cells.get("split", ""))
            if not is_address(cells.get("url", "")):
                self.excluded[NO_ADDRESS] += 1
            elif not label:
                self.excluded[NO_CLASS] += 1
            elif "split" in columns and not split:
                self.excluded[NO_SPLIT] += 1
            else:
                yield label, (cells["url"], intern(cells.get("licence", "")), split)

    def candidates(self, label: str, split: str | None = None) -> Iterator[UrlCandidate]:
        """Every URL of the class, in an order that is independent of the list's order."""
        entries = [entry for entry in self._entries[label] if entry[2] == split]
        for url, licence, _ in shuffled(entries, self.seed, lambda entry: entry[0]):
            yield UrlCandidate(url, label, licence, split)


def addresses(lines: Iterable[str], excluded: Counter[str]) -> Iterator[str]:
    """The URLs on the lines of a list; lines without one are counted in `excluded`."""
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
    """The URL on a line, alone or after a name; empty if there is none.

    It may contain spaces, as some of ImageNet's URLs do.
    """
    for field in line.split("\t"):
        match = _FIELD.fullmatch(field.strip())
        if match and is_address(match[1]):
            return match[1]
    return ""


def _lists(spec: str) -> list[tuple[str | None, str]]:
    """The classes and paths of the files; the class is None if the file itself may name it."""
    path = expand(spec)
    if is_folder(path):
        files = [file for file in files_in(path) if file.suffix.lower() in _SUFFIXES]
        if not files:
            raise ConfigError(
                f"{readable(path)} has no list per class: put the addresses in CLASS.txt"
            )
        return [(file.stem, str(file)) for file in files]
    if "=" not in spec or is_file(path):
        return [(None, spec)]
    named: list[tuple[str | None, str]] = []
    for part in spec.split(","):
        label, _, file_name = part.partition("=")
        if not label or not file_name:
            raise ConfigError(f"{readable(part)!r} is not CLASS=FILE")
        named.append((label, file_name))
    return named


def _table(file: ListFile) -> tuple[frozenset[str], Iterator[_Cells]]:
    """The columns of a table, and its rows by column; no columns if the file is not a table.

    Raises:
        ConfigError: a JSON file is invalid, or a .csv file has no column `url`.
    """
    if file.path.suffix.lower() in _JSON:
        records = [_record(value) for value in _values(file)]
        return frozenset(chain(["url"], *records)), iter(records)
    is_csv = file.path.suffix.lower() == ".csv"
    rows = file.rows()
    try:
        first = next(rows, [])
    except ConfigError:
        if is_csv:
            raise
        first = []  # a plain list need not be valid CSV
    header = _columns(first)
    if "url" in header:
        cells = (map(str.strip, row) for row in rows)
        return frozenset(header), (dict(zip(header, row, strict=False)) for row in cells)
    if is_csv and len(first) > 1:
        raise ConfigError(
            f"{file.name} has no column url: begin it with a line that names its columns, as "
            "url,class,licence; or call it .txt if each line is an address"
        )
    return frozenset(), iter(())


def _columns(names: Iterable[str]) -> list[str]:
    plain = [name.strip().lower() for name in names]
    meant = {name: _ALIASES.get(name, name) for name in plain}
    return [name if meant[name] in plain else meant[name] for name in plain]


def _values(file: ListFile) -> Iterator[Any]:
    """The elements of a JSON list, or the values of JSON Lines; raises ConfigError."""
    try:
        with file.open() as data:
            is_list = data.read(_BLOCK).lstrip().startswith(b"[")
        with file.open() as data:
            yield from ijson.items(data, "item" if is_list else "", multiple_values=not is_list)
    except (ijson.JSONError, UnicodeError):
        # The message of ijson quotes the file.
        raise ConfigError(f"{file.name} is incomplete or not JSON") from None


def _record(value: Any) -> _Cells:
    fields = value if isinstance(value, dict) else {"url": value}
    texts = {name: readable(cell).strip() for name, cell in fields.items() if isinstance(cell, str)}
    return dict(zip(_columns(texts), texts.values(), strict=True))
