"""Storage that several processes write at the same time, and objects that are created once."""

import errno
import hashlib
import os
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from colorgan.errors import ColorganError, ConfigError, NotInStorage
from colorgan.storage import TEMPORARY, Storage, open_storage
from colorgan.storage.local import LocalStorage
from tests.faulty_s3 import Fault, faulty_s3
from tests.races import race
from tests.s3_server import S3Server

opened = cache(open_storage)


@pytest.fixture
def local(tmp_path: Path) -> Storage:
    return open_storage(str(tmp_path / "storage"))


@pytest.fixture
def bucket(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    return s3.new_bucket()


@pytest.fixture(params=["local", "s3"])
def storage(request: pytest.FixtureRequest) -> Storage:
    if request.param == "local":
        return request.getfixturevalue("local")
    return open_storage(f"s3://{request.getfixturevalue('bucket')}/{uuid.uuid4().hex}")


def test_what_is_created_stays_and_the_same_again_is_no_loss(storage: Storage) -> None:
    assert storage.create("a/b", b"first")
    assert not storage.create("a/b", b"second")
    assert storage.create("a/b", b"first")
    assert storage.get("a/b") == b"first"
    storage.delete("a/b")
    assert storage.create("a/b", b"second")
    assert storage.list() == ["a/b"]


def create(number: int, uri: str, me: str) -> bool:
    return opened(uri).create(f"round/{number}", me.encode() * 500)


@pytest.mark.parametrize(("kind", "processes", "rounds"), [("local", 3, 200), ("s3", 2, 6)])
def test_of_processes_that_create_the_same_object_one_succeeds(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, processes: int, rounds: int
) -> None:
    uri = str(tmp_path / "s")
    if kind == "s3":  # which does not look and write in one step: see colorgan.storage
        uri = f"s3://{request.getfixturevalue('bucket')}/s"
    everybody = [str(each) for each in range(processes)]
    claims = race(create, [(uri, me) for me in everybody], rounds)
    assert [sum(each) for each in claims] == [1] * rounds
    storage = open_storage(uri)
    for number, each in enumerate(claims):
        assert storage.get(f"round/{number}") == everybody[each.index(True)].encode() * 500
    assert len(storage.list()) == rounds


@pytest.mark.parametrize("fault", [409, 501, 503, "lost"])
def test_what_servers_do_with_a_creation(
    s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch, fault: int | str
) -> None:
    """A write is under way; no conditional writes; busy; written, and its answer is lost."""
    with faulty_s3(s3.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        storage = open_storage(f"s3://{bucket}")
        storage.put("there", b"before")
        proxy.fault = _first_put(fault)
        assert storage.create("new", b"mine")
        assert proxy.faults == {fault: 1}
        proxy.fault = lambda number, method, path: fault if method == "PUT" else None
        assert not storage.create("there", b"mine")
    assert storage_of(s3, bucket, "new") == b"mine"
    assert storage_of(s3, bucket, "there") == b"before"


def _first_put(fault: int | str) -> Fault:
    faults = iter([fault])
    return lambda number, method, path: next(faults, None) if method == "PUT" else None


def storage_of(s3: S3Server, bucket: str, key: str) -> bytes:
    content: bytes = s3.client().get_object(Bucket=bucket, Key=key)["Body"].read()
    return content


def test_of_two_creators_one_succeeds_where_the_server_knows_no_conditions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that overwrites whatever it is told, and here as late as it can."""
    both = threading.Barrier(2)
    objects: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer(200 if self.path in objects or self.path == "/bucket" else 404)

        def do_GET(self) -> None:
            self.answer(200)
            self.wfile.write(objects[self.path])

        def do_PUT(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            both.wait(60)  # each has seen that there is no object
            objects[self.path] = data
            self.answer(200, data)

        def answer(self, status: int, data: bytes | None = None) -> None:
            content = objects.get(self.path, b"")
            self.send_response(status)
            self.send_header(
                "ETag", f'"{hashlib.md5(content if data is None else data).hexdigest()}"'
            )
            self.send_header("Content-Length", str(len(content) if data is None else 0))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        for name, value in S3Server(f"http://127.0.0.1:{server.server_port}").environment().items():
            monkeypatch.setenv(name, value)
        storages = [open_storage("s3://bucket") for _ in range(2)]
        with ThreadPoolExecutor(2) as threads:
            names = [b"one", b"two"]
            tasks = [
                threads.submit(storage.create, "k", name)
                for storage, name in zip(storages, names, strict=True)
            ]
            created = [task.result(60) for task in tasks]
        server.shutdown()
    assert sorted(created) == [False, True]
    assert objects == {"/bucket/k": names[created.index(True)]}


def test_a_file_system_without_hard_links_creates_as_well(
    local: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    test_what_is_created_stays_and_the_same_again_is_no_loss(local)


def test_a_folder_in_the_way_of_what_is_created(local: Storage) -> None:
    local.put("a/b", b"")
    with pytest.raises(ColorganError, match=r"cannot write a to .*: Is a directory"):
        local.create("a", b"")


def read_or_delete(number: int, uri: str, me: str) -> Counter[str]:
    """What the reader's readings came to, while the other writes and deletes."""
    storage, seen = opened(uri), Counter[str]()
    give_up = time.monotonic() + 600
    if me == "writer":
        while not storage.exists("enough") and time.monotonic() < give_up:
            storage.put("a/folder/object", b"content" * 1000)
            storage.delete("a/folder")
        return seen
    target = Path(f"{uri}-read") / me
    uses: dict[str, Callable[[], bytes]] = {
        "get": lambda: storage.get("a/folder/object"),
        "open": lambda: storage.open("a/folder/object").read(),
        "get_file": lambda: storage.get_file("a/folder/object", target) or target.read_bytes(),
    }
    while any(seen[each] < 50 for each in (*uses, "absent")) and time.monotonic() < give_up:
        for name, use in uses.items():
            try:
                seen[name] += use() == b"content" * 1000
            except NotInStorage:
                seen["absent"] += 1
        assert storage.folders("a") in ([], ["folder"])
        assert storage.list("a") in ([], ["a/folder/object"])
    storage.put("enough", b"")
    return seen


def test_what_is_deleted_while_it_is_read_is_absent(tmp_path: Path) -> None:
    uri = str(tmp_path / "s")
    ((_, seen),) = race(read_or_delete, [(uri, "writer"), (uri, "reader")], 1)
    assert all(seen[outcome] >= 50 for outcome in ("get", "open", "get_file", "absent")), seen


def write_and_delete(number: int, uri: str, me: str) -> None:
    storage = opened(uri)
    for turn in range(100):
        storage.put(f"a/b/c/{me}-{turn}", b"content")
        storage.delete("a/b")


def test_writers_and_deleters_of_a_folder_do_not_fail_by_each_other(tmp_path: Path) -> None:
    uri = str(tmp_path / "s")
    race(write_and_delete, [(uri, "one"), (uri, "two"), (uri, "three")], 1)
    open_storage(uri).delete("a")
    assert open_storage(uri).list() == []


def test_a_write_is_on_the_disk_with_its_name_and_its_folders(
    local: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    sync = os.fsync

    def record(handle: int) -> None:
        synced.append(Path(f"/proc/self/fd/{handle}").readlink().name)
        sync(handle)

    monkeypatch.setattr(os, "fsync", record)
    local.put("a/b/c", b"")
    *folders, content, folder = synced
    assert {"storage", "a"} <= set(folders)
    assert content.startswith(TEMPORARY)
    assert folder == "b"
    synced.clear()
    assert local.create("a/b/d", b"")
    assert synced[-1] == "b"


def test_what_writers_left_that_died_is_cleared_away(local: Storage, tmp_path: Path) -> None:
    local.put("a/b", b"")
    folder = tmp_path / "storage" / "a"
    old, young = (folder / f"{TEMPORARY}{name}" for name in ("old", "young"))
    for each in (old, young):
        each.write_bytes(b"half of it")
    a_week_ago = time.time() - 7 * 24 * 3600
    os.utime(old, (a_week_ago, a_week_ago))
    LocalStorage(tmp_path / "storage").put("a/c", b"")
    assert young.exists()
    assert not old.exists()
    assert local.list() == ["a/b", "a/c"]


def test_a_link_is_followed_and_its_deletion_spares_what_it_leads_to(
    local: Storage, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "larger disk"
    elsewhere.mkdir()
    local.put("datasets/a/x", b"")
    (tmp_path / "storage" / "datasets" / "b").symlink_to(elsewhere)
    local.put("datasets/b/y", b"content")
    assert (elsewhere / "y").read_bytes() == b"content"
    assert local.folders("datasets") == ["a", "b"]
    local.delete("datasets/b")
    assert (elsewhere / "y").exists()
    assert local.folders("datasets") == ["a"]


@pytest.mark.parametrize("key", ["a/Stra\udcdfe", f"{TEMPORARY}x", f"a/{TEMPORARY}x/b"])
def test_keys_that_no_storage_could_show_are_refused(storage: Storage, key: str) -> None:
    for use in (lambda: storage.put(key, b""), lambda: storage.create(key, b"")):
        with pytest.raises(ConfigError, match="is not a storage key"):
            use()
    with suppress(ConfigError):
        assert not storage.exists(key)
    assert storage.list() == []
