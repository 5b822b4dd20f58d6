"""Draws candidates from the sources of a staging until enough photographs are usable.

The candidates of one source, class and split (if the source defines splits) form a *group*. If a
number of photographs per class is requested, the groups of one class and split share it evenly, and
larger groups make up for what smaller ones lack.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice

from colorgan.data.dataset import SPLITS, even_shares
from colorgan.data.examination import (
    CHUNK,
    CHUNK_ONLINE,
    Chunk,
    ExaminationConfig,
    Piece,
    make_chunk,
)
from colorgan.data.mapping import batched
from colorgan.data.selection import Dropped, Outcomes, Selection, select
from colorgan.data.sources.candidates import Candidate, Source

# Expected shares of usable candidates, before any has been examined, and the least one assumed.
_EXPECTED_HERE = 1.0
_EXPECTED_ONLINE = 0.8
_EXPECTED_LEAST = 0.05


@dataclass
class Group:
    """The candidates of one class of a source, in one split if the source defines splits.

    Attributes:
        source: the index of the source in the staging.
        label: the class.
        split: train, val or test; None if the source defines no splits.
        by_content: the splits among which these photographs are divided by content.
        checks: the checks to apply; the share of a split that is not assigned by content is 0.
        candidates: the candidates that have not been drawn yet.
        downloads: whether the candidates are downloaded from the web.
        wanted: number of photographs to select; None for all.
        outcomes: the indices of its chunks, and the candidates dropped without examination.
        examined: number of candidates drawn.
        got: number of photographs selected.
        usable: number of photographs selected or spare.
        exhausted: whether there are no more candidates.
    """

    source: int
    label: str
    split: str | None
    by_content: tuple[str, ...]
    checks: ExaminationConfig
    candidates: Iterator[Candidate]
    downloads: bool
    wanted: int | None = None
    outcomes: list[int | Dropped] = field(default_factory=list)
    examined: int = 0
    got: int = 0
    usable: int = 0
    exhausted: bool = False
    _most: int | None = None

    @property
    def pool(self) -> tuple[str, str]:
        """The class and split whose requested photographs are shared by groups of all sources."""
        return self.label, self.split or "train"

    @property
    def most(self) -> int | None:
        """The maximum number of photographs that the group can provide; None if still unknown.

        It may shrink as other groups take copies of its photographs. It never grows again, so that
        the shares converge.
        """
        if self.exhausted:
            self._most = self.usable if self._most is None else min(self._most, self.usable)
        return self._most


def open_groups(
    sources: Sequence[Source], checks: ExaminationConfig, hold_out: bool
) -> list[Group]:
    """The groups of the sources: those of test first, then val, then the others.

    The first of several copies is kept, so a photograph with a copy in test is not trained on.

    Args:
        sources: the sources, in order of preference.
        checks: the checks to apply, and the shares of val and test.
        hold_out: whether a split that a class of a source lacks is taken from its train split by
            content. If not, this is done only for splits that no source has.
    """
    found: dict[tuple[str | None, int, str], Iterator[Candidate]] = {}
    there: set[tuple[str | None, int, str]] = set()
    for split in (*reversed(SPLITS), None):
        for number, source in enumerate(sources):
            if source.has_splits == (split is None):
                continue
            for label in source.classes:
                key, candidates = (split, number, label), source.candidates(label, split)
                first = next(candidates, None)
                found[key] = iter(())
                if first is not None:
                    there.add(key)
                    found[key] = chain([first], candidates)
    splits_there = {split for split, _, _ in there}

    def made_up(number: int, label: str) -> tuple[str, ...]:
        if hold_out and ("train", number, label) in there:
            return tuple(each for each in SPLITS if (each, number, label) not in there)
        return tuple(each for each in sources[number].made_up if each not in splits_there)

    groups = []
    # The groups of sources without splits are ordered as train.
    for split, number, label in sorted(
        found, key=lambda key: (-SPLITS.index(key[0] or "train"), key[1])
    ):
        by_content = SPLITS if split is None else made_up(number, label)
        if split in by_content:
            continue
        by_content = by_content if split in ("train", None) else ()
        groups.append(
            Group(
                number,
                label,
                split,
                by_content,
                replace(
                    checks,
                    val_share=checks.val_share if "val" in by_content else 0,
                    test_share=checks.test_share if "test" in by_content else 0,
                ),
                found[split, number, label],
                sources[number].downloads,
            )
        )
    return groups


class Drawing:
    """Draws as many candidates as are expected to be needed, and collects their results.

    Attributes:
        groups: the groups to draw from.
    """

    def __init__(self, groups: Sequence[Group], pieces: str, per_class: int) -> None:
        """Prepare to draw.

        Args:
            groups: the groups to draw from.
            pieces: the folder of the pieces in storage.
            per_class: number of photographs per class, and per split if sources define splits; 0
                takes all.
        """
        self.groups = groups
        self._pieces, self._per_class = pieces, per_class
        self._seen: set[str] = set()
        self._found: dict[int, Piece] = {}
        self._places = 0
        for group in groups:
            group.wanted = per_class or None
        self._share()

    def draw(self) -> list[Chunk]:
        """The next chunks to examine; empty once every group has enough or is exhausted."""
        return [chunk for group in self.groups for chunk in self._draw(group)]

    def _draw(self, group: Group) -> Iterator[Chunk]:
        if group.exhausted:
            return
        count, size = None, CHUNK_ONLINE if group.downloads else CHUNK
        if group.wanted is not None:
            if group.usable >= group.wanted:
                return
            expected = _EXPECTED_ONLINE if group.downloads else _EXPECTED_HERE
            if group.examined:
                expected = max(group.usable / group.examined, _EXPECTED_LEAST)
            count = math.ceil((group.wanted - group.usable) / expected / size) * size
        drawn = 0
        for candidates in batched(islice(self._new(group), count), size):
            chunk = make_chunk(self._places, self._pieces, candidates, group.checks)
            self._places += 1
            drawn += len(candidates)
            group.outcomes.append(chunk.place)
            yield chunk
        group.examined += drawn
        group.exhausted = count is None or drawn < count

    def _new(self, group: Group) -> Iterator[Candidate]:
        """Candidates whose URL or path has not been drawn before."""
        for candidate in group.candidates:
            if candidate.source in self._seen:
                group.outcomes.append(
                    Dropped(candidate.source, group.label, "duplicate", "it is listed before")
                )
                continue
            self._seen.add(candidate.source)
            yield candidate

    @property
    def state(self) -> tuple[int, tuple[int | None, ...]]:
        """The state that determines a selection: the numbers of outcomes and of wanted ones."""
        outcomes = sum(len(group.outcomes) for group in self.groups)
        return outcomes, tuple(group.wanted for group in self.groups)

    def put(self, piece: Piece) -> None:
        """Add the result of a chunk."""
        self._found[piece.place] = piece

    def select(self, near_duplicate_bits: int) -> Selection:
        """Select from everything examined so far, and update the groups' shares."""
        selection, filled, spare = select(
            [
                Outcomes(
                    [
                        each if isinstance(each, Dropped) else self._found[each]
                        for each in group.outcomes
                    ],
                    group.wanted,
                    group.source,
                    group.downloads,
                )
                for group in self.groups
            ],
            near_duplicate_bits,
        )
        for group, got, more in zip(self.groups, filled, spare, strict=True):
            group.got, group.usable = got, got + more
        self._share()
        return selection

    def _share(self) -> None:
        """Divide the requested number of each class and split among its groups."""
        for members in self._pools().values():
            if not self._per_class or len(members) == 1:
                continue
            # The size of a group that is not exhausted is unknown.
            most = {
                number: self._per_class if group.most is None else group.most
                for number, group in enumerate(members)
            }
            shares = even_shares(most, self._per_class)
            for number, group in enumerate(members):
                group.wanted = shares[number]

    def _pools(self) -> dict[tuple[str, str], list[Group]]:
        pools: dict[tuple[str, str], list[Group]] = {}
        for group in self.groups:
            pools.setdefault(group.pool, []).append(group)
        return pools

    def missing(self) -> dict[str, int]:
        """The number of requested photographs that the sources lack, by class."""
        short: dict[str, int] = {}
        for (label, _), members in self._pools().items():
            lack = self._per_class - sum(group.got for group in members)
            short[label] = max(lack, short.get(label, 0))
        return {label: lack for label, lack in short.items() if lack > 0}
