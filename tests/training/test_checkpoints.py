"""A training's checkpoints, written by processes that do not know of each other."""

import json
import time
import uuid
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

import pytest
import torch

from colorgan.data.dataset import Dataset
from colorgan.errors import NotInStorage
from colorgan.storage import Storage, open_storage
from colorgan.training.checkpoints import Checkpoints
from colorgan.training.config import SpeedConfig, TrainingConfig
from colorgan.training.loop import Training, load_banks
from colorgan.training.states import Snapshot
from tests.races import race
from tests.s3_server import S3Server

CONFIG = TrainingConfig(size=32, width=4, discriminator_width=4, epochs=9)
FOLDER = "runs/r/animals"
LAST = 89

opened = cache(open_storage)


def new_training(dataset: Dataset) -> Training:
    banks = load_banks(dataset, "animals", CONFIG)
    return Training(CONFIG, *banks, torch.device("cpu"), SpeedConfig(), "animals")


def snapshots(dataset: Dataset) -> dict[int, Snapshot]:
    """Of a training after an epoch, as if it were some others."""
    training = new_training(dataset)
    next(iter(training.run()))
    first = training.snapshot()
    record = asdict(training.history[0])
    return {
        epoch: replace(
            first,
            epoch=epoch,
            state={
                **first.state,
                "history": [{**record, "epoch": each + 1} for each in range(epoch)],
            },
        )
        for epoch in range(1, 9)
    }


