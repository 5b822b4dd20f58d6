"""The models that come with colorgan, which are used wherever a storage has none of a name.

    pretrained/models/<model>/<version>/...     packages, as in any storage

`make pretrained` trains them. They are read through a storage's own interface and under the same
keys. Their versions begin with `embedded-`, so whatever names a version tells them from one's own.
"""

# ruff: noqa: D102 - Storage says what each method does.

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any, Final

from colorgan.errors import ColorganError, NotInStorage
from colorgan.names import GENERAL, HYPERCOLUMN, ROUTER
from colorgan.packages.card import EMBEDDED_VERSION, ModelCard, find, whole_versions
from colorgan.storage import Storage
from colorgan.storage.local import LocalStorage

EMBEDDED_MODELS: Final = "embedded"  # names all of them where a model is chosen
_FOLDER = "COLORGAN_PRETRAINED"  # the environment's word for another folder, as an empty one
_Names = list[str]  # inside the classes `list` is a method


class EmbeddedStorage(LocalStorage):
    """The packages that come with colorgan, or in $COLORGAN_PRETRAINED; nothing is written."""

    def __init__(self) -> None:
        """Open the folder; raises ConfigError where it is a file."""
        named = os.environ.get(_FOLDER)
        # A wheel is installed as files, never run from an archive: PyTorch could not be.
        folder = Path(named) if named else Path(str(resources.files("colorgan"))) / "pretrained"
        super().__init__(folder.absolute())

    def put(self, key: str, data: bytes) -> None:
        raise self._written(key)

    def create(self, key: str, data: bytes) -> bool:
        raise self._written(key)

    def put_file(self, key: str, path: Path) -> None:
        raise self._written(key)

    def delete(self, prefix: str) -> None:
        raise self._written(prefix)

    def _written(self, key: str) -> ColorganError:
        return ColorganError(
            f"{key} cannot be changed in {self.uri}: the models there come with colorgan"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle nothing: each machine has its own."""
        return EmbeddedStorage, ()


class WithEmbedded(Storage):
    """A storage in which a model that it has no package of is the embedded one of that name.

    What is written goes to the storage itself.

    Attributes:
        own: the storage itself.
        embedded: the models that come with colorgan.
    """

    def __init__(self, own: Storage, embedded: EmbeddedStorage) -> None:
        """Take both; `with_embedded` does."""
        self.own, self.embedded = own, embedded
        self.uri, self.remote = own.uri, own.remote

    def put(self, key: str, data: bytes) -> None:
        self.own.put(key, data)

    def create(self, key: str, data: bytes) -> bool:
        return self.own.create(key, data)

    def put_file(self, key: str, path: Path) -> None:
        self.own.put_file(key, path)

    def get(self, key: str) -> bytes:
        return self._holder(key).get(key)

    def get_file(self, key: str, path: Path) -> None:
        self._holder(key).get_file(key, path)

    def open(self, key: str) -> io.BufferedReader:
        return self._holder(key).open(key)

    def matches(self, key: str, path: Path) -> bool:
        return self._holder(key).matches(key, path)

    def exists(self, key: str) -> bool:
        return self._holder(key).exists(key)

    def list(self, prefix: str = "") -> _Names:
        return sorted({*self.own.list(prefix), *self.embedded.list(prefix)})

    def folders(self, prefix: str = "") -> _Names:
        return sorted({*self.own.folders(prefix), *self.embedded.folders(prefix)})

    def delete(self, prefix: str) -> None:
        self.own.delete(prefix)

    def location(self, key: str) -> str:
        return self._holder(key).location(key)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the storage itself; the models come with the colorgan that opens it."""
        return with_embedded, (self.own,)

    def _holder(self, key: str) -> Storage:
        """Where an object is read: a package by its version, a model's latest by who has one."""
        top, model, version, *_ = *key.split("/"), "", ""
        if top != "models":
            return self.own
        if version == "latest.json":
            has_own = self.own.exists(key) or bool(whole_versions(self.own, model))
            return self.own if has_own else self.embedded
        return self.embedded if version.startswith(EMBEDDED_VERSION) else self.own


def with_embedded(storage: Storage) -> Storage:
    """A storage with the embedded models where it has none; itself where none are embedded."""
    embedded = EmbeddedStorage()
    return WithEmbedded(storage, embedded) if embedded.folders("models") else storage


def own_storage(storage: Storage) -> Storage:
    """A storage without the embedded models."""
    return storage.own if isinstance(storage, WithEmbedded) else storage


def open_embedded() -> EmbeddedStorage:
    """The models that come with colorgan; raises NotInStorage where none do."""
    embedded = EmbeddedStorage()
    if not embedded.folders("models"):
        raise NotInStorage(
            "no models come with this colorgan: install a release that has them, or train them by "
            "make pretrained"
        )
    return embedded


def embedded_base(model: str) -> ModelCard:
    """The embedded model that a training of one's own begins with: of its class, or general.

    Raises:
        NotInStorage: there is neither.
    """
    embedded = open_embedded()
    return find(embedded, model if model in embedded.folders("models") else GENERAL)


def embedded_note(storage: Storage, cards: Iterable[ModelCard], routed: bool = True) -> str:
    """A sentence for the user where models that come with colorgan colour; otherwise empty.

    Args:
        storage: where the models were looked for.
        cards: of those that colour.
        routed: whether a router chooses among them: then the sentence names the storage's class
            models that no router sends to.
    """
    cards = list(cards)
    used = [card.reference for card in cards if card.embedded]
    if not used:
        return ""
    several = "models" if len(used) > 1 else "model"
    note = f"colouring with the embedded {several} {', '.join(used)}"
    if not isinstance(storage, WithEmbedded):
        return note
    note += f"; {storage.uri} has none of {'these names' if len(used) > 1 else 'this name'}"
    others = {GENERAL, HYPERCOLUMN, ROUTER, *(card.model for card in cards)}
    idle = [name for name in storage.own.folders("models") if name not in others]
    if routed and idle:
        note += (
            f", and no router sends to its {', '.join(idle)}: colorgan train-router --dataset NAME "
            "trains one, --model NAME colours with one model alone"
        )
    return note
