"""Staging on a real Ray."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from colorgan.data.dataset import Dataset, list_datasets, open_dataset
from colorgan.data.sources import FolderSource, SceneSource
from colorgan.data.staging import StagingConfig, stage
from colorgan.storage import Storage, open_storage
from tests.conftest import Jobs
from tests.data.photographs import photographs
from tests.s3_server import S3Server

pytestmark = pytest.mark.slow

PER_CLASS = 70
OPTIONS = ("scenes", "--dataset", "d", "--size", "64", "--min-side", "32", "--json")


def staged_here(storage: Storage, per_class: int) -> Dataset:
    """What the job is to stage, staged in this process."""
    config = StagingConfig(size=64, min_side=32)
    return stage(SceneSource(per_class, 0, 64), storage, "d", config, per_class=per_class).dataset


@pytest.fixture
def uri(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with monkeypatch.context() as patch:
        for name, value in s3.environment().items():
            patch.setenv(name, value)
        yield f"s3://{s3.new_bucket()}"


def test_one_worker_stages_the_same_as_one_process(jobs: Jobs, uri: str, storage: Storage) -> None:
    expected = staged_here(storage, PER_CLASS)
    options = ("--storage", uri, "--per-class", str(PER_CLASS), "--workers", "1")
    job = jobs.start_script("stage_data", *OPTIONS, *options)
    assert job.finish() == 0, job.output
    outcome = json.loads(job.output.splitlines()[-1])
    assert outcome["counts"] == expected.manifest.counts
    dataset = open_dataset(open_storage(uri), "d")
    assert dataset.manifest.fingerprint == expected.manifest.fingerprint


def test_several_sources_are_staged_as_in_one_process(
    jobs: Jobs, uri: str, storage: Storage, tmp_path: Path
) -> None:
    for split, first in (("train", 0), ("val", 20), ("test", 40)):
        photographs(tmp_path / "some" / split / "cats", 8, first)
    photographs(tmp_path / "more" / "train" / "dogs", 16, 60)
    folders = [tmp_path / name for name in ("some", "more")]
    config = StagingConfig(size=64, min_side=32, hold_out=True, min_colorfulness=15)
    expected = stage([FolderSource(each) for each in folders], storage, "d", config).dataset

    options = ("--size", "64", "--min-side", "32", "--hold-out", "--min-colorfulness", "15")
    sources = [f"folder:{each}" for each in folders]
    job = jobs.start_script("stage_data", *sources, "--dataset", "d", "--storage", uri, *options)
    assert job.finish() == 0, job.output
    manifest = open_dataset(open_storage(uri), "d").manifest
    assert manifest.fingerprint == expected.manifest.fingerprint
    assert manifest.sources == expected.manifest.sources
    assert f"{sources[1]}: 16 photographs" in job.output


def test_a_stopped_job_goes_on_and_two_workers_stage_the_same_as_one_process(
    jobs: Jobs, storage: Storage, tmp_path: Path
) -> None:
    options = (*OPTIONS, "--storage", storage.uri, "--per-class", "300", "--workers", "2")
    job = jobs.start_script("stage_data", *options)
    pieces = Path(storage.uri) / "staging/d"
    job.wait_for(lambda: len(list(pieces.glob("*.parquet"))) >= 2)
    job.process.send_signal(signal.SIGTERM)
    assert job.finish() == 130, job.output
    assert list_datasets(storage) == []
    written = {path: path.stat().st_mtime_ns for path in pieces.glob("*.parquet")}

    kept = {}
    job = jobs.start_script("stage_data", *options)
    while job.process.poll() is None:
        kept |= {path: path.stat().st_mtime_ns for path in written if path.exists()}
        time.sleep(0.2)
    assert job.finish() == 0, job.output
    assert kept == written
    manifest = open_dataset(storage, "d").manifest
    expected = staged_here(open_storage(str(tmp_path / "here")), 300)
    assert manifest.fingerprint == expected.manifest.fingerprint
    counts = manifest.counts
    assert counts == expected.manifest.counts
    assert [sum(of_class.values()) for of_class in counts.values()] == [300] * 3


def test_what_is_wrong_is_one_sentence(jobs: Jobs, storage: Storage) -> None:
    job = jobs.start_script(
        "stage_data", "folder:nowhere", "--dataset", "d", "--storage", storage.uri
    )
    assert job.finish() == 2
    assert job.output.splitlines()[-1] == "error: nowhere is not a folder"
