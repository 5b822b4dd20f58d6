"""A training that is stopped at any place goes on from exactly there."""

import dataclasses
from collections.abc import Callable

import pytest
import torch

from colorgan.data.dataset import Dataset
from colorgan.errors import StorageUnavailable
from colorgan.storage.local import LocalStorage
from colorgan.training import model_run as model_run_module
from colorgan.training.checkpoints import Checkpoints
from colorgan.training.config import SpeedConfig, TrainingConfig
from colorgan.training.loop import Training
from colorgan.training.model_run import train_model
from colorgan.training.runs import ModelRun, StopRequest
from colorgan.training.states import Snapshot
from tests.training import test_phases as phased
from tests.training import test_training as plain

CPU = torch.device("cpu")


class Halted(Exception):  # noqa: N818
    pass


def stopped_at(training: Training, epoch: int, call: int) -> Snapshot:
    """The state at a call of `observe`, counted from 1, within the epoch after `epoch`."""
    left = call

    def observe(fraction: float) -> None:
        nonlocal left, taken
        if training.epoch == epoch:
            left -= 1
            if not left:
                taken = training.snapshot()
                raise Halted

    taken: Snapshot | None = None
    with pytest.raises(Halted):
        list(training.run(observe))
    assert taken
    return taken


def same_weights(first: Training, second: Training) -> bool:
    ours, theirs = first.snapshot().tensors, second.snapshot().tensors
    return ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)


def paper() -> Training:
    """With dropout, crops, flips and a running average; four steps an epoch."""
    config = dataclasses.replace(plain.SCHEDULED, batch_size=2, epochs=2, average=0.9)
    return plain.train(config)


def balanced() -> Training:
    config = dataclasses.replace(plain.SMALL, batch_size=2, epochs=2, norm="batch")
    train, val = plain.banks()
    groups = [("a", 0)] * 5 + [("b", 0)] * 2
    return Training(config, type(train)(train.pixels, groups, "classes"), val, CPU)


def on_rows() -> Training:
    """On features that are computed once, through the phases regression, critic, adversarial."""
    return phased.train(dataclasses.replace(phased.SMALL, batch_size=2, epochs=2))


@pytest.mark.parametrize("start", [paper, balanced, on_rows])
@pytest.mark.parametrize(("epoch", "call"), [(0, 1), (0, 4), (1, 2)])
def test_a_stop_between_two_steps_changes_no_weight(
    start: Callable[[], Training], epoch: int, call: int
) -> None:
    whole = start()
    list(whole.run())
    snapshot = stopped_at(start(), epoch, call)
    assert (snapshot.epoch, snapshot.step) == (epoch, call)
    resumed = start()
    resumed.load(snapshot.files())
    assert resumed.position == (epoch, call)
    list(resumed.run())
    assert same_weights(resumed, whole)
    for ours, theirs in zip(resumed.history, whole.history, strict=True):
        ours_now, theirs_now = dataclasses.asdict(ours), dataclasses.asdict(theirs)
        for name in ("epoch", "loss_d", "loss_gan", "loss_l1", "val_l1", "val_psnr"):
            assert ours_now[name] == theirs_now[name], name


def test_a_stop_while_the_epoch_is_validated_changes_no_weight() -> None:
    config = dataclasses.replace(
        plain.SMALL, batch_size=2, epochs=2
    )  # three photographs: 2 batches
    whole = plain.train(config)
    list(whole.run())
    snapshot = stopped_at(plain.train(config), 0, 5)  # after four steps
    assert (snapshot.epoch, snapshot.step) == (0, 4)
    resumed = plain.train(config)
    resumed.load(snapshot.files())
    list(resumed.run())
    assert same_weights(resumed, whole)
    assert plain.losses(resumed.history) == plain.losses(whole.history)


def test_a_training_that_is_stopped_after_every_step_is_the_one_that_never_was() -> None:
    whole = paper()
    list(whole.run())
    training = paper()
    for epoch in range(2):
        for call in range(1, 5):
            files = stopped_at(training, epoch, 1).files()
            training = paper()
            training.load(files)
            assert training.position == (epoch, call)
    list(training.run())
    assert same_weights(training, whole)
    assert plain.losses(training.history) == plain.losses(whole.history)


def model_run(dataset: Dataset) -> ModelRun:
    config = TrainingConfig(size=32, width=4, discriminator_width=4, epochs=2)
    where = (dataset.storage.uri, dataset.manifest.name, "r", "animals")
    return ModelRun(*where, config, SpeedConfig(), checkpoint_every=1000)


