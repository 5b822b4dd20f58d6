"""What colorgan of commit fdb1e66, before its rooms were moved, has written is read as it was.

tests/storage_of_before was written by `stage scenes --per-class 6 --size 32`, `train --run before`
of three models of 32 px, `jobs/sweep.py --sweep tried`, `jobs/evaluate.py --report compared` and
`survey create --survey asked`. What the models of the run leave, but for those of vehicles, whose
training was not published, is complete.
"""

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from colorgan.cli import main
from colorgan.data.dataset import open_dataset
from colorgan.packages.card import find, list_models
from colorgan.storage import Storage, open_storage
from colorgan.survey import open_survey
from colorgan.sweeps.documents import open_sweep
from colorgan.sweeps.results import best_epoch
from tests.conftest import CHECKOUT

TRAIN = ("train", "--dataset", "tiny", "--preset", "small", "--size", "32", "--width", "2")
OPTIONS = ("--discriminator-width", "2", "--epochs", "2", "--batch-size", "2")


@pytest.fixture
def before(tmp_path: Path) -> Storage:
    folder = tmp_path / "storage"
    shutil.copytree(CHECKOUT / "tests" / "storage_of_before", folder)
    return open_storage(str(folder))


def test_its_dataset_is_whole(before: Storage, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["datasets", "verify", "tiny", "--storage", before.uri]) == 0
    assert len(list(open_dataset(before, "tiny").rows(("animals",), "train"))) == 4


def test_its_models_are_listed_and_colour(
    before: Storage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {card.model for card in list_models(before)} == {"animals", "people"}
    photograph, colored = tmp_path / "gray.png", tmp_path / "colored.png"
    Image.fromarray(np.arange(64 * 48, dtype=np.uint8).reshape(64, 48)).save(photograph)
    command = ["colorize", str(photograph), "--model", "animals", "-o", str(colored)]
    assert main([*command, "--storage", before.uri]) == 0
    with Image.open(colored) as picture:
        assert (picture.mode, picture.size) == ("RGB", (48, 64))


def test_its_run_goes_on_from_its_checkpoint_and_trains_nothing_twice(
    before: Storage, capsys: pytest.CaptureFixture[str]
) -> None:
    published = find(before, "animals").reference
    for model in ("animals", "vehicles"):
        command = [*TRAIN, *OPTIONS, "--run", "before", "--model", model]
        assert main([*command, "--storage", before.uri]) == 0
    assert find(before, "animals").reference == published
    card = find(before, "vehicles")
    assert card.epochs == 2
    history = before.get(f"models/vehicles/{card.version}/history.csv").decode()
    recorded = before.get("runs/before/vehicles/history.csv").decode()
    assert history == recorded


def test_the_same_seed_trains_to_the_same_losses_as_then(
    before: Storage, capsys: pytest.CaptureFixture[str]
) -> None:
    # The storage was written by a processor that computes in bfloat16.
    options = (*OPTIONS, "--precision", "bfloat16")
    command = [*TRAIN, *options, "--run", "again", "--model", "animals"]
    assert main([*command, "--storage", before.uri]) == 0
    then, now = (
        [
            [float(row[name]) for name in ("loss_d", "loss_gan", "loss_l1", "val_l1", "val_psnr")]
            for row in csv.DictReader(io.StringIO(before.get(key).decode()))
        ]
        for key in ("runs/before/animals/history.csv", "runs/again/animals/history.csv")
    )
    # The last digits differ from one processor to another.
    np.testing.assert_allclose(now, then, rtol=1e-3)


def test_its_sweep_and_its_survey_are_read(before: Storage) -> None:
    sweep = open_sweep(before, "tried")
    best = best_epoch(before, sweep, "val_l1")
    assert best is not None
    assert (best.trial, best.evaluated.epoch, round(best.evaluated.val_l1, 2)) == ("02", 2, 17.22)
    survey = open_survey(before, "asked")
    assert len(survey.questions) == 2
    evaluation = json.loads(before.get("reports/compared/evaluation.json"))
    assert evaluation["dataset"]["name"] == "tiny"
