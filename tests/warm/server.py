"""Starts Python processes that have imported the large libraries: each is a fork of this one.

    python tests/warm/server.py SOCKET

What a tiny job on a real Ray costs is above all that each of its processes imports PyTorch and
other large libraries, which takes seconds of a core. This process imports them once, but nothing of
colorgan, and not Ray, which reads the environment when it is imported. A request names the
arguments, the environment and the folder of a new process, and brings its standard streams. The
answer is the number of the process, and for those who wait, its status as `subprocess` gives it. A
process that is waited for is killed when who waits has died. The server ends when its standard
input does, and everything that it has started ends with it.
"""

import contextlib
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
import time
import types
from pathlib import Path
from typing import Any

MODULES = (
    *("torch", "torch._dynamo", "torchmetrics", "torchvision"),
    *("numpy", "pandas", "pyarrow.dataset", "pyarrow.fs", "scipy.sparse.linalg", "safetensors"),
    *("PIL.Image", "imagecodecs", "imagehash", "matplotlib.pyplot"),
    *("aiohttp", "boto3", "fastapi", "grpc", "jsonschema", "jinja2", "prometheus_client"),
    *("psutil", "pydantic", "requests", "rich.progress", "uvicorn", "yaml"),
    # What Ray and colorgan import beside these, so that a process has their own modules left.
    *("filelock", "fsspec", "google.protobuf.json_format", "google.protobuf.timestamp_pb2"),
    *("msgpack", "pdb", "pyarrow.parquet", "pydantic.dataclasses", "rich.layout"),
    *("PIL.ImageCms", "PIL.TiffImagePlugin", "ijson", "safetensors.torch", "tenacity", "tomllib"),
)
_STOP_SECONDS = 5.0


class Server:
    """The server."""

    def __init__(self, address: str) -> None:
        self._children: dict[int, socket.socket] = {}
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(address)
        self._listener.listen(64)
        self._woken, self._wakes = socket.socketpair()
        for end in (self._woken, self._wakes):
            end.setblocking(False)
        self._selector = selectors.DefaultSelector()

    def serve(self) -> dict[str, Any] | None:
        """Serve until standard input ends; in a forked process, return its request."""
        signal.set_wakeup_fd(self._wakes.fileno())
        signal.signal(signal.SIGCHLD, lambda *arguments: None)
        for each in (sys.stdin, self._listener, self._woken):
            self._selector.register(each, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is sys.stdin:
                    self._end_all()
                    return None
                if key.fileobj is self._woken:
                    with contextlib.suppress(BlockingIOError):
                        self._woken.recv(4096)
                    self._reap()
                elif key.fileobj is self._listener:
                    request = self._take()
                    if request:
                        return request
                elif key.data in self._children:  # who waited for it has died
                    os.kill(key.data, signal.SIGKILL)
                    self._selector.unregister(key.fileobj)

    def _take(self) -> dict[str, Any] | None:
        """Take a request; None, or in a forked process the request."""
        client, _ = self._listener.accept()
        size, streams, _, _ = socket.recv_fds(client, 8, 3)
        words = client.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL)
        request: dict[str, Any] = json.loads(words or b"{}")
        child = os.fork() if request else None
        if child == 0:
            self._leave()
            client.close()
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
            for stream in streams:
                os.close(stream)
            # Those of this process know whether their files can be sought in.
            sys.stdin = os.fdopen(0, closefd=False)
            sys.stdout = os.fdopen(1, "w", closefd=False)
            sys.stderr = os.fdopen(2, "w", 1, errors="backslashreplace", closefd=False)
            return request
        for stream in streams:
            os.close(stream)
        if child is None:  # who asked has gone
            client.close()
            return None
        self._children[child] = client
        _answer(client, child)
        if request["waits"]:
            self._selector.register(client, selectors.EVENT_READ, child)
        return None

    def _leave(self) -> None:
        """Let nothing of the server be left in a forked process."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._selector.close()
        for each in (self._listener, self._woken, self._wakes, *self._children.values()):
            each.close()

    def _reap(self) -> None:
        """Tell the status of those that have ended to who waits for it."""
        while self._children:
            child, status = os.waitpid(-1, os.WNOHANG)
            if not child:
                return
            client = self._children.pop(child)
            with contextlib.suppress(KeyError):
                self._selector.unregister(client)
            _answer(client, os.waitstatus_to_exitcode(status))
            client.close()

    def _end_all(self) -> None:
        """End everything that still runs."""
        deadline = time.monotonic() + _STOP_SECONDS
        for child in self._children:
            os.kill(child, signal.SIGTERM)
        while self._children and time.monotonic() < deadline:
            time.sleep(0.05)
            self._reap()
        for child in self._children:
            os.kill(child, signal.SIGKILL)


def _answer(client: socket.socket, number: int) -> None:
    with contextlib.suppress(OSError):  # who asked may have gone
        client.sendall(number.to_bytes(8, "big", signed=True))


def run(request: dict[str, Any], standard_path: list[str]) -> None:
    """Do what the Python interpreter does with a command line."""
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    option, *arguments = request["arguments"]
    if option in ("-m", "-c"):
        folder = request["folder"] if option == "-m" else ""
    else:
        folder = str(Path(option).resolve().parent)
    named = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    first = [] if os.environ.get("PYTHONSAFEPATH") else [folder]
    sys.path[:] = [*first, *filter(None, named), *standard_path]
    importlib.invalidate_caches()
    if option == "-m":
        sys.argv[:] = arguments
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
        return
    main = types.ModuleType("__main__")
    if option == "-c":
        code, sys.argv[:] = arguments[0], ["-c", *arguments[1:]]
        program = compile(code, "<string>", "exec")
    else:
        main.__file__, sys.argv[:] = option, [option, *arguments]
        program = compile(Path(option).read_bytes(), option, "exec")
    sys.modules["__main__"] = main
    exec(program, main.__dict__)


if __name__ == "__main__":
    # Without the folder of this file and those of PYTHONPATH, of which each process has its own.
    named_here = {*os.environ.get("PYTHONPATH", "").split(os.pathsep), str(Path(__file__).parent)}
    others = [folder for folder in sys.path if folder not in named_here]
    server = Server(sys.argv[1])
    print("requests wait until everything is imported", flush=True)
    for name in MODULES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    asked = server.serve()
    if asked:
        run(asked, others)
