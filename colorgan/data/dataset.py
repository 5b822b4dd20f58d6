"""The Parquet dataset in storage: its manifest, its rows, its checksums.

    datasets/<dataset>/manifest.json
    datasets/<dataset>/<class>/<split>-00000.parquet

The manifest is written last, so a dataset is visible whole or not at all, and it holds a checksum
of every shard, which a reader verifies.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from itertools import repeat
from typing import Any, BinaryIO, Literal, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from colorgan.data.cache import StoredShard, open_shards
from colorgan.data.splits import nothing_in, way_out
from colorgan.errors import ColorganError, ConfigError, Corrupt, NotInStorage
from colorgan.names import GENERAL, HYPERCOLUMN, check_name
from colorgan.storage import Storage
from colorgan.storage.documents import read_all, read_document

Key = TypeVar("Key", str, int)

SCHEMA_VERSION = 1
_FACTS = ("label", "split", "source", "width", "height", "sha256")  # in the order of Row's
_BATCH = 64  # rows that are Python objects at a time
SPLITS = ("train", "val", "test")
Balance = Literal["none", "classes", "sources"]  # what has equal shares of an epoch

# Hugging Face datasets reads the column `image` as its Image feature by this encoding and metadata.
_FEATURES = {
    "image": {"_type": "Image"},
    "label": {"dtype": "string", "_type": "Value"},
    "split": {"dtype": "string", "_type": "Value"},
    "source": {"dtype": "string", "_type": "Value"},
    "width": {"dtype": "int32", "_type": "Value"},
    "height": {"dtype": "int32", "_type": "Value"},
    "sha256": {"dtype": "string", "_type": "Value"},
    "licence": {"dtype": "string", "_type": "Value"},
}
SCHEMA = pa.schema(
    [
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("label", pa.string()),
        ("split", pa.string()),
        ("source", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("sha256", pa.string()),
        ("licence", pa.string()),
    ],
    metadata={"huggingface": json.dumps({"info": {"features": _FEATURES}})},
)


@dataclass(frozen=True)
class Row:
    """One staged photograph.

    Attributes:
        image: JPEG or PNG bytes at the staged size.
        label: the photograph's class.
        split: train, val or test.
        source: the URL or path it came from.
        width: of the staged picture, in pixels.
        height: of the staged picture, in pixels.
        sha256: of the decoded photograph's pixels before it was resized (images.content_hash); it
            decides the split and finds duplicates.
        licence: under which the photograph may be used; empty where that is not known.
        source_index: the place in `Manifest.sources` of the source that it came from.
    """

    image: bytes
    label: str
    split: str
    source: str
    width: int
    height: int
    sha256: str
    licence: str = ""
    source_index: int = 0


@dataclass(frozen=True)
class Shard:
    """One Parquet file of a dataset, with photographs of one class, split and source.

    Attributes:
        key: relative to the dataset's folder.
        source_index: the place in `Manifest.sources` of the photographs' source.
    """

    key: str
    label: str
    split: str
    rows: int
    bytes: int
    sha256: str
    source_index: int = 0


@dataclass(frozen=True)
class StagedSource:
    """One of the sources that a dataset was staged from.

    Attributes:
        source: the source in words, as `folder:/photos`.
        counts: its photographs by class and split.
        by_content: by class, the splits that the content of its photographs decided.
    """

    source: str
    counts: dict[str, dict[str, int]]
    by_content: dict[str, list[str]]

    @property
    def total(self) -> int:
        """How many photographs are from it."""
        return sum(sum(counts.values()) for counts in self.counts.values())


@dataclass(frozen=True)
class Manifest:
    """What a dataset is: written last, read first.

    Attributes:
        name: the dataset's name.
        created: UTC, ISO 8601.
        source: what it was staged from, in words; of several sources, all of them.
        size: the staged short side, in pixels.
        split_seed: what the split by content was salted with; None where the sources had their own.
        classes: the labels, in order.
        counts: photographs by class and split.
        dropped: photographs left out, by reason.
        shards: the files.
        fingerprint: a checksum over the shards: equal for equal contents.
        origins: photographs by where they came from: the address's host, or the folder.
        licences: photographs by licence, where it is known.
        names: what people call the classes whose names are not their labels, by label.
        made_up: splits that are by content in part: of classes or sources that had them not.
        sources: what it was staged from, in order; empty in older manifests, of one source.
    """

    name: str
    created: str
    source: str
    size: int
    split_seed: int | None
    classes: tuple[str, ...]
    counts: dict[str, dict[str, int]]
    dropped: dict[str, int]
    shards: tuple[Shard, ...]
    fingerprint: str
    origins: dict[str, int] = field(default_factory=dict)
    licences: dict[str, int] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    made_up: tuple[str, ...] = ()
    sources: tuple[StagedSource, ...] = ()
    schema_version: int = SCHEMA_VERSION

    def name_of(self, label: str) -> str:
        """What people call a class."""
        return self.names.get(label, label)

    def title_of(self, label: str) -> str:
        """A class for people who also need its label: `Big Cats (big-cats)`, or `cats`."""
        name = self.name_of(label)
        return label if name == label else f"{name} ({label})"

    def is_by_content(self, split: str, classes: Iterable[str]) -> bool:
        """Whether the content of photographs of some classes decides that they are in a split."""
        if self.sources:
            return any(
                split in source.by_content.get(label, ())
                for source in self.sources
                for label in classes
            )
        return self.split_seed is not None and (not self.made_up or split in self.made_up)

    def to_json(self) -> bytes:
        """The manifest's file."""
        return (json.dumps(asdict(self), indent=2) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes, key: str) -> "Manifest":
        """Read a manifest's file; raises Corrupt where it is not one."""

        def build(fields: dict[str, Any]) -> "Manifest":
            shards = tuple(Shard(**shard) for shard in fields["shards"])
            made_up = tuple(fields.get("made_up", ()))  # older manifests have none
            sources = tuple(StagedSource(**source) for source in fields.get("sources", ()))
            lists = {
                "classes": tuple(fields["classes"]),
                "made_up": made_up,
                "shards": shards,
                "sources": sources,
            }
            return cls(**{**fields, **lists})

        return read_document(data, key, SCHEMA_VERSION, build)


