import os
import subprocess
import sys

import pytest

from cluster.job import choose_dataset
from colorgan.storage import Storage
from tests.conftest import CHECKOUT, stage_scenes


def test_a_damaged_dataset_does_not_hide_the_newest_one(
    storage: Storage, capsys: pytest.CaptureFixture[str]
) -> None:
    stage_scenes(storage, "good", per_class=6)
    storage.put("datasets/bad/manifest.json", b"{")
    assert choose_dataset(storage, None).manifest.name == "good"
    said = capsys.readouterr().out
    assert "note: datasets/bad/manifest.json" in said and "taking the newest, good" in said


JOBS = ("train_all", "sweep", "evaluate", "stage_data", "reproduce")
HELP = """
import importlib, sys
for job in sys.argv[1:]:
    try:
        importlib.import_module(f"jobs.{job}").main(["--help"])
    except SystemExit as ended:
        assert not ended.code, job
"""


def test_a_jobs_help_is_shown_on_a_terminal_of_any_encoding() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HELP, *JOBS],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    for job in JOBS:
        assert f"usage: {job}.py" in done.stdout
