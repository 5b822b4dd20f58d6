"""Trainings whose photographs are streamed: which do so, what they learn, and how they go on."""

import dataclasses
from contextlib import suppress

import psutil
import pytest
import torch

from colorgan.commands.process import guarded
from colorgan.data import squares
from colorgan.data.dataset import Dataset
from colorgan.data.streams import PhotoStream
from colorgan.system import memory_bytes
from colorgan.training import reading as reading_module
from colorgan.training.checkpoints import Checkpoints
from colorgan.training.config import MEMORY_SHARE, SpeedConfig, TrainingConfig
from colorgan.training.loop import Training, load_banks
from colorgan.training.model_run import train_model
from colorgan.training.reading import Reading, choose_data, load_photographs
from colorgan.training.records import EpochRecord
from colorgan.training.runs import ModelRun, StopRequest

CPU = torch.device("cpu")
CONFIG = TrainingConfig(size=32, width=4, discriminator_width=4, epochs=2, batch_size=3)
STREAM = SpeedConfig(data="stream")
GIBIBYTE = 2**30


@pytest.mark.parametrize(
    ("data", "memory", "streams", "said"),
    [
        ("auto", 8, False, "into memory: they are at most 25%"),
        ("auto", 1e-4, True, "as a stream: they are more than 25%"),
        ("memory", 1e-4, False, "into memory: --data memory"),
        ("stream", 8, True, "as a stream: --data stream"),
    ],
)
def test_photographs_beyond_a_share_of_the_memory_are_streamed(
    scenes: Dataset, data: str, memory: float, streams: bool, said: str
) -> None:
    speed = SpeedConfig(data=data)  # type: ignore[arg-type]
    choice = choose_data(scenes, "general", CONFIG, speed, int(memory * GIBIBYTE))
    assert choice.streams == streams
    assert said in choice.reason and "photographs" in choice.reason


def test_the_share_is_of_what_the_decoded_photographs_take(scenes: Dataset) -> None:
    count = scenes.count(["people"], "train")
    for config, photographs in ((CONFIG, count), (dataclasses.replace(CONFIG, photographs=4), 4)):
        size = photographs * 36**2 * 3
        for more, expected in ((4, False), (-4, True)):
            memory = int(size / MEMORY_SHARE + more)
            choice = choose_data(scenes, "people", config, SpeedConfig(), memory)
            assert choice.streams == expected
    assert 2**28 < memory_bytes() < 2**50


def streamed(dataset: Dataset, config: TrainingConfig = CONFIG) -> Training:
    photographs = load_photographs(dataset, "animals", config, STREAM, Reading(CPU))
    return Training(config, *photographs, CPU, STREAM, "animals")


def weights(training: Training) -> dict[str, torch.Tensor]:
    return training.snapshot().tensors


