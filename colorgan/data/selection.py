"""Selecting: which of the photographs that can be used make the dataset.

It is decided by the candidates' order alone, not by who examined them or when: the same sample
comes of one process and of a hundred.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field
from sys import intern
from urllib.parse import urlsplit

from colorgan.data.dataset import SPLITS
from colorgan.data.examination import Facts, Piece

# A picture that stands at so many addresses says that a photograph is gone, in one way or another.
PLACEHOLDER_ADDRESSES = 3

# Two 256-bit hashes that differ in fewer bits than there are bands agree in one of the bands.
_BANDS = 16
_BAND_BITS = 16
LARGEST_DISTANCE = _BANDS - 1

# The source of a photograph that is kept, and its split.
_Kept = tuple[str, str]


@dataclass(frozen=True)
class Dropped:
    """A candidate that was left out, and why."""

    source: str
    label: str
    reason: str
    detail: str


@dataclass(frozen=True)
class StoredPhotograph:
    """Where a photograph that was kept lies.

    Attributes:
        piece: key of the piece in storage.
        group: row group of the piece.
        row: in that group.
        bytes: of its file.
        source: the source's place among those of the staging.
    """

    piece: str
    group: int
    row: int
    bytes: int
    source: int = 0


@dataclass(frozen=True)
class Outcomes:
    """What came of a group's candidates: a class of a source, or a class in a split of a source.

    Attributes:
        found: pieces, and candidates that were not examined, in the candidates' order.
        wanted: photographs to take; None takes all.
        source: the source's place among those of the staging.
        downloads: whether a picture that stands at several addresses is a placeholder.
    """

    found: Sequence[Piece | Dropped]
    wanted: int | None = None
    source: int = 0
    downloads: bool = False


@dataclass
class Selection:
    """What was selected.

    Attributes:
        kept: the photographs of each class and split, in order.
        dropped: the candidates that cannot be used.
        spare: by class, those that could have been used and were not needed.
        origins: photographs kept by the host of their address, or by their folder.
        licences: photographs kept by their licence, where it is known.
        contents: the content hashes of the photographs of each group.
        in_two_splits: copies that were dropped of photographs that are kept in another split.
    """

    kept: defaultdict[tuple[str, str], list[StoredPhotograph]] = field(
        default_factory=lambda: defaultdict(list)
    )
    dropped: list[Dropped] = field(default_factory=list)
    spare: Counter[str] = field(default_factory=Counter)
    origins: Counter[str] = field(default_factory=Counter)
    licences: Counter[str] = field(default_factory=Counter)
    contents: list[list[str]] = field(default_factory=list)
    in_two_splits: int = 0


@dataclass(frozen=True)
class _Fault:
    """Why a candidate is left out; `split` is that of the photograph of which it is a copy."""

    reason: str
    detail: str
    split: str = ""


def select(
    groups: Sequence[Outcomes], near_duplicate_bits: int
) -> tuple[Selection, list[int], list[int]]:
    """Take the first photographs of each group that can be used and are not there already.

    Of copies, the first group's stays. Groups of the split test that come before those of val, and
    these before those of train, keep test and val apart from what is trained on.

    Args:
        groups: what came of their candidates.
        near_duplicate_bits: the most bits in which the hashes of two photographs differ that are
            taken for one; at most LARGEST_DISTANCE, and -1 for none.

    Returns:
        The selection, how many photographs each group got, and how many it has to spare.
    """
    placeholders = _repeated(group.found for group in groups if group.downloads)
    selection, filled, spare = Selection(), [0] * len(groups), [0] * len(groups)
    selection.contents = [[] for _ in groups]
    seen: dict[str, _Kept] = {}
    looks = _Looks(near_duplicate_bits)
    for number, group in enumerate(groups):
        for each in group.found:
            if isinstance(each, Dropped):
                selection.dropped.append(each)
                continue
            for facts, place in _placed(each, group.source):
                known = placeholders if group.downloads else frozenset()
                fault = _fault(facts, known, seen, looks)
                if fault:
                    selection.dropped.append(
                        Dropped(facts.source, facts.label, fault.reason, fault.detail)
                    )
                    selection.in_two_splits += fault.split not in ("", facts.split)
                elif filled[number] == group.wanted:
                    spare[number] += 1
                    selection.spare[facts.label] += 1
                else:
                    filled[number] += 1
                    kept = facts.source, intern(facts.split)
                    seen[facts.sha256] = kept
                    looks.add(facts.look, kept)
                    selection.kept[facts.label, facts.split].append(place)
                    selection.contents[number].append(facts.sha256)
                    selection.origins[_origin(facts.source)] += 1
                    if facts.licence:
                        selection.licences[facts.licence] += 1
    return selection, filled, spare


def _repeated(groups: Iterable[Sequence[Piece | Dropped]]) -> frozenset[str]:
    """The contents that stand at too many addresses to be photographs."""
    addresses = Counter(
        sha256
        for group in groups
        for each in group
        if isinstance(each, Piece)
        for sha256 in each.table["sha256"].to_pylist()
        if sha256
    )
    return frozenset(
        sha256 for sha256, count in addresses.items() if count >= PLACEHOLDER_ADDRESSES
    )


def _placed(piece: Piece, source: int) -> Iterable[tuple[Facts, StoredPhotograph]]:
    """A piece's candidates in their order, with their place in its file."""
    rows: Counter[str] = Counter()
    facts = piece.facts()
    groups = [split for split in SPLITS if any(not f.reason and f.split == split for f in facts)]
    for each in sorted(facts, key=lambda each: each.number):
        group = groups.index(each.split) if not each.reason else len(groups)
        yield each, StoredPhotograph(piece.key, group, rows[each.split], each.bytes, source)
        rows[each.split] += not each.reason


