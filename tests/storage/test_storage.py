"""What every kind of storage does."""

from __future__ import annotations

import errno
import os
import pickle
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from colorgan.errors import ColorganError, ConfigError, NotInStorage
from colorgan.storage import Storage, open_storage, s3
from tests.s3_server import LISTING, S3Server
from tests.storage.conftest import LARGE
from tests.storage.servers import written


def test_what_was_put_is_got(storage: Storage) -> None:
    storage.put("runs/1/model.bin", b"\x00\xff weights")
    storage.put("empty", b"")
    assert storage.get("runs/1/model.bin") == b"\x00\xff weights"
    assert storage.get("empty") == b""


def test_a_second_put_replaces_the_first(storage: Storage) -> None:
    storage.put("a/b", b"a first and longer content")
    storage.put("a/b", b"second")
    assert storage.get("a/b") == b"second"
    assert storage.list() == ["a/b"]


def test_keys_may_hold_any_characters(storage: Storage) -> None:
    for key in ("ein Bild/größe 🐈.png", "a+b/c&d=e%20f#g?h", "dots.../..x/.hidden"):
        storage.put(key, key.encode())
        assert storage.get(key).decode() == key
        assert storage.exists(key)
        assert storage.list() == [key]
        assert storage.folders() == [key.split("/")[0]]
        storage.delete(key)
        assert storage.list() == []


def test_what_is_absent_is_said_in_one_sentence(storage: Storage, tmp_path: Path) -> None:
    storage.put("a/b", b"content")
    kept = tmp_path / "kept"
    kept.write_bytes(b"from before")
    for absent in ("a", "a/bc", "a/b/c", "x/y"):
        assert not storage.exists(absent)
        with pytest.raises(NotInStorage) as of_get:
            storage.get(absent)
        with pytest.raises(NotInStorage) as of_get_file:
            storage.get_file(absent, kept)
        assert str(of_get.value) == str(of_get_file.value) == f"{absent} is not in {storage.uri}"
    assert kept.read_bytes() == b"from before"
    assert storage.list("x") == storage.folders("x") == []


def test_list_and_folders_keep_to_their_folder(storage: Storage) -> None:
    keys = ["a/b/1", "a/b/c/2", "a/b.txt", "a/bc/3", "ab/4", "top"]
    for key in reversed(keys):
        storage.put(key, b"")
    assert storage.list() == sorted(keys)
    assert storage.list("a/b") == storage.list("a/b/") == ["a/b/1", "a/b/c/2"]
    assert storage.list("a") == ["a/b.txt", "a/b/1", "a/b/c/2", "a/bc/3"]
    assert storage.list("top") == []
    assert storage.folders() == ["a", "ab"]
    assert storage.folders("a") == storage.folders("a/") == ["b", "bc"]
    assert storage.folders("a/bc") == storage.folders("top") == []


def test_delete_takes_an_object_or_a_folder_and_nothing_beside_it(storage: Storage) -> None:
    for key in ("a/b/1", "a/b/c/2", "a/bc/3", "a/b.txt", "ab"):
        storage.put(key, b"")
    storage.delete("a/b")
    assert storage.list() == ["a/b.txt", "a/bc/3", "ab"]
    storage.delete("a/b.txt")
    storage.delete("a/bc/")
    assert storage.list() == ["ab"]
    assert storage.folders() == []
    storage.delete("a/b")  # absent by now
    assert storage.list() == ["ab"]


def test_more_keys_than_one_answer_holds(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "DELETE_BATCH", 7)
    keys = [f"many/{i:03}/x" for i in range(LISTING + 5)]
    for key in [*keys, "other"]:
        storage.put(key, b"")
    assert storage.list("many") == keys
    assert storage.folders("many") == [key.split("/")[1] for key in keys]
    storage.delete("many")
    assert storage.list() == ["other"]


def test_keys_that_lead_elsewhere_are_refused(storage: Storage, tmp_path: Path) -> None:
    path = written(tmp_path, b"content")
    uses: dict[str, Callable[[str], object]] = {
        "put": lambda key: storage.put(key, b""),
        "put_file": lambda key: storage.put_file(key, path),
        "get": storage.get,
        "get_file": lambda key: storage.get_file(key, path),
        "exists": storage.exists,
        "location": storage.location,
        "delete": storage.delete,
        "list": storage.list,
        "folders": storage.folders,
    }
    for key in ("", "/etc/passwd", "../x", "a/../../x", "a/..", "a//b", "./a", "a/"):
        # Folders may be written with a slash at the end, and "" is the whole storage to look at.
        allowed = {"": {"list", "folders"}, "a/": {"list", "folders", "delete"}}.get(key, set())
        for name, use in uses.items():
            if name not in allowed:
                with pytest.raises(ConfigError, match="is not a storage key"):
                    use(key)


def test_large_files_there_and_back(storage: Storage, large_file: Path, tmp_path: Path) -> None:
    storage.put_file("shards/large.bin", large_file)
    storage.get_file("shards/large.bin", tmp_path / "new folder" / "back.bin")
    back = tmp_path / "new folder" / "back.bin"
    assert back.read_bytes() == large_file.read_bytes()
    assert list(back.parent.iterdir()) == [back]
    storage.put_file("shards/large.bin", written(tmp_path, b"small now"))
    assert storage.get("shards/large.bin") == b"small now"


def test_an_object_is_read_in_parts(storage: Storage, large_file: Path) -> None:
    storage.put_file("large", large_file)
    data = large_file.read_bytes()
    with storage.open("large") as file:
        assert file.seek(-5, os.SEEK_END) == LARGE - 5
        assert file.read() == data[-5:]
        assert file.read() == b""
        file.seek(10 << 20)
        assert file.read(3 << 20) == data[10 << 20 : 13 << 20]
        assert file.read(7) == data[13 << 20 : (13 << 20) + 7]
    storage.put("empty", b"")
    with storage.open("empty") as file:
        assert file.read() == b""
    with pytest.raises(NotInStorage, match="none is not in"):
        storage.open("none")


