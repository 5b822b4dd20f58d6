"""Datasets of folders as they are found: splits, copies, names of classes and files, reasons."""

import csv
import io
import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from colorgan.data import staging
from colorgan.data.dataset import Dataset, open_dataset
from colorgan.data.examination import split_of
from colorgan.data.groups import Dropped
from colorgan.data.sources import FolderSource
from colorgan.data.sources.candidates import FileCandidate
from colorgan.errors import ColorganError, ImageRejected
from colorgan.images.decoding import content_hash
from colorgan.storage import Storage
from tests.data.photographs import (
    ALL_TRAIN,
    SMALL,
    all_rows,
    photographs,
    pixels,
    save,
    splits,
    stage,
)


def notes(staged: staging.Staged) -> str:
    return "\n".join(staged.notes)


def test_a_split_that_the_source_lacks_is_taken_from_train_by_content(
    storage: Storage, tmp_path: Path
) -> None:
    photographs(tmp_path / "in" / "Train" / "cats", 24)
    photographs(tmp_path / "in" / "test" / "cats", 2, first=30)
    staged = staging.stage(FolderSource(tmp_path / "in"), storage, "cats", SMALL)
    manifest = staged.dataset.manifest
    assert manifest.counts["cats"]["test"] == 2
    expected = {
        content_hash(pixels(number)): split_of(
            content_hash(pixels(number)), replace(SMALL, test_share=0)
        )
        for number in range(24)
    }
    assert {sha: split for sha, split in splits(staged.dataset).items() if split != "test"} == (
        expected
    )
    assert set(expected.values()) == {"train", "val"}
    assert (manifest.made_up, manifest.split_seed) == (("val",), 0)
    assert "has no split val: 25% of its train" in notes(staged)


@pytest.mark.parametrize("wanted", [0, 3])
def test_a_copy_in_two_splits_is_not_trained_on(
    storage: Storage, tmp_path: Path, wanted: int
) -> None:
    for split, first in (("train", 0), ("valid", 10), ("test", 20)):
        photographs(tmp_path / "in" / split / "cats", 3, first)
        photographs(tmp_path / "in" / split / "dogs", 3, first + 40)
    save(pixels(0), tmp_path / "in/test/cats/exact.png")
    touched = pixels(1).copy()
    touched[0, 0] ^= 1
    save(touched, tmp_path / "in/valid/cats/touched.png")
    save(pixels(40), tmp_path / "in/test/cats/of another class.png")
    save(pixels(50), tmp_path / "in/test/dogs/exact.png")
    photographs(tmp_path / "in/train/cats", 2, 100)
    photographs(tmp_path / "in/train/dogs", 2, 110)
    source = FolderSource(tmp_path / "in", seed=None)
    staged = staging.stage(source, storage, "pets", SMALL, per_class=wanted and 9)
    details = {
        str(Path(drop.source).relative_to(tmp_path / "in")): (
            drop.reason,
            drop.detail.replace(f"{tmp_path}/in/", ""),
        )
        for drop in staged.dropped
    }
    assert details == {
        "train/cats/000.png": ("duplicate", "of test/cats/exact.png in test"),
        "train/cats/001.png": ("near-duplicate", "of valid/cats/touched.png in val"),
        "train/dogs/040.png": ("duplicate", "of test/cats/of another class.png in test"),
        "valid/dogs/050.png": ("duplicate", "of test/dogs/exact.png in test"),
    }
    counts = staged.dataset.manifest.counts
    assert counts["cats"] == {"train": 3, "val": 4, "test": 5}
    assert "left out of train or val (4;" in notes(staged)


def test_an_empty_split_is_said_with_the_way_out(storage: Storage, tmp_path: Path) -> None:
    photographs(tmp_path / "in" / "Big Cats", 4)
    photographs(tmp_path / "in" / "dogs", 4, first=50)
    source = FolderSource(tmp_path / "in")
    without = next(
        config
        for config in (replace(SMALL, split_seed=seed) for seed in range(100))
        if all(split_of(content_hash(pixels(number)), config) != "val" for number in range(4))
    )
    staged = staging.stage(source, storage, "mine", without)
    assert (
        "Dataset 'mine' has no photograph of class 'Big Cats' in its validation split. "
        "Stage more photographs, or raise --val-share."
    ) in staged.notes
    (seed,) = re.findall(r"With --replace --split-seed (\d+), every class", notes(staged))
    again = staging.stage(
        source, storage, "mine", replace(SMALL, split_seed=int(seed)), replace=True
    )
    assert all(min(counts.values()) > 0 for counts in again.dataset.manifest.counts.values())
    assert again.notes == ()


@pytest.fixture
def cats(tmp_path: Path) -> Path:
    """A folder of one class."""
    photographs(tmp_path / "in" / "cats", 10)
    return tmp_path / "in"


def test_an_empty_split_of_the_source_is_its_owners_to_fill(
    storage: Storage, tmp_path: Path
) -> None:
    for number, place in enumerate(("train/cats", "val/cats", "test/cats", "train/dogs")):
        photographs(tmp_path / "in" / place, 1, number)
    staged = staging.stage(FolderSource(tmp_path / "in"), storage, "pets", SMALL)
    assert (
        "Dataset 'pets' has no photograph of class 'dogs' in its test split. "
        "Put some into the source's test split, or take some of its training split with "
        "--hold-out, and stage it again."
    ) in staged.notes
    with pytest.raises(ColorganError, match=r"class 'dogs' in its validation split\. Put some"):
        staged.dataset.check_split(("dogs",), "val")