class Dataset:
    """A staged dataset in storage."""

    def __init__(self, storage: Storage, manifest: Manifest) -> None:
        self.storage = storage
        self.manifest = manifest

    def model_classes(self, model: str) -> tuple[str, ...]:
        """The classes that a model trains on: its own, or all of them for two models.

        Raises:
            ConfigError: the dataset has no such class.
        """
        if model in (GENERAL, HYPERCOLUMN):
            return self.manifest.classes
        if model not in self.manifest.classes:
            known = ", ".join((*self.manifest.classes, GENERAL, HYPERCOLUMN))
            raise ConfigError(
                f"no model {model!r}: dataset {self.manifest.name} has classes for {known}"
            )
        return (model,)

    def count(self, classes: Iterable[str], split: str) -> int:
        """How many photographs of the classes a split holds."""
        return sum(self.manifest.counts[label][split] for label in classes)

    def check_split(self, classes: Iterable[str], split: str) -> int:
        """How many photographs of the classes a split holds.

        Raises:
            ColorganError: none; the message says how to get some.
        """
        classes = tuple(classes)
        count = self.count(classes, split)
        if not count:
            names = [self.manifest.name_of(label) for label in classes]
            by_content = self.manifest.is_by_content(split, classes)
            raise ColorganError(
                f"{nothing_in(self.manifest.name, names, split)} {way_out(split, by_content)}"
            )
        return count

    def sources_of(self, label: str, split: str) -> dict[int, int]:
        """How many photographs of a class a split holds, by `Row.source_index`."""
        counts: dict[int, int] = {}
        for shard in self.manifest.shards:
            if (shard.label, shard.split) == (label, split):
                counts[shard.source_index] = counts.get(shard.source_index, 0) + shard.rows
        return counts

    def rows(self, classes: Sequence[str], split: str) -> Iterator[Row]:
        """Read a split's photographs, shard by shard, in a fixed order.

        A remote storage's shards are read through the machine's cache (colorgan.data.cache).

        Raises:
            Corrupt: a shard is cut short or does not match its checksum.
            NotInStorage: a shard is gone.
            StorageUnavailable: the storage has not answered for a long time.
            ConfigError: the environment's size of the cache is none.
        """
        shards = [
            shard
            for shard in self.manifest.shards
            if shard.label in classes and shard.split == split
        ]
        stored = [
            StoredShard(f"datasets/{self.manifest.name}/{shard.key}", shard.bytes, shard.sha256)
            for shard in shards
        ]
        with closing(open_shards(self.storage, stored)) as files:
            for shard, file in zip(shards, files, strict=True):
                yield from _read(file, shard.source_index)


