"""Tests of the CUDA path: `pytest -m gpu`. SMALL=1 rehearses on the CPU what needs no CUDA."""

import os
from collections.abc import Iterator

import pytest
import torch

HERE = "tests/gpu/"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.nodeid.startswith(HERE):
            item.add_marker(pytest.mark.gpu)


@pytest.fixture
def device() -> torch.device:
    """The GPU; with SMALL=1 and without one, the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if os.environ.get("SMALL"):
        return torch.device("cpu")
    pytest.skip("PyTorch finds no CUDA device here; SMALL=1 rehearses on the CPU")


@pytest.fixture
def cuda(device: torch.device) -> torch.device:
    """The GPU, for what only CUDA can show."""
    if device.type != "cuda":
        pytest.skip("PyTorch finds no CUDA device here, and this cannot be rehearsed without one")
    return device


@pytest.fixture
def deterministic(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The same bits every time, as on a CPU: the quickest kernels of CUDA add in any order."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(device.type == "cuda")
    yield
    torch.use_deterministic_algorithms(False)
