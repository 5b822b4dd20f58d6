"""The main job on a real Ray: every test is a whole job, as small as it can be."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cluster.local import LocalRay
from colorgan.colorizer import Colorizer
from colorgan.data.dataset import Dataset, list_datasets
from colorgan.packages import find, list_models, load_generator
from colorgan.storage import Storage, open_storage
from tests.conftest import CHECKOUT, Job, Jobs, stage_scenes, summary
from tests.s3_server import S3Server

pytestmark = pytest.mark.slow

CLASSES = ["animals", "people", "vehicles"]


def submit(ray: LocalRay, *command: str) -> subprocess.CompletedProcess[str]:
    """`ray job submit`, typed in the checkout; waits for the job's end."""
    return subprocess.run(
        [sys.executable, "-m", "ray.scripts.scripts", "job", "submit", *command],
        cwd=CHECKOUT,
        env={**os.environ, **ray.environment, "RAY_ADDRESS": ray.jobs_address},
        capture_output=True,
        text=True,
        timeout=300,
    )


def wait_for(condition: Callable[[], Any], job: Job, timeout: float = 120) -> Any:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        assert job.process.poll() is None, job.output
        time.sleep(0.1)
    raise AssertionError(job.output)


def history_epochs(storage: Storage, model: str) -> list[int]:
    card = find(storage, model)
    lines = storage.get(f"models/{model}/{card.version}/history.csv").decode().splitlines()
    return [int(line.split(",")[0]) for line in lines[1:]]


