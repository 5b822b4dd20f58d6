"""A repository of the Hugging Face Hub as a storage to read from: hf://owner/name[@revision].

It has the layout of every storage, models/<model>/<version>/…, beside a README.md.
"""

import importlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from colorgan.errors import ColorganError, ConfigError, NotInStorage, StorageUnavailable
from colorgan.storage.local import ReadOnlyStorage

SCHEME = "hf"

# What is fetched of a repository: nothing that can run code when it is read.
FETCHED = (
    *("models/*.json", "models/*.safetensors"),
    *("models/*/history.csv", "models/*/samples.png"),
)

_ADDRESS = re.compile(
    r"hf://(?P<repository>[\w.-]+/[\w.-]+)(@(?P<revision>[\w.-]+(/[\w.-]+)*))?", re.ASCII
)


@dataclass(frozen=True)
class HubAddress:
    """The address of a repository.

    Attributes:
        repository: `owner/name`.
        revision: a branch, a tag or a commit; empty for the branch `main`.
    """

    repository: str
    revision: str = ""

    @classmethod
    def parse(cls, uri: str) -> "HubAddress":
        """Read hf://owner/name or hf://owner/name@revision; raises ConfigError."""
        found = _ADDRESS.fullmatch(uri)
        if not found:
            raise ConfigError(
                f"{uri!r} is not a repository of the Hub: give hf://owner/name or "
                "hf://owner/name@REVISION"
            )
        return cls(found["repository"], found["revision"] or "")

    def __str__(self) -> str:
        """The address as users write it."""
        return f"hf://{self.repository}" + f"@{self.revision}" * bool(self.revision)


class HubStorage(ReadOnlyStorage):
    """The models of a repository, fetched into the Hub client's cache; it is read-only.

    Attributes:
        address: the repository, with the commit that was fetched as its revision.
    """

    reason = "colorgan models push publishes there"

    def __init__(self, address: HubAddress) -> None:
        """Fetch the repository's models, unless the cache has them.

        Raises:
            ConfigError: the extra `hub` is not installed.
            NotInStorage: there is no such repository or revision, or the user may not read it.
            StorageUnavailable: the Hub does not answer.
        """
        hub = hub_client()
        with hub_errors(address):
            folder = hub.snapshot_download(
                address.repository,
                revision=address.revision or None,
                allow_patterns=[*FETCHED],
            )
        super().__init__(Path(folder))
        self.address = HubAddress(address.repository, Path(folder).name)
        self.uri = str(address)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the commit's address: each machine has a cache of its own."""
        return HubStorage, (self.address,)


def hub_client() -> Any:
    """The module huggingface_hub; raises ConfigError if it is not installed."""
    try:
        hub = importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise ConfigError(f"hf:// needs an extra ({error}): pip install 'colorgan[hub]'") from None
    hub.logging.set_verbosity_error()  # its warnings are about what is no fault here
    return hub


@contextmanager
def hub_errors(address: HubAddress) -> Iterator[None]:
    """Turn the errors of huggingface_hub into one-sentence errors."""
    errors = importlib.import_module("huggingface_hub.errors")
    login = "hf auth login, or the variable HF_TOKEN, lets you in where you may read it"
    try:
        yield
    except errors.RevisionNotFoundError:
        revision = address.revision or "main"
        raise NotInStorage(f"hf://{address.repository} has no revision {revision!r}") from None
    except errors.RepositoryNotFoundError:
        raise NotInStorage(
            f"there is no hf://{address.repository}, or not for you: {login}"
        ) from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise ColorganError(f"hf://{address.repository} is closed to you: {login}") from None
        raise StorageUnavailable(
            f"the Hub has answered {status} for {address}: try again"
        ) from None
    except (OSError, errors.LocalEntryNotFoundError) as error:
        reason = str(error).splitlines()[0]
        raise StorageUnavailable(f"the Hub cannot be reached for {address}: {reason}") from None
