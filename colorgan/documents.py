"""JSON documents in storage that carry the version of their schema."""

import json
from collections.abc import Callable
from typing import Any, TypeVar

from colorgan.errors import ColorganError, Corrupt

Document = TypeVar("Document")


def read_document(
    data: bytes, key: str, schema_version: int, build: Callable[[dict[str, Any]], Document]
) -> Document:
    """Build an object from a document.

    Args:
        data: the JSON.
        key: where it is, for messages.
        schema_version: that this colorgan reads.
        build: makes the object from the document's fields.

    Raises:
        ColorganError: the document has another version.
        Corrupt: it is not such a document.
    """
    try:
        fields: dict[str, Any] = json.loads(data)
        version = fields.get("schema_version")
        if version != schema_version:
            raise ColorganError(
                f"{key} has schema version {version}; this colorgan reads {schema_version}"
            )
        return build(fields)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Corrupt(f"{key} cannot be read: {error!r}") from None
