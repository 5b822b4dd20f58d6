"""Records of the services that serve packages, so that these are not removed.

services/<name>.json    a service: its packages, its machine and, if it is one process, its id

`python -m serve` records itself while it runs; `python -m serve.deploy` records what it has
deployed last, for each application and cluster. A service that is started in another way, such as
`serve run` or a RayService on Kubernetes, leaves no record; nor does `python -m serve` while it
serves the embedded models alone, which nobody can remove.
"""

import hashlib
import json
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import psutil

from colorgan.errors import ColorganError
from colorgan.packages.card import EMBEDDED_VERSION
from colorgan.storage import Storage
from colorgan.storage.documents import read_all, read_document

_SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Service:
    """A service and the packages that it serves.

    Attributes:
        name: unique among the services of a storage.
        what: what it is, as text for people.
        packages: the packages, as `model@version`.
        host: the machine on which it was started or deployed.
        since: time, UTC, ISO 8601.
        pid: its process there; 0 if it outlives the process that deployed it.
        created: creation time of that process, in seconds since the Unix epoch.
    """

    name: str
    what: str
    packages: tuple[str, ...]
    host: str
    since: str
    pid: int = 0
    created: float = 0.0
    schema_version: int = _SCHEMA_VERSION

    @property
    def key(self) -> str:
        """The key of its record."""
        return _key(self.name)

    @property
    def description(self) -> str:
        """What serves, from where and since when, as a clause."""
        return f"{self.what}, from {self.host}, since {self.since}"

    @property
    def has_ended(self) -> bool:
        """Whether its process is known to have ended: it was on this machine, and is gone."""
        if not self.pid or self.host != socket.gethostname():
            return False
        try:
            created: float = psutil.Process(self.pid).create_time()
        except psutil.NoSuchProcess:
            return True
        except psutil.Error:
            return False
        return abs(created - self.created) > 1


def services_of(storage: Storage) -> list[Service]:
    """The services that serve packages of a storage, without those that are known to have ended.

    Raises:
        Corrupt: a record cannot be read.
    """
    keys = [key for key in storage.list("services") if key.endswith(".json")]
    services = read_all(keys, lambda key: _read(storage, key))
    return [service for service in services if not service.has_ended]


def record_deployment(
    storage: Storage, application: str, cluster: str, packages: Iterable[str]
) -> None:
    """Record what is deployed as an application of a cluster, instead of what was before.

    Args:
        storage: the storage of the packages.
        application: the application's name.
        cluster: the address of the cluster, or the name of this machine.
        packages: the packages, as `model@version`.
    """
    what = f"application {application} of {cluster}, deployed by python -m serve.deploy"
    name = _deployment(application, cluster)
    _put(storage, Service(name, what, tuple(packages), socket.gethostname(), _now()))


def deployed(storage: Storage, application: str, cluster: str) -> Service | None:
    """The record of an application's last deployment; None if there is none."""
    key = _key(_deployment(application, cluster))
    return _read(storage, key) if storage.exists(key) else None


@contextmanager
def recorded(storage: Storage, what: str, packages: Iterable[str]) -> Iterator[str]:
    """Record this process as a service while the context lasts.

    Storage is not written if all packages are embedded ones: the record would protect nothing.

    Yields:
        An empty string, or a sentence for the user if storage cannot be written.
    """
    packages = tuple(packages)
    if all(each.partition("@")[2].startswith(EMBEDDED_VERSION) for each in packages):
        yield ""
        return
    process, host = psutil.Process(), socket.gethostname()
    created = process.create_time()
    name = f"process-{_digest(host, os.getpid(), created)}"
    service = Service(name, what, packages, host, _now(), os.getpid(), created)
    note = ""
    try:
        _put(storage, service)
    except ColorganError as error:
        note = f"colorgan models remove does not know this service: {error}"
    try:
        yield note
    finally:
        # The record of a process that has ended is ignored on its machine.
        with suppress(ColorganError):
            if not note:
                storage.delete(service.key)


def _deployment(application: str, cluster: str) -> str:
    return f"deployment-{_digest(application, cluster)}"


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _key(name: str) -> str:
    return f"services/{name}.json"


def _put(storage: Storage, service: Service) -> None:
    storage.put(service.key, (json.dumps(asdict(service), indent=2) + "\n").encode())


def _read(storage: Storage, key: str) -> Service:
    def build(fields: dict[str, Any]) -> Service:
        return Service(**{**fields, "packages": tuple(fields["packages"])})

    return read_document(storage.get(key), key, _SCHEMA_VERSION, build)
