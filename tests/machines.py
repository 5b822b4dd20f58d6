"""Machines of the test's own: network namespaces with addresses, file systems and SSH of their own.

Each has its process table, /tmp, /dev/shm, and a /root that outlasts its death; the checkout and
the Python environment are the host's. It takes root, and Debian's iproute2, util-linux,
openssh-server and rsync.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

HOST = "10.88.0.254"
_NETWORK = "10.88.0"
_PROGRAMS = ("ip", "unshare", "ssh", "sshd", "ssh-keygen", "rsync", "mount")
_READY_SECONDS = 30

# What init of a machine does: the file systems, then SSH. It gets the variables that _boot sets.
_INIT = """\
set -e
mount --make-rprivate /
hostname "$NAME"
mkdir -p "/run/$NAME/disk"
mount --bind "$HOME_DISK" "/run/$NAME/disk"
number=0
for kept in $KEPT; do
    number=$((number + 1)); mkdir -p "/run/$NAME/$number"; mount --bind "$kept" "/run/$NAME/$number"
done
mount -t tmpfs -o mode=1777,size="$DISK" tmpfs /tmp
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount --bind "/run/$NAME/disk" /root
number=0
for kept in $KEPT; do
    number=$((number + 1)); mkdir -p "$kept"; mount --bind "/run/$NAME/$number" "$kept"
done
mkdir -p /run/sshd /root/.ssh
echo "$PUBLIC_KEY" > /root/.ssh/authorized_keys
test -e /root/host_key || ssh-keygen -q -t ed25519 -N '' -f /root/host_key
cd /root
exec env -i HOME=/root PATH="$PATH" "$SSHD" -D -e -f /dev/null -o HostKey=/root/host_key \\
    -o ListenAddress="$ADDRESS" -o PasswordAuthentication=no -o PermitRootLogin=yes \\
    -o StrictModes=no -o PidFile=none
"""


def missing() -> str:
    """Why machines cannot be made here, in words; empty where they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    absent = [program for program in _PROGRAMS if not _which(program)]
    if absent:
        return f"not installed: {', '.join(absent)} (iproute2, util-linux, openssh-server, rsync)"
    name = f"colorgan-{secrets.token_hex(3)}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    if made.returncode:
        return f"network namespaces are not allowed here: {made.stderr.strip()}"
    subprocess.run(["ip", "netns", "delete", name], check=True)
    bridge = subprocess.run(["ip", "link", "show", "cg-bridge"], capture_output=True)
    return "another run's machines are up" if bridge.returncode == 0 else ""


def _which(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


@dataclass
class Machine:
    """A running machine.

    Attributes:
        name: of its namespace, and its host name.
        address: its IP address.
        init: its first process; it dies with it.
    """

    name: str
    address: str
    init: subprocess.Popen[bytes]

    @property
    def runs(self) -> bool:
        """Whether it has power."""
        return self.init.poll() is None

    def kill(self) -> None:
        """Take its power away."""
        children = psutil.Process(self.init.pid).children()
        for child in children:  # the first process inside: the kernel ends all others with it
            child.kill()
        self.init.wait(10)
        subprocess.run(["ip", "netns", "exec", self.name, "ip", "link", "set", "eth0", "down"])

    def processes(self, word: str) -> list[psutil.Process]:
        """Its processes whose command line has a word."""
        found = []
        for process in psutil.Process(self.init.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if word in " ".join(process.cmdline()):
                    found.append(process)
        return found


@dataclass
class Network:
    """A host at HOST, and machines.

    Attributes:
        folder: where the key and the logs are.
        kept: folders that the machines share with the host.
        machines: by name.
    """

    folder: Path
    kept: Sequence[Path]
    machines: dict[str, Machine] = field(default_factory=dict)

    @property
    def key(self) -> Path:
        """The private key that every machine lets in."""
        return self.folder / "id_ed25519"

    def boot(self, name: str, number: int, disk: str = "4g") -> Machine:
        """Start a machine at the address of this number, with so large a /tmp."""
        address = f"{_NETWORK}.{number}"
        _run("ip", "netns", "add", name)
        _run("ip", "link", "add", f"cg-{number}", "type", "veth", "peer", "eth0", "netns", name)
        _run("ip", "link", "set", f"cg-{number}", "master", "cg-bridge", "up")
        _run("ip", "-n", name, "address", "add", f"{address}/24", "dev", "eth0")
        for device in ("eth0", "lo"):
            _run("ip", "-n", name, "link", "set", device, "up")
        _run("ip", "-n", name, "route", "add", "default", "via", HOST)
        return self._boot(name, address, disk)

    def reboot(self, machine: Machine) -> Machine:
        """Start a machine again that was killed; its /root is as it was."""
        _run("ip", "-n", machine.name, "link", "set", "eth0", "up")
        _run("ip", "-n", machine.name, "route", "replace", "default", "via", HOST)
        return self._boot(machine.name, machine.address, "4g")

    def ssh(self, machine: Machine, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command on a machine as its users' shells do."""
        return subprocess.run([*self._ssh(machine), *command], capture_output=True, text=True)

    def _boot(self, name: str, address: str, disk: str) -> Machine:
        home = self.folder / f"{name}-home"
        home.mkdir(mode=0o700, exist_ok=True)
        environment = {
            **os.environ,
            "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin",
            "NAME": name,
            "ADDRESS": address,
            "DISK": disk,
            "HOME_DISK": str(home),
            "KEPT": " ".join(map(str, self.kept)),
            "PUBLIC_KEY": self.key.with_suffix(".pub").read_text().strip(),
            "SSHD": str(_which("sshd")),
        }
        unshare = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--mount", "--uts")
        with (self.folder / f"{name}.log").open("ab") as log:
            init = subprocess.Popen(
                ["ip", "netns", "exec", name, *unshare, "bash", "-c", _INIT],
                env=environment,
                stdout=log,
                stderr=log,
            )
        machine = self.machines[name] = Machine(name, address, init)
        deadline = time.monotonic() + _READY_SECONDS
        while self.ssh(machine, "true").returncode:
            if init.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self.folder / f"{name}.log").read_text())
            time.sleep(0.2)
        return machine

    def _ssh(self, machine: Machine) -> list[str]:
        quiet = ("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null")
        options = ("-o", "ConnectTimeout=2", "-o", "LogLevel=ERROR", "-i", str(self.key))
        return ["ssh", *quiet, *options, f"root@{machine.address}"]


@contextmanager
def network(folder: Path, checkout: Path) -> Iterator[Network]:
    """A network with no machine yet; what was booted in it is gone at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    python = {Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()}
    kept = sorted({checkout.resolve(), *python} - {Path("/"), Path("/usr")})
    made = Network(folder, kept)
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(made.key))
    _run("ip", "link", "add", "cg-bridge", "type", "bridge")
    try:
        _run("ip", "address", "add", f"{HOST}/24", "dev", "cg-bridge")
        _run("ip", "link", "set", "cg-bridge", "up")
        yield made
    finally:
        for machine in made.machines.values():
            if machine.runs:
                machine.kill()
            subprocess.run(["ip", "netns", "delete", machine.name])
            shutil.rmtree(f"/run/{machine.name}", ignore_errors=True)
        subprocess.run(["ip", "link", "delete", "cg-bridge"])


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
