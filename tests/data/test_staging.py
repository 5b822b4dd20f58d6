import csv
import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from colorgan.data import drawing, staging
from colorgan.data.dataset import SPLITS, list_datasets, open_dataset
from colorgan.data.examination import split_of
from colorgan.data.sources import FolderSource, SceneSource
from colorgan.data.sources.candidates import FileCandidate
from colorgan.data.staging import Execution, StagingConfig
from colorgan.errors import ColorganError, ConfigError
from colorgan.images.decoding import content_hash, decode
from colorgan.storage import Storage, open_storage
from tests.data.photographs import (
    ALL_TRAIN,
    SMALL,
    all_rows,
    names,
    photographs,
    pixels,
    save,
    splits,
    stage,
)


def test_a_folder_becomes_a_dataset(any_storage: Storage, pets: Path) -> None:
    (pets / "cats" / "notes.txt").write_text("about the cats")
    stage(FolderSource(pets), any_storage, "pets", SMALL)
    dataset = open_dataset(open_storage(any_storage.uri), "pets")
    manifest = dataset.manifest
    assert manifest.classes == ("cats", "dogs")
    assert (manifest.name, manifest.size, manifest.split_seed) == ("pets", 32, 0)
    assert manifest.source == f"folder:{pets}"
    assert manifest.dropped == {"not an image": 1}
    rows = all_rows(dataset)
    assert len(rows) == 20
    assert Counter((row.label, row.split) for row in rows) == Counter(
        {(c, s): manifest.counts[c][s] for c in manifest.classes for s in SPLITS}
    )
    assert dataset.count(("cats", "dogs"), "train") == len(
        list(dataset.rows(("cats", "dogs"), "train"))
    )
    assert {row.sha256 for row in rows if row.label == "cats"} == {
        content_hash(pixels(number)) for number in range(10)
    }
    assert any_storage.list() == sorted(
        ["datasets/pets/manifest.json", "datasets/pets/dropped.csv"]
        + [f"datasets/pets/{shard.key}" for shard in manifest.shards]
    )
    assert [listed.name for listed in list_datasets(any_storage)] == ["pets"]


def test_the_rows_have_the_columns_of_the_format(storage: Storage, pets: Path) -> None:
    dataset, _ = stage(FolderSource(pets), storage, "pets", SMALL)
    for shard in dataset.manifest.shards:
        table = pq.read_table(pa.BufferReader(storage.get(f"datasets/pets/{shard.key}")))
        assert {field.name: str(field.type) for field in table.schema} == {
            "image": "struct<bytes: binary, path: string>",
            "label": "string",
            "split": "string",
            "source": "string",
            "width": "int32",
            "height": "int32",
            "sha256": "string",
            "licence": "string",
        }
        features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
        assert features["image"] == {"_type": "Image"}
        assert list(features) == table.schema.names
        assert table.num_rows == shard.rows
        assert set(table["label"].to_pylist()) == {shard.label}
        assert set(table["split"].to_pylist()) == {shard.split}


@pytest.mark.parametrize(("height", "width"), [(40, 60), (90, 31), (24, 200), (32, 32)])
def test_the_images_are_decoded_to_the_staged_size(
    storage: Storage, tmp_path: Path, height: int, width: int
) -> None:
    save(pixels(1, height, width), tmp_path / "in" / "a" / "photo.png")
    dataset, _ = stage(FolderSource(tmp_path / "in"), storage, "one", SMALL)
    [row] = all_rows(dataset)
    image = decode(row.image).rgb
    assert image.shape == (row.height, row.width, 3)
    assert min(image.shape[:2]) == min(height, width, 32)
    assert row.width / row.height == pytest.approx(width / height, rel=0.05)
    expected = np.asarray(Image.fromarray(pixels(1, height, width)).resize((row.width, row.height)))
    assert np.abs(image.astype(int) - expected).mean() < 4
    assert row.source == str(tmp_path / "in" / "a" / "photo.png")


