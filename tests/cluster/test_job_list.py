"""What `colorgan jobs` knows of processes that are on no cluster: their leases say it."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from cluster.job_list import DIED, find_jobs
from cluster.job_server import RayJob
from colorgan.cli import main
from colorgan.storage import Storage, lease
from colorgan.storage.lease import find_lease
from colorgan.training.progress import (
    ModelProgress,
    Progress,
    RunProgress,
    run_seconds_left,
    write_progress,
)
from colorgan.training.records import EpochRecord, history_csv
from colorgan.training.runs import epochs_begun_with
from tests.lease_holder import MONDAY, Holder
from tests.waiting import wait_until


@pytest.fixture(autouse=True)
def no_job_server(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:9")
    monkeypatch.setenv("COLORGAN_STORAGE", storage.uri)


@pytest.fixture
def holder(storage: Storage) -> Iterator[Holder]:
    started = Holder(storage)
    deadline = time.monotonic() + 60
    while not ((record := find_lease(storage, MONDAY)) and record.work):
        assert time.monotonic() < deadline
    yield started
    started.end()


def test_a_process_that_was_not_submitted_is_listed_with_its_progress(
    holder: Holder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["jobs"]) == 0
    shown = capsys.readouterr()
    heading, line = shown.out.splitlines()
    assert heading.split()[:3] == ["job", "status", "started"]
    assert line.startswith("monday  running  ") and MONDAY in line and "3 of 9 epochs" in line
    assert "no Ray answers at http://127.0.0.1:9" in shown.err


def test_right_after_kill_9_it_has_died_and_its_models_are_not_training(
    holder: Holder, storage: Storage, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ModelProgress("animals", "training", "node-3", 3, 9, 12.5, 4.0, 60.0)
    write_progress(storage, RunProgress("monday", "", time.time(), time.time(), (model,)))
    holder.process.kill()
    holder.process.wait()
    assert main(["jobs"]) == 0
    _, line, hint = capsys.readouterr().out.splitlines()
    assert line.startswith("monday  died  ") and line.endswith("interrupted  3 of 9 epochs")
    assert hint.startswith("monday died: start it again with the same command and name")
    assert main(["jobs", "--json"]) == 0
    (job,) = json.loads(capsys.readouterr().out)
    assert (job["status"], job["run"]["models"][0]["state"]) == (DIED, "interrupted")
    assert main(["jobs", "stop", "monday"]) == 0
    assert "monday died already; start it again with" in capsys.readouterr().out


def test_it_is_stopped_through_its_lease(
    holder: Holder, storage: Storage, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["jobs", "stop", "monday"]) == 0
    assert holder.process.wait(60) == 0
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first == "monday: asked to stop; waiting until it has saved its state"
    assert last == "monday: stopped; start it again with the same command and name to continue it"
    assert storage.list("leases") == []


def test_where_its_log_is_stands_in_a_sentence(
    holder: Holder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["jobs", "logs", "monday"]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"error: monday is process {holder.process.pid} on ")
    assert error.endswith("with `ray job submit`: its output is where it was started")


def test_the_same_run_is_not_trained_twice_without_ray(
    scenes: object, holder: Holder, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "--dataset", "scenes", "--model", "animals", "--run", "monday"]
    assert main(command) == 1
    error = capsys.readouterr().err
    assert f"run 'monday' is being worked on by process {holder.process.pid} on " in error
    assert "stop it with `colorgan jobs stop monday`, or give another --run" in error


def test_a_driver_is_joined_with_its_lease_by_its_process(holder: Holder, storage: Storage) -> None:
    driver = RayJob("", "02000000", "RUNNING", "", time.time() - 60, None, None, holder.process.pid)
    other = RayJob("raysubmit_x", "03000000", "RUNNING", "", time.time(), None)
    joined, alone = find_jobs(storage, [driver, other])
    assert (joined.ray, joined.thing, joined.name) == (driver, MONDAY, "monday")
    assert (alone.ray, alone.lease) == (other, None)


@pytest.mark.parametrize("exit_status", [-9, 137])
def test_a_killed_driver_has_left_its_work_behind_and_the_list_says_how_to_continue(
    holder: Holder, storage: Storage, exit_status: int
) -> None:
    pid = holder.process.pid
    driver = RayJob("", "02000000", "FAILED", "", time.time() - 60, time.time(), exit_status, pid)
    (job,) = find_jobs(storage, [driver])
    assert (job.status, job.left_behind, job.over) == ("RUNNING", False, False), "it lives on"
    holder.process.kill()
    holder.process.wait()
    (job,) = find_jobs(storage, [driver])
    assert (job.left_behind, job.death) == (True, "was killed by SIGKILL")
    assert job.progress() == ("", "")


@pytest.mark.parametrize(
    ("command", "thing"),
    [
        ("python jobs/train_all.py --run monday --epochs 4", "runs/monday"),
        ("python jobs/sweep.py --sweep=widths --dataset mine", "runs/widths"),
        ("python jobs/evaluate.py --dataset mine --report early", "reports/early"),
        ("python jobs/stage_data.py folder:a --dataset mine", "datasets/mine"),
        ("python jobs/train_all.py --dataset mine", ""),
        ("python jobs/train_all.py --run", ""),
        ("echo 'open", ""),
    ],
)
def test_a_job_that_has_ended_is_known_by_its_command(
    storage: Storage, command: str, thing: str
) -> None:
    (job,) = find_jobs(storage, [RayJob("j", "", "SUCCEEDED", command, 1.0, 2.0, 0)])
    assert (job.asked, job.thing) == (thing, "")


def test_what_a_process_waits_for_stands_in_the_list(
    storage: Storage, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEWAL_S", 0.05)
    with lease.hold(storage, MONDAY, "run 'monday'", "wait") as held:
        held.wait_for("1 CPU")
        wait_until(lambda: (found := find_lease(storage, MONDAY)) and found.waits_for)
        assert main(["jobs"]) == 0
    assert MONDAY in (shown := capsys.readouterr().out) and "waiting for 1 CPU" in shown


def progress(state: str, epoch: int, seconds_left: float | None) -> ModelProgress:
    return ModelProgress("m", state, "", epoch, 10, None, None, seconds_left)


@pytest.mark.parametrize(
    ("models", "seconds"),
    [
        ([progress("training", 0, None)], None),
        ([progress("training", 5, 50)], 50),
        ([progress("training", 5, 50), progress("training", 0, 100)], 100),
        # A model that waits needs as long for an epoch, and has to wait for the one that trains.
        ([progress("training", 5, 50), progress("waiting", 0, None)], 150),
        # Models that are starting are going to train at the same time.
        ([progress("training", 5, 50)] + [progress("starting", 0, None)] * 2, 100),
        (
            [
                progress("training", 5, 50),
                progress("starting", 8, None),
                progress("waiting", 0, None),
            ],
            100,
        ),
        ([progress("starting", 0, None)] * 2, None),
        ([progress("done", 10, 0), progress("training", 9, 10)], 10),
    ],
)
def test_the_time_to_the_end_of_a_run(models: list[ModelProgress], seconds: float | None) -> None:
    assert run_seconds_left(models) == seconds


def test_a_model_that_continues_counts_the_epochs_before(storage: Storage) -> None:
    records = [EpochRecord(n, 0, 0, 0, 9, 20, 1, 2, 0, 2) for n in range(1, 5)]
    storage.put("runs/monday/animals/history.csv", history_csv(records))
    epochs = {"animals": 9, "people": 9}
    begun = epochs_begun_with(storage, "monday", epochs)
    assert begun == {"animals": 4, "people": 0}
    progress = Progress(epochs, begun)
    progress.state("animals", "training")
    assert [row.epoch for row in progress.rows()] == [4, 0]
    progress.epoch("animals", replace(records[0], epoch=5))
    assert progress.rows()[0].epoch == 5
    assert progress.rows()[0].seconds_left == 4 * 2
