import shutil
from pathlib import Path

import pytest

from colorgan.evaluation.results import Report, open_report
from colorgan.storage import Storage, open_storage
from tests.survey.reports import write_report


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a storage of reports; to be read only."""
    root = tmp_path_factory.mktemp("reports")
    storage = open_storage(str(root))
    write_report(storage)
    write_report(storage, "lonely", ("general", "gray", "original"), per_class=1)
    unfinished = write_report(storage, "unfinished", per_class=1)
    storage.delete(unfinished.key("results.parquet"))
    return root


@pytest.fixture
def report(reports: Path, storage: Storage) -> Report:
    shutil.copytree(reports, storage.uri)
    return open_report(storage, "compared")
