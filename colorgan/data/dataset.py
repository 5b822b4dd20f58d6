"""The Parquet dataset in storage: its manifest, rows and checksums.

    datasets/<dataset>/manifest.json
    datasets/<dataset>/<class>/<split>-00000.parquet

The manifest is written last, so a dataset becomes visible complete or not at all. It holds a
checksum of every shard, which readers verify.
"""

import json
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from itertools import repeat
from typing import Any, BinaryIO, Literal, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from colorgan.data.cache import open_shards
from colorgan.data.downloads import StoredShard
from colorgan.data.splits import nothing_in, way_out
from colorgan.errors import ColorganError, ConfigError, Corrupt, NotInStorage
from colorgan.names import OF_ALL_CLASSES, check_name
from colorgan.storage import Storage
from colorgan.storage.documents import read_all, read_document

Key = TypeVar("Key", str, int)

SCHEMA_VERSION = 1
_FACTS = ("label", "split", "source", "width", "height", "sha256")  # in the order of Row's fields
_BATCH = 64  # rows held as Python objects at a time
SPLITS = ("train", "val", "test")
Balance = Literal["none", "classes", "sources"]  # the groups with equal shares of an epoch

# With this encoding and metadata, Hugging Face datasets reads the column `image` as its Image.
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
        source: the URL or path that it came from.
        width: width of the staged picture, in pixels.
        height: height of the staged picture, in pixels.
        sha256: hash of the decoded photograph's pixels before resizing (`content_hash`); it
            decides the split and identifies duplicates.
        licence: the licence of the photograph; empty if unknown.
        source_index: the index of its source in `Manifest.sources`.
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
        key: its key relative to the dataset's folder.
        source_index: the index of the photographs' source in `Manifest.sources`.
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
        source: the source as the user gave it, such as `folder:/photos`.
        counts: number of photographs by class and split.
        by_content: by class, the splits that were assigned by the photographs' content.
    """

    source: str
    counts: dict[str, dict[str, int]]
    by_content: dict[str, list[str]]

    @property
    def total(self) -> int:
        """The number of photographs from this source."""
        return sum(sum(counts.values()) for counts in self.counts.values())


@dataclass(frozen=True)
class Manifest:
    """The description of a dataset: written last, read first.

    Attributes:
        name: the dataset's name.
        created: the time of creation, UTC, ISO 8601.
        source: all the sources that it was staged from, as text.
        size: the short side of the staged pictures, in pixels.
        split_seed: the salt of the split by content; None if the sources defined the splits.
        classes: the labels, in order.
        counts: number of photographs by class and split.
        dropped: number of photographs left out, by reason.
        shards: the Parquet files.
        fingerprint: a checksum over the shards: equal for equal contents.
        origins: number of photographs by the host of the URL or the folder that they came from.
        licences: number of photographs by licence, if known.
        names: the names of the classes whose names differ from their labels, by label.
        made_up: the splits that were partly assigned by content, because a class or source did not
            define them.
        sources: the sources, in order; empty in older manifests, which had a single source.
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
        """The name of a class, as people read it."""
        return self.names.get(label, label)

    def title_of(self, label: str) -> str:
        """The name of a class and, if different, its label: `Big Cats (big-cats)`, or `cats`."""
        name = self.name_of(label)
        return label if name == label else f"{name} ({label})"

    def is_by_content(self, split: str, classes: Iterable[str]) -> bool:
        """Whether photographs of any of the classes are in the split because of their content."""
        if self.sources:
            return any(
                split in source.by_content.get(label, ())
                for source in self.sources
                for label in classes
            )
        return self.split_seed is not None and (not self.made_up or split in self.made_up)

    def to_json(self) -> bytes:
        """The content of the manifest's file."""
        return (json.dumps(asdict(self), indent=2) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes, key: str) -> "Manifest":
        """Read the content of a manifest's file; raises Corrupt if it is not a manifest."""

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
        """The classes that a model trains on: its own, or all for OF_ALL_CLASSES.

        Raises:
            ConfigError: the dataset has no such class.
        """
        if model in OF_ALL_CLASSES:
            return self.manifest.classes
        if model not in self.manifest.classes:
            known = ", ".join((*self.manifest.classes, *OF_ALL_CLASSES))
            raise ConfigError(
                f"no model {model!r}: dataset {self.manifest.name} has classes for {known}"
            )
        return (model,)

    def count(self, classes: Iterable[str], split: str) -> int:
        """The number of photographs of the classes in a split."""
        return sum(self.manifest.counts[label][split] for label in classes)

    def check_split(self, classes: Iterable[str], split: str) -> int:
        """The number of photographs of the classes in a split.

        Raises:
            ColorganError: there are no such photographs; the message says how to get some.
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
        """The number of photographs of a class in a split, by `Row.source_index`."""
        counts: dict[int, int] = {}
        for shard in self.manifest.shards:
            if (shard.label, shard.split) == (label, split):
                counts[shard.source_index] = counts.get(shard.source_index, 0) + shard.rows
        return counts

    def shards(self, classes: Collection[str], split: str) -> list[Shard]:
        """The shards of a split, in a fixed order."""
        return [
            shard
            for shard in self.manifest.shards
            if shard.label in classes and shard.split == split
        ]

    def rows(self, classes: Collection[str], split: str) -> Iterator[Row]:
        """Read a split's photographs, shard by shard, in a fixed order; see `rows_of`."""
        return self.rows_of(self.shards(classes, split))

    def rows_of(
        self, shards: Sequence[Shard], poll: Callable[[], None] = lambda: None, **reading: Any
    ) -> Generator[Row, None, None]:
        """Read the photographs of some of the dataset's shards, in order.

        Shards of a remote storage are read through the machine's cache (colorgan.data.cache).

        Args:
            shards: the shards.
            poll: called every half second while a shard is downloaded; it may raise to interrupt.
            **reading: how to read a remote storage: `ahead` and `scratch` of `open_shards`.

        Raises:
            Corrupt: a shard is truncated or does not match its checksum.
            NotInStorage: a shard is missing.
            StorageUnavailable: the storage has not responded for a long time.
            ConfigError: the cache size in the environment is not valid.
        """
        stored = [
            StoredShard(f"datasets/{self.manifest.name}/{shard.key}", shard.bytes, shard.sha256)
            for shard in shards
        ]
        with closing(open_shards(self.storage, stored, poll, **reading)) as files:
            for shard, file in zip(shards, files, strict=True):
                yield from _read(file, shard.source_index)

    def sources_in(self, shard: Shard) -> list[str]:
        """The URL or path that each photograph of a shard came from; its pixels are not read.

        Raises:
            Corrupt: the shard cannot be read.
            NotInStorage: the shard is missing.
        """
        key = f"datasets/{self.manifest.name}/{shard.key}"
        try:
            with self.storage.open(key) as file:
                sources: list[str] = pq.read_table(file, columns=["source"])["source"].to_pylist()
                return sources
        except pa.ArrowException as error:
            raise Corrupt(f"{key} cannot be read: {error}") from None


