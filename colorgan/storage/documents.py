"""JSON documents in storage that carry the version of their schema."""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from colorgan.errors import ColorganError, Corrupt, StorageUnavailable

Document = TypeVar("Document")
Item = TypeVar("Item")


def read_document(
    data: bytes,
    key: str,
    schema_version: int,
    build: Callable[[dict[str, Any]], Document],
    oldest: int | None = None,
) -> Document:
    """Build an object from a document.

    Args:
        data: the JSON.
        key: the document's key, for messages.
        schema_version: the current schema version.
        build: builds the object from the document's fields.
        oldest: the oldest schema version that can be read; None for `schema_version` only.

    Raises:
        ColorganError: the document has an unsupported schema version.
        Corrupt: the data is not a document of this kind.
    """
    with reading(key):
        fields: dict[str, Any] = json.loads(data)
        version = fields.get("schema_version")
        if version not in range(oldest or schema_version, schema_version + 1):
            raise ColorganError(
                f"{key} has schema version {version}; this colorgan reads {schema_version}"
            )
        return build(fields)


@contextmanager
def reading(key: str) -> Iterator[None]:
    """Raise Corrupt if a document's fields are missing or have the wrong type."""
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Corrupt(f"{key} cannot be read: {error!r}") from None


def read_all(
    items: Iterable[Item],
    read: Callable[[Item], Document],
    on_fault: Callable[[ColorganError], None] | None = None,
) -> list[Document]:
    """Read several documents, for a listing.

    Args:
        items: the documents' names, or any other argument of `read`.
        read: reads one document.
        on_fault: receives the error of each document that cannot be read, and the others are still
            read. Without it, the first such error is raised.

    Raises:
        StorageUnavailable: the storage does not respond; this concerns no single document.
        ColorganError: a document cannot be read, and there is no `on_fault`.
    """
    found = []
    for item in items:
        try:
            found.append(read(item))
        except StorageUnavailable:
            raise
        except ColorganError as error:
            if on_fault is None:
                raise
            on_fault(error)
    return found
