"""Folders as a source of photographs: their classes, and the order of their files."""

from pathlib import Path

import pytest

from colorgan.data.sources import FolderSource
from colorgan.errors import ConfigError
from colorgan.names import RESERVED_NAMES
from tests.data.photographs import names, photographs, pixels, save


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name in ("missing", "file"):
        with pytest.raises(ConfigError, match=f"{name} is not a folder"):
            FolderSource(tmp_path / name)


@pytest.mark.parametrize("inside", [(), ("train",), ("train", "val", "test"), (".git",)])
def test_a_folder_without_classes(tmp_path: Path, inside: tuple[str, ...]) -> None:
    save(pixels(0), tmp_path / "in" / "photo.png")
    for name in inside:
        (tmp_path / "in" / name).mkdir()
    with pytest.raises(ConfigError, match="has no folder per class"):
        FolderSource(tmp_path / "in")


@pytest.mark.parametrize("parent", ["", "train"])
@pytest.mark.parametrize("name", [*RESERVED_NAMES, "General", "Auto!", "Général"])
def test_classes_whose_names_cannot_be_used(tmp_path: Path, parent: str, name: str) -> None:
    photographs(tmp_path / "in" / parent / "cats", 1)
    photographs(tmp_path / "in" / parent / name, 1, first=1)
    with pytest.raises(ConfigError, match=r"name is reserved"):
        FolderSource(tmp_path / "in")


def test_without_a_seed_files_are_sorted_by_path(pets: Path) -> None:
    assert names(FolderSource(pets)) == sorted(names(FolderSource(pets)))


def test_the_order_follows_from_the_seed_and_not_from_where_the_folder_is(pets: Path) -> None:
    one = names(FolderSource(pets, seed=1))
    assert sorted(one) == names(FolderSource(pets)) != one
    assert names(FolderSource(pets, seed=2)) != one
    assert names(FolderSource(pets.rename(pets.with_name("beasts")), seed=1)) == one


def test_files_in_folders_of_a_class_belong_to_it(pets: Path) -> None:
    photographs(pets / "cats" / "more" / "still more", 1, first=80)
    assert "cats/080" in names(FolderSource(pets))


def test_hidden_files_are_skipped(pets: Path) -> None:
    before = names(FolderSource(pets))
    save(pixels(0), pets / "cats" / ".hidden.png")
    (pets / "cats" / ".DS_Store").write_bytes(b"")
    photographs(pets / ".trash", 1)
    assert names(FolderSource(pets)) == before
    assert FolderSource(pets).classes == ("cats", "dogs")


def test_files_in_hidden_folders_are_skipped(pets: Path) -> None:
    before = names(FolderSource(pets))
    photographs(pets / "cats" / ".thumbnails", 1, first=80)
    assert names(FolderSource(pets)) == before
