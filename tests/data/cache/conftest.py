import io
from pathlib import Path

import pytest

from colorgan.data.dataset import Dataset, Row, open_dataset
from colorgan.storage import Storage, open_storage
from tests.data.cache.datasets import PETS, kept, train, use, write_dataset
from tests.s3_server import S3Server


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the cache."""
    monkeypatch.setenv("COLORGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("COLORGAN_CACHE_GIB", raising=False)
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def stored(s3: S3Server) -> str:
    """The address of a dataset in S3, which the tests of this module only read."""
    with pytest.MonkeyPatch.context() as patch:
        use(patch, s3)
        storage = open_storage(f"s3://{s3.new_bucket()}/prefix")
        write_dataset(storage, "pets", PETS)
    return storage.uri


@pytest.fixture
def pets(s3: S3Server, stored: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """A dataset in S3, to be read only, which the cache does not know yet."""
    use(monkeypatch, s3)
    return open_dataset(open_storage(stored), "pets")


@pytest.fixture
def own_pets(s3: S3Server, pets: Dataset) -> Dataset:
    """A dataset in S3 to be damaged."""
    return write_dataset(open_storage(f"s3://{s3.new_bucket()}"), "pets", PETS)


@pytest.fixture
def expected(pets: Dataset, tmp_path: Path) -> list[Row]:
    """The rows of the split train, as a local storage has them."""
    local = write_dataset(open_storage(str(tmp_path / "local")), "pets", PETS)
    assert local.manifest == pets.manifest
    return train(local)


@pytest.fixture
def opened(pets: Dataset, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys that are read from S3 from now on."""
    keys: list[str] = []
    really = type(pets.storage).open

    def listed(self: Storage, key: str) -> io.BufferedReader:
        keys.append(key)
        return really(self, key)

    monkeypatch.setattr(type(pets.storage), "open", listed)
    return keys


@pytest.fixture
def before_downloads(
    pets: Dataset, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> list[dict[str, int]]:
    """What the cache holds whenever a download starts."""
    seen: list[dict[str, int]] = []
    really = type(pets.storage).open

    def looked(self: Storage, key: str) -> io.BufferedReader:
        seen.append(kept(folder))
        return really(self, key)

    monkeypatch.setattr(type(pets.storage), "open", looked)
    return seen
