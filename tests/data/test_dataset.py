"""Datasets in storage: their shards, their manifests and their names."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from colorgan.data.dataset import Dataset, open_dataset
from colorgan.data.sources import FolderSource
from colorgan.errors import ColorganError, ConfigError, Corrupt, NotInStorage
from colorgan.storage import Storage
from tests.data.photographs import SMALL, stage


def cut(data: bytes) -> bytes:
    return data[:-10]


def flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize("damage", [cut, flip])
def test_a_damaged_shard_is_named(scenes: Dataset, damage: Callable[[bytes], bytes]) -> None:
    key = "datasets/scenes/people/train-00000.parquet"
    scenes.storage.put(key, damage(scenes.storage.get(key)))
    with pytest.raises(Corrupt, match=f"{key} does not match its checksum"):
        list(scenes.rows(("people",), "train"))
    assert list(scenes.rows(("animals",), "train"))


def test_a_shard_that_is_gone_is_named(scenes: Dataset) -> None:
    key = "datasets/scenes/people/train-00000.parquet"
    scenes.storage.delete(key)
    with pytest.raises(NotInStorage, match=key):
        list(scenes.rows(("people",), "train"))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"schema_version": 1}', b"\xff\xfe"])
def test_a_damaged_manifest_is_named(scenes: Dataset, content: bytes) -> None:
    scenes.storage.put("datasets/scenes/manifest.json", content)
    with pytest.raises(Corrupt, match=r"manifest\.json cannot be read"):
        open_dataset(scenes.storage, "scenes")


def test_a_manifest_of_another_version_is_refused(scenes: Dataset) -> None:
    key = "datasets/scenes/manifest.json"
    fields = json.loads(scenes.storage.get(key)) | {"schema_version": 2}
    scenes.storage.put(key, json.dumps(fields).encode())
    with pytest.raises(ColorganError, match="schema version 2"):
        open_dataset(scenes.storage, "scenes")


def test_a_manifest_is_read_as_it_was_written(scenes: Dataset) -> None:
    key = "datasets/scenes/manifest.json"
    assert scenes.manifest.to_json() == scenes.storage.get(key)
    assert open_dataset(scenes.storage, "scenes").manifest == scenes.manifest


def test_an_unknown_dataset_is_answered_with_those_there_are(storage: Storage, pets: Path) -> None:
    with pytest.raises(NotInStorage, match=r"no dataset 'pats' in .*it has no datasets yet"):
        open_dataset(storage, "pats")
    for name in ("pets", "beasts"):
        stage(FolderSource(pets), storage, name, SMALL)
    with pytest.raises(NotInStorage, match="there are beasts, pets") as error:
        open_dataset(storage, "pats")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "", ".", "..", ".a", "-a", "a b", "a\n", "x" * 101]
)
def test_names_that_are_none(storage: Storage, pets: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="is not a name"):
        open_dataset(storage, name)
    with pytest.raises(ConfigError, match="is not a name"):
        stage(FolderSource(pets), storage, name, SMALL)
    assert storage.list() == []


def test_the_classes_that_a_model_trains_on(scenes: Dataset) -> None:
    assert scenes.model_classes("people") == ("people",)
    assert scenes.model_classes("general") == ("animals", "people", "vehicles")
    with pytest.raises(ConfigError, match="animals, people, vehicles, general"):
        scenes.model_classes("plants")
