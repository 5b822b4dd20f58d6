"""Storage for datasets, runs and model packages: a local folder, an S3 bucket, or the Hub."""

import os
import re
from pathlib import Path
from urllib.request import url2pathname

from colorgan.errors import ConfigError
from colorgan.storage.interface import TEMPORARY, Storage, checked_folder, checked_key
from colorgan.storage.local import LocalStorage
from colorgan.storage.retry import retry_transient
from colorgan.storage.s3 import S3Storage

__all__ = [
    "TEMPORARY",
    "Storage",
    "checked_folder",
    "checked_key",
    "open_storage",
    "retry_transient",
]


def open_storage(uri: str | None = None) -> Storage:
    """Open the storage ``uri``, by default $COLORGAN_STORAGE or else the folder ``artifacts``.

    A bucket is checked at once, so that a wrong name, refused credentials or an endpoint that does
    not respond is reported before any work is done.
    """
    uri = uri or os.environ.get("COLORGAN_STORAGE") or "artifacts"
    scheme, separator, rest = uri.partition("://")
    if not separator or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]+", scheme):
        return LocalStorage(Path(uri).absolute())
    if scheme.lower() == "s3":
        bucket, _, prefix = rest.partition("/")
        return S3Storage(bucket, prefix.strip("/"))
    if scheme.lower() == "hf":
        from colorgan.storage.hub import HubAddress, HubStorage

        return HubStorage(HubAddress.parse(uri))
    if scheme.lower() == "file" and rest.startswith("/"):
        return LocalStorage(Path(url2pathname(rest)))
    # The address itself is not repeated: it may carry a password.
    raise ConfigError(
        f"unsupported storage address {scheme}://…: "
        "give s3://bucket/prefix, hf://owner/name, file:///folder or a local path"
    )
