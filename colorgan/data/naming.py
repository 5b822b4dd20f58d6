"""Names: what people call datasets, classes and files, and the keys that stand for them in storage.

A class's key is part of paths in storage, of the names of models and of addresses; its name is what
people read.
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
    """The key of a class that people call by this name.

    A name that can be a key as it stands is its own: `Cats`, `n02084071`. Any other becomes a slug
    of lower-case ASCII letters, in which umlauts are written out and other scripts transliterated:
    `Big Cats` is `big-cats`, `Käfer` is `kaefer`, `犬` is `quan`. Where nothing is left of a name,
    as of `🐱`, the key is `class-` and eight digits that follow from the name.

    Raises:
        ConfigError: colorgan keeps the key for itself, or the name is empty or that of a path.
    """
    name = class_name(name)
    if is_key(name) or not name or "/" in name:
        return check_class(name)  # which says what is wrong
    slug = slugify(name, replacements=GERMAN, regex_pattern=_UNSAFE, max_length=_LONGEST)
    key = slug.strip("-_.") or f"class-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    if key in RESERVED_NAMES:
        raise ConfigError(
            f"{name!r} cannot be a class: its key in storage would be {key!r}, which colorgan "
            "keeps; use another name"
        )
    return key


def class_name(name: str) -> str:
    """A class's name for people: valid Unicode, composed, on one line."""
    return " ".join(unicodedata.normalize("NFC", readable(name)).split())


class ClassNames:
    """Collects classes by their names; no two may share a key.

    Attributes:
        by_key: the classes' names by key, in the order in which they came.
    """

    def __init__(self) -> None:
        self.by_key: dict[str, str] = {}
        self._known: dict[str, tuple[str, str]] = {}

    def add(self, name: str) -> str:
        """The key of a class; raises ConfigError where there can be none.

        Keys that differ in nothing but case are one: there are file systems that cannot tell them
        apart.
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
        """The names by key, of those classes whose names are not their keys."""
        return {key: name for key, name in self.by_key.items() if name != key}


def readable(text: str | PurePath) -> str:
    r"""A text or path as valid Unicode; bytes of a file's name that are no UTF-8 stand as \xdf.

    Python holds such bytes as lone surrogates, which neither Parquet nor a terminal takes.
    """
    try:
        data = str(text).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # surrogates that stand for no byte, as JSON can have them
        data = str(text).encode("utf-8", "backslashreplace")
    return data.decode("utf-8", "backslashreplace")
