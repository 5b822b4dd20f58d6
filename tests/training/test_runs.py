"""One model's part of a run: stopped, told to save, and with a storage that goes away."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
import torch

from colorgan.data.dataset import Dataset
from colorgan.errors import ConfigError, StorageUnavailable
from colorgan.packages.card import find, list_models
from colorgan.packages.weights import load_generator
from colorgan.storage import Storage, open_storage, retry_transient
from colorgan.training.checkpoints import Checkpoints
from colorgan.training.config import SpeedConfig, TrainingConfig
from colorgan.training.loop import Training, load_banks
from colorgan.training.model_run import train_model
from colorgan.training.records import EpochRecord
from colorgan.training.runs import ModelResult, ModelRun, StopRequest, open_run
from tests.conftest import history_epochs, stage_scenes
from tests.s3_server import S3Server

CPU = torch.device("cpu")
EPOCHS = 4


def model_run(dataset: Dataset, checkpoint_every: int = 1000, model: str = "animals") -> ModelRun:
    config = TrainingConfig(size=32, width=4, discriminator_width=4, epochs=EPOCHS)
    return ModelRun(
        *(dataset.storage.uri, dataset.manifest.name, "r", model, config, SpeedConfig()),
        checkpoint_every,
    )


class Asker:
    """Asks for something in the middle of an epoch, once."""

    def __init__(self, request: StopRequest, epoch: int) -> None:
        self.request, self.epoch, self.done = request, epoch, 0
        self.asked = False

    def record(self, record: EpochRecord) -> None:
        self.done = record.epoch

    def observe(self, fraction: float) -> StopRequest | None:
        if self.asked or self.done != self.epoch or fraction < 0.5:
            return None
        self.asked = True
        return self.request


def train(dataset: Dataset, asker: Asker, checkpoint_every: int = 1000) -> ModelResult:
    spec = model_run(dataset, checkpoint_every)
    return train_model(spec, CPU, observe=asker.observe, record=asker.record)


def test_a_stop_in_the_middle_of_an_epoch_keeps_every_step(scenes: Dataset) -> None:
    stopped = train(scenes, Asker("stop", 2))
    assert (stopped.status, stopped.epochs, stopped.package) == ("stopped", 2, None)
    assert Checkpoints(scenes.storage, "runs/r/animals").position() == (2, 2)
    assert not list_models(scenes.storage)

    # Gone on with, it is the training that was never stopped.
    finished = train(scenes, Asker("stop", -1))
    assert (finished.status, finished.epochs) == ("done", EPOCHS)
    assert history_epochs(scenes.storage, "animals") == [1, 2, 3, 4]
    spec = model_run(scenes)
    whole = Training(spec.training, *load_banks(scenes, "animals", spec.training), CPU)
    list(whole.run())
    assert finished.val_l1 == pytest.approx(whole.history[-1].val_l1, rel=1e-5)


def test_a_process_that_died_after_publishing_and_before_its_result_publishes_nothing_more(
    scenes: Dataset,
) -> None:
    storage = scenes.storage
    first = train(scenes, Asker("stop", -1))
    storage.delete("runs/r/animals/result.json")
    again = train(scenes, Asker("stop", -1))
    assert first.package == again.package == find(storage, "animals").reference
    assert len(storage.folders("models/animals")) == 1
    # Of a process that was cut off, and has trained the last epoch on another device.
    storage.delete("runs/r/animals/checkpoints")
    other = replace(model_run(scenes), speed=SpeedConfig(precision="bfloat16"))
    assert train_model(other, CPU).package == first.package
    assert len(storage.folders("models/animals")) == 1


def start_from(spec: ModelRun, base: str, **changes: Any) -> ModelRun:
    return replace(spec, training=replace(spec.training, start_from=base, **changes))


def test_a_model_starts_from_another_one_of_its_run(scenes: Dataset) -> None:
    general = train_model(model_run(scenes, model="general"), CPU)
    assert general.package
    for run, base in (("r", "general"), ("another", general.package)):
        spec = start_from(model_run(scenes), base, epochs=1, learning_rate=1e-12)
        assert train_model(replace(spec, run=run), CPU).status == "done"
        expected = load_generator(scenes.storage, find(scenes.storage, "general")).state_dict()
        found = load_generator(scenes.storage, find(scenes.storage, "animals")).state_dict()
        torch.testing.assert_close(found, expected)


def test_what_cannot_be_started_from_is_said(scenes: Dataset) -> None:
    spec = start_from(model_run(scenes), "general")
    with pytest.raises(ConfigError, match="--start-from general: run 'r' has not trained it"):
        train_model(spec, CPU)
    train_model(model_run(scenes, model="general"), CPU)
    with pytest.raises(ConfigError, match="another architecture"):
        train_model(start_from(model_run(scenes), "general", width=8), CPU)


def test_a_run_is_gone_on_with_after_options_were_added(storage: Storage) -> None:
    config = TrainingConfig(size=32)
    assert not open_run(storage, "r", "f", {"animals": config})
    document = json.loads(storage.get("runs/r/run.json"))
    del document["models"]["animals"]["encoder_rate"]
    storage.put("runs/r/run.json", json.dumps(document).encode())
    assert open_run(storage, "r", "f", {"animals": config})
    with pytest.raises(ConfigError, match=r"animals: encoder_rate was 1.0, is 0.5"):
        open_run(storage, "r", "f", {"animals": replace(config, encoder_rate=0.5)})


def test_a_stop_in_the_first_epoch_keeps_its_steps(scenes: Dataset) -> None:
    stopped = train(scenes, Asker("stop", 0))
    assert (stopped.status, stopped.epochs, stopped.val_l1) == ("stopped", 0, None)
    assert Checkpoints(scenes.storage, "runs/r/animals").position() == (0, 2)


def test_a_machine_that_is_about_to_go_is_saved_from_and_trained_on(scenes: Dataset) -> None:
    saved: list[int] = []

    class Spy(Asker):
        def observe(self, fraction: float) -> StopRequest | None:
            saved.append(Checkpoints(scenes.storage, "runs/r/animals").last())
            return super().observe(fraction)

    assert train(scenes, Spy("save", 3)).status == "done"
    assert sorted(set(saved)) == [0, 3]  # without the request: none before the last epoch


class Road:
    """The way to a server, which can be cut: connections break, and nobody answers."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._open: set[socket.socket] = set()
        self.left: int | None = None  # bytes that may still pass to the server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_for(self, seconds: float, after: int) -> None:
        """Be cut once so many more bytes have passed, for so long."""
        self.left, self._seconds = after, seconds

    @property
    def is_cut(self) -> bool:
        return self.left is not None and self.left <= 0

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.is_cut:
                    client.close()
                    continue
                server = socket.create_connection(("127.0.0.1", self._port))
                self._open |= {client, server}
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=self._carry, args=pair, daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(4096):
                if target.getpeername()[1] == self._port and self.left is not None:
                    self.left -= len(data)
                    if self.is_cut:
                        self._cut()
                target.sendall(data)
        for end in (source, target):
            end.close()

    def _cut(self) -> None:
        for each in list(self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._open.clear()
        threading.Timer(self._seconds, lambda: setattr(self, "left", None)).start()


@pytest.fixture
def road(s3: S3Server) -> Iterator[Road]:
    made = Road(int(s3.endpoint.rpartition(":")[2]))
    yield made
    made.close()


def s3_storage(
    server: S3Server, endpoint: str, uri: str, monkeypatch: pytest.MonkeyPatch
) -> Storage:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    return open_storage(uri)


@pytest.mark.slow
def test_a_storage_that_is_gone_in_the_middle_of_a_checkpoint_costs_time_alone(
    s3: S3Server, road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"s3://{s3.new_bucket()}"
    straight = s3_storage(s3, s3.endpoint, uri, monkeypatch)
    dataset = stage_scenes(straight)
    seconds = 20.0  # the S3 client itself gives up within 15: five attempts, 1 to 8 s apart
    seen: list[int] = []

    def record(epoch: EpochRecord) -> None:
        if epoch.epoch == 2:
            road.cut_for(seconds, after=50_000)  # of a checkpoint's some 200,000
            threading.Timer(seconds / 2, look).start()

    def look() -> None:
        assert road.is_cut
        spec = model_run(dataset)
        training = Training(spec.training, *load_banks(dataset, "animals", spec.training), CPU)
        Checkpoints(straight, "runs/r/animals").restore(training)
        seen.append(training.epoch)

    monkeypatch.setenv("AWS_ENDPOINT_URL", road.address)
    started = time.monotonic()
    result = train_model(model_run(dataset, checkpoint_every=1), CPU, record=record)
    assert time.monotonic() - started > seconds
    assert seen == [1], "what is loaded meanwhile is the checkpoint before"
    assert (result.status, result.epochs) == ("done", EPOCHS)
    assert history_epochs(straight, "animals") == [1, 2, 3, 4]
    assert load_generator(straight, find(straight, "animals")).config.size == 32


def test_patience_with_a_storage_ends() -> None:
    asked: list[float] = []

    def ask() -> None:
        asked.append(time.monotonic())
        raise StorageUnavailable("gone")

    with pytest.raises(StorageUnavailable, match="gone"):
        retry_transient(ask, patience_s=2.5)
    assert len(asked) == 2
