"""The identity of a process, with which another process can tell whether it has died."""

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_STATE, _STARTED = 0, 19  # fields of /proc/PID/stat after the command, whose ")" ends field 2
_DEAD_STATES = ("Z", "X", "x")


@dataclass(frozen=True)
class ProcessIdentity:
    """Identifies a process among all processes of all machines, also after its number was reused.

    Attributes:
        boot: the kernel's ID of the boot of its machine.
        namespace: the inode of its process namespace, which containers have of their own.
        pid: its process ID in that namespace.
        started: when it was started, in clock ticks since the boot.
    """

    boot: str
    namespace: int
    pid: int
    started: int

    def is_dead(self) -> bool:
        """Whether the process has provably died.

        False for a process of another machine or container, about which nothing can be known here.
        """
        here = this_process()
        if (self.boot, self.namespace) != (here.boot, here.namespace) or not self.boot:
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass  # it is another user's
        found = _stat(self.pid)
        return found is not None and (found[0] in _DEAD_STATES or found[1] != self.started)

    def is_alive(self) -> bool:
        """Whether the process provably lives; see `is_dead`."""
        here = this_process()
        same_machine = (self.boot, self.namespace) == (here.boot, here.namespace)
        return same_machine and bool(self.boot) and not self.is_dead()


def this_process() -> ProcessIdentity:
    """The identity of this process."""
    return _identity(os.getpid())


@cache
def _identity(pid: int) -> ProcessIdentity:
    found = _stat(pid)
    boot = _read(Path("/proc/sys/kernel/random/boot_id")).strip()
    try:
        namespace = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        boot, namespace = "", 0  # without /proc nothing can be proved
    return ProcessIdentity(boot if found else "", namespace, pid, found[1] if found else 0)


def _stat(pid: int) -> tuple[str, int] | None:
    """State and start time of a process; None if they cannot be read."""
    fields = _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    if len(fields) <= _STARTED:
        return None
    return fields[_STATE], int(fields[_STARTED])


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
