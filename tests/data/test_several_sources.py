"""Datasets of several sources: one dataset, whose photographs know where they came from."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from colorgan.cli import main
from colorgan.data import drawing, staging
from colorgan.data.dataset import SPLITS, Dataset, open_dataset
from colorgan.data.examination import split_of
from colorgan.data.sources import FolderSource, SceneSource, Source, SourceConfig, find_sources
from colorgan.data.staging import Execution, StagingConfig
from colorgan.errors import ColorganError, ConfigError
from colorgan.images.decoding import content_hash
from colorgan.storage import Storage
from tests.data.photographs import (
    ALL_TRAIN,
    SMALL,
    all_rows,
    photographs,
    pixels,
    save,
    stop_after,
)

HOLD_OUT = StagingConfig(size=32, min_side=24, val_share=0.25, test_share=0.25, hold_out=True)


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """A folder with all splits of two classes."""
    for number, (split, count) in enumerate((("train", 6), ("val", 2), ("test", 2))):
        photographs(tmp_path / "first" / split / "cats", count, 10 * number)
        photographs(tmp_path / "first" / split / "dogs", count, 100 + 10 * number)
    return tmp_path / "first"


@pytest.fixture
def second(tmp_path: Path) -> Path:
    """A folder that has train alone, of one of those classes and a new one."""
    photographs(tmp_path / "second" / "train" / "cats", 12, 200)
    photographs(tmp_path / "second" / "train" / "birds", 12, 300)
    return tmp_path / "second"


def stage(
    storage: Storage,
    *places: Path,
    name: str = "both",
    config: StagingConfig = SMALL,
    wanted: int = 0,
) -> staging.Staged:
    sources = [FolderSource(place) for place in places]
    return staging.stage(sources, storage, name, config, per_class=wanted)


def from_folder(dataset: Dataset, folder: Path) -> Counter[tuple[str, str]]:
    return Counter(
        (row.label, row.split)
        for row in all_rows(dataset)
        if Path(row.source).is_relative_to(folder)
    )


def test_several_sources_are_one_dataset_that_counts_each(
    storage: Storage, first: Path, second: Path
) -> None:
    dataset = stage(storage, first, second).dataset
    manifest = open_dataset(storage, "both").manifest
    assert manifest.classes == ("birds", "cats", "dogs")
    assert manifest.source == f"folder:{first} and folder:{second}"
    assert manifest.counts == {
        "birds": {"train": 12, "val": 0, "test": 0},
        "cats": {"train": 18, "val": 2, "test": 2},
        "dogs": {"train": 6, "val": 2, "test": 2},
    }
    assert [(source.source, source.total) for source in manifest.sources] == [
        (f"folder:{first}", 20),
        (f"folder:{second}", 24),
    ]
    assert manifest.sources[1].counts == {
        "cats": {"train": 12, "val": 0, "test": 0},
        "birds": {"train": 12, "val": 0, "test": 0},
    }
    for row in all_rows(dataset):
        place = (first, second)[row.source_index]
        assert Path(row.source).relative_to(place).parts[:2] == (row.split, row.label)
    assert dataset.sources_of("cats", "train") == {0: 6, 1: 12}
    assert dataset.sources_of("cats", "val") == {0: 2}


def test_one_source_in_a_list_is_that_source(storage: Storage, first: Path) -> None:
    alone = staging.stage(FolderSource(first), storage, "alone", SMALL).dataset.manifest
    listed = stage(storage, first, name="listed").dataset.manifest
    assert listed.fingerprint == alone.fingerprint
    assert (listed.source, listed.classes) == (f"folder:{first}", ("cats", "dogs"))
    assert [shard.key for shard in listed.shards] == [shard.key for shard in alone.shards]


def test_a_folder_of_train_alone_stays_train_where_another_source_has_the_splits(
    storage: Storage, first: Path, second: Path
) -> None:
    staged = stage(storage, first, second)
    assert {split for _, split in from_folder(staged.dataset, second)} == {"train"}
    assert (staged.dataset.manifest.split_seed, staged.dataset.manifest.made_up) == (None, ())
    assert f"folder:{second} has no val and test, and another source has" in staged.notes[0]
    assert "--hold-out" in staged.notes[0]
    assert (
        "Dataset 'both' has no photograph of class 'birds' in its validation split. Put some into "
        "the source's validation split, or take some of its training split with --hold-out, and "
        "stage it again."
    ) in staged.notes
    with pytest.raises(ColorganError, match=r"class 'birds' in its validation split.*--hold-out"):
        staged.dataset.check_split(["birds"], "val")


def test_a_share_of_each_class_that_lacks_a_split_is_held_out_when_asked(
    storage: Storage, first: Path, second: Path
) -> None:
    staged = stage(storage, first, second, config=HOLD_OUT)
    for row in all_rows(staged.dataset):
        if row.source_index == 0:
            assert Path(row.source).parent.parent.name == row.split
        else:
            assert row.split == split_of(row.sha256, HOLD_OUT)
    held = from_folder(staged.dataset, second)
    assert all(held["birds", split] for split in SPLITS)
    assert all(held["cats", split] for split in SPLITS)
    manifest = staged.dataset.manifest
    assert (manifest.split_seed, manifest.made_up) == (0, ("val", "test"))
    assert manifest.is_by_content("val", ["birds"])
    assert not manifest.is_by_content("val", ["dogs"])
    assert "has no split val: 25% of its train" in "\n".join(staged.notes)


def test_a_class_of_one_source_that_lacks_a_split_is_held_out_alone(
    storage: Storage, first: Path
) -> None:
    photographs(first / "train" / "birds", 12, 300)
    assert stage(storage, first).dataset.manifest.counts["birds"]["val"] == 0
    staged = stage(storage, first, name="held", config=HOLD_OUT)
    assert all(staged.dataset.manifest.counts["birds"].values())
    assert staged.dataset.manifest.counts["cats"] == {"train": 6, "val": 2, "test": 2}
    assert "has no split test of birds: 25% of its train" in "\n".join(staged.notes)


def test_a_split_that_no_source_has_is_made_up(
    storage: Storage, tmp_path: Path, second: Path
) -> None:
    photographs(tmp_path / "tested" / "test" / "cats", 3, 400)
    staged = stage(storage, second, tmp_path / "tested")
    counts = staged.dataset.manifest.counts
    assert counts["cats"]["test"] == 3
    assert counts["cats"]["val"] > 0 < counts["birds"]["val"]
    assert counts["birds"]["test"] == 0


def test_a_source_without_splits_is_divided_by_content_beside_one_with_splits(
    storage: Storage, tmp_path: Path, first: Path
) -> None:
    photographs(tmp_path / "plain" / "cats", 16, 400)
    dataset = stage(storage, tmp_path / "plain", first).dataset
    assert {row.sha256: row.split for row in all_rows(dataset) if row.source_index == 0} == {
        content_hash(pixels(number)): split_of(content_hash(pixels(number)), SMALL)
        for number in range(400, 416)
    }
    assert from_folder(dataset, first)["dogs", "val"] == 2


def test_copies_are_found_across_sources_and_those_in_test_stay(
    storage: Storage, first: Path, second: Path
) -> None:
    touched = pixels(20).copy()  # of first/test/cats
    touched[0, 0] ^= 1
    save(touched, second / "train/birds/touched.png")
    save(pixels(0), second / "train/cats/exact.png")  # of first/train/cats
    save(pixels(201), first / "test/dogs/new.png")  # of second/train/cats
    dropped = {
        Path(drop.source).name: (drop.reason, drop.detail)
        for drop in stage(storage, second, first).dropped
    }
    assert dropped == {
        "touched.png": ("near-duplicate", f"of {first}/test/cats/020.png in test"),
        "201.png": ("duplicate", f"of {first}/test/dogs/new.png in test"),
        "000.png": ("duplicate", f"of {second}/train/cats/exact.png"),
    }


@pytest.mark.parametrize(
    ("wanted", "cats"),
    [(4, {0: 2, 1: 2}), (9, {0: 4, 1: 5}), (16, {0: 4, 1: 12}), (30, {0: 4, 1: 13})],
)
def test_a_number_a_class_is_taken_evenly_and_what_one_lacks_the_other_gives(
    storage: Storage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wanted: int,
    cats: dict[int, int],
) -> None:
    monkeypatch.setattr(drawing, "CHUNK", 3)
    photographs(tmp_path / "a" / "cats", 5)
    photographs(tmp_path / "b" / "cats", 15, 2)  # two of them are copies
    photographs(tmp_path / "b" / "dogs", 20, 100)
    (tmp_path / "a" / "cats" / "002.png").write_text("no photograph")
    sources = [FolderSource(tmp_path / name, seed=3) for name in "ab"]
    staged = staging.stage(sources, storage, "both", ALL_TRAIN, per_class=wanted)
    assert staged.dataset.sources_of("cats", "train") == cats
    assert staged.dataset.sources_of("dogs", "train") == {1: min(wanted, 20)}
    assert staged.missing == ({"cats": 13, "dogs": 10} if wanted == 30 else {})


def test_an_interrupted_staging_of_several_sources_goes_on(
    storage: Storage, first: Path, second: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "CHUNK", 2)
    sources = [FolderSource(first), FolderSource(second)]
    whole = staging.stage(sources, storage, "whole", HOLD_OUT).dataset
    with pytest.raises(KeyboardInterrupt):
        staging.stage(
            sources, storage, "both", HOLD_OUT, execution=Execution(observe=stop_after(30))
        )
    kept = len(storage.list("staging/both"))
    assert kept >= 15
    again = staging.stage(sources, storage, "both", HOLD_OUT).dataset
    assert again.manifest.fingerprint == whole.manifest.fingerprint
    assert storage.list("staging") == []


def test_sources_of_different_kinds_are_staged_together(storage: Storage, first: Path) -> None:
    sources: list[Source] = [SceneSource(4, seed=0, size=40), FolderSource(first)]
    dataset = staging.stage(sources, storage, "mixed", SMALL).dataset
    assert dataset.manifest.classes == ("animals", "cats", "dogs", "people", "vehicles")
    assert [source.total for source in dataset.manifest.sources] == [12, 20]
    assert {row.source.partition(":")[0] for row in all_rows(dataset) if row.source_index == 0} == {
        "scenes"
    }


def test_a_source_that_is_given_twice_is_refused(storage: Storage, first: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"folder:.*first is given 2 times: give each source once"
    ):
        stage(storage, first, first)


def test_two_sources_that_spell_a_class_differently_are_refused(
    storage: Storage, first: Path, tmp_path: Path
) -> None:
    photographs(tmp_path / "other" / "Cats", 1, 400)
    with pytest.raises(ConfigError, match="'cats' and 'Cats' would both be 'cats' in storage"):
        stage(storage, first, tmp_path / "other")
    assert storage.list() == []


def test_options_of_imagenet_need_imagenet_among_the_sources(first: Path) -> None:
    config = SourceConfig(archives="x/{wnid}.tar")
    with pytest.raises(ConfigError, match="are options of imagenet:"):
        find_sources([f"folder:{first}", "scenes"], config, 32)
    with pytest.raises(
        ConfigError, match="no photograph of cats in x/"
    ):  # the others were accepted
        find_sources([f"folder:{first}", "imagenet:cats=n02084071"], config, 32)


def test_rows_of_all_sources_are_trained_on_evenly_where_fewer_are_wanted(
    storage: Storage, first: Path, second: Path
) -> None:
    from colorgan.data.batches import PhotoBank

    dataset = stage(storage, first, second).dataset
    bank = PhotoBank.load(dataset, dataset.manifest.classes, "train", 32, 2**30, limit=24)
    assert Counter(bank.groups) == {
        ("birds", 1): 9,
        ("cats", 0): 5,
        ("cats", 1): 4,
        ("dogs", 0): 6,
    }


def test_the_command_takes_several_sources(
    storage: Storage, first: Path, second: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["stage", f"folder:{first}", f"folder:{second}", "--dataset", "both", "--hold-out"]
    options = ["--val-share", "0.25", "--test-share", "0.25", "--storage", storage.uri]
    options += ["--size", "32", "--min-side", "24"]
    assert main([*command, *options, "--json"]) == 0
    outcome = json.loads(capsys.readouterr().out)
    assert [source["source"] for source in outcome["sources"]] == [
        f"folder:{first}",
        f"folder:{second}",
    ]
    assert sum(outcome["sources"][1]["counts"]["birds"].values()) == 12
    assert main([*command, *options, "--replace"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"folder:{first}: 20 photographs" in lines
    assert f"folder:{second}: 24 photographs" in lines
    assert main(["datasets", "--storage", storage.uri, "show", "both", "-o", f"{first}/s.png"]) == 0
    shown = capsys.readouterr().out
    assert "val and test in part by content, seed 0" in shown
    assert [line.split()[-1] for line in shown.splitlines() if f"folder:{second} " in line] == [
        "24"
    ]


def test_the_command_and_its_job_name_their_sources_alike(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from jobs import stage_data

    helps = []
    calls: list[Callable[[list[str]], int]] = [lambda a: main(["stage", *a]), stage_data.main]
    for call in calls:
        with pytest.raises(SystemExit):
            call(["--help"])
        helps.append(capsys.readouterr().out)
    assert all("SOURCE [SOURCE ...]" in text and "--hold-out" in text for text in helps)
