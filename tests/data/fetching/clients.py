"""A fetcher for tests, and the names that it looks up."""

import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from colorgan.data import fetching
from colorgan.data.fetching import FetchConfig, Fetcher
from colorgan.errors import ImageRejected

BACKOFF_S = fetching.BACKOFF_S

PUBLIC = "127.0.0.2"


class Names(AbstractResolver):
    """Names of the test's own: addresses, one list an enquiry and the last for ever, or a fault."""

    def __init__(self, names: dict[str, list[list[str]] | OSError]) -> None:
        self.names = names
        self.asked: Counter[str] = Counter()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = self.names[host]
        self.asked[host] += 1
        if isinstance(found, OSError):
            raise found
        addresses = found[min(self.asked[host], len(found)) - 1]
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in addresses
        ]

    async def close(self) -> None:
        pass


def fetcher(resolver: AbstractResolver | None = None, **options: Any) -> Fetcher:
    quick = {"allow_private": True, "timeout_s": 5.0, "retries": 1}
    return Fetcher(FetchConfig(**(quick | options)), resolver)


def get(url: str, resolver: AbstractResolver | None = None, **options: Any) -> bytes:
    with fetcher(resolver, **options) as fetch:
        return fetch.get(url)


def rejection(
    url: str, resolver: AbstractResolver | None = None, **options: Any
) -> tuple[str, str]:
    """The reason and the detail."""
    with pytest.raises(ImageRejected) as caught:
        get(url, resolver, **options)
    assert "\n" not in str(caught.value)
    return caught.value.reason, caught.value.detail


def reason(url: str, resolver: AbstractResolver | None = None, **options: Any) -> str:
    return rejection(url, resolver, **options)[0]


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def self_signed(host: str, folder: Path) -> ssl.SSLContext:
    """What a server of TLS needs, with a certificate that nobody else has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    pem.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context
