"""The embedded models, which come with colorgan and fill in for those that a storage lacks.

A storage lacks a model as long as no version of it is released there.

    pretrained/models/<model>/<version>/...     packages, as in any storage

`make pretrained` trains them. They are read through the storage interface, under the same keys.
Their versions begin with `embedded-`, so every reference tells them from the user's own models.
"""

# ruff: noqa: D102 - Storage says what each method does.

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any, Final

from colorgan.errors import Corrupt, NotInStorage
from colorgan.names import GENERAL, OF_NO_CLASS
from colorgan.packages.card import (
    EMBEDDED_VERSION,
    ModelCard,
    find,
    release_command,
    release_numbers,
    released_models,
    unreleased,
)
from colorgan.packages.comparison import Verdict, judge
from colorgan.storage import Storage
from colorgan.storage.local import ReadOnlyStorage

EMBEDDED_MODELS: Final = "embedded"  # stands for all of them where a model is named
_FOLDER = "COLORGAN_PRETRAINED"  # environment variable that names another folder, maybe empty
_Names = list[str]  # inside the classes `list` is a method


class EmbeddedStorage(ReadOnlyStorage):
    """The packages that come with colorgan, or those in $COLORGAN_PRETRAINED; it is read-only."""

    reason = "the models there come with colorgan"

    def __init__(self) -> None:
        """Open the folder; raises ConfigError if it is a file."""
        named = os.environ.get(_FOLDER)
        # A wheel is installed as files and never run from an archive, which PyTorch cannot do.
        folder = Path(named) if named else Path(str(resources.files("colorgan"))) / "pretrained"
        super().__init__(folder.absolute())

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle no path: each machine has its own folder."""
        return EmbeddedStorage, ()


class WithEmbedded(Storage):
    """A storage that falls back to the embedded models for names of which it has no package.

    Writes go to the user's own storage.

    Attributes:
        own: the user's own storage.
        embedded: the models that come with colorgan.
    """

    def __init__(self, own: Storage, embedded: EmbeddedStorage) -> None:
        """Combine both; callers use `with_embedded`."""
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
        """Pickle the user's own storage; the unpickling colorgan adds its embedded models."""
        return with_embedded, (self.own,)

    def _holder(self, key: str) -> Storage:
        """The storage to read an object from.

        The version decides for a package, and for a model's latest.json whether the user's own
        storage has a release of the model.
        """
        top, model, version, *_ = *key.split("/"), "", ""
        if top != "models":
            return self.own
        if version == "latest.json":
            has_own = self.own.exists(key) or bool(release_numbers(self.own, model))
            return self.own if has_own else self.embedded
        return self.embedded if version.startswith(EMBEDDED_VERSION) else self.own


def with_embedded(storage: Storage) -> Storage:
    """Let a storage fall back to the embedded models; it is returned as is if there are none."""
    embedded = EmbeddedStorage()
    return WithEmbedded(storage, embedded) if embedded.folders("models") else storage


def own_storage(storage: Storage) -> Storage:
    """The user's own storage, without the embedded models."""
    return storage.own if isinstance(storage, WithEmbedded) else storage


def open_embedded() -> EmbeddedStorage:
    """Open the models that come with colorgan; raises NotInStorage if there are none."""
    embedded = EmbeddedStorage()
    if not embedded.folders("models"):
        raise NotInStorage(
            "no models come with this colorgan: install a release that has them, or train them by "
            "make pretrained"
        )
    return embedded


def embedded_base(model: str) -> ModelCard:
    """The embedded model that a user's training starts from: that of the class, or `general`.

    Raises:
        NotInStorage: neither exists.
    """
    embedded = open_embedded()
    return find(embedded, model if model in embedded.folders("models") else GENERAL)


def judge_first(card: ModelCard) -> Verdict:
    """Decide whether a version may be the first release of its model.

    It is then used in place of the embedded model of its name, if there is one.
    """
    embedded = EmbeddedStorage()
    there = card.model in released_models(embedded)
    return judge(card, find(embedded, card.model) if there else None)


def first_release_command(storage: Storage, *references: str) -> str:
    """The command that releases versions of models without a release, for messages.

    It has --force if the rule accepts one of them only with it.

    Args:
        storage: the storage of the packages.
        references: `model@version` of each.
    """
    refused = False
    for reference in references:
        with suppress(Corrupt, NotInStorage):  # `colorgan models release` will report that
            refused |= not judge_first(find(storage, reference)).accepted
    return release_command(storage, *references, force=refused)


def embedded_note(storage: Storage, cards: Iterable[ModelCard], routed: bool = True) -> str:
    """A sentence for the user if embedded models colour; otherwise empty.

    Args:
        storage: the storage in which the models were looked up.
        cards: the cards of the models that colour.
        routed: whether a router chooses among the models; if so, the sentence names the class
            models in the user's storage that no router sends to.
    """
    cards = list(cards)
    used = [card.reference for card in cards if card.embedded]
    if not used:
        return ""
    several = "models" if len(used) > 1 else "model"
    note = f"colouring with the embedded {several} {', '.join(used)}"
    if not isinstance(storage, WithEmbedded):
        return note
    names = {card.model for card in cards if card.embedded}
    waiting = [each for each in unreleased(storage.own) if each.partition("@")[0] in names]
    if waiting:
        note += (
            f"; {storage.uri} has {', '.join(waiting)}, not released: "
            f"{first_release_command(storage, *waiting)} releases "
            f"{'them' if len(waiting) > 1 else 'it'}"
        )
    else:
        note += f"; {storage.uri} has none of {'these names' if len(used) > 1 else 'this name'}"
    others = {*OF_NO_CLASS, *(card.model for card in cards)}
    idle = [name for name in storage.own.folders("models") if name not in others]
    if routed and idle:
        note += (
            f", and no router sends to its {', '.join(idle)}: colorgan train-router --dataset NAME "
            "trains one, --model NAME colours with one model alone"
        )
    return note
