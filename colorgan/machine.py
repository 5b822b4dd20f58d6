"""The machine and the software that figures are of."""

import importlib.metadata
import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import colorgan

CHECKOUT = Path(__file__).parents[1]

# The processor's instructions that decide how fast networks are on it.
_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")
_PACKAGES = ("torchvision", "ray", "numpy", "pillow", "pyarrow")


def about_machine() -> dict[str, Any]:
    """What a reader must know of where figures come from."""
    import torch

    cpuinfo = _read("/proc/cpuinfo")
    model = re.search(r"^model name\s*: (.*)$", cpuinfo, re.MULTILINE)
    memory = re.search(r"^MemTotal:\s+(\d+) kB", _read("/proc/meminfo"), re.MULTILINE)
    cuda = torch.cuda.is_available()
    return {
        "cpu": model[1] if model else platform.processor() or platform.machine(),
        "flags": [flag for flag in _FLAGS if re.search(rf"\b{flag}\b", cpuinfo)],
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "memory_gib": round(int(memory[1]) / 2**20, 1) if memory else None,
        "load": round(os.getloadavg()[0], 2),
        "gpu": torch.cuda.get_device_name() if cuda else None,
        "cuda": torch.version.cuda if cuda else None,
        "system": platform.platform(),
        "versions": {
            "colorgan": colorgan.__version__,
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            **{name: version for name in _PACKAGES if (version := _version(name))},
        },
        "commit": _git("rev-parse", "HEAD") or None,
        "dirty": bool(_git("status", "--porcelain")),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(*command: str) -> str:
    """What git says of the checkout; nothing where there is no git or no repository."""
    try:
        done = subprocess.run(["git", *command], cwd=CHECKOUT, capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
