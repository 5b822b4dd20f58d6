"""Downloads from servers that stall, lie, redirect in circles and point to private addresses.

Many threads share one `Fetcher`. It runs one event loop in its own thread, so that hundreds of
slow servers cost sockets but no threads. Servers control where a redirect leads and what a name
resolves to, so every IP address is checked when its socket is created, and not earlier.
"""

import asyncio
import hashlib
import ipaddress
import os
import random
import socket
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Self, TypeVar
from weakref import WeakValueDictionary

import aiohttp
from aiohttp.abc import AbstractResolver
from pydantic import Field
from yarl import URL

from colorgan.errors import ColorganError, ImageRejected
from colorgan.options import Configuration, Count, NaturalNumber, option
from colorgan.version import __version__

Read = TypeVar("Read")
Reader = Callable[[aiohttp.ClientResponse, asyncio.Timeout], Awaitable[Read]]

# The wait before retry n, counted from 0, is random between 0 and BACKOFF_S * 2**n seconds, at most
# MAX_BACKOFF_S. It is longer if the server asks for it, up to MAX_RETRY_AFTER_S.
BACKOFF_S = 0.5
MAX_BACKOFF_S = 10.0
MAX_RETRY_AFTER_S = 30.0

# Placeholders that hosts send with status 200 instead of a photograph, by the MD5 of the body.
# Downloaders of the ImageNet lists of 2011 collected them.
KNOWN_PLACEHOLDERS = {
    "880a7a58e05d3e83797f27573bb6d35c": "Flickr's 'this photo is no longer available'",
    "596246739a83bb45e30e13437e0810d9": "a warning sign",
    "969e595182a947c7fdaaef4a34401760": "a forbidden sign",
    "af5db09e39ca35d8930b4e59962e09e5": "HugeDomains' logo",
}
_PLACEHOLDER_FILES = ("photo_unavailable.png", "photo_unavailable_l.png", "photo_unavailable.gif")

_REDIRECTS = (301, 302, 303, 307, 308)
_REASONS = {404: "gone", 410: "gone", 401: "forbidden", 403: "forbidden", 451: "forbidden"}
_PASSING_STATUSES = (408, 425, 429, 500, 502, 503, 504)

_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


