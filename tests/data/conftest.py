from pathlib import Path

import pytest

from colorgan.storage import Storage, open_storage
from tests.data.photographs import photographs
from tests.s3_server import S3Server


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """A folder of two classes, ten photographs each."""
    photographs(tmp_path / "pets" / "dogs", 10, first=50)
    photographs(tmp_path / "pets" / "cats", 10)
    return tmp_path / "pets"


@pytest.fixture
def s3_storage(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    return open_storage(f"s3://{s3.new_bucket()}/some/prefix")


@pytest.fixture(params=["storage", "s3_storage"], ids=["local", "s3"])
def any_storage(request: pytest.FixtureRequest) -> Storage:
    found: Storage = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def split_pets(tmp_path: Path) -> Path:
    root = tmp_path / "split"
    photographs(root / "train" / "cats", 3)
    photographs(root / "val" / "cats", 2, first=10)
    photographs(root / "test" / "cats", 1, first=20)
    photographs(root / "train" / "dogs", 2, first=30)
    return root