@pytest.fixture(params=["local", "s3"])
def storage(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Storage:
    if request.param == "local":
        return open_storage(str(tmp_path / "checkpoints"))
    server: S3Server = request.getfixturevalue("s3")
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    return open_storage(f"s3://{server.new_bucket()}/{uuid.uuid4().hex}")


def pointed(storage: Storage) -> str:
    name: str = json.loads(storage.get(f"{FOLDER}/checkpoints/latest.json"))["name"]
    return name


def test_a_process_of_before_neither_deletes_what_is_newer_nor_moves_the_pointer_back(
    storage: Storage, scenes: Dataset
) -> None:
    of = snapshots(scenes)
    old, new = Checkpoints(storage, FOLDER), Checkpoints(storage, FOLDER)
    old.save(of[4])
    new.restore(new_training(scenes))
    new.save(of[7])
    newest = pointed(storage)
    old.save(of[5])
    old.save(of[6])
    assert pointed(storage) == newest
    assert old.last() == new.last() == 7
    training = new_training(scenes)
    Checkpoints(storage, FOLDER).restore(training)
    assert training.epoch == 7
    new.save(of[8])
    assert len(storage.folders(f"{FOLDER}/checkpoints")) == 1
    assert Checkpoints(storage, FOLDER).last() == 8


def test_two_processes_at_the_same_epoch_leave_each_others_files(
    storage: Storage, scenes: Dataset
) -> None:
    of = snapshots(scenes)
    one, two = Checkpoints(storage, FOLDER), Checkpoints(storage, FOLDER)
    one.save(of[3])
    files = {
        key: storage.get(key) for key in storage.list(f"{FOLDER}/checkpoints/{pointed(storage)}")
    }
    two.save(of[3])
    assert {key: storage.get(key) for key in files} == files
    assert one.last() == 3


def test_a_checkpoint_that_was_cut_short_is_not_the_newest(
    storage: Storage, scenes: Dataset
) -> None:
    of = snapshots(scenes)
    checkpoints = Checkpoints(storage, FOLDER)
    checkpoints.save(of[2])
    name, data = next(iter(of[3].files().items()))
    storage.put(f"{FOLDER}/checkpoints/epoch-00003-0-0123abcd/{name}", data)
    assert checkpoints.last() == 2
    checkpoints.save(of[4])
    assert storage.folders(f"{FOLDER}/checkpoints") == [pointed(storage)]


def test_checkpoints_of_before_are_read_and_superseded(storage: Storage, scenes: Dataset) -> None:
    of = snapshots(scenes)
    for name, data in of[4].files().items():
        storage.put(f"{FOLDER}/checkpoints/epoch-00004/{name}", data)
    storage.put(f"{FOLDER}/checkpoints/latest.json", b'{"name": "epoch-00004"}')
    checkpoints, training = Checkpoints(storage, FOLDER), new_training(scenes)
    checkpoints.restore(training)
    assert training.epoch == checkpoints.last() == 4
    checkpoints.save(of[5])
    assert len(storage.folders(f"{FOLDER}/checkpoints")) == 1
    assert checkpoints.last() == 5


@pytest.mark.parametrize("pointer", [b"", b"[]", b'{"name": "../x"}', b'{"name": null}', None])
def test_without_a_pointer_that_can_be_read_the_newest_is_found_all_the_same(
    tmp_path: Path, scenes: Dataset, pointer: bytes | None
) -> None:
    storage = open_storage(str(tmp_path / "checkpoints"))
    checkpoints = Checkpoints(storage, FOLDER)
    checkpoints.save(snapshots(scenes)[2])
    storage.delete(f"{FOLDER}/checkpoints/latest.json")
    if pointer is not None:
        storage.put(f"{FOLDER}/checkpoints/latest.json", pointer)
    training = new_training(scenes)
    checkpoints.restore(training)
    assert training.epoch == 2


def test_a_checkpoint_that_has_lost_a_file_is_no_reason_to_begin_again(
    storage: Storage, scenes: Dataset
) -> None:
    checkpoints = Checkpoints(storage, FOLDER)
    checkpoints.save(snapshots(scenes)[2])
    storage.delete(storage.list(f"{FOLDER}/checkpoints/{pointed(storage)}")[0])
    with pytest.raises(NotInStorage):
        checkpoints.restore(new_training(scenes))


def test_a_training_that_took_over_another_state_goes_on_from_there(
    storage: Storage, scenes: Dataset
) -> None:
    """Though it has done fewer epochs, and though a process of before still writes."""
    of = snapshots(scenes)
    before, after = Checkpoints(storage, FOLDER), Checkpoints(storage, FOLDER)
    before.save(of[6])
    after.begin_lineage()
    after.save(of[3])
    newest = pointed(storage)
    before.save(of[8])
    assert pointed(storage) == newest
    again, training = Checkpoints(storage, FOLDER), new_training(scenes)
    again.restore(training)
    assert training.epoch == 3
    again.save(of[4])
    assert again.last() == 4
    assert storage.folders(f"{FOLDER}/checkpoints") == [pointed(storage)]


def save_or_look(number: int, uri: str, role: str) -> list[int]:
    """What the reader finds as the newest, while one process goes ahead and one lags behind."""
    checkpoints = Checkpoints(opened(uri), FOLDER)
    if role == "reader":
        seen, give_up = [checkpoints.last()], time.monotonic() + 600
        while seen[-1] < LAST and time.monotonic() < give_up:
            seen.append(checkpoints.last())
        return seen
    for epoch in range(11, LAST + 1, 2) if role == "ahead" else range(1, 40):
        state = {"config": {}, "history": []}
        checkpoints.save(Snapshot(epoch, {"weights": torch.zeros(1000)}, state))
    return []


def test_the_newest_checkpoint_never_gets_older(tmp_path: Path) -> None:
    uri = str(tmp_path / "s")
    storage = open_storage(uri)
    Checkpoints(storage, FOLDER).save(Snapshot(10, {}, {}))
    ((_, _, seen),) = race(save_or_look, [(uri, role) for role in ("ahead", "behind", "reader")], 1)
    assert seen == sorted(seen)
    assert Checkpoints(storage, FOLDER).last() == seen[-1] == LAST
    assert pointed(storage).startswith(f"epoch-{LAST:05d}-")
