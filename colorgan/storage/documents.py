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
        key: where it is, for messages.
        schema_version: that this colorgan reads.
        build: makes the object from the document's fields.
        oldest: version that can be read, too; that same one where None.

    Raises:
        ColorganError: the document has another version.
        Corrupt: it is not such a document.
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
    """Raise Corrupt where a document's fields are not those, or not of the types, that are used."""
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Corrupt(f"{key} cannot be read: {error!r}") from None


def read_all(
    items: Iterable[Item],
    read: Callable[[Item], Document],
    on_fault: Callable[[ColorganError], None] | None = None,
) -> list[Document]:
    """Read several documents, for a list of them.

    Args:
        items: the documents' names, or what else `read` finds them by.
        read: reads one.
        on_fault: is told why one cannot be read; the others are read all the same. Without, the
            first such error is raised.

    Raises:
        StorageUnavailable: the storage does not answer, which is no document's fault.
        ColorganError: one cannot be read, and there is no `on_fault`.
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
