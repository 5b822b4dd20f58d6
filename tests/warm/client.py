"""Starts processes by a server of warm ones: see server.py."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from cluster.local import SHORT
from colorgan.temporary import temporary_folder

_FOLDER = Path(__file__).parent


class WarmProcess:
    """A process that a server has started, with the interface of `subprocess.Popen`."""

    def __init__(self, server: socket.socket) -> None:
        """Take the connection on which the process was asked for."""
        self._server = server
        self.pid = self._number()
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The status, if the process has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the status; raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            self._server.settimeout(timeout)
            try:
                self.returncode = self._number()
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0) from None
            self._server.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL, unless the process has ended."""
        self.send_signal(signal.SIGKILL)

    def _number(self) -> int:
        words = self._server.recv(8)
        assert words, "the server of warm processes has died"
        return int.from_bytes(words, "big", signed=True)


@dataclass(frozen=True)
class WarmStart:
    """A running server.

    Attributes:
        address: its socket.
    """

    address: str

    @property
    def ray_variables(self) -> dict[str, str]:
        """The environment variables of a Ray whose workers start warm."""
        paths = (str(_FOLDER / "site"), os.environ.get("PYTHONPATH", ""))
        path = os.pathsep.join(filter(None, paths))
        return {"COLORGAN_WARM": self.address, "PYTHONPATH": path}

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables of a process whose commands start warm."""
        return {**self.ray_variables, "COLORGAN_WARM_COMMANDS": "1"}

    def start(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        streams: Sequence[IO[str]],
    ) -> WarmProcess:
        """Start a process.

        Args:
            arguments: what `python` would be given: a script, -m or -c, and what follows.
            environment: the environment variables.
            folder: working directory.
            streams: standard input, output and error.
        """
        request = {
            "arguments": list(arguments),
            "environment": dict(environment),
            "folder": str(folder),
            "waits": True,
        }
        words = json.dumps(request).encode()
        server = socket.socket(socket.AF_UNIX)
        server.connect(self.address)
        numbers = [stream.fileno() for stream in streams]
        socket.send_fds(server, [len(words).to_bytes(8, "big")], numbers)
        server.sendall(words)
        return WarmProcess(server)

    def run(
        self, arguments: Sequence[str], environment: Mapping[str, str], folder: Path
    ) -> subprocess.CompletedProcess[str]:
        """Run a process to its end, and return what it has printed; see `start`."""
        with (
            Path(os.devnull).open() as nothing,
            tempfile.TemporaryFile("w+") as output,
            tempfile.TemporaryFile("w+") as errors,
        ):
            streams = (nothing, output, errors)
            status = self.start(arguments, environment, folder, streams).wait()
            for each in (output, errors):
                each.seek(0)
            return subprocess.CompletedProcess(arguments, status, output.read(), errors.read())


@contextlib.contextmanager
def warm_start() -> Iterator[WarmStart]:
    """Start a server, and end it at the end with everything that it has started."""
    # Threads must not have started when the server forks.
    alone = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    with temporary_folder("warm", SHORT) as folder:
        address = str(folder / "socket")
        with subprocess.Popen(
            [sys.executable, str(_FOLDER / "server.py"), address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **alone},
        ) as server:
            assert server.stdin and server.stdout
            server.stdout.readline()  # it listens
            try:
                yield WarmStart(address)
            finally:
                server.stdin.close()
                server.wait()
