"""Several workers take the steps of one."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import CHECKOUT
from tests.training.several_workers import CONFIGS, trained
from tests.waiting import PATIENCE_S

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone")


def torchrun(workers: int, *arguments: str) -> None:
    command = [*TORCHRUN, f"--nproc-per-node={workers}", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def of_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workers")
    torchrun(2, "-m", "tests.training.several_workers", ",".join(CONFIGS), str(folder))
    return folder


def read(folder: Path, name: str, rank: int) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / f"{name}-{rank}.json").read_text())
    return {**record, "weights": torch.load(folder / f"{name}-{rank}.pt")}


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_two_workers_take_the_steps_of_one(of_two: Path, name: str) -> None:
    one, first, second = trained(name), read(of_two, name, 0), read(of_two, name, 1)
    assert len(one["losses"]) == 22
    for each in (first, second):
        torch.testing.assert_close(
            torch.tensor(each["losses"][:20]), torch.tensor(one["losses"][:20]), rtol=0, atol=1e-4
        )
        torch.testing.assert_close(
            torch.tensor(each["history"]), torch.tensor(one["history"]), rtol=1e-3, atol=1e-3
        )
    assert first["weights"].keys() == second["weights"].keys() == one["weights"].keys()
    for tensor, other in zip(first["weights"].values(), second["weights"].values(), strict=True):
        assert torch.equal(tensor, other)
