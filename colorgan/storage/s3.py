"""A storage in an S3 bucket."""

# ruff: noqa: D102 - Storage documents the methods.

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from colorgan.errors import (
    ColorganError,
    ConfigError,
    Corrupt,
    NotInStorage,
    StorageUnavailable,
)
from colorgan.storage.interface import Storage, checked_folder, checked_key
from colorgan.storage.s3_objects import S3File, digest, entity_tags

DELETE_BATCH = 1000  # S3's maximum per request
_LARGE = 16 * 1024 * 1024  # bytes; larger objects are uploaded in concurrent parts
_PART = 8 * 1024 * 1024  # bytes per part
_READ_AHEAD = 256 * 1024  # minimum number of bytes per ranged request
_SETTLING_S = 0.5  # minimum wait for another write that began before ours ended
_ATTEMPTS = 10  # attempts to create an object that others create and delete at the same time
_DECIDES = "AmazonS3"  # the `Server` header of servers whose conditional writes are atomic
_Names = list[str]  # inside the class `list` is a method


class S3Storage(Storage):
    """The objects of a bucket under one prefix."""

    remote = True

    def __init__(self, bucket: str, prefix: str) -> None:
        if not re.fullmatch(r"[A-Za-z0-9._-]{3,255}", bucket):
            # The message does not repeat it: some libraries accept s3://key:secret@bucket.
            raise ConfigError(
                "an S3 storage is s3://bucket/prefix with letters, digits, '.', '-' and '_' in the "
                "bucket's name; credentials belong in the environment (AWS_ACCESS_KEY_ID, ...)"
            )
        self._bucket = bucket
        self._root = checked_folder(prefix)
        self.uri = f"s3://{bucket}/{self._root}".rstrip("/")
        self._endpoint = "AWS"
        self._connect()

    def _connect(self) -> None:
        from boto3.s3.transfer import TransferConfig
        from boto3.session import Session
        from botocore.config import Config

        self._transfer = TransferConfig(multipart_threshold=_LARGE, multipart_chunksize=_PART)
        patient = Config(retries={"mode": "standard", "total_max_attempts": 5}, connect_timeout=10)
        hasty = Config(
            retries={"mode": "standard", "total_max_attempts": 2}, connect_timeout=3, read_timeout=5
        )
        with self._plainly("open"):
            session = Session()
            try:
                self._client: Any = session.client("s3", config=patient)
            except ValueError as error:
                raise ConfigError("AWS_ENDPOINT_URL is not an http:// address") from error
            address = urlsplit(self._client.meta.endpoint_url)
            # Anything before an @ in an address is a user name and a password.
            self._endpoint = f"{address.scheme}://{address.netloc.rpartition('@')[2]}"
            session.client("s3", config=hasty).head_bucket(Bucket=self._bucket)

    def put(self, key: str, data: bytes) -> None:
        name = self._name(key)
        with self._plainly(f"write {key} to"):
            if len(data) > _LARGE:
                self._client.upload_fileobj(
                    io.BytesIO(data), self._bucket, name, Config=self._transfer
                )
            else:
                self._client.put_object(Bucket=self._bucket, Key=name, Body=data)

    def create(self, key: str, data: bytes) -> bool:
        """Create the object with a conditional write, and trust the answer only from AWS.

        Not every S3 server writes conditionally. Some ignore `If-None-Match` and overwrite, some
        refuse it, and OpenStack Swift checks for the object before it reads the new one, so that
        two concurrent writers are both told that they created it. On these servers, the last
        writer wins among those whose writes began before the first one ended. Each of them waits
        until the other writes must have ended, and then checks whose object is there: Fischer's
        mutual exclusion by waiting (Lamport 1987, A fast mutual exclusion algorithm).
        """
        doing = f"write {key} to"
        for attempt in range(_ATTEMPTS):
            with suppress(NotInStorage):
                self._head(key)
                return self.get(key) == data
            began = time.monotonic()
            with self._plainly(doing):
                answer = self._write_if_absent(self._name(key), data)
            if answer is None:
                time.sleep(min(0.05 * 2**attempt, 1.0))
                continue
            if answer["ResponseMetadata"]["HTTPHeaders"].get("server") == _DECIDES:
                return True
            time.sleep(max(_SETTLING_S, 2 * (time.monotonic() - began)))
            with suppress(NotInStorage):
                return self._head(key)["ETag"] == answer["ETag"] or self.get(key) == data
        raise StorageUnavailable(
            f"cannot {doing} {self.uri}: other processes keep writing and deleting it; try again"
        )

    def _write_if_absent(self, name: str, data: bytes) -> dict[str, Any] | None:
        """The server's answer; None if an object exists, or may exist, in the meantime."""
        from botocore.exceptions import ClientError

        request = {"Bucket": self._bucket, "Key": name, "Body": data}
        answer: dict[str, Any]
        try:
            answer = self._client.put_object(**request, IfNoneMatch="*")
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if status in (409, 412):  # another write of this key is in progress, or complete
                return None
            if status != 501:
                raise
            answer = self._client.put_object(**request)  # no support for conditional writes
        return answer

    def put_file(self, key: str, path: Path) -> None:
        name = self._name(key)
        with self._plainly(f"copy {path} to {key} in"), path.open("rb") as source:
            self._client.upload_fileobj(source, self._bucket, name, Config=self._transfer)

    def get(self, key: str) -> bytes:
        name = self._name(key)
        with self._plainly(f"read {key} in", key):
            answer = self._client.get_object(Bucket=self._bucket, Key=name)
            data: bytes = answer["Body"].read()
            return data

    def get_file(self, key: str, path: Path) -> None:
        name = self._name(key)
        with self._plainly(f"copy {key} to {path} from", key):
            path.parent.mkdir(parents=True, exist_ok=True)
            # boto3 downloads to a temporary name and then renames the file.
            self._client.download_file(self._bucket, name, str(path))

    def open(self, key: str) -> io.BufferedReader:
        size = self._head(key)["ContentLength"]
        return io.BufferedReader(
            S3File(lambda start, end: self._part(key, start, end), size), _READ_AHEAD
        )

    def matches(self, key: str, path: Path) -> bool:
        try:
            said = self._head(key)
        except NotInStorage:
            return False
        with self._plainly(f"compare {path} with {key} in"):
            if said["ContentLength"] != path.stat().st_size:
                return False
            etag = said["ETag"].strip('"')
            if etag in entity_tags(path, _PART):
                return True
        # The ETag of an object that the server encrypts says nothing about its content.
        with self.open(key) as stored, path.open("rb") as file:
            return digest(stored, _LARGE) == digest(file, _LARGE)

    def _head(self, key: str) -> dict[str, Any]:
        name = self._name(key)
        with self._plainly(f"look for {key} in", key):
            said: dict[str, Any] = self._client.head_object(Bucket=self._bucket, Key=name)
            return said

    def _part(self, key: str, start: int, end: int) -> bytes:
        """The object's bytes from `start` up to, but excluding, `end`."""
        name = self._name(key)
        with self._plainly(f"read {key} in", key):
            answer = self._client.get_object(
                Bucket=self._bucket, Key=name, Range=f"bytes={start}-{end - 1}"
            )
            data: bytes = answer["Body"].read()
            return data

    def exists(self, key: str) -> bool:
        try:
            self._head(key)
        except NotInStorage:
            return False
        return True

    def list(self, prefix: str = "") -> _Names:
        names = self._names(self._root + checked_folder(prefix))
        # Other programs mark an empty folder with an object whose name ends in a slash.
        return sorted(n.removeprefix(self._root) for n in names if not n.endswith("/"))

    def folders(self, prefix: str = "") -> _Names:
        start = self._root + checked_folder(prefix)
        pages = self._pages(Prefix=start, Delimiter="/")
        entries = [entry for page in pages for entry in page.get("CommonPrefixes", [])]
        return sorted(entry["Prefix"].removeprefix(start).rstrip("/") for entry in entries)

    def delete(self, prefix: str) -> None:
        name = self._name(prefix.removesuffix("/"))
        doomed = [name, *self._names(f"{name}/")]
        for start in range(0, len(doomed), DELETE_BATCH):
            batch = [{"Key": each} for each in doomed[start : start + DELETE_BATCH]]
            with self._plainly(f"delete {prefix} from"):
                answer = self._client.delete_objects(
                    Bucket=self._bucket, Delete={"Objects": batch, "Quiet": True}
                )
            for error in answer.get("Errors", []):
                raise ColorganError(
                    f"cannot delete {error.get('Key')} from s3://{self._bucket}: "
                    f"{error.get('Code')} {error.get('Message')}"
                )

    def _name(self, key: str) -> str:
        return self._root + checked_key(key)

    def _names(self, start: str) -> _Names:
        pages = self._pages(Prefix=start)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def _pages(self, **request: str) -> Iterator[dict[str, Any]]:
        with self._plainly(f"list {request['Prefix'] or 'everything'} in"):
            paginator = self._client.get_paginator("list_objects_v2")
            yield from paginator.paginate(Bucket=self._bucket, **request)

    @contextmanager
    def _plainly(self, doing: str, key: str | None = None) -> Iterator[None]:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import (
            BotoCoreError,
            ClientError,
            ConnectionError,
            FlexibleChecksumError,
            HTTPClientError,
        )

        failed = f"cannot {doing} {self.uri}: "
        try:
            yield
        except ClientError as error:
            if key is not None and error.response["Error"].get("Code") in ("404", "NoSuchKey"):
                raise self.absent(key) from error
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            kind = StorageUnavailable if status >= 500 or status == 429 else ColorganError
            raise kind(failed + self._refusal(error)) from error
        except FlexibleChecksumError as error:
            raise Corrupt(failed + "the checksum does not match") from error
        except (ConnectionError, HTTPClientError) as error:
            # botocore's own message may quote the request's headers.
            raise StorageUnavailable(
                f"{failed}cannot reach {self._endpoint} ({type(error).__name__}); check "
                "AWS_ENDPOINT_URL and the network"
            ) from error
        except (BotoCoreError, Boto3Error) as error:
            raise ColorganError(failed + self._failure(error)) from error
        except OSError as error:
            raise ColorganError(failed + (error.strerror or str(error))) from error

    def _refusal(self, error: Any) -> str:
        """The reason for a failure, if the server answered with an error."""
        code = str(error.response["Error"].get("Code"))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if code in ("404", "NoSuchBucket"):
            return f"no bucket {self._bucket} at {self._endpoint}; create it or name another"
        # An expired token yields status 400, and the response to a HEAD request gives no reason.
        if status in (401, 403) or code in ("400", "ExpiredToken", "InvalidToken"):
            return (
                f"{self._endpoint} refuses these credentials for bucket {self._bucket} ({code}); "
                "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, the region "
                "and the bucket's policy"
            )
        message = error.response["Error"].get("Message", "")
        return f"{self._endpoint} answered {code} {message}".rstrip()

    def _failure(self, error: Exception) -> str:
        """The reason for a failure, if there was no answer."""
        from botocore import exceptions as boto

        if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError):
            return (
                f"no credentials for bucket {self._bucket} at {self._endpoint}; set "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
            )
        return " ".join(str(error).split()) or type(error).__name__
