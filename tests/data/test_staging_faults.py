"""Staging to an object store that fails, and that is killed in the middle."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from colorgan.data.dataset import list_datasets, open_dataset
from colorgan.data.sources import SceneSource
from colorgan.data.staging import StagingConfig, stage
from colorgan.storage import Storage, open_storage
from tests.conftest import CHECKOUT
from tests.faulty_s3 import FaultyS3, faulty_s3
from tests.s3_server import S3Server
from tests.waiting import PATIENCE_S

PER_CLASS = 80
# A megabyte a shard, so that there are several.
OPTIONS = ("--per-class", str(PER_CLASS), "--size", "160", "--shard-mib", "1")
CONFIG = StagingConfig(size=160, shard_mib=1)


@pytest.fixture
def faulty(s3: S3Server) -> Iterator[FaultyS3]:
    with faulty_s3(s3.endpoint) as proxy:
        yield proxy


@pytest.fixture
def uri(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    return f"s3://{s3.new_bucket()}"


def fail_often(number: int, method: str, path: str) -> int | str | None:
    """A fifth of all requests goes wrong."""
    return {1: 500, 5: 503, 10: "reset"}.get(number % 15)


def uploaded(faulty: FaultyS3, part: str) -> list[str]:
    """The paths with a part that were uploaded, without leases, which are renewed."""
    return [path for path in faulty.uploaded(part) if "/leases/" not in path]


class Staging:
    """`colorgan stage` in a process of its own, through the proxy."""

    def __init__(self, uri: str, faulty: FaultyS3, log: Path) -> None:
        command = [sys.executable, "-m", "colorgan", "stage", "scenes", "--dataset", "d", *OPTIONS]
        environment = {**os.environ, "AWS_ENDPOINT_URL": faulty.endpoint}
        with log.open("a") as output:
            self.process = subprocess.Popen(
                [*command, "--storage", uri],
                cwd=CHECKOUT,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def kill_when_sent(self, faulty: FaultyS3, part: str, count: int) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while len(uploaded(faulty, part)) < count:
            assert self.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.mark.slow
def test_an_object_store_that_fails_and_kills_in_the_middle(
    uri: str, faulty: FaultyS3, tmp_path: Path, storage: Storage
) -> None:
    expected = stage(
        SceneSource(PER_CLASS, 0, 160), storage, "d", CONFIG, per_class=PER_CLASS
    ).dataset
    remote, log = open_storage(uri), tmp_path / "log"
    faulty.fault = fail_often
    # Killed while candidates are examined, and while shards are written.
    for part, count in (("/staging/d/", 5), ("/datasets/d/", 3)):
        Staging(uri, faulty, log).kill_when_sent(faulty, part, count)
        assert list_datasets(remote) == []

    assert Staging(uri, faulty, log).process.wait(PATIENCE_S) == 0, log.read_text()
    dataset = open_dataset(remote, "d")
    assert dataset.manifest.fingerprint == expected.manifest.fingerprint
    assert sum(1 for _ in dataset.rows(dataset.manifest.classes, "train")) == sum(
        1 for _ in expected.rows(expected.manifest.classes, "train")
    )
    assert len(dataset.manifest.shards) >= 9
    assert remote.list("staging") == []
    assert min(faulty.faults.get(fault, 0) for fault in (500, 503, "reset")) > 5, faulty.faults
    # Nothing that was whole was sent again; the manifest and the list of the dropped are one each.
    uploads = Counter(uploaded(faulty, "/d/"))
    assert set(uploads.values()) == {1}, [path for path, n in uploads.items() if n > 1]