def _read(file: BinaryIO, source_index: int) -> Iterator[Row]:
    # With pre_buffer, the whole shard would be read before its first row. Arrow's threads cost more
    # than they save, because nearly all bytes are in one column.
    shard = pq.ParquetFile(file, pre_buffer=False)
    for batch in shard.iter_batches(_BATCH, use_threads=False):
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        # Older datasets have no column `licence`.
        licence = columns.get("licence")
        yield from map(
            Row,
            columns["image"].field("bytes").to_pylist(),
            *(columns[name].to_pylist() for name in _FACTS),
            [text or "" for text in licence.to_pylist()] if licence else repeat(""),
            repeat(source_index),
        )


def even_shares(counts: Mapping[Key, int], wanted: int) -> dict[Key, int]:
    """Divide a number of photographs as evenly as possible among classes or sources.

    If a class has fewer than its share, larger classes make up the difference.

    Args:
        counts: number of photographs available in each class or source.
        wanted: total to divide; capped at the number available.
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
        NotInStorage: there is no such dataset; the message lists the existing ones.
        Corrupt: its manifest cannot be read.
    """
    key = f"datasets/{check_name('dataset', name)}/manifest.json"
    if not storage.exists(key):
        names = _dataset_names(storage)
        there = f"there are {', '.join(names)}" if names else "it has no datasets yet"
        raise NotInStorage(
            f"no dataset {name!r} in {storage.uri}: {there} "
            f"(create it with: colorgan stage SOURCE --dataset {name})"
        )
    return Dataset(storage, Manifest.from_json(storage.get(key), key))


def list_datasets(
    storage: Storage, on_fault: Callable[[ColorganError], None] | None = None
) -> list[Manifest]:
    """The manifests of the datasets in storage, oldest first.

    Args:
        storage: the storage that holds them.
        on_fault: receives the error of each manifest that cannot be read, and the others are still
            listed. Without it, the first such error is raised.
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
