"""Object stores for tests: one that works, and one that fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from colorgan.errors import ColorganError
from colorgan.storage import open_storage
from tests.s3_server import S3Server


def use(monkeypatch: pytest.MonkeyPatch, server: S3Server) -> None:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)


def refused_quickly(uri: str) -> str:
    start = time.monotonic()
    with pytest.raises(ColorganError) as error:
        open_storage(uri)
    assert time.monotonic() - start < 5
    assert "\n" not in str(error.value)
    return str(error.value)


@contextmanager
def faulty_server(headers: dict[str, str] | None = None, busy: int = 0) -> Iterator[str]:
    """A server that has every object, with ``headers`` that do not fit the content, and that
    answers so many reads with 503 first."""
    refusals = iter(range(busy))

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.end_headers()

        def do_GET(self) -> None:
            if next(refusals, None) is not None:
                self.send_error(503)
                return
            self.send_response(200)
            for name, value in ({"Content-Length": "7"} | (headers or {})).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"content")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def written(folder: Path, content: bytes) -> Path:
    path = folder / "a local file"
    path.write_bytes(content)
    return path