@dataclass(frozen=True)
class FetchConfig(Configuration):
    """Limits on concurrent downloads, their size, time and retries."""

    connections: Count = option(64, "concurrent downloads")
    per_host: Count = option(8, "concurrent downloads from one host")
    timeout_s: Annotated[float, Field(gt=0)] = option(
        30.0, "time limit of one attempt, headers and body together, in seconds"
    )
    retries: NaturalNumber = option(3, "retries after a transient fault")
    max_mib: Count = option(20, "largest file to download, in MiB")
    max_redirects: NaturalNumber = option(5, "maximum number of redirects to follow")
    allow_private: bool = option(False, "also download from private and loopback addresses")

    def share(self, workers: int) -> "FetchConfig":
        """The limits of one of several worker processes that keep these limits together.

        Each process has at least one connection, so more workers than `per_host` exceed that limit.
        """
        connections = max(1, self.connections // workers)
        return replace(self, connections=connections, per_host=max(1, self.per_host // workers))


def is_public(address: str) -> bool:
    """Whether a text is the IP address of a host on the public internet.

    Private, loopback, link-local, shared (CGNAT), multicast and reserved addresses are not public,
    nor are IPv6 addresses that embed one of these. A text that is not an address gives False.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        # Python does not count 2001::/23, which includes Teredo's 2001::/32, as global.
        if ip not in _GLOBAL_UNICAST:
            return False
    return ip.is_global and not ip.is_multicast


class Fetcher:
    """Downloads for many threads at once; a context manager.

    Leaving the context, or `close`, cancels downloads in progress: a thread that waits in `get` or
    `download` then gets a ColorganError.

    Args:
        config: the limits and timeouts; None for the defaults.
        resolver: resolves host names; None for the system's resolver.

    Attributes:
        hosts: limits the downloads from each host that a thread asks at the moment.
    """

    def __init__(
        self, config: FetchConfig | None = None, resolver: AbstractResolver | None = None
    ) -> None:
        self._config = config or FetchConfig()
        self._resolver = resolver
        self._lock = threading.Lock()
        self._is_open = False
        self._all = asyncio.Semaphore(self._config.connections)
        # A list of photographs may name thousands of hosts, so unused entries must be dropped.
        self.hosts: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    def __enter__(self) -> Self:
        """Start the event loop's thread."""
        self._loop = asyncio.new_event_loop()
        # DNS lookups run in threads, one per connection, so that a dead name delays no other.
        self._loop.set_default_executor(ThreadPoolExecutor(self._config.connections, "dns"))
        self._thread = threading.Thread(target=self._loop.run_forever, name="fetch", daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        self._is_open = True
        return self

    def __exit__(self, *raised: object) -> None:
        """Close the fetcher."""
        self.close()

    def close(self) -> None:
        """Cancel downloads in progress; any thread may call this, also repeatedly."""
        with self._lock:
            if not self._is_open:
                return
            self._is_open = False
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def get(self, url: str) -> bytes:
        """Download a photograph from an http or https URL; the Content-Encoding is decoded.

        Raises:
            ImageRejected: with the reason "bad address", "refused address", "no such host",
                "certificate", "connection", "timeout", "gone", "forbidden", "too many requests",
                "server error", "HTTP status", "too many redirects", "too large" or "placeholder".
            ColorganError: the fetcher is closed, or was closed during the download.
        """
        return self._wait(self._persist(url, "image/*", self._read_image))

    def download(self, url: str, path: Path) -> None:
        """Download a URL to a local file, which appears complete or not at all.

        The file may have any size and take any time: timeout_s only limits how long the server may
        take to start sending, and how long it may pause after that.

        Raises:
            ColorganError: it cannot be downloaded or written, or the fetcher was closed.
        """
        temporary = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
        try:
            with temporary.open("xb") as file:
                self._wait(self._persist(url, "*/*", partial(self._save, file=file)))
            temporary.replace(path)
        except ImageRejected as rejected:
            raise ColorganError(f"cannot download {_shown(url)}: {rejected}") from None
        except OSError as error:
            raise ColorganError(f"cannot write {path}: {error.strerror}") from None
        finally:
            temporary.unlink(missing_ok=True)

    def _wait(self, work: Coroutine[Any, Any, Read]) -> Read:
        # The lock ensures that _stop cancels every submitted download and none is submitted later.
        with self._lock:
            if not self._is_open:
                work.close()
                raise ColorganError("the fetcher is closed: no more downloads")
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except CancelledError:
            raise ColorganError("the download was stopped") from None
        finally:
            # Ctrl-C ends the wait and must also end the download.
            future.cancel()

    async def _start(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=self._resolver or aiohttp.ThreadedResolver(),
                socket_factory=self._open_socket,
                # _attempt limits connections: waiting here would use up an attempt's time.
                limit=0,
                # Idle connections are not limited, and thousands of hosts each leave some.
                keepalive_timeout=2,
            ),
            headers={"User-Agent": f"colorgan/{__version__}"},
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            trust_env=False,
            # Hosts with long lists of policies or cookies exceed aiohttp's limit of 8 KiB.
            max_field_size=2**16,
        )

    async def _stop(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._session.close()

    def _open_socket(self, info: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = info
        if not self._config.allow_private and not is_public(str(address[0])):
            raise _RefusedAddressError(str(address[0]))
        return socket.socket(family, kind, protocol)

    async def _persist(self, url: str, accept: str, read: Reader[Read]) -> Read:
        retry = 0
        while True:
            try:
                return await self._attempt(url, accept, read)
            except (ImageRejected, aiohttp.ClientError, TimeoutError, ValueError) as error:
                rejected = _explain(error)
            if not isinstance(rejected, _Passing) or retry == self._config.retries:
                raise ImageRejected(rejected.reason, rejected.detail)
            await asyncio.sleep(max(backoff(retry), rejected.wait))
            retry += 1

    async def _attempt(self, address: str, accept: str, read: Reader[Read]) -> Read:
        """Follow redirects, each in the queue of its own host, and read the final response.

        A request waits for its host without holding a slot of another host or of the total, so
        there is no deadlock.
        """
        url = _parse(address)
        headers = {"Accept": accept}
        time_left = self._config.timeout_s
        for _ in range(self._config.max_redirects + 1):
            if url.name in _PLACEHOLDER_FILES:
                raise ImageRejected("placeholder", url.name)
            queue = asyncio.Semaphore(self._config.per_host)
            queue = self.hosts.setdefault(str(url.raw_host), queue)
            async with queue, self._all:
                began = time.monotonic()
                async with (
                    asyncio.timeout(time_left) as clock,
                    self._session.get(url, headers=headers, allow_redirects=False) as response,
                ):
                    location = response.headers.get("Location")
                    if response.status not in _REDIRECTS or not location:
                        _check_status(response)
                        return await read(response, clock)
                time_left -= time.monotonic() - began
            url = _parse(location, url)
        raise ImageRejected("too many redirects", f"more than {self._config.max_redirects}")

    async def _read_image(self, response: aiohttp.ClientResponse, clock: asyncio.Timeout) -> bytes:
        limit = self._config.max_mib * 2**20
        body = bytearray()
        too_large = ImageRejected("too large", f"more than {self._config.max_mib} MiB")
        if (response.content_length or 0) > limit:
            raise too_large
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > limit:
                raise too_large
        known = KNOWN_PLACEHOLDERS.get(hashlib.md5(body, usedforsecurity=False).hexdigest())
        if known:
            raise ImageRejected("placeholder", known)
        return bytes(body)

    async def _save(
        self, response: aiohttp.ClientResponse, clock: asyncio.Timeout, file: BinaryIO
    ) -> None:
        # A previous attempt may have written part of the file.
        file.seek(0)
        file.truncate()
        async for chunk in response.content.iter_any():
            file.write(chunk)
            clock.reschedule(self._loop.time() + self._config.timeout_s)


class _RefusedAddressError(OSError):
    """An address that must not be connected to.

    It is an OSError, so that aiohttp tries the name's next address. Its text is always the same,
    because aiohttp combines errors with different texts into one new OSError.
    """

    def __init__(self, address: str) -> None:
        super().__init__("not a public address")
        self.address = address


class _Passing(ImageRejected):
    """A transient fault; `wait` is the delay in seconds that the server asks for."""

    def __init__(self, reason: str, detail: str, wait: float = 0) -> None:
        super().__init__(reason, detail)
        self.wait = wait


def _parse(address: str, base: URL | None = None) -> URL:
    """Parse a URL, percent-encoded, and resolve it against the one that redirected to it."""
    try:
        url = URL(address.strip())
        url = base.join(url) if base else url
    except ValueError:
        # yarl's message may contain the password.
        raise ImageRejected("bad address", "not a URL") from None
    if url.scheme not in ("http", "https") or not url.raw_host:
        raise ImageRejected("bad address", f"{url.scheme or 'no'} scheme, not http or https")
    # 2130706433, 0x7f.1 and 127.1 are 127.0.0.1, as in browsers.
    with suppress(OSError):
        url = url.with_host(socket.inet_ntoa(socket.inet_aton(url.raw_host)))
    return url


def _shown(address: str) -> str:
    try:
        return str(URL(address).with_user(None))
    except ValueError:
        return "the address"


def backoff(retry: int) -> float:
    """The seconds to wait before a retry, counted from 0, drawn from their whole range."""
    return random.uniform(0, min(MAX_BACKOFF_S, BACKOFF_S * 2**retry))


def _check_status(response: aiohttp.ClientResponse) -> None:
    status = response.status
    if status == 200:
        return
    detail = f"status {status}"
    if status in _PASSING_STATUSES:
        reason = "too many requests" if status == 429 else "server error"
        raise _Passing(reason, detail, retry_after(response.headers.get("Retry-After", "")))
    raise ImageRejected(_REASONS.get(status, "HTTP status"), detail)


def retry_after(value: str) -> float:
    """Parse a Retry-After header, seconds or a date, to seconds from now; 0 if it is invalid."""
    try:
        if value.isdigit():
            seconds = float(value)
        else:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, OverflowError):
        return 0
    return min(max(seconds, 0), MAX_RETRY_AFTER_S)


def _explain(error: Exception) -> ImageRejected:
    """Turn an error into a countable reason and one line of detail without the URL's password."""
    match error:
        case ImageRejected():
            return error
        case TimeoutError():
            return _Passing("timeout", "no whole answer in time")
        case aiohttp.ClientConnectorCertificateError(certificate_error=fault):
            return ImageRejected("certificate", getattr(fault, "verify_message", ""))
        case aiohttp.ClientConnectorDNSError(host=host, os_error=fault):
            unknown = fault.errno in (socket.EAI_NONAME, socket.EAI_NODATA)
            return (ImageRejected if unknown else _Passing)("no such host", host)
        case aiohttp.ClientConnectorError(
            host=host, os_error=_RefusedAddressError(address=address)
        ):
            return ImageRejected("refused address", f"{host} is at {address}, which is not public")
        case aiohttp.ClientPayloadError():
            return _Passing("connection", "the body is cut short or damaged")
        case aiohttp.ServerDisconnectedError():
            return _Passing("connection", "closed before an answer")
        case aiohttp.ClientResponseError():
            return _Passing("connection", "the answer is not HTTP")
        case aiohttp.ClientConnectorSSLError():
            return _Passing("connection", "the TLS handshake failed")
        case aiohttp.ClientOSError(errno=int(number)):
            return _Passing("connection", os.strerror(number))
        case ValueError():
            return ImageRejected("bad address", "not the name of a host")
        case _:
            return _Passing("connection", "cannot connect")
