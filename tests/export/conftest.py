import logging
from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(scope="module", autouse=True)
def no_traces() -> Iterator[None]:
    """pytest would collect PyTorch's log of every traced operation, which takes minutes."""
    log = logging.getLogger("torch.__trace")
    log.disabled = True
    yield
    log.disabled = False


@pytest.fixture
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Colorizers compute in float32, as an exported model does, on processors with bfloat16 too."""
    for module in ("colorgan.inference.colorizer", "colorgan.models.precision"):
        monkeypatch.setattr(f"{module}.fastest_dtype", lambda device: torch.float32)
