"""This machine: its description, its processor's instructions, its devices and its memory use."""

import ctypes
import gc
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from colorgan.errors import ConfigError
from colorgan.version import __version__

if TYPE_CHECKING:
    import torch

CHECKOUT = Path(__file__).parents[1]

# The processor's instruction sets that determine how fast networks run on it.
_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")
_PACKAGES = ("torchvision", "ray", "numpy", "pillow", "pyarrow")


def about_machine() -> dict[str, Any]:
    """Describe the machine and software that measured figures come from."""
    import torch

    model = re.search(r"^model name\s*: (.*)$", _read("/proc/cpuinfo"), re.MULTILINE)
    flags = cpu_flags()
    memory = re.search(r"^MemTotal:\s+(\d+) kB", _read("/proc/meminfo"), re.MULTILINE)
    cuda = torch.cuda.is_available()
    return {
        "cpu": model[1] if model else platform.processor() or platform.machine(),
        "flags": [flag for flag in _FLAGS if flag in flags],
        "cores": processors(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(int(memory[1]) / 2**20, 1) if memory else None,
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "gpu": torch.cuda.get_device_name() if cuda else None,
        "cuda": torch.version.cuda if cuda else None,
        "system": platform.platform(),
        "versions": {
            "colorgan": __version__,
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            **{name: version for name in _PACKAGES if (version := _version(name))},
        },
        "commit": _git("rev-parse", "HEAD") or None,
        "dirty": bool(_git("status", "--porcelain")),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def processors() -> int:
    """The number of processors that this process may use; all of them where none can be denied."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def reserve_space(descriptor: int, size: int) -> None:
    """Give an open file its size in bytes, and its space on the disk where the system can.

    Raises:
        OSError: there is not as much space.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.ftruncate(descriptor, size)


def cpu_flags() -> list[str]:
    """The instruction sets of the processor, by their names in Linux, sorted."""
    lines = _read("/proc/cpuinfo").splitlines()
    found = (line for line in lines if line.startswith(("flags", "Features")))
    return sorted(next(found, "").partition(":")[2].split())


def cpu_has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 natively: emulation is slower than float32."""
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(cpu_flags())


def memory_bytes() -> int:
    """The memory that this process can have: the machine's, or less if its container has less."""
    total = int(psutil.virtual_memory().total)
    limit = _read("/sys/fs/cgroup/memory.max").strip()
    return min(total, int(limit)) if limit.isdecimal() else total


def choose_device(name: str = "auto") -> "torch.device":
    """The device for `auto`, `cpu` or `gpu`: a GPU is one of CUDA or, on a Mac, Apple's (MPS).

    Raises:
        ConfigError: PyTorch finds no GPU for `gpu`.
    """
    import torch

    if name != "cpu":
        if torch.cuda.is_available():
            return torch.device("cuda")
        if torch.backends.mps.is_available():
            return torch.device("mps")
    if name == "gpu":
        raise ConfigError("--device gpu: PyTorch finds no GPU on this machine")
    return torch.device("cpu")


def device_name(device: "torch.device") -> str:
    """The device's name for records: the GPU's model, or `mps` or `cpu`."""
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


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
    """The output of a git command in the checkout; empty without git or a repository."""
    try:
        done = subprocess.run(["git", *command], cwd=CHECKOUT, capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


# Parameters of glibc's mallopt(3), set for a series of batches with the same large buffers.
_SETTINGS = {
    -1: 256 * 2**20,  # M_TRIM_THRESHOLD: this much may be free before any is returned
    -3: 32 * 2**20,  # M_MMAP_THRESHOLD, at its maximum: smaller buffers are kept when freed
    -8: 1,  # M_ARENA_MAX: a thread may reuse the memory that another has freed
}


def keep_buffers() -> None:
    """Keep freed memory for the next batch, in this process from now on.

    By default, glibc returns large buffers to the system when they are freed, and the next batch
    faults every page in again: this takes 8 % of a served photograph's time and up to 16 % of a
    training step's. Without glibc, this function does nothing.
    """
    library = None if sys.platform == "win32" else ctypes.CDLL(None)
    mallopt = getattr(library, "mallopt", None)
    if mallopt is not None:
        for parameter, value in _SETTINGS.items():
            mallopt(parameter, value)


def return_buffers() -> None:
    """Return freed memory to the system once; see `keep_buffers`."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