def test_three_models_train_at_the_same_time_as_a_submitted_job(
    ray_cluster: LocalRay, scenes: Dataset
) -> None:
    storage = scenes.storage
    small = ("--size", "32", "--width", "4", "--discriminator-width", "4", "--epochs", "12")
    job = ("python", "jobs/train_all.py", *small, "--run", "r", "--storage", storage.uri)
    done = submit(ray_cluster, "--working-dir", ".", "--", *job, "--dataset", "scenes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "training 3 models (animals, people, vehicles), 3 at once, on CPU" in done.stdout

    written = summary(storage, "r")
    models = written["models"]
    assert [model["model"] for model in models] == CLASSES
    assert all(model["status"] == "done" and model["error"] is None for model in models)
    assert max(m["started"] for m in models) < min(m["ended"] for m in models), "no overlap"
    assert {m["package"] for m in models} == {c.reference for c in list_models(storage)}
    for model in models:
        assert model["photographs"] == scenes.manifest.counts[model["model"]]["train"]
        assert model["epochs"] == 12
        assert model["val_l1"] > 0 and model["val_psnr"] > 0 and model["images_per_second"] > 0
        assert model["device"] == "cpu" and model["node"]
    assert written["sum_seconds"] == pytest.approx(sum(m["seconds"] for m in models))
    assert written["wall_seconds"] > max(m["ended"] for m in models) - min(
        m["started"] for m in models
    )

    colorizer = Colorizer(load_generator(storage, find(storage, "animals")))
    row = next(scenes.rows(("animals",), "test"))
    from colorgan.images.decoding import decode

    original = decode(row.image).rgb
    assert colorizer([original])[0].shape == original.shape


def test_the_command_that_users_type_works_with_no_option(
    tmp_path: Path, ray_cluster: LocalRay
) -> None:
    # Only the storage and the size are set, by the environment that the job's user would have.
    storage = open_storage(str(tmp_path / "storage"))
    stage_scenes(storage, "older", per_class=20)
    stage_scenes(storage, "newest", per_class=20)
    environment = json.dumps({"env_vars": {"COLORGAN_STORAGE": storage.uri}})
    command = ("python", "jobs/train_all.py", "--epochs", "1", "--size", "32", "--width", "4")
    done = submit(ray_cluster, "--runtime-env-json", environment, "--", *command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no --dataset: taking the newest, newest" in done.stdout
    assert [card.model for card in list_models(storage)] == CLASSES


def test_a_killed_worker_goes_on_from_its_last_checkpoint(jobs: Jobs, scenes: Dataset) -> None:
    storage = scenes.storage
    job = jobs.start(
        *("--storage", storage.uri, "--dataset", "scenes", "--run", "r"),
        *("--epochs", "40", "--checkpoint-every", "4"),
    )
    pid = wait_for(
        lambda: re.search(r"people: training \(.* process (\d+)\)", job.output), job
    ).group(1)
    wait_for(lambda: "people: epoch 13/40" in job.output, job)
    os.kill(int(pid), signal.SIGKILL)
    assert job.finish() == 0, job.output
    starts = re.findall(r"people: training \(.* process (\d+)\)", job.output)
    assert len(starts) == 2 and len(set(starts)) == 2, "the worker was not started again"
    assert len(re.findall("people: epoch 4/40", job.output)) == 1, "it began from nothing"
    for model in CLASSES:
        assert history_epochs(storage, model) == list(range(1, 41))


def test_a_killed_job_goes_on_and_trains_nothing_twice(jobs: Jobs, scenes: Dataset) -> None:
    storage = scenes.storage
    options = (
        *("--storage", storage.uri, "--dataset", "scenes", "--run", "r", "--at-once", "1"),
        *("--models", "animals", "people", "--epochs", "20", "--checkpoint-every", "2"),
    )
    job = jobs.start(*options)
    wait_for(lambda: "people: epoch 7/20" in job.output, job)
    finished = find(storage, "animals")
    job.process.kill()
    job.finish()

    again = jobs.run(*options)
    assert again.process.returncode == 0, again.output
    resumed = again.output.split("(going on)")[1]
    assert f"animals: finished before, {finished.reference}" in resumed
    assert "animals: epoch" not in resumed and "people: epoch 4/20" not in resumed
    assert find(storage, "animals") == finished
    assert history_epochs(storage, "people") == list(range(1, 21))
    assert [m["status"] for m in summary(storage, "r")["models"]] == ["done", "done"]

    other = jobs.run(*options, "--batch-size", "7")
    assert other.process.returncode == 2
    assert "animals: batch_size was 2, is 7" in other.output


def test_one_models_failure_does_not_stop_the_others(jobs: Jobs, scenes: Dataset) -> None:
    storage = scenes.storage
    shard = Path(storage.location("datasets/scenes/people/train-00000.parquet"))
    shard.write_bytes(shard.read_bytes()[:-1000])
    job = jobs.run(
        *("--storage", storage.uri, "--dataset", "scenes", "--run", "r", "--epochs", "2")
    )
    assert job.process.returncode == 1
    assert "error: people failed: datasets/scenes/people/train-00000.parquet" in job.output
    assert "checksum" in job.output and "Traceback" not in job.output
    by_model = {model["model"]: model for model in summary(storage, "r")["models"]}
    assert [by_model[m]["status"] for m in CLASSES] == ["done", "failed", "done"]
    assert "checksum" in by_model["people"]["error"]
    assert [card.model for card in list_models(storage)] == ["animals", "vehicles"]


def test_the_whole_job_on_s3(jobs: Jobs, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
        jobs.environment[name] = value
    storage = open_storage(f"{s3.new_bucket()}/some/prefix")
    stage_scenes(storage)
    options = ("--storage", storage.uri, "--dataset", "scenes", "--run", "r")
    job = jobs.run(*options, "--models", "animals", "general", "--epochs", "2")
    assert job.process.returncode == 0, job.output
    assert [card.model for card in list_models(storage)] == ["animals", "general"]
    assert all(model["status"] == "done" for model in summary(storage, "r")["models"])
    assert s3.secret_key not in job.output
    assert load_generator(storage, find(storage, "general")).config.size == 32


def test_bad_options_end_within_seconds_with_a_sentence(jobs: Jobs, scenes: Dataset) -> None:
    storage = ("--storage", scenes.storage.uri)
    scenes.storage.delete("datasets/scenes/dropped.csv")
    for options, status, message in (
        (("--device", "gpu"), 2, "--device gpu: the cluster has no GPU"),
        (("--dataset", "none"), 1, "no dataset 'none'"),
        (("--models", "cats"), 2, "no model 'cats'"),
        (("--size", "77"), 2, "--size 77"),
        (("--run", "a/b"), 2, "is not a name"),
    ):
        started = time.monotonic()
        job = jobs.start(*storage, *options)
        assert job.finish(60) == status, job.output
        assert time.monotonic() - started < 45
        assert message in job.output and "Traceback" not in job.output
    assert not scenes.storage.list("runs")


def test_a_class_without_photographs_to_train_on_is_named(jobs: Jobs, storage: Storage) -> None:
    stage_scenes(storage, per_class=1)
    job = jobs.run("--storage", storage.uri)
    assert job.process.returncode == 1
    assert re.search(r"model '\w+' has no photograph in the split (train|val)", job.output)
    assert [manifest.name for manifest in list_datasets(storage)] == ["scenes"]
