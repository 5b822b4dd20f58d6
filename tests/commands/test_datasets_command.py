import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from colorgan.cli import main
from colorgan.commands import datasets
from colorgan.data.dataset import Dataset, Manifest
from colorgan.images.decoding import Pixels, encode_png
from colorgan.storage import Storage, open_storage
from tests.data.cache.datasets import Layout, cut, flip, use, write_dataset
from tests.s3_server import S3Server

LAYOUT: Layout = {
    ("cats", "train"): (120, 7, 30),
    ("cats", "test"): (2,),
    ("dogs", "train"): (5, 4),
}
FIRST = "datasets/pets/cats/train-00000.parquet"
SHARD = "datasets/pets/cats/train-00001.parquet"


def plain(number: int) -> bytes:
    """A picture whose colour is its number."""
    return encode_png(np.full((9, 12, 3), number, np.uint8))


@pytest.fixture
def pets(storage: Storage) -> Dataset:
    return write_dataset(storage, "pets", LAYOUT, plain)


def run(storage: Storage, *arguments: str) -> int:
    return main(["datasets", "--storage", storage.uri, *arguments])


def rewrite(dataset: Dataset, **changes: Any) -> Manifest:
    """Change what the manifest says."""
    manifest = dataclasses.replace(dataset.manifest, **changes)
    dataset.storage.put("datasets/pets/manifest.json", manifest.to_json())
    return manifest


