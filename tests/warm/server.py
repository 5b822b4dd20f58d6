"""Starts Python processes that have imported the large libraries: each is a fork of this one.

    python tests/warm/server.py SOCKET

What a tiny job on a real Ray costs is above all that each of its processes imports PyTorch, Ray and
other large libraries, which takes seconds of a core. This process imports the libraries once, but
nothing of colorgan, and not Ray, which reads the environment when it is imported. For those who run
in this checkout it forks a template, one for each environment of Ray, which imports colorgan or
Ray as well; the others are forks of this process itself.

A request names the arguments, the environment and the folder of a new process, and brings its
standard streams. The answer is the number of the process, and for those who wait, its status as
`subprocess` gives it. A process that is waited for is killed when who waits has died. The server
ends when its standard input does, and everything that it has started ends with it.
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
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

LIBRARIES = (
    *("torch", "torch._dynamo", "torchmetrics", "torchvision"),
    *("numpy", "pandas", "pyarrow.dataset", "pyarrow.fs", "scipy.sparse.linalg", "safetensors"),
    *("PIL.Image", "imagecodecs", "imagehash", "matplotlib.pyplot"),
    *("aiohttp", "boto3", "fastapi", "grpc", "jsonschema", "jinja2", "prometheus_client"),
    *("psutil", "pydantic", "requests", "rich.progress", "uvicorn", "yaml"),
    # What Ray and colorgan import beside these, so that a template has their own modules left.
    *("filelock", "fsspec", "google.protobuf.json_format", "google.protobuf.timestamp_pb2"),
    *("msgpack", "pdb", "pyarrow.parquet", "pydantic.dataclasses", "rich.layout"),
    *("PIL.ImageCms", "PIL.TiffImagePlugin", "ijson", "safetensors.torch", "tenacity", "tomllib"),
)
# What the processes of each kind import. Workers run the code of their driver, which need not be
# that of this checkout.
SERVICE = ("ray",)
WORKER = ("ray", "ray._private.workers.default_worker")
WORKER_OF_ANY_JOB = (*WORKER, "ray.serve", "ray.train.torch", "ray.tune")
COMMAND = ("colorgan.training.model_run", "colorgan.evaluation.evaluate")
DRIVER = (*WORKER_OF_ANY_JOB, *COMMAND, "cluster.trainer", "serve.app")
CHECKOUT = str(Path(__file__).parents[2])
_ANY_JOB = "ffffffff"
_STOP_SECONDS = 5.0

# What templates differ by: what they import and, if that is Ray, the variables of Ray.
Key = tuple[tuple[str, ...], tuple[tuple[str, str], ...]]


@dataclass(frozen=True)
class Request:
    """What somebody has asked for.

    Attributes:
        client: the connection on which the answers are awaited.
        streams: file descriptors of the standard streams.
        body: the arguments, the environment, the folder, and whether the status is waited for.
    """

    client: socket.socket
    streams: list[int]
    body: dict[str, Any]

    @property
    def modules(self) -> tuple[str, ...]:
        """What the process will import, if it is of this checkout or of a Ray that is."""
        first, *others = self.body["arguments"]
        environment = self.body["environment"]
        if self.body["folder"] != CHECKOUT or first == "-c":
            return ()
        if first.endswith("/default_worker.py"):
            job = environment.get("RAY_JOB_ID", _ANY_JOB)
            return WORKER_OF_ANY_JOB if job == _ANY_JOB else WORKER
        if "/ray/" in first or (first == "-m" and others[0].startswith("ray.")):
            return SERVICE
        return DRIVER if "RAY_ADDRESS" in environment else COMMAND

    @property
    def key(self) -> Key:
        """Which template the process is to be a fork of, unless it has no modules."""
        # Ray reads its variables when it is imported: also the job and the machine of a worker.
        beginnings = ("PYTHONPATH", "RAY_") if "ray" in self.modules else ("PYTHONPATH",)
        variables = self.body["environment"].items()
        return self.modules, tuple(
            sorted(each for each in variables if each[0].startswith(beginnings))
        )

    def pass_on(self, server: socket.socket) -> None:
        """Let a template answer."""
        words = json.dumps(self.body).encode()
        descriptors = (self.client.fileno(), *self.streams)
        socket.send_fds(server, [len(words).to_bytes(8, "big")], descriptors)
        server.sendall(words)
        self.client.close()

    def take_streams(self) -> None:
        """Make the streams those of this process."""
        self.client.close()
        for number, stream in enumerate(self.streams):
            os.dup2(stream, number)
        # Those of this process know whether their files can be sought in.
        sys.stdin = os.fdopen(0, closefd=False)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", 1, errors="backslashreplace", closefd=False)
        self.close_streams()

    def close_streams(self) -> None:
        """Close the streams, of which another process has its own."""
        for stream in self.streams:
            os.close(stream)


@dataclass(frozen=True)
class Template:
    """A process that imports colorgan, and Ray if its forks use it, before it serves.

    Attributes:
        source: the socket on which the requests are passed on.
        request: the first of them.
    """

    source: socket.socket
    request: Request


class Server:
    """Forks processes, and tells who has asked for them their numbers and statuses."""

    def __init__(self, source: socket.socket, end: IO[str] | None) -> None:
        """Take requests.

        Args:
            source: the socket on which the server listens; in a template, the one on which its
                server passes requests on.
            end: the stream with which the server ends; None in a template, which ends with
                `source`.
        """
        self._source, self._end = source, end
        self._children: dict[int, socket.socket] = {}
        self._templates: dict[Key, tuple[int, socket.socket]] = {}
        self._woken, self._wakes = socket.socketpair()
        for each in (self._woken, self._wakes):
            each.setblocking(False)
        self._selector = selectors.DefaultSelector()

    def serve(self) -> Request | Template | None:
        """Serve until the end; in a forked process, return what it is to be."""
        signal.set_wakeup_fd(self._wakes.fileno())
        signal.signal(signal.SIGCHLD, lambda *arguments: None)
        for each in filter(None, (self._end, self._source, self._woken)):
            self._selector.register(each, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._source:
                    request = self._receive()
                    task = self._begin(request) if request else None
                    if task:
                        return task
                    if not request and not self._end:
                        return self._end_all()
                elif key.fileobj is self._end:
                    return self._end_all()
                elif key.fileobj is self._woken:
                    with contextlib.suppress(BlockingIOError):
                        self._woken.recv(4096)
                    self._reap()
                elif key.data in self._children:  # who waited for it has died
                    os.kill(key.data, signal.SIGKILL)
                    self._selector.unregister(key.fileobj)

    def _receive(self) -> Request | None:
        """Receive a request; None if who asks has gone."""
        connection = self._source.accept()[0] if self._end else self._source
        size, descriptors, _, _ = socket.recv_fds(connection, 8, 4)
        words = connection.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL)
        if not words:
            connection.close()
            return None
        client = connection if self._end else socket.socket(fileno=descriptors.pop(0))
        return Request(client, descriptors, json.loads(words))

    def _begin(self, request: Request) -> Request | Template | None:
        """Fork a process, or let a template do so; in a forked process, return what it is to be."""
        if not self._end or not request.modules:
            child = os.fork()
            if not child:
                self._leave()
                request.take_streams()
                return request
            self._children[child] = request.client
            _answer(request.client, child)
            if request.body["waits"]:
                self._selector.register(request.client, selectors.EVENT_READ, child)
        else:
            key = request.key
            if key not in self._templates:
                ours, theirs = socket.socketpair()
                child = os.fork()
                if not child:
                    self._leave()
                    ours.close()
                    request.client.close()
                    request.close_streams()
                    return Template(theirs, request)
                theirs.close()
                self._templates[key] = child, ours
            request.pass_on(self._templates[key][1])
        request.close_streams()
        return None

    def _leave(self) -> None:
        """Let nothing of the server be left in a forked process."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._selector.close()
        passes = (template for _, template in self._templates.values())
        for each in (self._source, self._woken, self._wakes, *self._children.values(), *passes):
            each.close()

    def _reap(self) -> None:
        """Tell the status of those that have ended to who waits for it."""
        while self._children or self._templates:
            child, status = os.waitpid(-1, os.WNOHANG)
            if not child:
                return
            self._templates = {k: each for k, each in self._templates.items() if each[0] != child}
            client = self._children.pop(child, None)
            if client:
                with contextlib.suppress(KeyError):
                    self._selector.unregister(client)
                _answer(client, os.waitstatus_to_exitcode(status))
                client.close()

    def _end_all(self) -> None:
        """End everything that still runs."""
        # The templates have as long for their own.
        deadline = time.monotonic() + _STOP_SECONDS * (2 if self._end else 1)
        for _, source in self._templates.values():
            source.close()
        for child in self._children:
            os.kill(child, signal.SIGTERM)
        while (self._children or self._templates) and time.monotonic() < deadline:
            time.sleep(0.05)
            self._reap()
        for child in (*self._children, *(child for child, _ in self._templates.values())):
            os.kill(child, signal.SIGKILL)


