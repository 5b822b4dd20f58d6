import subprocess
import sys

SCRIPT = """
import resource, sys
from colorgan.system import keep_buffers
if sys.argv[1] == "keep":
    keep_buffers()
for _ in range(10):
    buffers = [b"x" * (4 * 2**20) for _ in range(10)]
    del buffers
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


def page_faults(choice: str) -> int:
    done = subprocess.run([sys.executable, "-c", SCRIPT, choice], capture_output=True, check=True)
    return int(done.stdout)


def test_kept_buffers_are_not_faulted_in_again() -> None:
    # Ten times ten buffers of 1,024 pages each.
    assert page_faults("return") - page_faults("keep") > 50 * 1024
