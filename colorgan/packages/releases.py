"""Releases: the version of each model that is used where no version is named.

models/<model>/release-00001.json, ...    the history: every release and rollback; never rewritten
models/<model>/latest.json                names the released version; follows from the history

Publishing writes a package. Releasing makes it the one that commands, services and trainings use
where only the model is named. A new package is released on publishing if it is not tagged and
`comparison.judge` accepts it. docs/releases.md describes this for users.

Several processes may release at the same time. Each entry of the history is created by a
conditional write under the next number; a process that loses the race decides again, with the
winner's entry in view. A storage from before this history has only latest.json.
"""

import getpass
import json
import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Literal

from colorgan.errors import ColorganError, ConfigError, Corrupt, NotInStorage, StorageUnavailable
from colorgan.names import check_name
from colorgan.packages.card import (
    EMBEDDED_VERSION,
    ModelCard,
    find,
    release_command,
    release_key,
    release_numbers,
    version_order,
)
from colorgan.packages.comparison import Verdict, judge
from colorgan.packages.embedded import judge_first
from colorgan.packages.services import services_of
from colorgan.storage import Storage
from colorgan.storage.documents import read_document

_SCHEMA_VERSION = 1
_ATTEMPTS = 100  # of one entry; each failure means that another process has written one


@dataclass(frozen=True)
class Release:
    """An entry in a model's history of releases.

    Attributes:
        number: its place in the history, from 1.
        model: the model's name.
        version: the version that is released.
        previous: the version that was released before; empty if none was.
        action: `release`, or `rollback` to an earlier release.
        reason: why, as a clause.
        forced: whether the rule was overridden.
        by: user and machine.
        at: time, UTC, ISO 8601.
        token: random digits that identify the writer.
    """

    number: int
    model: str
    version: str
    previous: str
    action: Literal["release", "rollback"]
    reason: str
    forced: bool
    by: str
    at: str
    token: str
    schema_version: int = _SCHEMA_VERSION

    @property
    def reference(self) -> str:
        """The released package, `model@version`."""
        return f"{self.model}@{self.version}"


def read_releases(storage: Storage, model: str) -> list[Release]:
    """A model's history of releases, the newest last; raises Corrupt if it cannot be read."""
    keys = [release_key(model, number) for number in release_numbers(storage, model)]
    return [
        read_document(storage.get(key), key, _SCHEMA_VERSION, lambda fields: Release(**fields))
        for key in keys
    ]


def released_version(storage: Storage, model: str) -> str:
    """The released version of a model; empty if there is none.

    It is the newest entry of the history whose package exists or, without one, the version that
    latest.json names.
    """
    return _released(storage, model, read_releases(storage, model))


def release_published(storage: Storage, card: ModelCard) -> Release | None:
    """Release a package that has just been published, if the rule allows that.

    It is not released if it is tagged, has been released before, is older than the released
    version, or if `judge` does not accept it. The call can be repeated.

    Returns:
        The new entry of the history, if any.
    """

    def decide(past: Sequence[Release]) -> Release | None:
        standing = _standing(storage, card, past)
        if card.tag or not standing.is_new or not standing.verdict.accepted:
            return None
        return _entry(card, past, standing, "release", standing.verdict.reason)

    return _write(storage, card.model, decide)


def release(storage: Storage, reference: str, force: bool = False) -> Release | None:
    """Release a package.

    Args:
        storage: the user's own storage.
        reference: `model@version`.
        force: whether to release it although `judge` does not accept it.

    Returns:
        The new entry of the history; None if the package is the released one already.

    Raises:
        ConfigError: the reference names no version, or one that comes with colorgan.
        NotInStorage: there is no such package.
        ColorganError: the rule does not accept the package.
    """
    model, version = _named(reference)
    card = find(storage, f"{model}@{version}")

    def decide(past: Sequence[Release]) -> Release | None:
        standing = _standing(storage, card, past)
        if standing.released == version:
            return None
        if not standing.verdict.accepted and not force:
            raise ColorganError(
                f"{card.reference} is not released: {standing.verdict.reason}; "
                f"{release_command(storage, card.reference, force=True)} releases it all the same"
            )
        return _entry(card, past, standing, "release", standing.verdict.reason)

    return _write(storage, model, decide)


