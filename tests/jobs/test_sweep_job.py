"""Sweeps on a real Ray."""

import dataclasses
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from colorgan.data.dataset import Dataset
from colorgan.packages.card import find
from colorgan.sweeps.documents import open_sweep, read_history, read_state
from colorgan.sweeps.results import sweep_table
from colorgan.training.config import TrainingConfig
from colorgan.training.loop import Training, load_banks
from colorgan.training.presets import find_preset
from jobs import sweep as job
from tests.conftest import SIZES, Job, Jobs, processes

TINY = TrainingConfig(size=32, width=4, discriminator_width=4, epochs=6, decay_share=0.5)


def start(jobs: Jobs, scenes: Dataset, *options: str) -> Job:
    storage = ("--storage", scenes.storage.uri, "--sweep", "s", "--model", "animals")
    return jobs.start_script("sweep", *storage, *SIZES, "--classifier", "none", *options)


def statuses(scenes: Dataset) -> list[str]:
    if not scenes.storage.exists("runs/s/sweep.json"):
        return []
    sweep = open_sweep(scenes.storage, "s")
    return [read_state(scenes.storage, sweep, plan.name).status for plan in sweep.trials]


def status(scenes: Dataset, trial: str) -> str:
    return read_state(scenes.storage, open_sweep(scenes.storage, "s"), trial).status


@pytest.mark.slow
def test_a_killed_sweep_goes_on_and_each_trial_is_its_configuration_trained_alone(
    jobs: Jobs, scenes: Dataset
) -> None:
    storage = scenes.storage
    options = ("--grid", "batch_size=2,5,10", "--epochs", "6", "--eval-every", "2")
    folder = Path(storage.uri) / "runs/s"

    running = start(jobs, scenes, *options, "--max-parallel", "2")  # a thread each, as three have
    running.wait_for(lambda: "done" in statuses(scenes))
    running.process.kill()
    running.finish()
    done = [name for name in ("01", "02", "03") if status(scenes, name) == "done"]
    assert 0 < len(done) < 3
    files = [path for name in done for path in (folder / "trials" / name).rglob("*")]
    finished = {path: path.stat().st_mtime_ns for path in files if path.is_file()}
    killed = open_sweep(storage, "s")
    ended = {  # a trial may have trained its last epoch without being marked as done yet
        plan.name
        for plan in killed.trials
        if len(read_history(storage, killed, plan.name).epochs) == 6
    }

    boards = Path(storage.uri).parent / "boards"
    running = start(jobs, scenes, *options, "--publish-best", "--track", f"tensorboard:{boards}")
    assert running.finish() == 0, running.output
    assert "sweep s (continuing)" in running.output
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert not (folder / "tune").exists(), "Tune's pickles are not kept"

    sweep = open_sweep(storage, "s")
    table = sweep_table(storage, sweep)
    assert len(table) == 3 * 6 and set(table["status"]) == {"done"}
    for plan in sweep.trials:
        config = dataclasses.replace(TINY, learning_rate=4e-4, **plan.values)
        alone = Training(config, *load_banks(scenes, "animals", config), torch.device("cpu"))
        history = read_history(storage, sweep, plan.name)
        assert [each.epoch for each in history.evaluations] == [2, 4, 6]
        for record, other in zip(history.epochs, alone.run(), strict=True):
            for name in ("loss_d", "loss_gan", "loss_l1", "val_l1", "val_psnr"):
                assert getattr(record, name) == pytest.approx(getattr(other, name), rel=1e-4)
        for epoch in (2, 4, 6):
            for photo in sweep.photographs:
                assert storage.exists(sweep.picture_key(plan.name, epoch, photo))
    for name in {plan.name for plan in sweep.trials} - ended:
        events = EventAccumulator(str(boards / "s" / name)).Reload()
        assert 6 in [each.step for each in events.Scalars("val_l1")]
        assert {*sweep.photographs} <= {*events.Tags()["images"]}
    card = find(storage, "animals")
    assert f"published {card.reference}" in running.output
    assert card.metrics["val_l1"] == table[table["epoch"].isin((2, 4, 6))]["val_l1"].min()


