"""A small web of the tests' own that misbehaves as the real one does."""

import asyncio
import contextlib
import gzip
import itertools
import socket
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

Body = bytes | Callable[[], bytes]

# What a test takes for never. It ends, so that a client without a timeout fails rather than hangs,
# and is longer than what a loaded machine may take.
NEVER_S = 1000


class Hangup(Exception):  # noqa: N818 - what an answer raises to have its connection closed
    pass


@dataclass
class Line:
    """The connection that an answer is given on."""

    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self, code: int, headers: Mapping[str, str]) -> None:
        lines = [f"HTTP/1.1 {code} {HTTPStatus(code).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        await self.send("\r\n".join([*lines, "", ""]).encode())


Answer = Callable[[Line], Awaitable[None]]


def ok(body: Body = b"", content_type: str = "image/jpeg", **headers: str) -> Answer:
    return status(200, body, {"Content-Type": content_type, **headers})


def status(code: int, body: Body = b"", headers: Mapping[str, str] | None = None) -> Answer:
    async def answer(line: Line) -> None:
        data = body() if callable(body) else body
        await line.head(code, {"Content-Length": str(len(data)), **(headers or {})})
        await line.send(data)

    return answer


def redirect(to: str, code: int = 302) -> Answer:
    return status(code, headers={"Location": to})


def in_turn(*answers: Answer) -> Answer:
    """One answer after the other, and the last for ever."""
    following = itertools.chain(answers[:-1], itertools.repeat(answers[-1]))

    async def answer(line: Line) -> None:
        await next(following)(line)

    return answer


def late(delay_s: float, then: Answer) -> Answer:
    async def answer(line: Line) -> None:
        await asyncio.sleep(delay_s)
        await then(line)

    return answer


def silent() -> Answer:
    """Never an answer."""
    return late(NEVER_S, status(200))


def slow_headers(pause_s: float) -> Answer:
    """A header line every now and then, and never the last one."""

    async def answer(line: Line) -> None:
        await line.send(b"HTTP/1.1 200 OK\r\n")
        for _ in range(int(NEVER_S / pause_s)):
            await line.send(b"X-Patience: yes\r\n")
            await asyncio.sleep(pause_s)

    return answer


def slow_body(body: bytes, pause_s: float) -> Answer:
    """The body byte by byte."""

    async def answer(line: Line) -> None:
        await line.head(200, {"Content-Length": str(len(body))})
        for byte in body:
            await asyncio.sleep(pause_s)
            await line.send(bytes([byte]))

    return answer


def closed() -> Answer:
    """The connection is closed before an answer."""

    async def answer(line: Line) -> None:
        raise Hangup

    return answer


def short(body: bytes, missing: int = 1) -> Answer:
    """The connection is closed before the body has the length that was announced."""

    async def answer(line: Line) -> None:
        await line.head(200, {"Content-Length": str(len(body) + missing)})
        await line.send(body)
        raise Hangup

    return answer


def reset(body: bytes) -> Answer:
    """The connection is reset in the middle of the body."""

    async def answer(line: Line) -> None:
        await line.head(200, {"Content-Length": str(2 * len(body))})
        await line.send(body)
        await asyncio.sleep(0.02)  # a reset throws away what has not been read
        connection = line.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Hangup

    return answer


def garbage(data: bytes) -> Answer:
    """Anything but HTTP."""

    async def answer(line: Line) -> None:
        await line.send(data)
        raise Hangup

    return answer


def huge(length: int) -> Answer:
    """A length is announced, and nothing comes."""

    async def answer(line: Line) -> None:
        await line.head(200, {"Content-Length": str(length)})
        await asyncio.sleep(NEVER_S)

    return answer


def endless() -> Answer:
    """No length, and no end."""

    async def answer(line: Line) -> None:
        await line.head(200, {"Connection": "close"})
        while True:
            await line.send(bytes(2**16))

    return answer


def gzip_bomb(size: int) -> Answer:
    """A thousandth of `size` bytes that unpack to it."""
    return ok(gzip.compress(bytes(size)), **{"Content-Encoding": "gzip"})


@dataclass
class BadWeb:
    """A running server.

    Attributes:
        requests: how often each path was asked for, as it stood in the request.
        headers: those of the last request for each path; names in lower case.
        peak: the most requests at once.
        peak_of: the most requests at once by the host that they named.
    """

    host: str
    port: int = 0
    scheme: str = "http"
    requests: Counter[str] = field(default_factory=Counter)
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    peak: int = 0
    peak_of: Counter[str] = field(default_factory=Counter)
    _answers: dict[str, Answer] = field(default_factory=dict)
    _busy: Counter[str] = field(default_factory=Counter)

    def add(self, path: str, answer: Answer) -> str:
        """Answer a path; returns its address."""
        self._answers[path] = answer
        return self.at(self.host, path)

    def at(self, host: str, path: str) -> str:
        """The address of a path under another name of the host."""
        return f"{self.scheme}://{host}:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while request := (await reader.readuntil(b"\r\n\r\n")).decode().splitlines():
                answering = asyncio.create_task(self._answer(request, Line(writer)))
                # A client that gives up is not to be counted until the answer would have ended.
                leaving = asyncio.create_task(reader.read(1))
                await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
                leaving.cancel()
                if not answering.done():
                    answering.cancel()
                    break
                await answering
                await asyncio.wait((leaving,))
        except (Hangup, OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(self, request: list[str], line: Line) -> None:
        path = request[0].split()[1]
        pairs = (header.partition(":") for header in request[1:] if header)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        self.requests[path] += 1
        self.headers[path] = headers
        with self._counted(headers["host"].rsplit(":", 1)[0]):
            await self._answers.get(path, status(404))(line)

    @contextlib.contextmanager
    def _counted(self, host: str) -> Iterator[None]:
        self._busy[host] += 1
        self.peak = max(self.peak, self._busy.total())
        self.peak_of[host] = max(self.peak_of[host], self._busy[host])
        try:
            yield
        finally:
            self._busy[host] -= 1


@contextlib.contextmanager
def bad_web(
    pages: Mapping[str, Answer] | None = None,
    host: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
) -> Iterator[BadWeb]:
    """Serve on a port of its own of a loopback address, in a thread, until the context is left.

    Args:
        pages: answers by path; `add` takes more at any time, and any other path is a 404.
        host: 127.0.0.1, or another address of 127.0.0.0/8, which Linux answers on, too.
        tls: serve https with its certificate.
    """
    web = BadWeb(host, scheme="https" if tls else "http", _answers=dict(pages or {}))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="bad web", daemon=True)
    thread.start()
    listening = asyncio.start_server(web.serve, host, 0, ssl=tls, backlog=512)
    server = asyncio.run_coroutine_threadsafe(listening, loop).result(300)
    web.port = server.sockets[0].getsockname()[1]
    try:
        yield web
    finally:
        asyncio.run_coroutine_threadsafe(_stop(server), loop).result(300)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(300)
        loop.close()


async def _stop(server: asyncio.Server) -> None:
    server.close()
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0)  # what was closed is closed in the loop's next round
