"""What is particular to s3:// addresses, and what is said when the object store fails."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from colorgan.errors import ColorganError, ConfigError, Corrupt, NotInStorage
from colorgan.storage import open_storage
from tests.s3_server import S3Server
from tests.storage.conftest import LARGE
from tests.storage.servers import faulty_server, refused_quickly, use, written
from tests.waiting import PATIENCE_S


def test_large_files_go_to_s3_in_parts(s3: S3Server, bucket: str, large_file: Path) -> None:
    open_storage(f"s3://{bucket}").put_file("large.bin", large_file)
    head = s3.client().head_object(Bucket=bucket, Key="large.bin")
    assert head["ContentLength"] == LARGE
    assert head["ETag"].strip('"').endswith("-3")


def test_a_bucket_may_be_named_with_or_without_a_folder(s3: S3Server, bucket: str) -> None:
    whole, folder = open_storage(f"s3://{bucket}/"), open_storage(f"S3://{bucket}/a/b/")
    assert whole.uri == f"s3://{bucket}"
    assert folder.uri == f"s3://{bucket}/a/b"
    whole.put("x", b"")
    folder.put("y", b"")
    assert whole.list() == ["a/b/y", "x"]
    assert folder.list() == ["y"]
    assert whole.folders() == ["a"]


def test_markers_of_folders_are_no_keys(s3: S3Server, bucket: str) -> None:
    storage = open_storage(f"s3://{bucket}/root")
    client = s3.client()
    for key in ("root/", "root/a/", "root/a/b"):
        client.put_object(Bucket=bucket, Key=key, Body=b"")
    assert storage.list() == storage.list("a") == ["a/b"]
    storage.delete("a")
    assert storage.folders() == []


@pytest.mark.parametrize(
    "address",
    [
        "gs://bucket/x",
        "https://me:pass-w0rd@host/x",
        "file://host/x",
        "s3://",
        "s3://me:pass-w0rd@b",
    ],
)
def test_addresses_of_other_kinds_are_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="s3://bucket/prefix") as error:
        open_storage(address)
    assert "pass-w0rd" not in str(error.value)


def test_a_missing_bucket(s3: S3Server, bucket: str) -> None:
    words = refused_quickly("s3://no-such-bucket/x")
    assert f"no bucket no-such-bucket at {s3.endpoint}" in words
    assert "create it" in words


@pytest.mark.parametrize("wrong", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_credentials(
    s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    monkeypatch.setenv(wrong, "not-the-right-one")
    words = refused_quickly(f"s3://{bucket}/x")
    assert f"{s3.endpoint} refuses these credentials for bucket {bucket}" in words
    assert "check AWS_ACCESS_KEY_ID" in words
    assert s3.secret_key not in words
    assert "not-the-right-one" not in words


def test_no_credentials(s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    words = refused_quickly(f"s3://{bucket}/x")
    assert f"no credentials for bucket {bucket} at {s3.endpoint}; set AWS_ACCESS_KEY_ID" in words


def test_an_endpoint_that_is_not_there(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        use(monkeypatch, S3Server(f"http://me:pass-w0rd@127.0.0.1:{port}"))
        words = refused_quickly("s3://bucket/x")
    assert f"cannot reach http://127.0.0.1:{port}" in words
    assert "AWS_ENDPOINT_URL" in words
    assert "pass-w0rd" not in words


def test_a_secret_with_a_line_end_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, S3Server("http://127.0.0.1:9"))
    monkeypatch.setenv("AWS_SESSION_TOKEN", "pass-w0rd\nmore")
    assert "pass-w0rd" not in refused_quickly("s3://bucket/x")


def test_an_endpoint_that_is_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, S3Server("minio"))
    assert "AWS_ENDPOINT_URL is not" in refused_quickly("s3://bucket/x")


def test_a_bucket_that_vanishes_later(s3: S3Server, bucket: str, tmp_path: Path) -> None:
    storage = open_storage(f"s3://{bucket}/x")
    s3.client().delete_bucket(Bucket=bucket)
    for call in (
        lambda: storage.put("a", b""),
        lambda: storage.put_file("a", written(tmp_path, b"")),
        lambda: storage.get("a"),
        lambda: storage.list(),
        lambda: storage.folders(),
        lambda: storage.delete("a"),
    ):
        with pytest.raises(ColorganError, match=f"no bucket {bucket} at ") as error:
            call()
        assert not isinstance(error.value, NotInStorage)
        assert "\n" not in str(error.value)


def test_a_server_that_is_busy_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with faulty_server(busy=1) as endpoint:
        use(monkeypatch, S3Server(endpoint))
        assert open_storage("s3://bucket").get("key") == b"content"


def test_content_that_was_changed_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    with faulty_server({"x-amz-checksum-crc32": "AAAAAA=="}) as endpoint:
        use(monkeypatch, S3Server(endpoint))
        storage = open_storage("s3://bucket")
        with pytest.raises(Corrupt, match="cannot read key in s3://bucket: the checksum does not"):
            storage.get("key")


def test_content_that_is_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    with faulty_server({"Content-Length": "700"}) as endpoint:
        use(monkeypatch, S3Server(endpoint))
        storage = open_storage("s3://bucket")
        with pytest.raises(ColorganError, match="cannot read key in s3://bucket: "):
            storage.get("key")


def test_local_storage_needs_no_boto3(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['boto3'] = sys.modules['botocore'] = None\n"
        "from colorgan.storage import open_storage\n"
        f"s = open_storage({str(tmp_path)!r}); s.put('a', b'x'); assert s.get('a') == b'x'\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=PATIENCE_S)
