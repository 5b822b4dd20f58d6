"""Writes shards: copies the selected photographs from the pieces that hold them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import file_digest
from itertools import groupby

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from colorgan.data.dataset import SCHEMA, Shard
from colorgan.data.examination import open_piece
from colorgan.data.mapping import batched, bounded_threads
from colorgan.data.selection import StoredPhotograph
from colorgan.errors import Corrupt
from colorgan.storage import Storage, open_storage, retry_transient
from colorgan.temporary import temporary_folder

_READ_AHEAD = 4  # row groups of pieces read at a time
_AT_ONCE = 2  # shards that a process writes at a time
# JPEGs do not compress further; small row groups let a reader stream a large shard.
_GROUP_ROWS = 100


@dataclass(frozen=True)
class ShardPlan:
    """A shard to be written, and the photographs that it holds, in order."""

    key: str
    label: str
    split: str
    photographs: tuple[StoredPhotograph, ...]


def plan_shards(
    kept: Mapping[tuple[str, str], Sequence[StoredPhotograph]], shard_bytes: int
) -> list[ShardPlan]:
    """Divide photographs among shards, each closed once its pictures reach `shard_bytes`.

    All photographs of a shard are from one source.
    """
    plans = []
    for (label, split), photographs in sorted(kept.items()):
        for number, part in enumerate(_filled(photographs, shard_bytes)):
            key = f"{label}/{split}-{number:05d}.parquet"
            plans.append(ShardPlan(key, label, split, tuple(part)))
    return plans


def _filled(
    photographs: Sequence[StoredPhotograph], shard_bytes: int
) -> Iterator[list[StoredPhotograph]]:
    part: list[StoredPhotograph] = []
    size = 0
    for photograph in photographs:
        if part and photograph.source != part[-1].source:
            yield part
            part, size = [], 0
        part.append(photograph)
        size += photograph.bytes
        if size >= shard_bytes:
            yield part
            part, size = [], 0
    if part:
        yield part


def write_shards(
    plans: Iterable[ShardPlan], threads: int, *, storage: str, folder: str
) -> Iterator[Shard]:
    """Write shards; see `mapping.Work`.

    Args:
        plans: the shards to write.
        threads: unused; writing is limited by the storage.
        storage: URI of the storage that holds the pieces and receives the shards.
        folder: the dataset's folder in the storage.
    """
    store = open_storage(storage)
    with bounded_threads(_AT_ONCE) as run, ThreadPoolExecutor(_READ_AHEAD) as pool:
        yield from run(lambda plan: _write(store, folder, plan, pool), plans)


def _write(storage: Storage, folder: str, plan: ShardPlan, pool: ThreadPoolExecutor) -> Shard:
    """Write a shard to storage unless it already exists, and verify it."""
    with temporary_folder("shard") as spool:
        path = spool / "shard.parquet"
        with pq.ParquetWriter(path, SCHEMA, compression="none") as writer:
            for photographs in regrouped(_read(storage, plan, pool), _GROUP_ROWS):
                writer.write_table(rows_of(photographs))
        with path.open("rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
        key = f"{folder}/{plan.key}"
        if not retry_transient(lambda: storage.matches(key, path)):
            retry_transient(lambda: storage.put_file(key, path))
            if not retry_transient(lambda: storage.matches(key, path)):
                raise Corrupt(f"{key} is not in {storage.uri} as it was sent: stage again")
        rows = len(plan.photographs)
        size, source = path.stat().st_size, plan.photographs[0].source
        return Shard(plan.key, plan.label, plan.split, rows, size, digest, source)


def _read(storage: Storage, plan: ShardPlan, pool: ThreadPoolExecutor) -> Iterator[pa.Table]:
    """The photographs of a shard, in order, with the columns of a piece."""
    parts = [
        (piece, group, [photograph.row for photograph in photographs])
        for (piece, group), photographs in groupby(
            plan.photographs, lambda photograph: (photograph.piece, photograph.group)
        )
    ]

    def read(part: tuple[str, int, list[int]]) -> pa.Table:
        piece, group, rows = part
        table = retry_transient(lambda: _read_group(storage, piece, group))
        return table if rows == list(range(len(table))) else table.take(rows)

    for some in batched(parts, _READ_AHEAD):
        yield from pool.map(read, some)


def regrouped(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of `rows` rows; the last may be shorter."""
    some: list[pa.Table] = []
    for table in tables:
        some.append(table)
        while sum(map(len, some)) >= rows:
            joined = pa.concat_tables(some)
            yield joined.slice(0, rows)
            some = [joined.slice(rows)]
    if any(map(len, some)):
        yield pa.concat_tables(some)


def rows_of(photographs: pa.Table) -> pa.Table:
    """Convert photographs from the columns of a piece to those of a shard."""
    whole = {name: pa.concat_arrays(photographs[name].chunks) for name in photographs.column_names}
    path = pc.binary_join_element_wise(whole["sha256"], ".jpg", "")
    whole["image"] = pa.StructArray.from_arrays(
        [whole["image"], path], fields=list(SCHEMA.field("image").type)
    )
    unknown = pc.equal(whole["licence"], "")
    whole["licence"] = pc.if_else(unknown, pa.scalar(None, pa.string()), whole["licence"])
    return pa.table([whole[name] for name in SCHEMA.names], SCHEMA)


def _read_group(storage: Storage, key: str, group: int) -> pa.Table:
    with open_piece(storage, key) as piece:
        return piece.read_row_group(group)
