"""What is read, kept and removed, by one process and by several."""

import dataclasses
import hashlib
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from colorgan.data import cache
from colorgan.data.dataset import Dataset, Row
from colorgan.storage import open_storage
from tests.conftest import CHECKOUT
from tests.data.cache.datasets import (
    PETS,
    SHARDS,
    downloading,
    kept,
    limit_to,
    noise,
    parquet,
    part,
    shards_of,
    train,
    write_dataset,
)
from tests.waiting import PATIENCE_S


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
        out, _ = process.communicate(timeout=PATIENCE_S)
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
    process.communicate(timeout=PATIENCE_S)
    started = time.monotonic()
    assert train(pets) == expected
    assert time.monotonic() - started < 300
    left = kept(folder).keys() - {shard.sha256 for shard in shards_of(pets)}
    assert left, "it was killed during its downloads"
    (folder / "of somebody else").write_text("stays")
    fresh = folder / ".colorgan-part-fresh"
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
