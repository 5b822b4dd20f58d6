"""Groups of candidates: those of one class of a source, in one split if the source has splits."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from colorgan.data.dataset import SPLITS
from colorgan.data.examination import Chunk, ExaminationConfig
from colorgan.data.sources.candidates import Candidate, Source


@dataclass(frozen=True)
class Dropped:
    """A candidate that was left out, and why."""

    source: str
    label: str
    reason: str
    detail: str


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
        drawn: its chunks, and the candidates dropped without examination, in order.
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
    drawn: list[Chunk | Dropped] = field(default_factory=list)
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
