"""A real S3-compatible object store on loopback: OpenStack Swift with its S3 API.

It runs as whoever starts it and writes nothing outside its folder, whose file system must know
extended attributes. By hand: ``python tests/s3_server.py FOLDER [PORT]`` serves until Ctrl-C.
"""

from __future__ import annotations

import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3.session

# Where each server's main function is.
SERVERS = {
    "account": "swift.account.server",
    "container": "swift.container.server",
    "object": "swift.obj.server",
    "proxy": "swift.proxy.server",
}
READY_WITHIN = 600.0  # seconds; three are usual, but not on a machine that starts Ray as well
LISTING = 10  # keys in one page of a listing, few enough that tests meet a second page

# One storage device and one copy of everything.
BUILD_RINGS = """
import sys
from swift.common.ring import RingBuilder
folder, *ports = sys.argv[1:]
for name, port in zip(("account", "container", "object"), ports):
    builder = RingBuilder(part_power=4, replicas=1, min_part_hours=1)
    builder.add_dev({"id": 0, "region": 1, "zone": 1, "weight": 1.0, "device": "disk",
                     "ip": "127.0.0.1", "port": int(port)})
    builder.rebalance()
    builder.get_ring().save(f"{folder}/{name}.ring.gz")
"""

# Swift reads /etc/swift/swift.conf as it is imported, unless it is told otherwise in time.
RUN_SERVER = """
import importlib, os, sys
from swift.common import utils
utils.set_swift_dir(os.path.dirname(sys.argv[1]))
importlib.import_module(sys.argv.pop()).main()
"""

SWIFT_CONF = """\
[swift-hash]
swift_hash_path_prefix = colorgan
swift_hash_path_suffix = colorgan
"""

# Without workers a server is one process, which does not try to become another user.
COMMON_CONF = """\
[DEFAULT]
bind_ip = {host}
bind_port = {port}
workers = 0
swift_dir = {etc}
devices = {devices}
mount_check = false
fallocate_reserve = 0
log_level = ERROR
[filter:healthcheck]
use = egg:swift#healthcheck
"""

STORAGE_CONF = """\
[pipeline:main]
pipeline = healthcheck {name}-server
[app:{name}-server]
use = egg:swift#{name}
recon_cache_path = {cache}
"""

PROXY_CONF = """\
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck listing_formats bulk s3api tempauth copy slo dlo \
versioned_writes proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:s3api]
use = egg:swift#s3api
location = {region}
min_segment_size = 1
max_bucket_listing = {listing}
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = {secret_key} .admin
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_versioned_writes = true
""" + "".join(
    f"[filter:{name}]\nuse = egg:swift#{name}\n"
    for name in ("bulk", "catch_errors", "copy", "dlo", "gatekeeper", "listing_formats", "slo")
)


@dataclass(frozen=True)
class S3Server:
    endpoint: str
    access_key: str = "test:tester"
    secret_key: str = "a-secret-for-tests"
    region: str = "us-east-1"

    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self) -> Any:
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=self.region,
        )

    def new_bucket(self) -> str:
        name = f"bucket-{uuid.uuid4().hex}"
        self.client().create_bucket(Bucket=name)
        return name


@contextmanager
def s3_server(folder: Path, port: int | None = None, host: str = "127.0.0.1") -> Iterator[S3Server]:
    folder = folder.resolve()
    ports = _free_ports(len(SERVERS) - 1 if port else len(SERVERS))
    if port:
        _claim(port)  # or another server's answers would be taken for ours
        ports.append(port)
    server = S3Server(f"http://{host}:{ports[-1]}")
    _configure(folder, ports, server, host)
    with ExitStack() as stack:
        running = [stack.enter_context(_process(folder, name)) for name in SERVERS]
        _wait_until_ready(folder, running, ports, host)
        yield server


def _free_ports(count: int) -> list[int]:
    """Ports below those that systems give out unasked, so that none is taken in the meantime."""
    found: list[int] = []
    for port in random.sample(range(20_000, 32_000), k=1000):
        with suppress(OSError):
            _claim(port)
            found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError("no free ports between 20000 and 32000")


def _claim(port: int) -> None:
    with socket.socket() as claimed:
        claimed.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        claimed.bind(("127.0.0.1", port))


def _configure(folder: Path, ports: list[int], server: S3Server, host: str) -> None:
    etc, cache, disk = folder / "etc", folder / "cache", folder / "devices" / "disk"
    for each in (etc, cache, disk):
        each.mkdir(parents=True, exist_ok=True)
    (etc / "swift.conf").write_text(SWIFT_CONF)
    for name, port in zip(SERVERS, ports, strict=True):
        conf = (COMMON_CONF + (PROXY_CONF if name == "proxy" else STORAGE_CONF)).format(
            name=name,
            # The proxy alone is asked from elsewhere.
            host=host if name == "proxy" else "127.0.0.1",
            port=port,
            etc=etc,
            devices=disk.parent,
            cache=cache,
            region=server.region,
            secret_key=server.secret_key,
            listing=LISTING,
        )
        (etc / f"{name}-server.conf").write_text(conf)
    command = [sys.executable, "-c", BUILD_RINGS, str(etc), *map(str, ports[:-1])]
    subprocess.run(command, check=True, timeout=READY_WITHIN)


@contextmanager
def _process(folder: Path, name: str) -> Iterator[subprocess.Popen[bytes]]:
    conf = str(folder / "etc" / f"{name}-server.conf")
    # A clean environment: no credentials or proxies of the person who runs the tests.
    environment = {k: v for k, v in os.environ.items() if k in ("HOME", "LANG", "PATH", "TMPDIR")}
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", RUN_SERVER, conf, "-v", SERVERS[name]],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(
    folder: Path, running: list[subprocess.Popen[bytes]], ports: list[int], host: str
) -> None:
    give_up = time.monotonic() + READY_WITHIN
    for name, process, port in zip(SERVERS, running, ports, strict=True):
        while not _healthy(host if name == "proxy" else "127.0.0.1", port):
            status = process.poll()
            if status is not None or time.monotonic() > give_up:
                what = (
                    f"gave no answer in {READY_WITHIN:g} s" if status is None else "did not start"
                )
                tail = (folder / f"{name}.log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"Swift's {name} server {what}; its log ends:\n{tail}")
            time.sleep(0.05)


def _healthy(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", "/healthcheck")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    for stop in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(stop, lambda *_: sys.exit())
    chosen = int(sys.argv[2]) if len(sys.argv) > 2 else None
    with suppress(KeyboardInterrupt), s3_server(Path(sys.argv[1]), chosen) as started:
        for variable, value in started.environment().items():
            print(f"export {variable}={value}")
        print(f"# a new bucket: s3://{started.new_bucket()}", flush=True)
        signal.pause()
