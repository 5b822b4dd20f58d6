"""colorgan jobs on a real job server; tests/cluster/test_autoscaling.py has it on trainings."""

import json

import pytest

from cluster.local import LocalRay
from colorgan.cli import main
from colorgan.storage import Storage
from colorgan.training.progress import ModelProgress, RunProgress, read_progress, write_progress
from tests.cluster.job_server import ask, submit
from tests.waiting import wait_until

WORDS = "colours ü"


@pytest.fixture(scope="module")
def finished(ray_cluster: LocalRay) -> str:
    """The name of a job that printed WORDS and ended."""
    name = submit(ray_cluster, ("python", "-c", f"print('{WORDS}')"))
    wait_until(lambda: ask(ray_cluster, "GET", f"jobs/{name}")["status"] == "SUCCEEDED")
    return name


@pytest.fixture
def inside(ray_cluster: LocalRay, storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a person whom the job server lets in."""
    monkeypatch.setenv("RAY_AUTH_TOKEN", ray_cluster.environment["RAY_AUTH_TOKEN"])
    monkeypatch.setenv("RAY_ADDRESS", ray_cluster.jobs_address)
    monkeypatch.setenv("COLORGAN_STORAGE", storage.uri)


@pytest.mark.slow
def test_a_job_that_has_ended_is_listed_with_all_alone(
    inside: None, finished: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["jobs", "--all", "--json"]) == 0
    jobs = {job["name"]: job for job in json.loads(capsys.readouterr().out)}
    job = jobs[finished]
    assert (job["status"], job["run"]) == ("SUCCEEDED", None) and job["ended"] > job["started"]
    assert main(["jobs", "--json"]) == 0
    assert finished not in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("-f",)])
def test_the_log_of_a_job_is_printed(
    inside: None, finished: str, capsys: pytest.CaptureFixture[str], options: tuple[str, ...]
) -> None:
    assert main(["jobs", "logs", finished, *options]) == 0
    assert WORDS in capsys.readouterr().out


@pytest.mark.slow
def test_following_a_log_ends_with_the_jobs_exit_status(
    inside: None, ray_cluster: LocalRay, capsys: pytest.CaptureFixture[str]
) -> None:
    code = "import time; print('one', flush=True); time.sleep(2); print('two'); raise SystemExit(3)"
    submit(ray_cluster, ("python", "-c", code), submission_id="fails")
    assert main(["jobs", "logs", "-f", "fails"]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert (lines.count("one"), lines.count("two")) == (1, 1)


@pytest.mark.slow
def test_a_job_that_has_ended_is_not_stopped(
    inside: None, finished: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["jobs", "stop", finished]) == 0
    assert capsys.readouterr().out == f"{finished} has ended already: succeeded\n"


@pytest.mark.slow
def test_what_is_no_job_is_said_in_a_sentence(
    inside: None, finished: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["jobs", "logs", "monday"]) == 1
    error = capsys.readouterr().err
    assert error == "error: there is no job or run 'monday'; colorgan jobs --all lists all jobs\n"


@pytest.mark.slow
def test_without_the_token_a_sentence_says_what_is_missing(
    inside: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    assert main(["jobs"]) == 1
    assert "requires the cluster's token: set RAY_AUTH_TOKEN" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("address", "status", "words"),
    [
        ("http://127.0.0.1:9", 1, "no Ray answers at http://127.0.0.1:9"),
        ("127.0.0.1:6379", 2, "--address 127.0.0.1:6379: give the job server's"),
    ],
)
def test_where_no_job_server_answers_a_sentence_says_so(
    capsys: pytest.CaptureFixture[str], address: str, status: int, words: str
) -> None:
    assert main(["jobs", "--address", address]) == status
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and words in line


def test_the_record_of_a_runs_progress_comes_back_and_other_files_do_not(storage: Storage) -> None:
    model = ModelProgress(
        "animals", "waiting", "7 ahead; run qa is training", 3, 9, 12.5, 4.0, None
    )
    progress = RunProgress("b", "02000000", 5.0, 6.0, (model,))
    write_progress(storage, progress)
    storage.put("runs/odd/progress.json", b'{"models": 3}')
    storage.put("runs/older/summary.json", b"{}")
    assert read_progress(storage) == [progress]
