import dataclasses
import fcntl
import hashlib
import io
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from colorgan.data import cache
from colorgan.data.dataset import SCHEMA, SPLITS, Dataset, Manifest, Row, Shard, open_dataset
from colorgan.errors import ConfigError, Corrupt, NotInStorage, StorageUnavailable
from colorgan.storage import Storage, open_storage
from tests.conftest import CHECKOUT
from tests.s3_server import S3Server

Layout = Mapping[tuple[str, str], Sequence[int]]

PETS: Layout = {("cats", "train"): (5, 4, 6, 3, 5, 4, 2), ("cats", "val"): (3,)}
SHARDS = len(PETS["cats", "train"])


def noise(number: int) -> bytes:
    """3000 bytes that are no picture."""
    return np.random.default_rng(number).bytes(3000)


def write_dataset(
    storage: Storage, name: str, layout: Layout, image: Callable[[int], bytes] = noise
) -> Dataset:
    """A dataset as staging writes it: so many photographs in each shard of a class and split."""
    shards, count = [], 0
    for (label, split), sizes in layout.items():
        for number, size in enumerate(sizes):
            rows = [record(image(each), label, split, each) for each in range(count, count + size)]
            count += size
            data = parquet(pa.Table.from_pylist(rows, SCHEMA))
            key = f"{label}/{split}-{number:05d}.parquet"
            digest = hashlib.sha256(data).hexdigest()
            shards.append(Shard(key, label, split, size, len(data), digest))
            storage.put(f"datasets/{name}/{key}", data)
    classes = tuple(dict.fromkeys(label for label, _ in layout))
    counts = {c: {split: sum(layout.get((c, split), ())) for split in SPLITS} for c in classes}
    manifest = Manifest(
        name, "2026-01-02T03:04:05+00:00", "noise", 8, 0, classes, counts, {}, tuple(shards), "f"
    )
    storage.put(f"datasets/{name}/manifest.json", manifest.to_json())
    return Dataset(storage, manifest)


def record(image: bytes, label: str, split: str, number: int) -> dict[str, object]:
    sha256 = hashlib.sha256(image).hexdigest()
    return {
        "image": {"bytes": image, "path": f"{sha256}.jpg"},
        "label": label,
        "split": split,
        "source": f"https://photos.example/{number}.jpg",
        "width": 8,
        "height": 8,
        "sha256": sha256,
        "licence": "CC BY 4.0" if number % 2 else None,
    }


def parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="none", row_group_size=100)
    return sink.getvalue()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the cache."""
    monkeypatch.setenv("COLORGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("COLORGAN_CACHE_GIB", raising=False)
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def stored(s3: S3Server) -> str:
    """The address of a dataset in S3, which the tests of this module only read."""
    with pytest.MonkeyPatch.context() as patch:
        use(patch, s3)
        storage = open_storage(f"s3://{s3.new_bucket()}/prefix")
        write_dataset(storage, "pets", PETS)
    return storage.uri


@pytest.fixture
def pets(s3: S3Server, stored: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """A dataset in S3, to be read only, which the cache does not know yet."""
    use(monkeypatch, s3)
    return open_dataset(open_storage(stored), "pets")


@pytest.fixture
def own_pets(s3: S3Server, pets: Dataset) -> Dataset:
    """A dataset in S3 to be damaged."""
    return write_dataset(open_storage(f"s3://{s3.new_bucket()}"), "pets", PETS)


def use(patch: pytest.MonkeyPatch, server: S3Server) -> None:
    for name, value in server.environment().items():
        patch.setenv(name, value)


@pytest.fixture
def expected(pets: Dataset, tmp_path: Path) -> list[Row]:
    """The rows of the split train, as a local storage has them."""
    local = write_dataset(open_storage(str(tmp_path / "local")), "pets", PETS)
    assert local.manifest == pets.manifest
    return train(local)


@pytest.fixture
def opened(pets: Dataset, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys that are read from S3 from now on."""
    keys: list[str] = []
    really = type(pets.storage).open

    def listed(self: Storage, key: str) -> io.BufferedReader:
        keys.append(key)
        return really(self, key)

    monkeypatch.setattr(type(pets.storage), "open", listed)
    return keys


def train(dataset: Dataset) -> list[Row]:
    return list(dataset.rows(("cats",), "train"))


def kept(folder: Path) -> dict[str, int]:
    """The sizes of what the cache holds, but for its locks."""
    return {p.name: p.stat().st_size for p in folder.iterdir() if "lock" not in p.name}


def shards_of(dataset: Dataset, split: str = "train") -> list[Shard]:
    return [shard for shard in dataset.manifest.shards if shard.split == split]


def part(dataset: Dataset, *shards: Shard) -> Dataset:
    """The dataset with these shards alone."""
    return Dataset(dataset.storage, dataclasses.replace(dataset.manifest, shards=shards))


