"""The splits of a dataset: their names in sources, and the messages about empty splits."""

import re
from collections.abc import Collection, Sequence

_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
_TITLES = {"train": "training split", "val": "validation split", "test": "test split"}
_NAMED = 10  # maximum number of classes named in a sentence


def split_named(name: str) -> str | None:
    """The split that a folder or cell names (`Train`, `valid`, `test_set`), or None."""
    found = re.fullmatch(r"([a-z]+?)([ _-]?set)?", name.strip().lower())
    return _WORDS.get(found[1]) if found else None


def missing_splits(there: Collection[str]) -> tuple[str, ...]:
    """The splits that a source lacks and that content can divide off its train split."""
    return tuple(split for split in _TITLES if split not in there) if "train" in there else ()


def nothing_in(dataset: str, names: Sequence[str], split: str) -> str:
    """A sentence saying that a dataset has no photograph of the named classes in a split."""
    shown = [f"'{name}'" for name in names[:_NAMED]]
    if len(names) > _NAMED:
        shown.append(f"{len(names) - _NAMED} more")
    listed = " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))
    kind = "class" if len(names) == 1 else "the classes"
    return f"Dataset '{dataset}' has no photograph of {kind} {listed} in its {_TITLES[split]}."


def way_out(split: str, by_content: bool) -> str:
    """A sentence that says what to do about an empty split.

    Args:
        split: train, val or test.
        by_content: whether photographs get their split by content rather than from the source.
    """
    if not by_content:
        put = f"Put some into the source's {_TITLES[split]}"
        if split == "train":
            return f"{put}, and stage it again."
        return f"{put}, or take some of its training split with --hold-out, and stage it again."
    if split == "train":
        return "Stage more photographs, or lower --val-share and --test-share."
    return f"Stage more photographs, or raise --{split}-share."
