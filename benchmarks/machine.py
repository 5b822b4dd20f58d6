"""The checkout that is measured, and the memory of a process."""

import re
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]


def memory_mib(field: str = "VmHWM") -> float:
    """Memory of this process in MiB: the peak, or the current value with `VmRSS`.

    It is read from /proc, because getrusage includes the parent's memory before exec.
    """
    found = re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0
