"""A staging that is stopped, that fails, or whose dataset exists already."""

from pathlib import Path

import pytest

from colorgan.data import drawing, examination, shards
from colorgan.data.dataset import list_datasets, open_dataset
from colorgan.data.sources import FolderSource
from colorgan.data.staging import Execution
from colorgan.errors import ColorganError, NotInStorage
from colorgan.storage import Storage
from tests.data.photographs import (
    ALL_TRAIN,
    SMALL,
    all_rows,
    photographs,
    pixels,
    save,
    stage,
    stop_after,
)


def test_an_existing_dataset_is_written_over_only_when_told(storage: Storage, pets: Path) -> None:
    stage(FolderSource(pets), storage, "pets", SMALL)
    photographs(pets / "cats", 1, first=90)
    with pytest.raises(ColorganError, match=r"'pets' exists in .*--replace"):
        stage(FolderSource(pets), storage, "pets", SMALL)
    assert len(all_rows(open_dataset(storage, "pets"))) == 20
    stage(FolderSource(pets), storage, "pets", ALL_TRAIN, replace=True)
    dataset = open_dataset(storage, "pets")
    assert len(all_rows(dataset)) == 21
    shards = [f"datasets/pets/{shard.key}" for shard in dataset.manifest.shards]
    assert [key for key in storage.list() if key.endswith(".parquet")] == shards


def test_a_restaging_that_fails_leaves_the_old_dataset_whole(storage: Storage, pets: Path) -> None:
    stage(FolderSource(pets), storage, "pets", SMALL)
    before = {key: storage.get(key) for key in storage.list()}
    with pytest.raises(KeyboardInterrupt):
        stage(
            FolderSource(pets),
            storage,
            "pets",
            SMALL,
            replace=True,
            execution=Execution(observe=stop_after(5)),
        )
    (pets / "unicorns").mkdir()
    with pytest.raises(ColorganError, match="unicorns"):
        stage(FolderSource(pets), storage, "pets", SMALL, replace=True)
    assert {key: storage.get(key) for key in storage.list()} == before


@pytest.mark.parametrize("after", [1, 13, 20])
def test_an_interrupted_staging_shows_nothing_and_goes_on_from_what_it_has(
    storage: Storage, pets: Path, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "CHUNK", 4)
    expected, _ = stage(FolderSource(pets), storage, "expected", SMALL)
    with pytest.raises(KeyboardInterrupt):
        stage(
            FolderSource(pets),
            storage,
            "pets",
            SMALL,
            execution=Execution(observe=stop_after(after)),
        )
    assert [manifest.name for manifest in list_datasets(storage)] == ["expected"]
    pieces = {key: storage.get(key) for key in storage.list("staging/pets")}
    assert len(pieces) >= after // 4

    written = []
    put = storage.put
    monkeypatch.setattr(storage, "put", lambda key, data: (written.append(key), put(key, data)))
    monkeypatch.setattr(examination, "open_storage", lambda uri: storage)
    dataset, _ = stage(FolderSource(pets), storage, "pets", SMALL)
    assert not pieces.keys() & set(written)
    assert len([key for key in written if key.startswith("staging/")]) == 6 - len(pieces)
    assert dataset.manifest.fingerprint == expected.manifest.fingerprint
    assert storage.list("staging") == []


def test_a_file_that_was_mended_is_examined_again(storage: Storage, pets: Path) -> None:
    (pets / "cats" / "new.png").write_text("not yet a photograph")
    with pytest.raises(KeyboardInterrupt):
        stage(
            FolderSource(pets), storage, "pets", SMALL, execution=Execution(observe=stop_after(21))
        )
    save(pixels(90), pets / "cats" / "new.png")
    dataset, dropped = stage(FolderSource(pets), storage, "pets", SMALL)
    assert len(all_rows(dataset)) == 21
    assert dropped == []


def test_a_damaged_piece_is_made_again(storage: Storage, pets: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        stage(
            FolderSource(pets), storage, "pets", SMALL, execution=Execution(observe=stop_after(1))
        )
    for key in storage.list("staging/pets"):
        storage.put(key, storage.get(key)[:-20])
    dataset, _ = stage(FolderSource(pets), storage, "pets", SMALL)
    assert len(all_rows(dataset)) == 20


@pytest.mark.parametrize("replace", [False, True])
def test_an_upload_that_breaks_off_shows_no_half_of_a_dataset(
    storage: Storage, pets: Path, monkeypatch: pytest.MonkeyPatch, replace: bool
) -> None:
    if replace:
        stage(FolderSource(pets), storage, "pets", ALL_TRAIN)
    put_file = storage.put_file
    monkeypatch.setattr(shards, "open_storage", lambda uri: storage)

    def full(key: str, path: Path) -> None:
        if "dogs" in key:
            raise ColorganError("no space left")
        put_file(key, path)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "put_file", full)
        with pytest.raises(ColorganError, match="no space left"):
            stage(FolderSource(pets), storage, "pets", SMALL, replace=replace)
    assert list_datasets(storage) == []
    with pytest.raises(NotInStorage):
        open_dataset(storage, "pets")
    dataset, _ = stage(FolderSource(pets), storage, "pets", ALL_TRAIN)
    assert len(all_rows(dataset)) == 20
    assert len([key for key in storage.list() if key.endswith(".parquet")]) == 2
