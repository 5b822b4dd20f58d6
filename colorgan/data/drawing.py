"""Draws candidates from the sources of a staging until enough photographs are usable.

If a number of photographs per class is requested, the groups of one class and split share it
evenly, and larger groups make up for what smaller ones lack.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import islice

import pyarrow as pa

from colorgan.data.dataset import even_shares
from colorgan.data.examination import CHUNK, CHUNK_ONLINE, Chunk, make_chunk
from colorgan.data.groups import Dropped, Group
from colorgan.data.mapping import batched
from colorgan.data.selection import Selection, select
from colorgan.data.sources.candidates import Candidate

# Expected shares of usable candidates, before any has been examined, and the least one assumed.
_EXPECTED_HERE = 1.0
_EXPECTED_ONLINE = 0.8
_EXPECTED_LEAST = 0.05


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
        self._chunks: list[Chunk] = []
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
            chunk = make_chunk(len(self._chunks), self._pieces, candidates, group.checks)
            self._chunks.append(chunk)
            drawn += len(candidates)
            group.drawn.append(chunk)
            yield chunk
        group.examined += drawn
        group.exhausted = count is None or drawn < count

    def _new(self, group: Group) -> Iterator[Candidate]:
        """Candidates whose URL or path has not been drawn before."""
        for candidate in group.candidates:
            if candidate.source in self._seen:
                group.drawn.append(
                    Dropped(candidate.source, group.label, "duplicate", "it is listed before")
                )
                continue
            self._seen.add(candidate.source)
            yield candidate

    @property
    def state(self) -> tuple[int, tuple[int | None, ...]]:
        """The state that determines a selection: the numbers of drawn and of wanted ones."""
        drawn = sum(len(group.drawn) for group in self.groups)
        return drawn, tuple(group.wanted for group in self.groups)

    def put(self, place: int, table: pa.Table) -> Chunk:
        """Add the table of an examined chunk; returns the chunk."""
        chunk = self._chunks[place]
        chunk.table = table
        return chunk

    def select(self, near_duplicate_bits: int) -> Selection:
        """Select from everything examined so far, and update the groups' shares."""
        selection, filled, spare = select(self.groups, near_duplicate_bits)
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