def test_a_share_of_nothing_is_a_wish(storage: Storage, cats: Path) -> None:
    assert staging.stage(FolderSource(cats), storage, "pets", ALL_TRAIN).notes == ()


def test_too_few_photographs_have_no_better_seed(storage: Storage, tmp_path: Path) -> None:
    photographs(tmp_path / "in" / "cats", 2)
    staged = staging.stage(FolderSource(tmp_path / "in"), storage, "cats", SMALL)
    assert "--split-seed" not in notes(staged)
    assert "Stage more photographs" in notes(staged)


def test_classes_keep_their_names_beside_their_keys(storage: Storage, tmp_path: Path) -> None:
    for number, name in enumerate(("Big Cats", "Käfer", "犬", "dogs")):
        photographs(tmp_path / "in" / name, 1, number)
    stage(FolderSource(tmp_path / "in"), storage, "pets", ALL_TRAIN)
    manifest = open_dataset(storage, "pets").manifest
    assert manifest.classes == ("big-cats", "dogs", "kaefer", "quan")
    assert manifest.names == {"big-cats": "Big Cats", "kaefer": "Käfer", "quan": "犬"}
    assert [manifest.title_of(label) for label in ("kaefer", "dogs")] == ["Käfer (kaefer)", "dogs"]
    assert {row.label for row in all_rows(open_dataset(storage, "pets"))} == set(manifest.classes)


def test_a_manifest_of_before_is_read(scenes: Dataset) -> None:
    key = f"datasets/{scenes.manifest.name}/manifest.json"
    fields = json.loads(scenes.storage.get(key))
    for name in ("names", "made_up", "origins", "licences", "sources"):
        del fields[name]
    for shard in fields["shards"]:
        del shard["source_index"]
    scenes.storage.put(key, json.dumps(fields).encode())
    manifest = open_dataset(scenes.storage, scenes.manifest.name).manifest
    assert (manifest.names, manifest.made_up, manifest.sources) == ({}, (), ())
    assert manifest.is_by_content("val", ["people"])
    rows = open_dataset(scenes.storage, scenes.manifest.name).rows(("people",), "train")
    assert {row.source_index for row in rows} == {0}
    assert manifest.title_of("people") == "people"


def test_rows_of_files_of_any_name_are_valid_text(storage: Storage, tmp_path: Path) -> None:
    folder = tmp_path / "in" / "cats"
    odd = [b"Stra\xdfe.png", b"a\nb.png", "Größe.png".encode(), b"x" * 250 + b".png", b"\xff\xfe"]
    for number, name in enumerate(odd):
        photographs(folder, 1, number)
        (folder / f"{number:03}.png").rename(os.fsdecode(os.fsencode(folder) + b"/" + name))
    (folder / os.fsdecode(b"text\xdf.jpg")).write_text("no photograph")
    for seed in (None, 1):
        dataset, dropped = stage(
            FolderSource(tmp_path / "in", seed), storage, f"d{seed}", ALL_TRAIN
        )
        sources = {row.source.removeprefix(f"{folder}/") for row in all_rows(dataset)}
        assert sources == {
            "Stra\\xdfe.png",
            "a\nb.png",
            "Größe.png",
            f"{'x' * 250}.png",
            r"\xff\xfe",
        }
        assert [drop.source for drop in dropped] == [rf"{folder}/text\xdf.jpg"]
        listed = storage.get(f"datasets/d{seed}/dropped.csv").decode()
        assert r"text\xdf.jpg,cats,not an image" in listed
        for shard in dataset.manifest.shards:
            table = pq.read_table(pa.BufferReader(storage.get(f"datasets/d{seed}/{shard.key}")))
            table.validate(full=True)


def test_a_name_that_no_file_can_have_is_unreadable(storage: Storage, cats: Path) -> None:
    class Source(FolderSource):
        def candidates(self, label: str, split: str | None = None) -> Iterator[FileCandidate]:
            yield from super().candidates(label, split)
            yield FileCandidate(self.path / "\ud800.png", label)

    _, dropped = stage(Source(cats), storage, "cats", ALL_TRAIN)
    assert [(drop.source, drop.reason) for drop in dropped] == [
        (rf"{cats}/\ud800.png", "unreadable")
    ]


@pytest.mark.parametrize("detail", ["", 'a "comma", and\na line', "HEIC: pip install x[heif]"])
@pytest.mark.parametrize("reason", ["unsupported format", "several pages", "of a new kind, too"])
def test_any_reason_is_counted_and_listed_with_the_file(
    storage: Storage, cats: Path, reason: str, detail: str
) -> None:
    class Odd(FileCandidate):
        def decode(self, data: bytes, max_pixels: int) -> Image.Image:
            raise ImageRejected(reason, detail)

    class Source(FolderSource):
        def candidates(self, label: str, split: str | None = None) -> Iterator[FileCandidate]:
            yield from super().candidates(label, split)
            yield Odd(self.path / "old.heic", label)

    (cats / "old.heic").write_bytes(b"")
    dataset, dropped = stage(Source(cats), storage, "pets", SMALL)
    assert dataset.manifest.dropped == {reason: 1}
    assert dropped == [Dropped(f"{cats}/old.heic", "cats", reason, detail)]
    (line,) = csv.DictReader(
        io.StringIO(storage.get("datasets/pets/dropped.csv").decode(), newline="")
    )
    assert (line["source"], line["reason"], line["detail"]) == (f"{cats}/old.heic", reason, detail)
