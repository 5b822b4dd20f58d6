"""The names that users give to datasets, classes and runs, and the reserved names."""

import re

from colorgan.errors import ConfigError

GENERAL = "general"  # the model that trains on every class
HYPERCOLUMN = "hypercolumn"  # a baseline, which also trains on every class
CIC = "cic"  # another one, which classifies colours
BASELINES = (HYPERCOLUMN, CIC)
OF_ALL_CLASSES = (GENERAL, *BASELINES)
ROUTER = "router"  # the model that sends photographs to the class models
SEGMENTER = "segmenter"  # the model that says what each pixel of a photograph shows
DETECTOR = "detector"  # the model that finds the objects of a photograph
OF_NO_CLASS = (*OF_ALL_CLASSES, ROUTER, SEGMENTER, DETECTOR)
OBJECTS = "objects"  # a detector, the models of its objects' classes, and `general` for the rest
# Keys that a class cannot have, in upper or lower case: other models, and files beside the folders
# of the models or classes.
RESERVED_NAMES = (
    *(*OF_NO_CLASS, "assembled", OBJECTS, "auto", "gray", "original", "unsure"),
    *("run.json", "summary.json", "manifest.json", "dropped.csv"),
)


def is_key(name: str) -> bool:
    """Whether a name is a valid key in storage."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name) is not None


def check_name(kind: str, name: str) -> str:
    """Return a name that is a valid key in storage; raises ConfigError for any other."""
    if not is_key(name):
        raise ConfigError(
            f"{kind} {name!r} is not a name: use up to 100 letters, digits, '-', '_' and '.', "
            "the first a letter or digit"
        )
    return name


def check_class(name: str) -> str:
    """Return a valid class name; raises ConfigError for any other."""
    if check_name("class", name).lower() in RESERVED_NAMES:
        raise ConfigError(f"{name!r} cannot be a class: the name is reserved; use another")
    return name
