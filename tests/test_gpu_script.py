"""scripts/gpu.sh, which a GPU is used by, rehearsed on the CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT
from tests.test_benchmarks import check_contenders


def run(*steps: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["scripts/gpu.sh", *steps],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHON": sys.executable, **environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_the_checks_and_benchmarks_are_rehearsed_without_a_gpu(tmp_path: Path) -> None:
    patient = {"SECONDS_CHECK": "1800", "SECONDS_BENCH": "1800"}
    done = run("check", "bench", SMALL="1", OUT=str(tmp_path / "out"), **patient)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "check: passed" in done.stdout and "bench: passed" in done.stdout
    assert " passed" in (tmp_path / "out" / "check.txt").read_text()
    report = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert {row["benchmark"] for row in report["results"]} == {"training_step", "inference"}
    assert not report["failed"]
    rows = [row for row in report["results"] if row["benchmark"] == "training_step"]
    check_contenders(rows, "images/s", "colorgan")
    found = {row["variant"]: row for row in rows}
    assert "share in data" in found["colorgan"]["facts"]
    assert found["colorgan"]["peak_mib"] > 50 and found["reference step, float32"]["peak_mib"] > 50


def test_a_step_that_does_not_exist_is_named_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    done = run("check", "bnech", SMALL="1", OUT=str(tmp_path / "out"), TMPDIR=str(tmp_path / "tmp"))
    assert done.returncode == 2
    assert "no step 'bnech': there are check, bench, ray, weights and report" in done.stderr
    assert not [*(tmp_path / "out").iterdir()]
    assert not [*(tmp_path / "tmp").iterdir()], "the folder in which it worked is deleted"
