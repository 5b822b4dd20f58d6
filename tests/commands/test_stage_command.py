"""`colorgan stage` as its user sees it: what it prints, in any locale, of any name."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from colorgan.cli import main
from colorgan.data.dataset import list_datasets
from colorgan.storage import Storage
from tests.conftest import CHECKOUT, SMALL

ALL_TRAIN = ("--val-share", "0", "--test-share", "0")


def photographs(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        seed = sum(os.fsencode(folder / name))
        cells = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
        picture = Image.fromarray(cells).resize((160, 140), Image.Resampling.BILINEAR)
        with (folder / name).open("wb") as file:
            picture.save(file, "PNG")


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "utf-8:strict"},
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "C.UTF-8", "PYTHONUTF8": "0"},
    ],
    ids=["strict", "ascii", "C", "UTF-8"],
)
def test_names_of_any_kind_are_staged_in_every_locale(
    storage: Storage, tmp_path: Path, environment: dict[str, str]
) -> None:
    latin = os.fsdecode(b"Stra\xdfe")
    for number, name in enumerate(("Käfer", "犬", latin)):
        photographs(
            tmp_path / "in" / name, f"{number}.png", f"{latin}.png", "a\nb.png", "Größe.png"
        )
        (tmp_path / "in" / name / f"{latin}.jpg").write_text("no photograph")
    command = ["stage", f"folder:{tmp_path}/in", "--storage", storage.uri, "--dataset", "odd"]
    done = subprocess.run(
        [sys.executable, "-m", "colorgan", *command, *ALL_TRAIN],
        cwd=CHECKOUT,
        env={**os.environ, **environment},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    progress = (b"examined ", b"shards ")  # a slow machine says how far it is
    assert all(line.startswith(progress) for line in done.stderr.splitlines()), done.stderr
    lines = done.stdout.splitlines()
    assert sum(line.startswith(b"dropped ") for line in lines) == 3
    assert rb"\xdfe.jpg: not an image" in done.stdout
    (manifest,) = list_datasets(storage)
    assert manifest.names == {"kaefer": "Käfer", "quan": "犬", "stra-xdfe": r"Stra\xdfe"}
    assert [sum(counts.values()) for counts in manifest.counts.values()] == [4, 4, 4]


def test_the_outcome_has_names_and_notes(
    storage: Storage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photographs(tmp_path / "in" / "Train" / "Big Cats", "1.png", "2.png")
    photographs(tmp_path / "in" / "valid" / "Big Cats", "3.png")
    stage = ["stage", f"folder:{tmp_path}/in", "--storage", storage.uri, "--dataset", "cats"]
    assert main([*stage, "--test-share", "0"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[0] == "Big Cats (big-cats): train 2, val 1, test 0"
    assert said.err == ""
    assert main([*stage, "--replace", "--json", "--test-share", "0.001"]) == 0
    said = capsys.readouterr()
    outcome = json.loads(said.out)
    assert outcome["names"] == {"big-cats": "Big Cats"}
    assert [f"note: {note}" for note in outcome["notes"]] == said.err.splitlines()
    assert "has no split test: 0.1% of its train" in outcome["notes"][0]
    assert "class 'Big Cats' in its test split. Stage more" in outcome["notes"][1]

    assert main(["datasets", "--storage", storage.uri]) == 0
    assert "Big Cats (big-cats) 3" in capsys.readouterr().out
    sheet = str(tmp_path / "sheet.png")
    assert main(["datasets", "--storage", storage.uri, "show", "cats", "-o", sheet]) == 0
    shown = capsys.readouterr().out
    assert "Big Cats (big-cats)" in shown
    assert "by its source, but test by content, seed 0" in shown


def test_training_without_a_validation_split_is_one_sentence(
    storage: Storage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photographs(tmp_path / "in" / "Big Cats", "1.png", "2.png")
    stage = ["stage", f"folder:{tmp_path}/in", "--storage", storage.uri, "--dataset", "mine"]
    assert main([*stage, *ALL_TRAIN]) == 0
    train = ["train", "--storage", storage.uri, "--dataset", "mine", "--model", "big-cats"]
    capsys.readouterr()
    assert main([*train, *SMALL, "--epochs", "1"]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        "error: Dataset 'mine' has no photograph of class 'Big Cats' in its validation split. "
        "Stage more photographs, or raise --val-share."
    )