def test_a_stop_is_heard_while_photographs_are_read(scenes: Dataset) -> None:
    calls: list[float] = []

    def observe(fraction: float) -> StopRequest:
        calls.append(fraction)
        return "stop"

    lines: list[str] = []
    result = train_model(model_run(scenes), CPU, observe=observe, say=lines.append)
    assert (result.status, result.epochs, result.photographs) == ("stopped", 0, None)
    assert calls == [0.0], "before the first photograph is decoded"
    assert not scenes.storage.list("runs/r")
    # Stopped in an epoch and then while photographs are read, it still knows what it has done.
    train_model(model_run(scenes), CPU, observe=lambda fraction: "stop" if fraction else None)
    checkpoints = Checkpoints(scenes.storage, "runs/r/animals")
    assert checkpoints.position() == (0, 1)
    assert train_model(model_run(scenes), CPU, observe=observe).epochs == 0
    assert checkpoints.position() == (0, 1)


@pytest.mark.parametrize("lost", ["models/", "runs/r/animals/checkpoints"])
def test_a_stop_is_heard_while_the_storage_does_not_respond(
    scenes: Dataset, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    monkeypatch.setattr(model_run_module, "_STOP_PATIENCE_S", 0.1)
    gone: list[str] = []
    put = LocalStorage.put

    def lose(storage: LocalStorage, key: str, data: bytes) -> None:
        if key.startswith(lost):
            gone.append(key)
            raise StorageUnavailable(f"{key}: the storage is away")
        put(storage, key, data)

    monkeypatch.setattr(LocalStorage, "put", lose)
    spec = dataclasses.replace(model_run(scenes), checkpoint_every=1)
    stop: StopRequest = "stop"
    result = train_model(spec, CPU, observe=lambda fraction: stop if gone else None)
    assert gone
    epochs = {"models/": spec.training.epochs, "runs/r/animals/checkpoints": 1}[lost]
    assert (result.status, result.epochs, result.package) == ("stopped", epochs, None)
    monkeypatch.setattr(LocalStorage, "put", put)
    assert train_model(spec, CPU).status == "done"


def test_a_stop_whose_state_cannot_be_saved_says_so(
    scenes: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_run_module, "_STOP_PATIENCE_S", 0.1)

    def lose(storage: LocalStorage, key: str, data: bytes) -> None:
        raise StorageUnavailable(f"{key}: the storage is away")

    monkeypatch.setattr(LocalStorage, "put", lose)
    lines: list[str] = []
    result = train_model(
        model_run(scenes), CPU, observe=lambda done: "stop" if done else None, say=lines.append
    )
    assert result.status == "stopped"
    assert "animals: its state could not be saved, so it continues from its last" in lines[-1]


def test_what_is_read_is_said(scenes: Dataset) -> None:
    lines: list[str] = []
    stop: StopRequest = "stop"
    spec = model_run(scenes)
    train_model(spec, CPU, observe=lambda done: stop if done else None, say=lines.append)
    count = scenes.count(("animals",), "train")
    assert lines == [f"animals: reading {count} photographs"]
    train_model(spec, CPU, observe=lambda done: stop if done else None, say=lines.append)
    assert lines[-1] == "animals: continuing after step 1 of epoch 1"


def test_a_machine_that_asks_again_and_again_is_saved_from_once(
    scenes: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_run_module, "_SAVE_AGAIN_SECONDS", 1e9)
    saved: list[float] = []
    spec = model_run(scenes)
    result = train_model(spec, CPU, observe=lambda fraction: "save", saved=saved.append)
    assert result.status == "done"
    assert len(saved) == 2, "after the first step, and at the end"


def test_checkpoints_within_an_epoch_are_ordered_by_their_steps(scenes: Dataset) -> None:
    """One of the epoch's end supersedes them all."""
    storage = scenes.storage
    checkpoints, other = (Checkpoints(storage, "runs/r/animals") for _ in range(2))
    for place in ((2, 0), (2, 9), (2, 10), (3, 0)):
        checkpoints.save(Snapshot(place[0], {}, {}, place[1]))
        assert checkpoints.position() == place
        assert len(storage.folders("runs/r/animals/checkpoints")) == 1
    other.save(Snapshot(2, {}, {}, 11))
    assert other.position() == (3, 0)
