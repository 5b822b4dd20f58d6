"""The names that users give to datasets, classes and runs, and the names that are taken."""

import re

from colorgan.errors import ConfigError

GENERAL = "general"  # the model that trains on every class
HYPERCOLUMN = "hypercolumn"  # the baseline, which trains on every class, too
ROUTER = "router"  # the model that sends photographs to the class models
# Keys that a class cannot have, in any case: other models, and files that lie beside the folders of
# the models or the classes.
RESERVED_NAMES = (
    *(GENERAL, ROUTER, HYPERCOLUMN, "assembled", "auto", "gray", "original", "unsure"),
    *("run.json", "summary.json", "manifest.json", "dropped.csv"),
)


def is_key(name: str) -> bool:
    """Whether a name is fit for a key in storage."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name) is not None


def check_name(kind: str, name: str) -> str:
    """Return a name that is fit for a key in storage; raises ConfigError for any other."""
    if not is_key(name):
        raise ConfigError(
            f"{kind} {name!r} is not a name: use up to 100 letters, digits, '-', '_' and '.', "
            "the first a letter or digit"
        )
    return name


def check_class(name: str) -> str:
    """Return a name that may be a class's key; raises ConfigError for any other."""
    if check_name("class", name).lower() in RESERVED_NAMES:
        raise ConfigError(f"{name!r} cannot be a class: colorgan keeps that name; use another")
    return name
