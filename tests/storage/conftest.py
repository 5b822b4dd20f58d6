from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest

from colorgan.storage import Storage, open_storage
from tests.s3_server import S3Server
from tests.storage.servers import use

LARGE = 20 << 20


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """None of the AWS settings of the person who runs the tests."""
    for name in os.environ:
        if name.startswith("AWS_") or name == "COLORGAN_STORAGE":
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(scope="module")
def shared_bucket(s3: S3Server) -> str:
    return s3.new_bucket()


@pytest.fixture
def credentials(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, s3)


@pytest.fixture
def bucket(s3: S3Server, credentials: None) -> str:
    return s3.new_bucket()


@pytest.fixture
def local(tmp_path: Path) -> Storage:
    return open_storage(str(tmp_path / "storage"))


@pytest.fixture(params=["local", "s3"])
def storage(request: pytest.FixtureRequest) -> Storage:
    if request.param == "local":
        return request.getfixturevalue("local")
    request.getfixturevalue("credentials")
    bucket = request.getfixturevalue("shared_bucket")
    return open_storage(f"s3://{bucket}/{uuid.uuid4().hex}/prefix")


@pytest.fixture(scope="module")
def large_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "large.bin"
    path.write_bytes(os.urandom(LARGE))
    return path