def limit_to(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setenv("COLORGAN_CACHE_GIB", repr(size / 2**30))


def test_the_rows_are_those_of_a_local_storage_in_their_order(
    pets: Dataset, expected: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [row.source for row in expected] == [
        f"https://photos.example/{number}.jpg" for number in range(sum(PETS["cats", "train"]))
    ]
    assert [row.image for row in expected] == [noise(number) for number in range(len(expected))]
    assert train(pets) == train(pets) == expected
    monkeypatch.setenv("COLORGAN_CACHE_GIB", "0")
    assert train(pets) == expected


def test_what_was_read_once_is_not_asked_of_s3_again(
    own_pets: Dataset, expected: list[Row], opened: list[str], folder: Path
) -> None:
    assert train(own_pets) == expected
    wanted = [f"datasets/pets/{shard.key}" for shard in shards_of(own_pets)]
    assert sorted(opened) == wanted
    assert kept(folder) == {shard.sha256: shard.bytes for shard in shards_of(own_pets)}
    own_pets.storage.delete("datasets/pets/cats")
    assert train(own_pets) == expected
    assert sorted(opened) == wanted


def test_a_shard_is_kept_once_whatever_dataset_it_is_of(
    pets: Dataset, expected: list[Row], opened: list[str]
) -> None:
    train(pets)
    opened.clear()
    manifest = dataclasses.replace(pets.manifest, name="others")
    assert train(Dataset(pets.storage, manifest)) == expected
    assert opened == []


READER = """
import sys, time
from colorgan.data.dataset import open_dataset
from colorgan.storage import open_storage
storage = open_storage(sys.argv[1])
really, opened = type(storage).open, []
def slowly(self, key):
    opened.append(key)
    time.sleep(float(sys.argv[2]))
    return really(self, key)
type(storage).open = slowly
dataset = open_dataset(storage, "pets")
print("ready", flush=True)
sys.stdin.readline()
print(sum(len(row.image) for row in dataset.rows(("cats",), "train")), *opened)
"""


def reader(dataset: Dataset, seconds: float) -> "subprocess.Popen[str]":
    """A process that reads the split train, so many seconds a shard, as soon as it is told to."""
    process = subprocess.Popen(
        [sys.executable, "-c", READER, dataset.storage.uri, str(seconds)],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


def test_two_processes_at_once_download_a_shard_once(
    pets: Dataset, expected: list[Row], folder: Path
) -> None:
    processes = [reader(pets, 0.3) for _ in range(2)]
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    keys: list[str] = []
    for process in processes:
        out, _ = process.communicate(timeout=120)
        size, *opened = out.split()
        assert int(size) == sum(len(row.image) for row in expected)
        keys += opened
    assert sorted(keys) == [f"datasets/pets/{shard.key}" for shard in shards_of(pets)]
    assert len(kept(folder)) == SHARDS


def test_a_killed_process_holds_nobody_up_and_leaves_nothing_for_long(
    pets: Dataset, expected: list[Row], folder: Path
) -> None:
    process = reader(pets, 60)
    assert process.stdin
    process.stdin.write("go\n")
    process.stdin.flush()
    while not (folder.is_dir() and kept(folder)):
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    started = time.monotonic()
    assert train(pets) == expected
    assert time.monotonic() - started < 30
    left = kept(folder).keys() - {shard.sha256 for shard in shards_of(pets)}
    assert left, "it was killed during its downloads"
    (folder / "of somebody else").write_text("stays")
    fresh = folder / f"{cache._TEMPORARY}fresh"
    fresh.write_bytes(b"of a process that lives")
    for name in (*left, "of somebody else"):
        os.utime(folder / name, (time.time() - 7200,) * 2)
    assert train(pets) == expected
    assert kept(folder).keys() - {shard.sha256 for shard in shards_of(pets)} == {
        fresh.name,
        "of somebody else",
    }


def test_the_cache_keeps_to_its_size(
    pets: Dataset, expected: list[Row], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = int(2.5 * max(shard.bytes for shard in shards_of(pets)))
    limit_to(monkeypatch, limit)
    assert train(pets) == expected
    assert 0 < sum(kept(folder).values()) <= limit
    assert train(pets) == expected, "also where a reader's own shards push each other out"
    limit_to(monkeypatch, limit // 2)
    assert train(pets) == expected
    assert 0 < sum(kept(folder).values()) <= limit // 2


def test_the_shard_that_was_used_last_long_ago_goes_first(
    pets: Dataset, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(pets)
    shards = shards_of(pets)
    for age, shard in enumerate(shards):
        os.utime(folder / shard.sha256, (1_000_000 + age,) * 2)
    train(part(pets, shards[0]))
    limit_to(monkeypatch, sum(shard.bytes for shard in shards))
    list(pets.rows(("cats",), "val"))
    (new,) = shards_of(pets, "val")
    gone = {shard.sha256 for shard in shards} - kept(folder).keys()
    assert new.sha256 in kept(folder)
    assert shards[1].sha256 in gone
    assert shards[0].sha256 not in gone
    assert shards[-1].sha256 not in gone


@pytest.fixture
def before_downloads(
    pets: Dataset, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> list[dict[str, int]]:
    """What the cache holds whenever a download starts."""
    seen: list[dict[str, int]] = []
    really = type(pets.storage).open

    def looked(self: Storage, key: str) -> io.BufferedReader:
        seen.append(kept(folder))
        return really(self, key)

    monkeypatch.setattr(type(pets.storage), "open", looked)
    return seen


def test_room_is_made_before_it_is_taken(
    pets: Dataset,
    expected: list[Row],
    before_downloads: list[dict[str, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cache, "_AHEAD", 1)
    limit = 3 * max(shard.bytes for shard in shards_of(pets))
    limit_to(monkeypatch, limit)
    assert train(pets) == expected
    assert len(before_downloads) == SHARDS
    for shard, held in zip(shards_of(pets), before_downloads, strict=True):
        assert sum(held.values()) + shard.bytes <= limit


def test_a_shard_larger_than_the_cache_is_read_without_it(
    pets: Dataset,
    expected: list[Row],
    before_downloads: list[dict[str, int]],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limit_to(monkeypatch, 1000)
    assert train(pets) == expected
    assert kept(folder) == {}
    assert before_downloads == [{}] * SHARDS, "not even for a moment"


def cut(data: bytes) -> bytes:
    return data[:-9]


def flip(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


def empty(data: bytes) -> bytes:
    return b""


@pytest.mark.parametrize("damage", [cut, flip, empty])
def test_a_damaged_file_of_the_cache_is_downloaded_again(
    pets: Dataset,
    expected: list[Row],
    opened: list[str],
    folder: Path,
    damage: Callable[[bytes], bytes],
) -> None:
    train(pets)
    opened.clear()
    shard = shards_of(pets)[2]
    path = folder / shard.sha256
    path.write_bytes(damage(path.read_bytes()))
    assert train(pets) == expected
    assert opened == [f"datasets/pets/{shard.key}"]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == shard.sha256


@pytest.mark.parametrize("size", ["0", "20"])
@pytest.mark.parametrize("damage", [cut, flip])
def test_a_shard_that_is_damaged_in_s3_is_named(
    own_pets: Dataset,
    expected: list[Row],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: Callable[[bytes], bytes],
    size: str,
) -> None:
    monkeypatch.setenv("COLORGAN_CACHE_GIB", size)
    shard = shards_of(own_pets)[2]
    key = f"datasets/pets/{shard.key}"
    data = damage(own_pets.storage.get(key))
    own_pets.storage.put(key, data)
    rows = own_pets.rows(("cats",), "train")
    for number in range(9):
        assert next(rows) == expected[number]
    with pytest.raises(Corrupt) as error:
        next(rows)
    assert str(error.value) == (
        f"{key} does not match its checksum ({len(data)} bytes, {shard.bytes} expected): "
        "stage the dataset again with --replace"
    )
    if size != "0":
        assert kept(folder).keys() <= {each.sha256 for each in shards_of(own_pets)} - {shard.sha256}


def test_a_shard_that_is_gone_from_s3_is_named(own_pets: Dataset) -> None:
    key = f"datasets/pets/{shards_of(own_pets)[0].key}"
    own_pets.storage.delete(key)
    with pytest.raises(NotInStorage, match=key):
        train(own_pets)


def test_a_folder_that_cannot_be_made_is_done_without(
    pets: Dataset, expected: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("COLORGAN_CACHE", str(tmp_path / "file" / "cache"))
    assert train(pets) == expected


def test_a_full_disk_is_done_without(
    pets: Dataset, expected: list[Row], opened: list[str], folder: Path
) -> None:
    first = shards_of(pets)[0]
    train(part(pets, first))
    opened.clear()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # bytes that a file may have
    try:
        assert train(pets) == expected
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert kept(folder) == {first.sha256: first.bytes}
    assert f"datasets/pets/{first.key}" not in opened, "what is there already is still read"
    assert opened.count(f"datasets/pets/{shards_of(pets)[-1].key}") == 1, "it is tried no more"


def test_a_folder_that_is_removed_meanwhile_is_done_without(
    pets: Dataset, expected: list[Row], folder: Path
) -> None:
    rows = pets.rows(("cats",), "train")
    read = [next(rows)]
    folder.rename(folder.with_name("elsewhere"))
    assert [*read, *rows] == expected


class Trickle(io.BytesIO):
    """A download of 100 bytes every tenth of a second."""

    def read(self, size: int | None = -1) -> bytes:
        time.sleep(0.1)
        return super().read(100)


def test_no_download_outlives_its_reader(
    pets: Dataset, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_AHEAD", 2)
    really = type(pets.storage).open
    first = f"datasets/pets/{shards_of(pets)[0].key}"

    def slowly(self: Storage, key: str) -> io.BufferedReader:
        file = really(self, key)
        return file if key == first else Trickle(file.read())  # type: ignore[return-value]

    monkeypatch.setattr(type(pets.storage), "open", slowly)
    rows = pets.rows(("cats",), "train")
    next(rows)
    assert downloading()
    started = time.monotonic()
    rows.close()  # type: ignore[attr-defined]
    assert not downloading()
    with pytest.raises(ZeroDivisionError):
        for _ in pets.rows(("cats",), "train"):
            raise ZeroDivisionError
    assert not downloading()
    assert time.monotonic() - started < 5, "a shard takes more than that"
    assert len(opened) <= 2 * (1 + 2), "so far ahead and no further"


def downloading() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("colorgan-shards")]


def test_a_storage_that_does_not_answer_is_waited_for(
    pets: Dataset, expected: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = iter(range(2 * SHARDS))
    really = type(pets.storage).open

    def sometimes(self: Storage, key: str) -> io.BufferedReader:
        if next(silent, None) is not None:
            raise StorageUnavailable("no answer")
        return really(self, key)

    monkeypatch.setattr(type(pets.storage), "open", sometimes)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    assert train(pets) == expected


def test_a_reader_that_holds_a_lock_for_ever_is_passed_by(
    pets: Dataset, expected: list[Row], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_LOCK_PATIENCE_S", 0.3)
    folder.mkdir()
    shard = shards_of(pets)[3]
    with (folder / f"{cache._LOCK}{shard.sha256[:2]}").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert train(pets) == expected
    assert shard.sha256 in kept(folder)


def test_a_manifest_cannot_reach_files_outside_the_cache(
    pets: Dataset, folder: Path, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("stays")
    shard = dataclasses.replace(shards_of(pets)[0], sha256="../precious")
    with pytest.raises(Corrupt, match="does not match its checksum"):
        train(part(pets, shard))
    assert precious.read_text() == "stays"


@pytest.mark.parametrize("size", ["much", "-1", "nan"])
def test_a_size_that_is_none_is_one_sentence(
    pets: Dataset, monkeypatch: pytest.MonkeyPatch, size: str
) -> None:
    monkeypatch.setenv("COLORGAN_CACHE_GIB", size)
    with pytest.raises(ConfigError, match=f"COLORGAN_CACHE_GIB='{size}' is not a size"):
        train(pets)


def test_where_the_cache_is(pets: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {shard.sha256 for shard in shards_of(pets)}
    monkeypatch.delenv("COLORGAN_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    train(pets)
    assert kept(tmp_path / "home" / ".cache" / "colorgan").keys() == names
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    train(pets)
    assert kept(tmp_path / "xdg" / "colorgan").keys() == names


def test_a_local_storage_is_read_in_place(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLORGAN_CACHE_GIB", "nonsense that nobody reads")
    local = write_dataset(open_storage(str(tmp_path / "local")), "pets", PETS)
    rows = local.rows(("cats",), "train")
    next(rows)
    assert not downloading()
    assert len(list(rows)) == sum(PETS["cats", "train"]) - 1
    assert not folder.exists()


def test_datasets_of_before_the_licences_are_read(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path / "local"))
    dataset = write_dataset(storage, "pets", {("cats", "train"): (3,)})
    rows = train(dataset)
    assert [row.licence for row in rows] == ["", "CC BY 4.0", ""]
    (shard,) = dataset.manifest.shards
    key = f"datasets/pets/{shard.key}"
    data = parquet(pq.read_table(pa.BufferReader(storage.get(key))).drop_columns(["licence"]))
    storage.put(key, data)
    shard = dataclasses.replace(shard, sha256=hashlib.sha256(data).hexdigest())
    assert train(part(dataset, shard)) == [dataclasses.replace(row, licence="") for row in rows]


def test_a_large_shard_is_never_in_memory_at_once(tmp_path: Path) -> None:
    def large(number: int) -> bytes:
        return noise(number) * 10

    storage = open_storage(str(tmp_path / "local"))
    dataset = write_dataset(storage, "pets", {("cats", "train"): (500,)}, large)
    (shard,) = dataset.manifest.shards
    before = pa.total_allocated_bytes()
    most = 0
    tracemalloc.start()
    try:
        for _ in dataset.rows(("cats",), "train"):
            most = max(most, pa.total_allocated_bytes() - before)
        most += tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert shard.bytes > 14 * 2**20
    assert most < 0.8 * shard.bytes