def _read(file: BinaryIO, source_index: int) -> Iterator[Row]:
    # With pre_buffer the whole shard would be read before its first row. Arrow's threads cost more
    # than they save, for nearly all bytes are of one column.
    shard = pq.ParquetFile(file, pre_buffer=False)
    for batch in shard.iter_batches(_BATCH, use_threads=False):
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        # Datasets of before the column `licence` have none.
        licence = columns.get("licence")
        yield from map(
            Row,
            columns["image"].field("bytes").to_pylist(),
            *(columns[name].to_pylist() for name in _FACTS),
            [text or "" for text in licence.to_pylist()] if licence else repeat(""),
            repeat(source_index),
        )


def even_shares(counts: Mapping[Key, int], wanted: int) -> dict[Key, int]:
    """Divide a number among classes as evenly as it goes: what a small one lacks, larger ones give.

    Args:
        counts: photographs that each class, or each source, has.
        wanted: in all; at most all of them are given.
    """
    shares = dict.fromkeys(counts, 0)
    for _ in range(min(wanted, sum(counts.values()))):
        label = min(
            (each for each in counts if shares[each] < counts[each]), key=shares.__getitem__
        )
        shares[label] += 1
    return shares


def open_dataset(storage: Storage, name: str) -> Dataset:
    """Open a dataset by its name.

    Raises:
        NotInStorage: there is none; the message lists those that there are.
        Corrupt: its manifest cannot be read.
    """
    key = f"datasets/{check_name('dataset', name)}/manifest.json"
    if not storage.exists(key):
        names = _dataset_names(storage)
        there = f"there are {', '.join(names)}" if names else "there is none yet"
        raise NotInStorage(
            f"no dataset {name!r} in {storage.uri}: {there} "
            f"(colorgan stage SOURCE --dataset {name} makes it)"
        )
    return Dataset(storage, Manifest.from_json(storage.get(key), key))


def list_datasets(
    storage: Storage, on_fault: Callable[[ColorganError], None] | None = None
) -> list[Manifest]:
    """The manifests of the datasets in storage, oldest first.

    Args:
        storage: where they are.
        on_fault: is told why a manifest cannot be read; the others are listed all the same.
            Without, the first such error is raised.
    """

    def read(name: str) -> Manifest:
        key = f"datasets/{name}/manifest.json"
        manifest = Manifest.from_json(storage.get(key), key)
        if not isinstance(manifest.created, str):
            raise Corrupt(f"{key} has no date of creation")
        return manifest

    manifests = read_all(_dataset_names(storage), read, on_fault)
    return sorted(manifests, key=lambda manifest: manifest.created)


def _dataset_names(storage: Storage) -> list[str]:
    names = storage.folders("datasets")
    return [name for name in names if storage.exists(f"datasets/{name}/manifest.json")]