class Fleeting(FolderSource):
    """A folder from which somebody takes a file away while it is read."""

    def candidates(self, label: str, split: str | None = None) -> Iterator[FileCandidate]:
        for candidate in super().candidates(label, split):
            if candidate.path.stem == "vanishing":
                candidate.path.unlink()
            yield candidate


def test_every_kind_of_bad_file_is_left_out_with_its_reason(
    storage: Storage, tmp_path: Path
) -> None:
    folder = tmp_path / "in" / "birds"
    save(pixels(0), folder / "good.txt", "PNG")
    save(pixels(1), folder / "truncated.jpg", "JPEG")
    data = (folder / "truncated.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(data[: len(data) // 2])
    (folder / "text.jpg").write_text("This is not a photograph.\n" * 100)
    first, second = Image.fromarray(pixels(2)), Image.fromarray(pixels(3))
    first.save(folder / "moving.gif", save_all=True, append_images=[second])
    save(pixels(4, 23, 60), folder / "small.png")
    save(np.stack([pixels(5)[..., 0]] * 3, axis=-1), folder / "gray.jpg", "JPEG")
    save(pixels(0), folder / "same.bmp", "BMP")
    save(pixels(6, 200, 600), folder / "bomb.png")
    (folder / "zero.png").write_bytes(b"")
    save(pixels(7), folder / "vanishing.png")
    config = StagingConfig(size=32, min_side=24, max_pixels=100_000)

    dataset, dropped = stage(Fleeting(tmp_path / "in"), storage, "birds", config)

    assert [Path(row.source).name for row in all_rows(dataset)] == ["good.txt"]
    assert {Path(drop.source).name: drop.reason for drop in dropped} == {
        "truncated.jpg": "truncated",
        "text.jpg": "not an image",
        "moving.gif": "animated",
        "small.png": "too small",
        "gray.jpg": "grayscale",
        "same.bmp": "duplicate",
        "bomb.png": "too many pixels",
        "zero.png": "empty",
        "vanishing.png": "unreadable",
    }
    assert dataset.manifest.dropped == Counter(drop.reason for drop in dropped)
    table = list(csv.DictReader(io.StringIO(storage.get("datasets/birds/dropped.csv").decode())))
    assert [(line["source"], line["reason"]) for line in table] == [
        (drop.source, drop.reason) for drop in dropped
    ]
    duplicate = next(drop for drop in dropped if drop.reason == "duplicate")
    assert duplicate.detail == f"of {folder / 'good.txt'}"
    assert {drop.label for drop in dropped} == {"birds"}


def test_a_photograph_of_two_classes_is_kept_in_one(storage: Storage, tmp_path: Path) -> None:
    photographs(tmp_path / "in" / "a", 2)
    photographs(tmp_path / "in" / "b", 3)
    dataset, dropped = stage(FolderSource(tmp_path / "in"), storage, "ab", ALL_TRAIN)
    assert Counter(row.label for row in all_rows(dataset)) == {"a": 2, "b": 1}
    assert [drop.reason for drop in dropped] == ["duplicate"] * 2


@pytest.mark.parametrize("files", [0, 2])
def test_an_empty_class_is_one_sentence_and_nothing_is_stored(
    storage: Storage, pets: Path, files: int
) -> None:
    (pets / "unicorns").mkdir()
    for number in range(files):
        (pets / "unicorns" / f"{number}.jpg").write_text("once upon a time")
    with pytest.raises(ColorganError, match=f"'unicorns' is empty: none of its {files}") as error:
        stage(FolderSource(pets), storage, "pets", SMALL)
    assert "\n" not in str(error.value)
    assert ("2 not an image" in str(error.value)) == bool(files)
    assert storage.list() == []


def test_the_split_follows_the_content_and_neither_name_nor_order(
    storage: Storage, tmp_path: Path
) -> None:
    photographs(tmp_path / "one" / "cats", 24)
    for number in range(24):
        save(pixels(number), tmp_path / "two" / "zebras" / f"{99 - number}.bmp", "BMP")
    one, _ = stage(FolderSource(tmp_path / "one"), storage, "one", SMALL)
    two, _ = stage(FolderSource(tmp_path / "two"), storage, "two", SMALL)
    assert splits(one) == splits(two)
    assert set(splits(one).values()) == set(SPLITS)


def test_another_split_seed_is_another_split(storage: Storage, pets: Path) -> None:
    other = StagingConfig(size=32, min_side=24, val_share=0.25, test_share=0.25, split_seed=1)
    one, _ = stage(FolderSource(pets), storage, "one", SMALL)
    two, _ = stage(FolderSource(pets), storage, "two", other)
    assert splits(one).keys() == splits(two).keys()
    assert splits(one) != splits(two)
    assert two.manifest.split_seed == 1


def test_the_splits_have_their_shares() -> None:
    config = StagingConfig(val_share=0.1, test_share=0.3)
    counts = Counter(split_of(f"{number:064x}", config) for number in range(4000))
    assert counts["val"] / 4000 == pytest.approx(0.1, abs=0.02)
    assert counts["test"] / 4000 == pytest.approx(0.3, abs=0.03)
    assert counts.total() == 4000


def test_a_split_that_exists_is_kept(storage: Storage, split_pets: Path) -> None:
    dataset, _ = stage(FolderSource(split_pets), storage, "pets", SMALL)
    assert dataset.manifest.counts == {
        "cats": {"train": 3, "val": 2, "test": 1},
        "dogs": {"train": 2, "val": 0, "test": 0},
    }
    for row in all_rows(dataset):
        assert Path(row.source).relative_to(split_pets).parts[:2] == (row.split, row.label)


def test_a_split_that_exists_was_not_salted(storage: Storage, split_pets: Path) -> None:
    dataset, _ = stage(FolderSource(split_pets), storage, "pets", SMALL)
    assert dataset.manifest.split_seed is None


def test_a_full_shard_is_followed_by_the_next(storage: Storage, tmp_path: Path) -> None:
    for number in range(12):
        noise = np.random.default_rng(number).integers(0, 256, (360, 360, 3), dtype=np.uint8)
        save(noise, tmp_path / "in" / "noise" / f"{number:02}.bmp", "BMP")
    config = StagingConfig(size=360, val_share=0, test_share=0, shard_mib=1)
    dataset, _ = stage(FolderSource(tmp_path / "in"), storage, "noise", config)
    shards = dataset.manifest.shards
    assert len(shards) >= 3
    assert [shard.key for shard in shards] == [
        f"noise/train-{number:05}.parquet" for number in range(len(shards))
    ]
    assert all(2**20 <= shard.bytes < 2 * 2**20 for shard in shards[:-1])
    rows = list(dataset.rows(("noise",), "train"))
    assert [Path(row.source).stem for row in rows] == [f"{number:02}" for number in range(12)]


def test_the_fingerprint_is_of_the_contents(storage: Storage, pets: Path) -> None:
    one, _ = stage(FolderSource(pets), storage, "one", SMALL)
    two, _ = stage(FolderSource(pets), storage, "two", SMALL)
    photographs(pets / "cats", 1, first=90)
    three, _ = stage(FolderSource(pets), storage, "three", SMALL)
    assert one.manifest.fingerprint == two.manifest.fingerprint
    assert one.manifest.fingerprint != three.manifest.fingerprint
    assert all_rows(one) == all_rows(two)


def test_scenes_are_staged_the_same_every_time(storage: Storage) -> None:
    one, dropped = stage(SceneSource(3, seed=5, size=40), storage, "one", SMALL)
    two, _ = stage(SceneSource(3, seed=5, size=40), storage, "two", SMALL)
    other, _ = stage(SceneSource(3, seed=6, size=40), storage, "other", SMALL)
    assert dropped == []
    assert one.manifest.fingerprint == two.manifest.fingerprint
    assert not splits(one).keys() & splits(other).keys()
    assert Counter(row.label for row in all_rows(one)) == {"animals": 3, "people": 3, "vehicles": 3}


def test_the_observer_sees_every_chunk_and_shard(
    storage: Storage, pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "CHUNK", 4)
    (pets / "cats" / "text.jpg").write_text("text")
    seen: list[tuple[int, int, int, int]] = []
    stage(
        FolderSource(pets),
        storage,
        "pets",
        ALL_TRAIN,
        execution=Execution(
            observe=lambda p: seen.append(
                (p.examined.total(), p.usable.total(), p.rejected.total(), p.shards[0])
            )
        ),
    )
    assert seen[0] == (0, 0, 0, 0)
    assert seen == sorted(seen)
    assert len(seen) == 1 + 6 + 2
    assert seen[-1] == (21, 20, 1, 2)


@pytest.mark.parametrize("chunk", [3, 64])
def test_so_many_photographs_a_class_are_drawn_whatever_else_is_there(
    storage: Storage, pets: Path, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "CHUNK", chunk)
    for number in range(20):
        (pets / "cats" / f"bad {number}.jpg").write_text("no photograph")
    source = FolderSource(pets, seed=1)
    staged = staging.stage(source, storage, "pets", ALL_TRAIN, per_class=7)
    assert Counter(row.label for row in all_rows(staged.dataset)) == {"cats": 7, "dogs": 7}
    assert staged.missing == {}
    # In the source's order, as if they were looked at one after the other.
    good = [name for name in names(source) if "bad" not in name]
    cats = [name for name in good if name.startswith("cats")][:7]
    rows = staged.dataset.rows(("cats",), "train")
    assert [f"cats/{Path(row.source).stem}" for row in rows] == cats


def test_a_folder_whose_classes_are_all_empty_is_one_sentence(
    storage: Storage, tmp_path: Path
) -> None:
    (tmp_path / "in" / "unicorns").mkdir(parents=True)
    with pytest.raises(ColorganError, match="'unicorns' is empty: none of its 0"):
        stage(FolderSource(tmp_path / "in"), storage, "none", SMALL)


def test_candidates_that_are_listed_again_at_the_very_end_are_told(
    storage: Storage, pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Twice(FolderSource):
        def candidates(self, label: str, split: str | None = None) -> Iterator[FileCandidate]:
            for _ in range(2):
                yield from super().candidates(label, split)

    # The first ten are drawn, one is bad, and of what is left for it nothing is new.
    monkeypatch.setattr(drawing, "CHUNK", 10)
    (pets / "cats" / "000.png").write_text("no photograph")
    _, dropped = stage(Twice(pets), storage, "pets", SMALL, per_class=10)
    assert Counter((drop.label, drop.reason) for drop in dropped) == {
        ("cats", "not an image"): 1,
        ("cats", "duplicate"): 10,
    }


def test_what_a_class_is_short_of_is_said(storage: Storage, pets: Path) -> None:
    photographs(pets / "dogs", 5, first=70)
    staged = staging.stage(FolderSource(pets, seed=1), storage, "pets", SMALL, per_class=12)
    assert staged.missing == {"cats": 2}
    assert staged.spare == {"dogs": 3}
    assert len(all_rows(staged.dataset)) == 22


def test_so_many_of_each_split_that_exists(storage: Storage, split_pets: Path) -> None:
    dataset, _ = stage(FolderSource(split_pets, seed=0), storage, "pets", SMALL, per_class=1)
    assert dataset.manifest.counts == {
        "cats": {"train": 1, "val": 1, "test": 1},
        "dogs": {"train": 1, "val": 0, "test": 0},
    }


@pytest.mark.parametrize(
    "options",
    [
        {"size": 0},
        {"min_side": 0},
        {"max_pixels": -1},
        {"shard_mib": 0},
        {"val_share": -0.1},
        {"val_share": 0.5, "test_share": 0.5},
    ],
)
def test_values_that_cannot_be_used(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"--{next(iter(options)).replace('_', '-')}"):
        StagingConfig(**options)  # type: ignore[arg-type]
