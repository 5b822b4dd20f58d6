"""A process that holds a lease until it is told to end, or killed."""

import subprocess
import sys
from pathlib import Path

from colorgan.storage import Storage

CHECKOUT = Path(__file__).parents[1]
MONDAY = "runs/monday"

HOLDER = """
import signal
import sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
from colorgan.storage import lease, open_storage
lease.RENEWAL_S = float(sys.argv[2])
try:
    with lease.hold(open_storage(sys.argv[1]), "runs/monday", "run 'monday'", "wait") as held:
        held.report("epochs", 3, 9)
        print("held", flush=True)
        sys.stdin.read()
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


class Holder:
    """Another process that holds the lease of `MONDAY`."""

    def __init__(self, storage: Storage, renewal_s: float = 0.05) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, storage.uri, str(renewal_s)],
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.line() == "held"

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        with self.process:
            self.process.kill()