@pytest.mark.slow
def test_a_trial_that_fails_and_one_that_diverges_are_marked_and_the_others_go_on(
    jobs: Jobs, scenes: Dataset
) -> None:
    options = ("--grid", "lambda_l1=100,1e39", "--epochs", "40", "--eval-every", "4")
    options = (*options, "--retries", "0", "--scheduler", "asha")
    running = start(jobs, scenes, *options)
    history = Path(scenes.storage.uri) / "runs/s/trials/01/history.json"
    running.wait_for(lambda: history.exists() and status(scenes, "02") == "failed")
    running.wait_for(lambda: len(processes("ImplicitFunc")) == 1)  # that of the other one ends
    processes("ImplicitFunc")[0].kill()
    assert running.finish() == 0, running.output
    assert [status(scenes, trial) for trial in ("01", "02")] == ["failed", "failed"]
    assert "trial 01 (lambda_l1 100) failed: " in running.output
    assert "trial 02 (lambda_l1 1e+39) failed: the loss is not finite" in running.output

    # A trial that one worker has begun goes on with two, and the other one fails in both.
    running = start(jobs, scenes, *options, "--strict", "--workers-per-trial", "2")
    assert running.finish() == 1, running.output
    assert "2 workers of 0.5 CPU and 1 thread each" in running.output
    assert [status(scenes, trial) for trial in ("01", "02")] == ["done", "failed"]
    sweep = open_sweep(scenes.storage, "s")
    epochs = [record.epoch for record in read_history(scenes.storage, sweep, "01").epochs]
    assert epochs == list(range(1, 41))


@pytest.mark.slow
def test_population_based_training_waits_for_all_and_outlives_a_kill(
    jobs: Jobs, scenes: Dataset
) -> None:
    storage = scenes.storage
    options = ("--grid", "learning_rate=1e-3,1e-6", "--epochs", "6", "--eval-every", "2")
    options = (*options, "--scheduler", "pbt")
    running = start(jobs, scenes, *options)
    running.wait_for(lambda: storage.exists("runs/s/population/epoch-00002.json"))
    running.process.kill()
    running.finish()
    running = start(jobs, scenes, *options)
    assert running.finish() == 0, running.output

    sweep = open_sweep(storage, "s")
    assert (sweep.scheduler, sweep.metric) == ("pbt", "val_l1")
    leading, lagging = (read_state(storage, sweep, trial) for trial in ("01", "02"))
    assert (leading.status, lagging.status) == ("done", "done")
    taken = [(each.epoch, each.donor) for each in (*leading.takeovers, *lagging.takeovers)]
    assert sorted(epoch for epoch, _ in taken) == [2, 4], "one of the two after every interval"
    assert lagging.takeovers[0].donor == "01"
    for trial in ("01", "02"):
        epochs = [record.epoch for record in read_history(storage, sweep, trial).epochs]
        assert epochs == list(range(1, 7))
    lines = [line for line in running.output.splitlines() if line.startswith("trial ")]
    assert len(lines) == len({line.split(" (")[0] for line in lines}), "no epoch is printed twice"


@pytest.mark.slow
def test_the_default_preset_is_swept_from_the_general_model_that_it_names(
    jobs: Jobs, scenes: Dataset
) -> None:
    storage = scenes.storage
    sizes = ("--size", "64", "--width", "4", "--epochs", "1", "--photographs", "8")
    options = ("--storage", storage.uri, "--model", "animals", *sizes, "--preset", "best")
    options = (*options, "--classifier", "none", "--grid", "lambda_l1=50")
    running = jobs.start_script("sweep", *options, "--sweep", "s")
    assert running.finish() == 0, running.output
    general = find(storage, "general")
    assert "general is trained first, since the trials start from it" in running.output
    assert statuses(scenes) == ["done"]
    training = open_sweep(storage, "s").training
    own = find_preset("best").fine_tuning
    assert (training.start_from, training.phases) == (general.reference, own["phases"])

    # Another sweep takes the general that is there, and the same one goes on as it began.
    for name in ("t", "s"):
        running = jobs.start_script("sweep", *options, "--sweep", name)
        assert running.finish() == 0, running.output
        assert "general is trained first" not in running.output.rpartition("sweep s")[2]
    assert find(storage, "general") == general
    assert open_sweep(storage, "t").training == training
    assert "sweep s (continuing)" in running.output


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--eval-every", "0"], 2, "--eval-every must be at least 1"),
        (["--grid", "size=33"], 2, "size"),
        (
            ["--grid", "generator=unet,encoder-unet"],
            2,
            "--generator encoder-unet: choose from unet",
        ),
        (
            ["--preset", "best", "--model", "animals", "--grid", "width=8,16"],
            2,
            "cannot start from",
        ),
        (["--photo-memory-gib", "nan"], 2, "--photo-memory-gib must be a finite number, not nan"),
        (["--grid", "seed=1,2", "--seed", "3"], 2, "the sweep varies it already"),
        (["--grid", "size=32,64", "--scheduler", "pbt"], 2, "the sweep varies none of them"),
        (["--model", "dogs"], 2, "no model 'dogs'"),
        (["--dataset", "moon"], 1, "no dataset 'moon'"),
        (["--classifier", "alexnet"], 1, "or give --classifier none"),
    ],
)
def test_what_cannot_be_swept_is_one_sentence_before_ray_is_started(
    options: list[str],
    status: int,
    message: str,
    scenes: Dataset,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert job.main(["--storage", scenes.storage.uri, *options]) == status
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ") and error.count("\n") == 1
    assert not scenes.storage.folders("runs")
