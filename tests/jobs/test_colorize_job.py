"""Archives on a real Ray."""

import csv
import io
import json
import os
import signal
from pathlib import Path

import pytest

from colorgan.cli import main
from colorgan.data.dataset import Dataset
from colorgan.storage import open_storage
from colorgan.storage.lease import list_leases
from tests.commands.test_archives import COLORED, FAILED, files, make_archive
from tests.conftest import Jobs
from tests.s3_server import S3Server
from tests.serve.conftest import publish_untrained
from tests.test_cli import photograph

pytestmark = pytest.mark.slow


@pytest.fixture
def models(scenes: Dataset) -> str:
    """A storage with an untrained model of every class."""
    for seed, model in enumerate(scenes.manifest.classes):
        publish_untrained(scenes.storage, model, seed)
    return scenes.storage.uri


def test_a_killed_job_goes_on_and_does_nothing_twice(
    jobs: Jobs, models: str, tmp_path: Path
) -> None:
    archive, out = make_archive(tmp_path / "in"), tmp_path / "out"
    # Nothing can be read from a pipe without a writer, so the job cannot end.
    pipe = archive / "ü" / "z.png"
    os.mkfifo(pipe)
    options = (str(archive), str(out), "--storage", models, "--batch-size", "1", "--actors", "1")
    job = jobs.start_script("colorize", *options)
    job.wait_for(lambda: out.exists() and files(out) == COLORED)
    (lease,) = list_leases(open_storage(models))
    assert lease.thing.startswith("archives/out-")
    assert lease.work is None or lease.work.total == 12
    job.process.send_signal(signal.SIGKILL)
    job.finish()
    kept = {name: (out / name).stat().st_mtime_ns for name in COLORED}
    pipe.unlink()
    photograph(pipe)

    job = jobs.start_script("colorize", *options)
    assert job.finish() == 0, job.output
    assert "12 photographs of" in job.output and "6 are there" in job.output
    assert files(out) == sorted([*COLORED, "ü/z.png", "failed.csv", "summary.json"])
    assert {name: (out / name).stat().st_mtime_ns for name in COLORED} == kept
    with (out / "failed.csv").open() as file:
        failed = {row["path"]: row["reason"] for row in csv.DictReader(file)}
    assert failed == {str(archive / name): reason for name, reason in FAILED.items()}
    summary = json.loads((out / "summary.json").read_text())
    counts = {name: summary[name] for name in ("photographs", "colored", "skipped", "failed")}
    assert counts == {"photographs": 12, "colored": 1, "skipped": 6, "failed": 5}
    assert sum(summary["classes"].values()) == 1 and summary["finished"]
    steps = {"read", "decode", "prepare", "color", "recombine", "encode", "write"}
    assert set(summary["stages"]) == steps
    assert list_leases(open_storage(models)) == []


def test_a_bucket_is_coloured_into_a_bucket_as_in_one_process(
    jobs: Jobs, models: str, tmp_path: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    jobs.environment |= s3.environment()
    bucket = f"s3://{s3.new_bucket()}"
    storage = open_storage(bucket)
    archive = make_archive(tmp_path / "in")
    for name in files(archive):
        storage.put(f"in/{name}", (archive / name).read_bytes())
    options = ("--storage", models, "--model", "assembled")
    by_tasks = ("--read-by", "tasks")
    job = jobs.start_script("colorize", f"{bucket}/in", f"{bucket}/out", *options, *by_tasks)
    assert job.finish() == 0, job.output
    written = [*COLORED, "failed.csv", "summary.json"]
    assert storage.list("out") == sorted(f"out/{name}" for name in written)
    failed = csv.DictReader(io.StringIO(storage.get("out/failed.csv").decode()))
    assert [row["path"] for row in failed] == sorted(
        f"{bucket}/in/{name}" for name in FAILED if "link" not in name
    )
    here = tmp_path / "out"
    assert main(["colorize", *options, str(archive), "-o", str(here), "--recursive"]) == 1
    for name in COLORED:
        assert storage.get(f"out/{name}") == (here / name).read_bytes()