def _answer(client: socket.socket, number: int) -> None:
    with contextlib.suppress(OSError):  # who asked may have gone
        client.sendall(number.to_bytes(8, "big", signed=True))


def apply_environment(body: dict[str, Any], standard_path: list[str]) -> None:
    """Take the folder, the environment and the search path that the interpreter would have."""
    os.chdir(body["folder"])
    os.environ.clear()
    os.environ.update(body["environment"])
    script = body["arguments"][0]
    if script in ("-m", "-c"):
        folder = body["folder"] if script == "-m" else ""
    else:
        folder = str(Path(script).resolve().parent)
    named = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    first = [] if os.environ.get("PYTHONSAFEPATH") else [folder]
    sys.path[:] = [*first, *filter(None, named), *standard_path]
    importlib.invalidate_caches()


def import_all(names: Iterable[str]) -> None:
    """Import modules that are never collected as garbage."""
    for name in names:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


def run(arguments: list[str]) -> None:
    """Do what the Python interpreter does with a command line."""
    option, *arguments = arguments
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
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv[1])
    listener.listen(64)
    print("requests wait until everything is imported", flush=True)
    import_all(LIBRARIES)
    asked = Server(listener, sys.stdin).serve()
    if isinstance(asked, Template):
        apply_environment(asked.request.body, [CHECKOUT, *others])
        import_all(asked.request.modules)
        asked = Server(asked.source, None).serve()
    if isinstance(asked, Request):
        apply_environment(asked.body, others)
        run(asked.body["arguments"])
