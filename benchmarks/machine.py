"""The checkout that is measured, and a process's memory."""

import re
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]


def memory_mib(field: str = "VmHWM") -> float:
    """MiB of this process: the most it has had, or with VmRSS what it has.

    getrusage would say what the parent had before this process was its own.
    """
    found = re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0
