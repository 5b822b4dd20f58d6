"""Jobs that are killed, and jobs of which a part fails."""

import os
import re
import signal
from pathlib import Path

import psutil
import pytest

from colorgan import cli
from colorgan.data.dataset import Dataset
from colorgan.packages.card import find, list_models
from colorgan.storage.lease import list_leases
from tests.conftest import SMALL, Jobs, actors, history_epochs, summary
from tests.waiting import PATIENCE_S


@pytest.mark.slow
def test_a_killed_job_goes_on_and_trains_nothing_twice(jobs: Jobs, scenes: Dataset) -> None:
    storage = scenes.storage
    options = ("--storage", storage.uri, "--dataset", "scenes", "--run", "r", "--epochs", "12")
    # The first model of the run is trained without Ray, which makes no difference to the run.
    assert cli.main(["train", "--model", "animals", *SMALL, *options]) == 0
    finished = find(storage, "animals")
    options = (*options, "--models", "animals", "people", "--checkpoint-every", "2")
    job = jobs.start(*options)
    job.wait_for(lambda: "people: epoch 5/12" in job.output)
    job.process.kill()
    job.finish()

    again = jobs.run(*options)
    assert again.process.returncode == 0, again.output
    resumed = again.output.split("(continuing)")[2]
    assert f"animals: finished before, {finished.reference}" in resumed
    assert "animals: epoch" not in again.output and "people: epoch 2/12" not in resumed
    assert find(storage, "animals") == finished
    assert history_epochs(storage, "people") == list(range(1, 13))
    assert [m["status"] for m in summary(storage, "r")["models"]] == ["done", "done"]


@pytest.mark.slow
def test_a_run_of_one_worker_goes_on_with_two_of_which_one_is_killed(
    jobs: Jobs, scenes: Dataset
) -> None:
    storage = scenes.storage
    options = ("--storage", storage.uri, "--dataset", "scenes", "--run", "r", "--decay-share", "0")
    options = (*options, "--epochs")
    assert cli.main(["train", "--model", "animals", *SMALL, *options, "3", "--no-publish"]) == 0
    options = (*options, "40", "--models", "animals", "--workers-per-model", "2")
    job = jobs.start(*options, "--checkpoint-every", "2")
    job.wait_for(lambda: "animals: epoch 6/40" in job.output)
    started = re.search(r"animals: training \(.* process \d+ and .* process (\d+)\)", job.output)
    assert started, job.output
    os.kill(int(started.group(1)), signal.SIGKILL)
    assert job.finish() == 0, job.output
    assert "animals: restarting (after the worker died, attempt 2 of 4)" in job.output
    assert "animals: epoch 3/40" not in job.output and "on CPU, 2 workers of " in job.output
    assert len(re.findall("animals: epoch 4/40", job.output)) == 1, "it began from nothing"
    assert history_epochs(storage, "animals") == list(range(1, 41))
    assert [card.model for card in list_models(storage)] == ["animals"]
    (result,) = summary(storage, "r")["models"]
    assert (result["status"], result["epochs"]) == ("done", 40)


@pytest.mark.slow
def test_what_starts_from_a_model_that_failed_fails(jobs: Jobs, scenes: Dataset) -> None:
    options = ("--dataset", "scenes", "--models", "animals", "--start-from", "general")
    job = jobs.run("--storage", scenes.storage.uri, *options, "--run", "r", "--lambda-l1", "1e39")
    assert job.process.returncode == 1, job.output
    assert "error: animals failed: it starts from general, which failed" in job.output


@pytest.mark.slow
def test_one_models_failure_does_not_stop_the_others(jobs: Jobs, scenes: Dataset) -> None:
    storage = scenes.storage
    shard = Path(storage.location("datasets/scenes/people/train-00000.parquet"))
    shard.write_bytes(shard.read_bytes()[:-1000])
    job = jobs.run(
        *("--storage", storage.uri, "--dataset", "scenes", "--run", "r", "--epochs", "2"),
        *("--models", "animals", "people"),
    )
    assert job.process.returncode == 1
    assert "error: people failed: datasets/scenes/people/train-00000.parquet" in job.output
    assert "checksum" in job.output and "Traceback" not in job.output
    by_model = {model["model"]: model for model in summary(storage, "r")["models"]}
    assert [by_model[m]["status"] for m in ("animals", "people")] == ["done", "failed"]
    assert "checksum" in by_model["people"]["error"]
    assert [card.model for card in list_models(storage)] == ["animals"]


@pytest.mark.slow
def test_a_job_whose_controllers_died_ends_and_leaves_no_training(
    jobs: Jobs, scenes: Dataset
) -> None:
    options = ("--storage", scenes.storage.uri, "--dataset", "scenes", "--run", "r")
    before = actors()
    job = jobs.start(*options, "--epochs", "500", "--models", "animals", "people")
    job.wait_for(lambda: "animals: epoch 2/" in job.output and "people: epoch 2/" in job.output)
    its_own = {pid: name for pid, name in actors().items() if before.get(pid) != name}
    (host,) = [pid for pid, name in its_own.items() if name == "TrainingHost"]
    trainings = [psutil.Process(p) for p, name in its_own.items() if name == "RayTrainWorker"]
    assert len(trainings) == 2
    second = jobs.start(*options, "--epochs", "500", "--models", "animals", "people")
    assert second.finish() == 1
    assert f"run 'r' is being worked on by process {job.process.pid} on " in job.output
    assert len(list_leases(scenes.storage)) == 1
    os.kill(host, signal.SIGKILL)
    assert job.finish() == 1
    assert [model["status"] for model in summary(scenes.storage, "r")["models"]] == ["failed"] * 2
    for model in ("animals", "people"):
        assert f"error: {model} failed: " in job.output
    assert "Traceback" not in job.output
    assert not psutil.wait_procs(trainings, timeout=PATIENCE_S)[1]
    assert not list_leases(scenes.storage)