def test_nothing_is_decoded_before_the_first_step(
    scenes: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []
    really = squares.decode
    monkeypatch.setattr(squares, "decode", lambda data: decoded.append(1) or really(data))
    training = streamed(scenes)
    begun: list[int] = []
    list(training.run(lambda fraction: begun.append(len(decoded)) if fraction < 1 else None))
    assert begun[0] == 0, "validation photographs are read when they are needed"
    assert len(decoded) == scenes.count(["animals"], "val")


def test_a_stopped_epoch_of_a_stream_goes_on_as_if_it_had_never_stopped(scenes: Dataset) -> None:
    whole = streamed(scenes)
    records = list(whole.run())
    assert all(0 <= record.data_share <= 1 for record in records)
    taken = []
    half = streamed(scenes)
    for _ in half.run(lambda fraction: taken.append(half.snapshot())):
        pass
    resumed = streamed(scenes)
    resumed.load(taken[1].files())
    assert resumed.position == (0, 2)
    list(resumed.run())
    ours, theirs = weights(resumed), weights(whole)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def model_run(dataset: Dataset, data: str) -> ModelRun:
    speed = SpeedConfig(data=data)  # type: ignore[arg-type]
    where = (dataset.storage.uri, dataset.manifest.name, "r", "animals")
    return ModelRun(*where, CONFIG, speed, checkpoint_every=1)


def test_an_epoch_begins_again_where_the_photographs_come_in_another_order(scenes: Dataset) -> None:
    said: list[str] = []
    records: list[EpochRecord] = []

    def stop(fraction: float) -> StopRequest | None:
        return "stop" if records and 0 < fraction < 1 else None

    spec = model_run(scenes, "memory")
    assert train_model(spec, CPU, observe=stop, record=records.append).status == "stopped"
    epochs, steps = Checkpoints(scenes.storage, "runs/r/animals").position()
    assert epochs == 1 and steps > 0
    fractions: list[float] = []
    done = train_model(
        model_run(scenes, "stream"),
        CPU,
        observe=lambda fraction: fractions.append(fraction),  # type: ignore[func-returns-value]
        record=records.append,
        say=said.append,
    )
    assert done.status == "done" and [record.epoch for record in records] == [1, 2]
    count = scenes.count(["animals"], "train")
    assert said[0].startswith(f"animals: reading {count} photographs, 0.0 GiB when decoded, as a")
    assert "animals: epoch 2 begins again: its photographs come in another order now" in said
    steps_of_an_epoch = -(-count // CONFIG.batch_size)
    assert len([each for each in fractions if 0 < each < 1]) == steps_of_an_epoch - 1


def test_a_limited_validation_is_of_all_classes_and_said(
    scenes: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    count = scenes.count(scenes.manifest.classes, "val")
    _, val = load_photographs(
        scenes, "general", CONFIG, STREAM, Reading(CPU, say=lambda line: said.append(line))
    )
    assert len(val) == len(val.pixels) == count and len(said) == 1
    monkeypatch.setattr(reading_module, "VALIDATION_BYTES", 6 * 32**2 * 3)
    _, val = load_photographs(
        scenes, "general", CONFIG, STREAM, Reading(CPU, say=lambda line: said.append(line))
    )
    assert said[2] == f"validating on 6 of {count} photographs, evenly of all classes"
    assert len(val) == len(val.pixels) == 6
    assert [label for label, _ in val.groups] == ["animals"] * 2 + ["people"] * 2 + ["vehicles"] * 2


def test_memory_is_read_as_before(scenes: Dataset) -> None:
    speed = SpeedConfig(data="memory")
    train, val = load_photographs(scenes, "general", CONFIG, speed, Reading(CPU))
    before = load_banks(scenes, "general", CONFIG)
    for ours, theirs in zip((train, val), before, strict=True):
        assert not isinstance(ours, PhotoStream)
        assert (ours.pixels == theirs.pixels).all()  # type: ignore[attr-defined]


@pytest.mark.parametrize(("data", "position"), [("memory", (0, 1)), ("stream", (1, 0))])
def test_what_another_number_of_workers_continues_is_saved_where_they_lose_nothing(
    scenes: Dataset, data: str, position: tuple[int, int]
) -> None:
    checkpoints = Checkpoints(scenes.storage, "runs/r/animals")
    positions: list[tuple[int, int]] = []

    def ask(fraction: float) -> StopRequest | None:
        return "resize" if 0 < fraction < 1 else None

    spec = dataclasses.replace(model_run(scenes, data), checkpoint_every=100)
    done = train_model(
        spec, CPU, observe=ask, saved=lambda seconds: positions.append(checkpoints.position())
    )
    assert done.status == "done"
    assert positions == [position, (2, 0)]


def test_a_reading_process_that_is_killed_is_told_in_one_sentence(
    scenes: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    this = psutil.Process()
    before = this.children()

    def kill(fraction: float) -> None:
        for process in this.children():
            with suppress(psutil.Error):  # it has already been killed
                # A DataLoader's is forked.
                if process not in before and process.cmdline() == this.cmdline():
                    process.kill()

    # It dies wherever the training is: also where it does not wait for photographs.
    assert guarded(lambda: len(list(streamed(scenes).run(kill)))) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: a process that reads photographs died, as when the machine has")
    assert said.endswith(")\n") and said.count("\n") == 1
