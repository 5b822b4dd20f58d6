"""Selection of the usable photographs that make up the dataset.

The selection depends only on the order of the candidates, not on which process examined them or
when: one process and a hundred give the same sample.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field
from sys import intern
from urllib.parse import urlsplit

from colorgan.data.dataset import SPLITS
from colorgan.data.examination import Chunk, Facts
from colorgan.data.groups import Dropped, Group

# A picture found at this many addresses is a placeholder for photographs that are gone.
PLACEHOLDER_ADDRESSES = 3

# Two 256-bit hashes that differ in fewer bits than there are bands agree in one of the bands.
_BANDS = 16
_BAND_BITS = 16
LARGEST_DISTANCE = _BANDS - 1

# The source and the split of a kept photograph.
_Kept = tuple[str, str]


@dataclass(frozen=True)
class StoredPhotograph:
    """The location of a kept photograph in the pieces.

    Attributes:
        piece: the key of the piece in storage.
        group: the index of the row group in the piece.
        row: the index of the row in that group.
        bytes: the size of the photograph's file in bytes.
        source: the index of its source in the staging.
    """

    piece: str
    group: int
    row: int
    bytes: int
    source: int = 0


@dataclass
class Selection:
    """The result of a selection.

    Attributes:
        kept: the selected photographs of each class and split, in order.
        dropped: the rejected candidates, including duplicates.
        spare: number of usable photographs that were not needed, by class.
        origins: number of kept photographs by the host of their URL or by their folder.
        licences: number of kept photographs by licence, if known.
        contents: the content hashes of the kept photographs of each group.
        in_two_splits: number of copies dropped because another split keeps the photograph.
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
    """Why a candidate is left out; `split` is the split of the photograph that it copies."""

    reason: str
    detail: str
    split: str = ""


def select(
    groups: Sequence[Group], near_duplicate_bits: int
) -> tuple[Selection, list[int], list[int]]:
    """Select the first usable photographs of each group, without duplicates.

    Of several copies, the first group's is kept. If the groups of test come before those of val,
    and these before those of train, no photograph of test or val is also in train.

    Args:
        groups: the groups, whose chunks have been examined.
        near_duplicate_bits: the largest distance in bits between the perceptual hashes of two
            near-duplicates; at most LARGEST_DISTANCE, and -1 to keep near-duplicates.

    Returns:
        The selection, and the number of photographs selected and spare in each group.
    """
    placeholders = _repeated(group.drawn for group in groups if group.downloads)
    selection, filled, spare = Selection(), [0] * len(groups), [0] * len(groups)
    selection.contents = [[] for _ in groups]
    seen: dict[str, _Kept] = {}
    looks = _Looks(near_duplicate_bits)
    for number, group in enumerate(groups):
        for each in group.drawn:
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


def _repeated(groups: Iterable[Sequence[Chunk | Dropped]]) -> frozenset[str]:
    """The hashes of pictures that occur at too many addresses to be photographs."""
    addresses = Counter(
        sha256
        for group in groups
        for each in group
        if isinstance(each, Chunk)
        for sha256 in each.column("sha256")
        if sha256
    )
    return frozenset(
        sha256 for sha256, count in addresses.items() if count >= PLACEHOLDER_ADDRESSES
    )


def _placed(chunk: Chunk, source: int) -> Iterable[tuple[Facts, StoredPhotograph]]:
    """A chunk's candidates in their original order, with their location in its piece."""
    rows: Counter[str] = Counter()
    facts = chunk.facts()
    groups = [split for split in SPLITS if any(not f.reason and f.split == split for f in facts)]
    for each in sorted(facts, key=lambda each: each.number):
        group = groups.index(each.split) if not each.reason else len(groups)
        yield each, StoredPhotograph(chunk.key, group, rows[each.split], each.bytes, source)
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
    """Finds near-duplicates by their perceptual hashes.

    Hashes that differ in fewer bits than there are bands agree in at least one whole band, so only
    hashes that share a band are compared (Manku et al. 2007, section 3).
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
