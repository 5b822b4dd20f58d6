"""Damaged files, full disks and a storage that does not answer."""

import dataclasses
import fcntl
import hashlib
import io
import resource
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from colorgan.data import cache
from colorgan.data.dataset import Dataset, Row
from colorgan.errors import ConfigError, Corrupt, NotInStorage, StorageUnavailable
from colorgan.storage import Storage
from tests.data.cache.datasets import (
    SHARDS,
    cut,
    downloading,
    empty,
    flip,
    kept,
    part,
    shards_of,
    train,
)


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
    """A download of a byte every tenth of a second."""

    def read(self, size: int | None = -1) -> bytes:
        time.sleep(0.1)
        return super().read(1)


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
    assert time.monotonic() - started < 300, "a shard takes more than that"
    assert len(opened) <= 2 * (1 + 2), "so far ahead and no further"


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
    with (folder / f".colorgan-lock-{shard.sha256[:2]}").open("wb") as lock:
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
