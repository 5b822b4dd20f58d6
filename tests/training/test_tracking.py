"""`--track`: what MLflow and TensorBoard hold after a training, and what a broken tracker does."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from colorgan.cli import main
from colorgan.data.dataset import Dataset
from colorgan.errors import ConfigError
from colorgan.packages.card import find
from colorgan.training.tracking import Tracking, open_tracking
from tests.conftest import CHECKOUT, SMALL

Train = Callable[..., int]


@pytest.fixture
def mlruns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a store of MLflow in a folder of the test's own."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # it is in maintenance mode
    return (tmp_path / "mlruns").as_uri()


@pytest.fixture
def train(scenes: Dataset) -> Train:
    """`colorgan train` of a tiny model, for so many epochs."""

    def run(epochs: int, *options: str) -> int:
        where = ("--storage", scenes.storage.uri, "--dataset", "scenes", "--device", "cpu")
        small = (*SMALL, "--epochs", str(epochs), "--run", "r")
        return main(["train", *where, "--model", "animals", *small, *options])

    return run


def client_of(uri: str) -> Any:
    from mlflow import MlflowClient  # its import takes a second, in each process of the tests

    return MlflowClient(tracking_uri=uri)


def run_of(uri: str, name: str) -> Any:
    client = client_of(uri)
    experiment = client.get_experiment_by_name("colorgan")
    (found,) = [
        each
        for each in client.search_runs([experiment.experiment_id])
        if each.info.run_name == name
    ]
    return found


def test_a_training_is_in_mlflow_and_tensorboard_with_its_package(
    train: Train, scenes: Dataset, mlruns: str, tmp_path: Path
) -> None:
    boards = tmp_path / "boards"
    assert train(2, "--track", f"mlflow:{mlruns}", "--track", f"tensorboard:{boards}") == 0
    card = find(scenes.storage, "animals")
    weights = scenes.storage.get(f"models/animals/{card.version}/generator.safetensors")

    client, run = client_of(mlruns), run_of(mlruns, "r/animals")
    assert run.info.status == "FINISHED"
    assert (run.data.params["size"], run.data.params["epochs"]) == ("32", "2")
    history = client.get_metric_history(run.info.run_id, "val_l1")
    assert [each.step for each in history] == [1, 2]
    assert history[1].value == pytest.approx(card.metrics["val_l1"])
    paths = {each.path for each in client.list_artifacts(run.info.run_id, "package")}
    assert paths == {f"package/{n}" for n in ("generator.safetensors", "history.csv", "model.json")}
    fetched = client.download_artifacts(run.info.run_id, "package/generator.safetensors")
    assert Path(fetched).read_bytes() == weights
    assert "samples.png" in {each.path for each in client.list_artifacts(run.info.run_id)}

    events = EventAccumulator(str(boards / "r" / "animals")).Reload()
    assert [each.step for each in events.Scalars("val_l1")] == [1, 2]
    assert events.Scalars("val_l1")[1].value == pytest.approx(card.metrics["val_l1"])
    assert [each.step for each in events.Images("samples")] == [2]
    assert (boards / "r/animals/package/generator.safetensors").read_bytes() == weights


def test_a_training_that_goes_on_continues_its_run(
    train: Train, scenes: Dataset, mlruns: str
) -> None:
    tracking = open_tracking([f"mlflow:{mlruns}"], "r")
    tracking.begin("animals", {"size": 32})
    tracking.epoch("animals", {"epoch": 1, "val_l1": 9.0, "val_distance": None, "loss_d": None})
    tracking.end("animals", "stopped", scenes.storage)
    tracking.close()
    assert run_of(mlruns, "r/animals").info.status == "KILLED"
    again = open_tracking([f"mlflow:{mlruns}"], "r")
    again.begin("animals", {"size": 32})
    again.epoch("animals", {"epoch": 2, "val_l1": 8.0})
    again.end("animals", "done", scenes.storage)
    again.close()
    run = run_of(mlruns, "r/animals")
    assert (run.info.status, run.data.metrics) == ("FINISHED", {"val_l1": 8.0})
    history = client_of(mlruns).get_metric_history(run.info.run_id, "val_l1")
    assert [(each.step, each.value) for each in history] == [(1, 9.0), (2, 8.0)]


_OFFLINE = """
import io, pathlib, sys
from PIL import Image
from colorgan.storage import open_storage
from colorgan.training.tracking import open_tracking

picture = io.BytesIO()
Image.effect_noise((40, 30), 50).save(picture, "PNG")
tracking = open_tracking(["wandb"], "r", sys.exit)
for name in ("animals", "people"):
    tracking.begin(name, {"size": 32})
for name in ("animals", "people"):
    tracking.epoch(name, {"epoch": 1, "val_l1": 9.0, "val_distance": None})
files = {"samples.png": picture.getvalue(), "package/model.json": b"the card"}
tracking.pictures("animals", lambda: files)
for name in ("animals", "people"):
    tracking.end(name, "done", open_storage("storage"))
tracking.close()
"""


@pytest.mark.slow
def test_weights_and_biases_keeps_metrics_samples_and_files_without_a_network(
    tmp_path: Path,
) -> None:
    environment = {**os.environ, "WANDB_MODE": "offline", "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(
        [sys.executable, "-c", _OFFLINE],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "failed" not in done.stdout + done.stderr, done.stderr
    records = {path.stem: path.read_bytes() for path in tmp_path.rglob("*.wandb")}
    assert {*records} == {"run-r-animals", "run-r-people"}
    assert all(b"val_l1" in each and b"size" in each for each in records.values())
    assert b"package/model.json" in records["run-r-animals"]
    assert len([*tmp_path.rglob("media/images/samples_1_*.png")]) == 1


class _Broken:
    def begin(self, training: str, parameters: Any) -> None:
        pass

    def log(self, training: str, epoch: int, metrics: Any) -> None:
        raise RuntimeError("the disk of the server is full\nwith a stack trace")

    keep = end = log


def test_a_tracker_that_fails_is_left_out_and_the_others_go_on(
    scenes: Dataset, tmp_path: Path
) -> None:
    good, said = open_tracking([f"tensorboard:{tmp_path}"], "r"), list[str]()
    tracking = Tracking([_Broken(), *good._trackers], said.append)
    tracking.begin("animals", {})
    for epoch in (1, 2):
        tracking.epoch("animals", {"epoch": epoch, "val_l1": 9.0})
    tracking.end("animals", "done", scenes.storage)
    tracking.close()
    assert said == ["note: _Broken has failed and is left out: the disk of the server is full"]
    events = EventAccumulator(str(tmp_path / "r" / "animals")).Reload()
    assert [each.step for each in events.Scalars("val_l1")] == [1, 2]


@pytest.fixture
def refusing_server() -> Iterator[str]:
    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(403)

        def log_message(self, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_server_that_refuses_is_reported_before_the_training(
    train: Train, refusing_server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(1, "--track", f"mlflow:{refusing_server}") == 1
    assert f"error: --track mlflow:{refusing_server}: " in capsys.readouterr().err


@pytest.mark.parametrize("address", ["comet", "mlflow:", "tensorboard", "wandb:x"])
def test_an_unknown_tracker_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match=r"choose from mlflow:URI, wandb, tensorboard:FOLDER"):
        open_tracking([address], "r")
