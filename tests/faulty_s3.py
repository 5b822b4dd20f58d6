"""A proxy before an object store, on loopback, whose answers go wrong as a test says."""

import http.client
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

# What to do with a request by its number, its method and its path: pass it on where None, answer
# with this status, "reset" the connection in the middle of the request's body, or pass it on and
# have its answer "lost".
Fault = Callable[[int, str, str], int | str | None]

_BUSY = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


@dataclass
class FaultyS3:
    """The proxy.

    Attributes:
        endpoint: its address.
        fault: decides; may be changed at any time.
        done: method and path of each request that was passed on, answered 2xx and whose answer
            went out.
        faults: how often each fault was played.
    """

    endpoint: str
    fault: Fault = lambda number, method, path: None
    done: list[tuple[str, str]] = field(default_factory=list)
    faults: dict[int | str, int] = field(default_factory=dict)
    _count: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def decide(self, method: str, path: str) -> int | str | None:
        with self._lock:
            self._count += 1
            fault = self.fault(self._count, method, path)
            if fault:
                self.faults[fault] = self.faults.get(fault, 0) + 1
            return fault

    def uploaded(self, part: str) -> list[str]:
        """The paths of whole uploads, in order, that have a part in their name."""
        return [path for method, path in self.done if method == "PUT" and part in path]


@contextmanager
def faulty_s3(upstream: str) -> Iterator[FaultyS3]:
    """Stand before the object store at an address."""
    host = urlsplit(upstream).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            fault = proxy.decide(self.command, self.path)
            if fault == "reset":
                self.rfile.read(length // 2)
                # Without lingering, closing is a reset.
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.connection.shutdown(socket.SHUT_RD)
                self.close_connection = True
                return
            # Clients that wait for the word to go on are answered by the base class.
            body = self.rfile.read(length)
            if isinstance(fault, int):
                self._answer(fault, [("Content-Type", "application/xml")], _BUSY)
                return
            connection = http.client.HTTPConnection(host, timeout=60)
            connection.putrequest(
                self.command, self.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in self.headers.items():
                if name.lower() not in ("connection", "expect"):
                    connection.putheader(name, value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            data = answer.read()
            connection.close()
            if fault == "lost":
                self._answer(503, [("Content-Type", "application/xml")], _BUSY)
                return
            self._answer(answer.status, answer.getheaders(), data)
            if answer.status < 300:
                proxy.done.append((self.command, self.path))

        def _answer(self, status: int, headers: list[tuple[str, str]], data: bytes) -> None:
            self.send_response(status)
            for name, value in headers:
                hop = ("connection", "transfer-encoding", "content-length")
                if name.lower() not in hop or (
                    self.command == "HEAD" and name.lower() == "content-length"
                ):
                    self.send_header(name, value)
            if self.command != "HEAD":
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any  # noqa: N815

        def log_message(self, *about: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *about: object) -> None:
            pass  # clients that are killed break their connections

    with Server(("127.0.0.1", 0), Handler) as server:
        proxy = FaultyS3(f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield proxy
        finally:
            server.shutdown()
