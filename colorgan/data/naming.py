"""Class and file names: the names that people read, and the keys that represent them in storage.

A class's key is part of storage paths, model names and URLs; its name is shown to people.
"""

import hashlib
import unicodedata
from pathlib import PurePath

from slugify import GERMAN, slugify

from colorgan.errors import ConfigError
from colorgan.names import RESERVED_NAMES, check_class, is_key

_LONGEST = 100  # characters of a key
_UNSAFE = r"[^-a-z0-9_.]+"


def class_key(name: str) -> str:
    """The key of the class with this name.

    A name that is a valid key is its own key: `Cats`, `n02084071`. Any other name becomes a slug of
    lower-case ASCII letters, with umlauts written out and other scripts transliterated: `Big Cats`
    becomes `big-cats`, `Käfer` becomes `kaefer`, `犬` becomes `quan`. If the slug is empty, as for
    `🐱`, the key is `class-` and eight hexadecimal digits of the name's SHA-256.

    Raises:
        ConfigError: the key is reserved, or the name is empty or contains a slash.
    """
    name = class_name(name)
    if is_key(name) or not name or "/" in name:
        return check_class(name)  # raises the error for an invalid name
    slug = slugify(name, replacements=GERMAN, regex_pattern=_UNSAFE, max_length=_LONGEST)
    key = slug.strip("-_.") or f"class-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    if key in RESERVED_NAMES:
        raise ConfigError(
            f"{name!r} cannot be a class: its key in storage would be {key!r}, and "
            "that name is reserved; use another name"
        )
    return key


def class_name(name: str) -> str:
    """A class's name as people read it: valid Unicode, NFC-normalised, on one line."""
    return " ".join(unicodedata.normalize("NFC", readable(name)).split())


class ClassNames:
    """Collects classes by name; no two may share a key.

    Attributes:
        by_key: the classes' names by key, in the order in which they were added.
    """

    def __init__(self) -> None:
        self.by_key: dict[str, str] = {}
        self._known: dict[str, tuple[str, str]] = {}

    def add(self, name: str) -> str:
        """Add a class and return its key; raises ConfigError if the name has no valid key.

        Keys that differ only in case count as the same key, because some file systems do not
        distinguish them.
        """
        key, shown = class_key(name), class_name(name)
        known, other = self._known.setdefault(key.lower(), (key, shown))
        if other != shown:
            raise ConfigError(
                f"the classes {other!r} and {shown!r} would both be {known.lower()!r} in storage: "
                "rename one of them, or put their photographs together"
            )
        self.by_key[key] = shown
        return key

    @property
    def different(self) -> dict[str, str]:
        """The names of the classes whose names differ from their keys, by key."""
        return {key: name for key, name in self.by_key.items() if name != key}


def readable(text: str | PurePath) -> str:
    r"""A text or path as valid Unicode; bytes of a file name that are not UTF-8 become \xdf.

    Python represents such bytes as lone surrogates, which neither Parquet nor a terminal accepts.
    """
    try:
        data = str(text).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # surrogates that represent no byte, which JSON can contain
        data = str(text).encode("utf-8", "backslashreplace")
    return data.decode("utf-8", "backslashreplace")