def rollback(storage: Storage, model: str) -> Release:
    """Release the version that was released before the current release.

    After a second rollback, the version before that one is released, and so on. Versions that have
    been removed are skipped.

    Args:
        storage: the user's own storage.
        model: the model's name.

    Raises:
        ConfigError: `model` names a version.
        NotInStorage: there is no earlier release.
    """
    if "@" in model:
        raise ConfigError(
            f"rollback takes a model without a version: {release_command(storage, model)} releases "
            "a given one"
        )
    check_name("model", model)

    def decide(past: Sequence[Release]) -> Release:
        current = _released(storage, model, past)
        before = _before(storage, model, past, current)
        if not before:
            raise NotInStorage(
                f"{model} in {storage.uri} has no earlier release"
                + (f" than {model}@{current}" if current else "")
                + f": colorgan models list --all shows its versions, and "
                f"{release_command(storage, f'{model}@VERSION')} releases one"
            )
        card = find(storage, f"{model}@{before}")
        reason = f"{model}@{current} was withdrawn"
        standing = _Standing(current, Verdict(True, reason), is_new=False)
        return _entry(card, past, standing, "rollback", reason)

    entry = _write(storage, model, decide)
    assert entry
    return entry


def remove(storage: Storage, reference: str) -> None:
    """Delete a package that is neither released nor served.

    What is served is known from the records that services leave in storage: see
    `colorgan.packages.services`.

    Args:
        storage: the user's own storage.
        reference: `model@version`.

    Raises:
        ConfigError: the reference names no version, or one that comes with colorgan.
        NotInStorage: there is no such package.
        ColorganError: the package is released or served.
    """
    model, version = _named(reference)
    folder = f"models/{model}/{version}"
    if not storage.list(folder):
        find(storage, reference)  # raises NotInStorage, and lists the versions that exist
    known = len(read_releases(storage, model))
    _check_unused(storage, model, version)
    card = f"{folder}/model.json"
    kept = storage.get(card) if storage.exists(card) else b""
    # Without its card the package can no longer be released. A release that was faster is in the
    # history now.
    storage.delete(card)
    if any(each.version == version for each in read_releases(storage, model)[known:]):
        storage.put(card, kept)
        _point(storage, model)
        raise ColorganError(f"{reference} has been released in the meantime: it is kept")
    storage.delete(folder)


def release_sentence(storage: Storage, reference: str) -> str:
    """A sentence that says whether a package is released, why, and how to release it if not.

    Args:
        storage: the user's own storage.
        reference: `model@version`.
    """
    card = find(storage, reference)
    past = read_releases(storage, card.model)
    standing = _standing(storage, card, past)
    if standing.released == card.version:
        newest = [each for each in past if each.version == card.version][-1:]
        return f"{reference} is released" + "".join(f": {each.reason}" for each in newest)
    current = f"{card.model}@{standing.released}" if standing.released else ""
    how = release_command(storage, reference, force=not standing.verdict.accepted)
    if any(each.version == card.version for each in past):
        why = f"{current} has replaced it"
    elif not standing.is_new:
        why = f"{current} was published later"
    else:
        why = standing.verdict.reason
    if card.tag:
        why = f"tagged {card.tag}" + ("" if standing.verdict.accepted else f", and {why}")
    return f"{reference} is not released: {why}; {how} releases it"


@dataclass(frozen=True)
class _Standing:
    """How a package stands in relation to the released version.

    Attributes:
        released: the released version; empty if there is none.
        verdict: whether the rule accepts the package.
        is_new: whether the package has never been released, and is newer than the released one.
    """

    released: str
    verdict: Verdict
    is_new: bool


def _standing(storage: Storage, card: ModelCard, past: Sequence[Release]) -> _Standing:
    released = _released(storage, card.model, past)
    is_new = all(each.version != card.version for each in past) and (
        not released or version_order(card.version) > version_order(released)
    )
    if not released:
        return _Standing(released, judge_first(card), is_new)
    try:
        verdict = judge(card, find(storage, f"{card.model}@{released}"))
    except Corrupt:
        verdict = Verdict(True, f"{card.model}@{released} cannot be read")
    return _Standing(released, verdict, is_new)