def verdicts(storage: Storage, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """What `verify --json` says, which agrees with its exit status."""
    capsys.readouterr()
    status = run(storage, "verify", "--json")
    said: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    assert status == int(any(verdict["faults"] for verdict in said))
    return said


def faults(storage: Storage, capsys: pytest.CaptureFixture[str]) -> list[tuple[str, str]]:
    return [
        (fault["key"], fault["fault"])
        for verdict in verdicts(storage, capsys)
        for fault in verdict["faults"]
    ]


def test_the_datasets_are_listed(pets: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(pets.storage) == 0
    heading, line = capsys.readouterr().out.splitlines()
    assert heading.split() == ["dataset", "created", "(UTC)", "photographs", "source"]
    assert re.fullmatch(r"pets +2026-01-02 03:04 +cats 159, dogs 9 +noise", line)
    assert run(pets.storage, "--json") == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert listed == json.loads(pets.manifest.to_json())


@pytest.mark.parametrize("arguments", [(), ("verify",)])
def test_an_empty_storage_says_how_to_fill_it(
    storage: Storage, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    assert run(storage, *arguments) == 0
    assert "create one with colorgan stage SOURCE --dataset NAME" in capsys.readouterr().out


def test_whole_datasets_are_found_whole(
    pets: Dataset, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pets.storage.put("datasets/pets/dropped.csv", b"source,class,reason,detail\n")
    write_dataset(pets.storage, "others", {("cats", "val"): (3,)}, plain)
    size = sum(shard.bytes for shard in pets.manifest.shards)
    assert verdicts(pets.storage, capsys)[1] == {
        "dataset": "pets",
        "shards": 6,
        "photographs": 168,
        "bytes": size,
        "faults": [],
    }
    monkeypatch.setattr(datasets, "LINE_SECONDS", 0)
    assert run(pets.storage, "verify", "pets", "pets") == 0
    captured = capsys.readouterr()
    (line,) = captured.out.splitlines()
    assert line == f"pets: 168 photographs in 6 shards, {size / 1024:.1f} KiB: no faults"
    assert len(captured.err.splitlines()) == 6
    assert captured.err.splitlines()[1].startswith("pets: 2 of 6 shards, ")


@pytest.mark.parametrize("damage", [cut, flip])
def test_a_damaged_shard_is_named(
    pets: Dataset, capsys: pytest.CaptureFixture[str], damage: Callable[[bytes], bytes]
) -> None:
    data = damage(pets.storage.get(SHARD))
    pets.storage.put(SHARD, data)
    expected = pets.manifest.shards[1].bytes
    fault = f"does not match its checksum ({len(data)} bytes, {expected} expected)"
    assert faults(pets.storage, capsys) == [(SHARD, fault)]
    assert run(pets.storage, "verify", "pets") == 1
    first, last = capsys.readouterr().out.splitlines()
    assert first == f"{SHARD} {fault}"
    assert last.endswith(": 1 fault")


def test_what_is_missing_and_what_does_not_belong_is_named(
    pets: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    pets.storage.delete(SHARD)
    pets.storage.put("datasets/pets/cats/train-00009.parquet", b"of the dataset before")
    assert faults(pets.storage, capsys) == [
        ("datasets/pets/cats/train-00009.parquet", "does not belong to this dataset"),
        (SHARD, "is missing"),
    ]


def test_a_manifest_that_says_other_things_than_the_shards_is_named(
    pets: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, *others = pets.manifest.shards
    shards = (
        dataclasses.replace(first, rows=first.rows + 1),
        dataclasses.replace(second, bytes=second.bytes + 1),
        *others,
    )
    rewrite(pets, shards=shards)
    assert faults(pets.storage, capsys) == [
        (
            "datasets/pets/manifest.json",
            "counts 157 photographs of cats in train, its shards hold 158",
        ),
        (f"datasets/pets/{first.key}", "holds 120 photographs, 121 expected"),
        (f"datasets/pets/{second.key}", f"has {second.bytes} bytes, {second.bytes + 1} expected"),
    ]


def test_a_damaged_manifest_hides_no_other_dataset(
    pets: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dataset(pets.storage, "others", {("cats", "val"): (3,)}, plain)
    pets.storage.put("datasets/others/manifest.json", b"{")
    others, whole = verdicts(pets.storage, capsys)
    (fault,) = others["faults"]
    assert fault["key"] == "datasets/others/manifest.json"
    assert fault["fault"].startswith("cannot be read: ")
    assert (whole["dataset"], whole["faults"]) == ("pets", [])


def test_a_copy_under_another_name_is_no_dataset(
    pets: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    for key in pets.storage.list("datasets/pets"):
        pets.storage.put(key.replace("/pets/", "/copy/"), pets.storage.get(key))
    assert faults(pets.storage, capsys) == [
        ("datasets/copy/manifest.json", "is the manifest of dataset 'pets'")
    ]


def test_an_unfinished_staging_is_told_and_is_no_fault(
    pets: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    pets.storage.put("datasets/begun/cats/train-00000.parquet", b"")
    assert run(pets.storage, "verify") == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("begun: incomplete, because")


def test_a_dataset_in_s3_is_verified_and_shown(
    s3: S3Server,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use(monkeypatch, s3)
    monkeypatch.setenv("COLORGAN_CACHE", str(tmp_path / "cache"))
    storage = open_storage(f"s3://{s3.new_bucket()}/prefix")
    write_dataset(storage, "pets", LAYOUT, plain)
    assert faults(storage, capsys) == []
    assert run(storage, "show", "pets", "-o", str(tmp_path / "s3.png")) == 0
    storage.put(SHARD, flip(storage.get(SHARD)))
    storage.delete("datasets/pets/cats/train-00002.parquet")
    assert [key for key, _ in faults(storage, capsys)] == [
        SHARD,
        "datasets/pets/cats/train-00002.parquet",
    ]
    assert not (tmp_path / "cache").exists(), "what is verified is what is in storage"


def test_what_is_in_a_dataset_is_shown(
    pets: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    origins = {f"host-{number}.example": 20 - number for number in range(12)}
    rewrite(
        pets,
        origins={"others": 5, **origins},
        licences={"CC BY 4.0": 100, "CC0": 68},
        dropped={"grayscale": 3, "too small": 1},
    )
    sheet = tmp_path / "sheet.png"
    assert run(pets.storage, "show", "pets", "-o", str(sheet)) == 0
    out = re.sub(" +", " ", capsys.readouterr().out)
    size = sum(shard.bytes for shard in pets.manifest.shards)
    for line in (
        "class train val test all",
        "cats 157 0 2 159",
        "dogs 9 0 0 9",
        "all 166 0 2 168",
        "host-0.example 20",
        "host-9.example 11",
        f"others {5 + 10 + 9}",
        "CC BY 4.0 100",
        "staged 2026-01-02 03:04 UTC from noise",
        f"shards 6, {size / 1024:.1f} KiB, {size / 168:.0f} bytes a photograph",
        "pixels width 8 to 8, height 8 to 8",
        "dropped 3 grayscale, 1 too small",
        "split by content, seed 0",
        "fingerprint f",
        f"sheet {sheet}",
    ):
        assert f"\n{line}\n" in f"\n{out}", line
    assert "host-10" not in out
    again = ("show", "pets", "-o", str(sheet), "--json")
    assert run(pets.storage, *again) == 2, "no file is replaced unasked"
    assert str(sheet) in capsys.readouterr().err
    assert run(pets.storage, *again, "--overwrite") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["bytes"], shown["pixels"]) == (size, {"width": [8, 8], "height": [8, 8]})
    assert shown["origins"]["host-11.example"] == 9


def test_the_sheet_shows_some_of_every_class_and_split_from_all_shards(
    pets: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(pets.storage, "show", "pets") == 0
    first = (tmp_path / "pets.png").read_bytes()
    (tmp_path / "pets.png").write_bytes(b"the user's own")
    assert run(pets.storage, "show", "pets") == 2
    assert (tmp_path / "pets.png").read_bytes() == b"the user's own"
    assert run(pets.storage, "show", "pets", "--overwrite") == 0
    assert (tmp_path / "pets.png").read_bytes() == first
    with Image.open(tmp_path / "pets.png") as image:
        numbers = pictures(np.asarray(image))
    assert numbers[0] == [13, 39, 65, 91, 117, 143], "of 120 + 7 + 30"
    assert numbers[1] == [157, 158], "there are no more"
    assert numbers[2] == [159, 161, 162, 164, 165, 167], "of 5 + 4"


def pictures(sheet: Pixels) -> list[list[int]]:
    """The numbers of the plain pictures on a sheet, row by row."""
    height = datasets.SHOWN_HEIGHT
    found = []
    gray = sheet[..., 0] * ((sheet.max(-1) == sheet.min(-1)) & (sheet[..., 0] < 200))
    for top in range(20 + 20, len(sheet) - height, 20 + height + 6):
        line = gray[top + height // 2]
        starts = np.flatnonzero((line[1:] > 0) & (line[:-1] == 0)) + 1
        found.append([int(line[start + 5]) for start in starts])
    return found


def test_photographs_of_all_shapes_have_a_place_on_the_sheet(
    storage: Storage, tmp_path: Path
) -> None:
    shapes = [(20, 2000), (2000, 20), (1, 1), (30, 40)]

    def shaped(number: int) -> bytes:
        return encode_png(np.full((*shapes[number % 4], 3), 90, np.uint8))

    layout = {(f"class-{number}", "train"): (4,) for number in range(60)}
    write_dataset(storage, "pets", layout, shaped)
    assert run(storage, "show", "pets", "-o", str(tmp_path / "sheet.png")) == 0
    with Image.open(tmp_path / "sheet.png") as image:
        assert max(image.size) < 2 * min(image.size)
        assert max(image.size) < 6000


def test_a_dataset_of_before_origins_and_licences_is_shown(
    pets: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fields = json.loads(pets.manifest.to_json())
    del fields["origins"], fields["licences"]
    pets.storage.put(
        "datasets/pets/manifest.json", json.dumps({**fields, "split_seed": None}).encode()
    )
    assert run(pets.storage, "show", "pets", "-o", str(tmp_path / "x.png")) == 0
    out = capsys.readouterr().out
    assert "licence" not in out
    assert re.search(r"^split +by its source$", out, re.M)
    assert re.search(r"^dropped +none$", out, re.M)


BAD = [
    (("verify", "none"), 1, "no dataset 'none'.*there are pets"),
    (("verify", "pets", "../x"), 2, "'../x' is not a name"),
    (("show", "none"), 1, "no dataset 'none'.*there are pets"),
    (("show", "a/b"), 2, "'a/b' is not a name"),
    (("show", "pets", "-o", "sheet.gif"), 2, "sheet.gif: pictures are written as .png, .jpg"),
    (("show", "pets", "-o", "/nowhere/sheet.png"), 2, "there is no folder /nowhere"),
]


@pytest.mark.parametrize(("arguments", "status", "message"), BAD)
def test_bad_input_gets_one_sentence_and_an_exit_status(
    pets: Dataset,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    status: int,
    message: str,
) -> None:
    assert run(pets.storage, *arguments) == status
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert re.fullmatch(f"error: .*{message}.*", line)
    assert captured.out == ""


def no_parquet(data: bytes) -> bytes:
    return data[:-20]


def no_picture(data: bytes) -> bytes:
    return data.replace(b"\x89PNG", b"\x89GNP")


@pytest.mark.parametrize("damage", [no_parquet, no_picture, None])
def test_a_damaged_dataset_cannot_be_shown_and_says_why(
    pets: Dataset,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[bytes], bytes] | None,
) -> None:
    data = pets.storage.get(FIRST)
    pets.storage.delete(FIRST)
    if damage:
        pets.storage.put(FIRST, damage(data))
    assert run(pets.storage, "show", "pets", "-o", str(tmp_path / "x.png")) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert FIRST in line
    assert not (tmp_path / "x.png").exists()
