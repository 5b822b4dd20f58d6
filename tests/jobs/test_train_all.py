"""The main job on a real Ray: every test is a whole job, as small as it can be."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cluster.local import LocalRay
from colorgan.data.dataset import Dataset, open_dataset
from colorgan.data.scenes import draw_scene
from colorgan.data.sources import FolderSource
from colorgan.data.staging import StagingConfig, stage
from colorgan.images.decoding import decode, is_grayscale
from colorgan.inference.colorizer import Colorizer
from colorgan.models import EMBEDDED
from colorgan.packages.card import find, list_models
from colorgan.packages.weights import load_generator, load_head
from colorgan.storage import Storage, open_storage
from jobs import train_all
from tests.cluster.job_server import ask
from tests.conftest import CHECKOUT, SMALL, Job, Jobs, actors, history_epochs, stage_scenes, summary
from tests.s3_server import S3Server

CLASSES = ["animals", "people", "vehicles"]
EPOCHS = 48  # of the finished job: its first model still trains when its last one begins


def submit(ray: LocalRay, folder: Path, *arguments: str) -> Job:
    """`ray job submit`, typed in the checkout."""
    log = folder / "submitted.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", "job", "submit", *arguments],
            cwd=CHECKOUT,
            env={
                **os.environ,
                **ray.environment,
                "RAY_ADDRESS": ray.jobs_address,
                "COLORGAN_WARM_COMMANDS": "1",
            },
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )
    return Job(process, log)


@dataclass(frozen=True)
class FinishedJob:
    """A job of the three models, in which the people's training process was killed.

    `actors` are those that it had while all three trained.
    """

    storage: Storage
    dataset: Dataset
    status: int
    output: str
    actors: Counter[str]


@pytest.fixture(scope="module")
def finished_job(
    ray_cluster: LocalRay, staged_scenes: Path, tmp_path_factory: pytest.TempPathFactory
) -> FinishedJob:
    folder = tmp_path_factory.mktemp("job")
    shutil.copytree(staged_scenes, folder / "storage")
    storage = open_storage(str(folder / "storage"))
    small = (*SMALL, "--epochs", str(EPOCHS))
    before = actors()
    command = ("python", "jobs/train_all.py", *small, "--checkpoint-every", "4", "--run", "r")
    job = submit(
        *(ray_cluster, folder, "--working-dir", ".", "--", *command),
        *("--storage", storage.uri, "--dataset", "scenes"),
        *("--track", f"tensorboard:{folder / 'boards'}"),
    )
    started = job.wait_for(lambda: re.search(r"people: training \(.* process (\d+)\)", job.output))
    assert started
    job.wait_for(lambda: f"people: epoch 6/{EPOCHS}" in job.output)
    job.wait_for(lambda: all(f"{label}: training" in job.output for label in CLASSES))
    its_own = Counter(name for pid, name in actors().items() if before.get(pid) != name)
    os.kill(int(started.group(1)), signal.SIGKILL)
    status = job.finish()
    return FinishedJob(storage, open_dataset(storage, "scenes"), status, job.output, its_own)


@pytest.mark.slow
def test_the_plan_stands_in_one_line(finished_job: FinishedJob) -> None:
    assert (
        "training 3 models (animals, people, vehicles), 3 at once, on CPU, 0.66 CPU and 1 thread "
        "each\n"
    ) in finished_job.output


@pytest.mark.slow
def test_three_models_train_at_the_same_time(finished_job: FinishedJob) -> None:
    assert finished_job.status == 0, finished_job.output
    models = summary(finished_job.storage, "r")["models"]
    assert [model["model"] for model in models] == CLASSES
    assert max(m["started"] for m in models) < min(m["ended"] for m in models), models


@pytest.mark.slow
def test_no_process_only_waits_that_the_trainings_can_do_without(
    finished_job: FinishedJob,
) -> None:
    # The queue's, and the agents of Ray itself, which on a busy machine start late.
    others = ("JobSupervisor", "_Actor", "DashboardAgent", "RuntimeEnvAgent")
    started = finished_job.actors - Counter(others)
    assert started == {"TrainingHost": 1, "SynchronizationActor": 3, "RayTrainWorker": 3}


@pytest.mark.slow
def test_training_processes_are_workers_like_others(
    ray_cluster: LocalRay, finished_job: FinishedJob
) -> None:
    # Environment variables of its own would make each of them import Ray twice.
    actors = ask(ray_cluster, "GET", "v0/actors?detail=1")["data"]["result"]["result"]
    found = [each for each in actors if each["class_name"] == "RayTrainWorker"]
    assert len(found) >= len(CLASSES)
    assert not any("env_vars" in each["serialized_runtime_env"] for each in found)


@pytest.mark.slow
def test_the_summary_says_what_was_trained(finished_job: FinishedJob) -> None:
    written = summary(finished_job.storage, "r")
    models = written["models"]
    assert {m["package"] for m in models} == {
        card.reference for card in list_models(finished_job.storage)
    }
    for model in models:
        counts = finished_job.dataset.manifest.counts[model["model"]]
        assert (model["status"], model["error"]) == ("done", None)
        assert (model["photographs"], model["epochs"]) == (counts["train"], EPOCHS)
        assert model["val_l1"] > 0 and model["val_psnr"] > 0 and model["images_per_second"] > 0
        assert 0 < model["val_colorfulness"] < 3
        assert model["device"] == "cpu" and model["node"]
    assert written["sum_seconds"] == pytest.approx(sum(m["seconds"] for m in models))
    span = max(m["ended"] for m in models) - min(m["started"] for m in models)
    assert written["wall_seconds"] > span


@pytest.mark.slow
def test_a_killed_worker_goes_on_from_its_last_checkpoint(finished_job: FinishedJob) -> None:
    output = finished_job.output
    starts = re.findall(r"people: training \(.* process (\d+)\)", output)
    assert len(set(starts)) == 2, "the worker was not started again"
    assert "people: restarting (after the worker died, attempt 2 of 4)" in output
    assert len(re.findall(f"people: epoch 4/{EPOCHS}", output)) == 1, "it began from nothing"
    for model in CLASSES:
        assert history_epochs(finished_job.storage, model) == list(range(1, EPOCHS + 1))


@pytest.mark.slow
def test_a_tracker_has_every_epoch_and_package_also_of_a_restarted_training(
    finished_job: FinishedJob,
) -> None:
    boards = Path(finished_job.storage.uri).parent / "boards/r"
    for label in CLASSES:
        events = EventAccumulator(str(boards / label)).Reload()
        steps = [each.step for each in events.Scalars("val_l1")]
        assert sorted({*steps}) == list(range(1, EPOCHS + 1))
        assert (boards / label / "package/model.json").exists()


@pytest.mark.slow
def test_the_models_colour_photographs(finished_job: FinishedJob) -> None:
    storage = finished_job.storage
    for label in CLASSES:
        colorizer = Colorizer(load_generator(storage, find(storage, label)))
        original = decode(next(finished_job.dataset.rows((label,), "test")).image).rgb
        (colored,) = colorizer([original])
        assert colored.shape == original.shape
        assert not is_grayscale(colored, tolerance=4)


@pytest.mark.slow
def test_the_command_that_users_type_works_with_no_option(
    ray_cluster: LocalRay, tmp_path: Path
) -> None:
    # The storage and the size of the networks are the test's own; the dataset is found.
    storage = open_storage(str(tmp_path / "storage"))
    stage_scenes(storage, "older", per_class=16)
    folder = tmp_path / "photographs" / "animals"
    folder.mkdir(parents=True)
    for seed in range(16):
        Image.fromarray(draw_scene("animals", seed, 64, 64)).save(folder / f"{seed}.png")
    config = StagingConfig(min_side=32, val_share=0.3)
    stage(FolderSource(folder.parent), storage, "newest", config)

    environment = json.dumps({"env_vars": {"COLORGAN_STORAGE": storage.uri}})
    command = ("python", "jobs/train_all.py", "--epochs", "1", "--size", "64", "--width", "4")
    job = submit(ray_cluster, tmp_path, "--runtime-env-json", environment, "--", *command)
    assert job.finish() == 0, job.output
    assert "no --dataset: taking the newest, newest" in job.output
    kinds = {card.model: card.kind for card in list_models(storage)}
    # Of the three classes that the labels know the dataset has one, so a head comes with it.
    assert kinds == {"animals": "encoder_unet", "general": "encoder_unet", "router": "router"}


@pytest.mark.slow
def test_a_job_in_a_copy_of_the_checkout_still_finds_the_storage_beside_ray(
    ray_cluster: LocalRay, tmp_path: Path
) -> None:
    code = "from cluster.connection import storage_uri; print('storage:', storage_uri(None))"
    job = submit(ray_cluster, tmp_path, "--working-dir", ".", "--", "python", "-c", code)
    assert job.finish() == 0, job.output
    assert f"storage: {CHECKOUT / 'artifacts'}" in job.output


@pytest.mark.slow
def test_a_whole_job_on_s3_trains_general_before_what_starts_from_it(
    jobs: Jobs, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
        jobs.environment[name] = value
    storage = open_storage(f"s3://{s3.new_bucket()}/some/prefix")
    stage_scenes(storage)
    options = ("--storage", storage.uri, "--dataset", "scenes", "--run", "r", "--epochs", "2")
    job = jobs.run(*options, "--models", "animals", "--start-from", "general", "--router", "head")
    assert job.process.returncode == 0, job.output
    assert "training 1 model (general), 1 at once, on CPU, 2 CPU" in job.output
    assert "then training 1 model (animals)" in job.output
    assert "animals: waiting (for general)" in job.output
    objective = "L1 (weight 100), adversary on patches (weight 1); adversarial 100 %"
    assert f"general, animals: {objective}\n" in job.output
    general, animals = summary(storage, "r")["models"]
    assert (general["model"], general["status"]) == ("general", "done")
    assert (animals["model"], animals["status"]) == ("animals", "done")
    assert general["ended"] < animals["started"]
    assert general["objective"] == animals["objective"] == objective

    assert [card.model for card in list_models(storage)] == ["animals", "general", "router"]
    assert load_head(storage, find(storage, "router")).config.classes == tuple(CLASSES)
    assert storage.uri.startswith("s3://") and s3.secret_key not in job.output
    assert load_generator(storage, find(storage, "general")).config.size == 32


@pytest.mark.slow
def test_a_gpu_that_no_machine_has_is_refused_and_not_waited_for(
    jobs: Jobs, scenes: Dataset
) -> None:
    job = jobs.run("--storage", scenes.storage.uri, "--device", "gpu")
    assert job.process.returncode == 2
    assert "--device gpu: the cluster has no GPU" in job.output
    assert "Traceback" not in job.output
    assert not scenes.storage.list("runs")


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (("--dataset", "none"), 1, "no dataset 'none'"),
        (("--models", "cats"), 2, "no model 'cats'"),
        (("--size", "77"), 2, "--size 77"),
        (("--checkpoint-every", "0"), 2, "--checkpoint-every"),
        (("--run", "a/b"), 2, "is not a name"),
        (
            ("--start-from", "hypercolumn", "--models", "animals", "--backbone", EMBEDDED),
            2,
            "animals cannot start from hypercolumn, a network of another",
        ),
    ],
)
def test_bad_options_end_before_ray_is_started(
    scenes: Dataset,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    status: int,
    message: str,
) -> None:
    monkeypatch.setattr(train_all, "connected", None)
    monkeypatch.setattr(signal, "signal", lambda *arguments: None)
    assert train_all.main(["--storage", scenes.storage.uri, *options]) == status
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and message in line
    assert not scenes.storage.list("runs")


def test_a_class_without_photographs_to_train_on_is_named(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(train_all, "connected", None)
    monkeypatch.setattr(signal, "signal", lambda *arguments: None)
    stage_scenes(storage, per_class=1)
    assert train_all.main(["--storage", storage.uri]) == 1
    error = capsys.readouterr().err
    assert "Dataset 'scenes' has no photograph of" in error and "'animals'" in error