def _fault(
    facts: Facts, placeholders: Set[str], seen: dict[str, _Kept], looks: "_Looks"
) -> _Fault | None:
    if facts.reason:
        return _Fault(facts.reason, facts.detail)
    if facts.sha256 in placeholders:
        return _Fault(
            "placeholder", f"the same picture at {PLACEHOLDER_ADDRESSES} addresses or more"
        )
    if facts.sha256 in seen:
        return _copy("duplicate", facts, seen[facts.sha256])
    other = looks.find(facts.look)
    return _copy("near-duplicate", facts, other) if other else None


def _copy(reason: str, facts: Facts, kept: _Kept) -> _Fault:
    source, split = kept
    return _Fault(reason, f"of {source}" + (f" in {split}" if split != facts.split else ""), split)


def _origin(source: str) -> str:
    if source.startswith("/"):
        return source.rpartition("/")[0]
    address = urlsplit(source)
    if address.hostname:
        return address.hostname
    return address.scheme or source.rpartition("/")[0]


class _Looks:
    """Finds perceptual hashes that are near to one another.

    Hashes that differ in fewer bits than there are bands agree in a whole band, so only those that
    share a band are compared (Manku et al. 2007, section 3).
    """

    def __init__(self, distance: int) -> None:
        self._distance = distance
        self._bands: list[defaultdict[int, list[int]]] = [defaultdict(list) for _ in range(_BANDS)]
        self._looks: list[int] = []
        self._kept: list[_Kept] = []

    def find(self, look: bytes) -> _Kept | None:
        value = int.from_bytes(look, "big")
        for band, key in zip(self._bands, _split(value), strict=True):
            for number in band.get(key, ()):
                if (self._looks[number] ^ value).bit_count() <= self._distance:
                    return self._kept[number]
        return None

    def add(self, look: bytes, kept: _Kept) -> None:
        if self._distance < 0:
            return
        value = int.from_bytes(look, "big")
        for band, key in zip(self._bands, _split(value), strict=True):
            band[key].append(len(self._looks))
        self._looks.append(value)
        self._kept.append(kept)


def _split(value: int) -> Iterable[int]:
    return ((value >> shift) & 0xFFFF for shift in range(0, _BANDS * _BAND_BITS, _BAND_BITS))