def _entry(
    card: ModelCard,
    past: Sequence[Release],
    standing: _Standing,
    action: Literal["release", "rollback"],
    reason: str,
) -> Release:
    return Release(
        number=past[-1].number + 1 if past else 1,
        model=card.model,
        version=card.version,
        previous=standing.released,
        action=action,
        reason=reason,
        forced=not standing.verdict.accepted,
        by=_user(),
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        token=secrets.token_hex(8),
    )


def _user() -> str:
    try:
        name = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user may have no name
        name = "unknown"
    return f"{name}@{socket.gethostname()}"


def _write(
    storage: Storage, model: str, decide: Callable[[Sequence[Release]], Release | None]
) -> Release | None:
    """Append what `decide` returns to a model's history, and let latest.json follow.

    `decide` is called again with the newer history if another process was faster.
    """
    for _ in range(_ATTEMPTS):
        entry = decide(read_releases(storage, model))
        if entry is None:
            _point(storage, model)  # a process that was cut off may have written an entry only
            return None
        data = (json.dumps(asdict(entry), indent=2) + "\n").encode()
        if storage.create(release_key(model, entry.number), data):
            _point(storage, model)
            if not _exists(storage, model, entry.version):
                raise NotInStorage(f"{entry.reference} has been removed in the meantime")
            return entry
    raise StorageUnavailable(f"other processes keep releasing versions of {model}; try again")


def _point(storage: Storage, model: str) -> None:
    """Let latest.json name the released version.

    Two processes may write it in the wrong order. Therefore each checks again after writing.
    """
    while True:
        version = released_version(storage, model)
        if not version or version == _pointed(storage, model):
            return
        storage.put(
            f"models/{model}/latest.json", (json.dumps({"version": version}) + "\n").encode()
        )


def _pointed(storage: Storage, model: str) -> str:
    """The version that latest.json names; empty if it names none."""
    try:
        named = json.loads(storage.get(f"models/{model}/latest.json"))
        return check_name("version", named["version"])
    except (NotInStorage, ValueError, TypeError, KeyError):
        return ""


def _released(storage: Storage, model: str, past: Sequence[Release]) -> str:
    versions = [each.version for each in reversed(past)]
    versions.append(_pointed(storage, model))
    return next((each for each in versions if each and _exists(storage, model, each)), "")


def _exists(storage: Storage, model: str, version: str) -> bool:
    return storage.exists(f"models/{model}/{version}/model.json")


def _before(storage: Storage, model: str, past: Sequence[Release], current: str) -> str:
    """The version to roll back to; empty if there is none."""
    stack = [past[0].previous] if past and past[0].previous else []
    for each in past:
        if each.action == "rollback" and each.version in stack:
            del stack[stack.index(each.version) + 1 :]
        else:
            stack = [*(version for version in stack if version != each.version), each.version]
    if current in stack:
        del stack[stack.index(current) :]
    return next((each for each in reversed(stack) if _exists(storage, model, each)), "")


def _named(reference: str) -> tuple[str, str]:
    """The model and the version of a reference; raises ConfigError if it names no own version."""
    model, _, version = reference.partition("@")
    check_name("model", model)
    if not version:
        raise ConfigError(
            f"{reference} names no version: give {model}@VERSION; colorgan models list --all shows "
            "the versions"
        )
    if check_name("version", version).startswith(EMBEDDED_VERSION):
        raise ConfigError(f"{reference} comes with colorgan: it cannot be released or removed")
    return model, version


def _check_unused(storage: Storage, model: str, version: str) -> None:
    """Raise ColorganError if a package is released or served."""
    reference = f"{model}@{version}"
    if _released(storage, model, read_releases(storage, model)) == version:
        raise ColorganError(
            f"{reference} is released and is not removed: release another version first"
        )
    for service in services_of(storage):
        if reference in service.packages:
            raise ColorganError(
                f"{reference} is served and is not removed: {service.description}; deploy another "
                f"version first or, if that service has ended, delete "
                f"{storage.location(service.key)}"
            )