def test_what_is_stored_is_compared_with_a_file(
    storage: Storage, large_file: Path, tmp_path: Path
) -> None:
    small, other = tmp_path / "small", tmp_path / "other"
    small.write_bytes(b"some bytes")
    other.write_bytes(b"same size?"[:10])
    storage.put_file("small", small)
    storage.put_file("large", large_file)
    assert storage.matches("small", small)
    assert storage.matches("large", large_file)
    assert not storage.matches("small", other)
    assert not storage.matches("small", large_file)
    assert not storage.matches("none", small)


def test_a_checksum_of_another_kind_has_the_object_read(
    s3: S3Server, bucket: str, credentials: None, tmp_path: Path
) -> None:
    """As of objects that were sent in parts of another size, or that the server encrypts."""
    storage, path = open_storage(f"s3://{bucket}"), tmp_path / "file"
    path.write_bytes(os.urandom(300_000))
    client = s3.client()
    upload = client.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    about = {"Bucket": bucket, "Key": "parts", "UploadId": upload}
    data = path.read_bytes()
    parts = [
        {
            "PartNumber": n,
            "ETag": client.upload_part(**about, PartNumber=n, Body=data[start : start + 100_000])[
                "ETag"
            ],
        }
        for n, start in enumerate(range(0, 300_000, 100_000), 1)
    ]
    client.complete_multipart_upload(**about, MultipartUpload={"Parts": parts})
    assert storage.matches("parts", path)
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert not storage.matches("parts", path)


def test_a_local_file_that_is_not_there(storage: Storage, tmp_path: Path) -> None:
    with pytest.raises(ColorganError, match=r"cannot copy .*nothing to a/b in .*: No such file"):
        storage.put_file("a/b", tmp_path / "nothing")
    assert storage.list() == []


def test_readers_see_one_whole_object_or_the_other(storage: Storage) -> None:
    contents = [bytes([i]) * 300_000 for i in range(10)]
    storage.put("key", contents[0])
    writer = threading.Thread(target=lambda: [storage.put("key", c) for c in contents])
    writer.start()
    while writer.is_alive():
        assert storage.get("key") in contents
        assert storage.list() == ["key"]
    writer.join()
    assert storage.get("key") == contents[-1]


def test_a_storage_travels_by_its_address(storage: Storage) -> None:
    storage.put("a/b", b"content")
    assert pickle.loads(pickle.dumps(storage)).get("a/b") == b"content"
    assert open_storage(storage.uri).get("a/b") == b"content"
    assert storage.location("a/b") == f"{storage.uri}/a/b"


def test_a_write_that_fails_changes_nothing(
    local: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local.put("a/b", b"old")
    during: list[list[str]] = []

    def full(_: int) -> None:
        during.append(local.list())
        raise OSError(errno.ENOSPC, "No space left on device")

    source = written(tmp_path, b"new")
    target = tmp_path / "target"
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ColorganError, match=r"cannot write a/b to .*: No space left on device"):
        local.put("a/b", b"new")
    with pytest.raises(ColorganError, match=r"cannot copy .* to a/b in .*: No space left"):
        local.put_file("a/b", source)
    with pytest.raises(ColorganError, match=r"cannot copy a/b to .*: No space left"):
        local.get_file("a/b", target)
    assert during == [["a/b"]] * 3
    assert local.get("a/b") == b"old"
    assert [p.name for p in (tmp_path / "storage" / "a").iterdir()] == ["b"]
    assert not target.exists()


def test_what_a_killed_writer_leaves_is_not_listed(
    local: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local.put("a/b", b"")
    monkeypatch.setattr(Path, "replace", lambda *_: None)
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)
    local.put("killed/c", b"")
    assert any((tmp_path / "storage" / "killed").iterdir())
    assert local.list() == ["a/b"]
    assert local.folders() == ["a"]


def test_a_file_in_the_way_of_a_folder(local: Storage) -> None:
    local.put("a", b"")
    with pytest.raises(ColorganError, match="cannot write a/b to "):
        local.put("a/b", b"")


def test_a_name_too_long_for_the_file_system(local: Storage) -> None:
    key = "a/" + "x" * 300
    for use in (lambda: local.put(key, b""), lambda: local.get(key), lambda: local.exists(key)):
        with pytest.raises(ColorganError, match="File name too long"):
            use()
    assert local.list() == []


def test_where_storage_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_storage().uri == str(tmp_path / "artifacts")
    monkeypatch.setenv("COLORGAN_STORAGE", "from/environment")
    assert open_storage().uri == str(tmp_path / "from/environment")
    assert open_storage("given").uri == str(tmp_path / "given")
    assert open_storage("file:///some%20where/x").uri == "/some where/x"
    assert list(tmp_path.iterdir()) == []


def test_pyarrow_finds_what_is_stored(storage: Storage) -> None:
    from pyarrow import fs

    storage.put("a/b", b"content")
    system, path = fs.FileSystem.from_uri(storage.location("a"))
    with system.open_input_stream(f"{path}/b") as stream:
        assert stream.read() == b"content"
    with system.open_output_stream(f"{path}/c") as stream:
        stream.write(b"from pyarrow")
    assert storage.list("a") == ["a/b", "a/c"]
    assert storage.get("a/c") == b"from pyarrow"


def test_a_file_is_no_storage(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a file: give a folder"):
        open_storage(str(written(tmp_path, b"")))
