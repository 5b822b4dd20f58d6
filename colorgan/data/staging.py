"""Staging: candidates in, a checked and resized Parquet dataset in storage out.

    candidates --examine--> pieces in storage --select--> photographs --write--> shards, manifest

Candidates are examined in chunks, by threads of this process or on a cluster (`Mapper`); what comes
of a chunk is kept in storage as a piece. Then the order of the candidates decides what is taken,
which needs their facts and none of their pictures. Where a number is wanted and not reached, more
candidates are drawn, and so on. At last shards are written from the pieces, and the manifest.
"""

import csv
import hashlib
import io
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated

from pydantic import Field

from colorgan.data.dataset import SPLITS, Dataset, Manifest, Shard, check_name
from colorgan.data.examination import (
    CHUNK,
    CHUNK_ONLINE,
    Chunk,
    Examination,
    ExaminationConfig,
    Piece,
    make_chunk,
)
from colorgan.data.fetching import FetchConfig
from colorgan.data.mapping import Mapper, ThreadMapper, batched
from colorgan.data.notes import notes_on
from colorgan.data.selection import LARGEST_DISTANCE, Dropped, Selection, select
from colorgan.data.shards import ShardWriting, plan_shards
from colorgan.data.sources.candidates import Candidate, Source
from colorgan.errors import ColorganError
from colorgan.options import Count, option
from colorgan.storage import Storage, patiently

# Shares of candidates that can be used, before any is known.
_EXPECTED_HERE = 1.0
_EXPECTED_ONLINE = 0.8
_EXPECTED_LEAST = 0.05
_LISTED = 50  # origins and licences that a manifest tells apart


@dataclass(frozen=True)
class StagingConfig(ExaminationConfig):
    """How photographs are checked, resized, split, selected and written."""

    near_duplicate_bits: Annotated[int, Field(ge=-1, le=LARGEST_DISTANCE)] = option(
        LARGEST_DISTANCE,
        "drop a photograph whose perceptual hash, of 256 bits, differs from another's in at most "
        f"so many; {LARGEST_DISTANCE} at most, and -1 drops none",
    )
    shard_mib: Count = option(64, "size that a Parquet shard reaches before the next one, in MiB")


@dataclass
class StagingProgress:
    """Where a staging is: passed to its observer after every chunk and every shard.

    Attributes:
        examined: candidates by class.
        usable: those that can be used, by class, before duplicates are told.
        rejected: the others, by reason.
        wanted: photographs a class; 0 is all there are.
        known: candidates that are to be examined by now.
        shards: that are written, and that are to be.
    """

    wanted: int = 0
    examined: Counter[str] = field(default_factory=Counter)
    usable: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    known: int = 0
    shards: tuple[int, int] = (0, 0)

    def add(self, piece: Piece) -> None:
        """Count a chunk that was examined."""
        reasons = piece.table["reason"].to_pylist()
        labels = piece.table["label"].to_pylist()
        self.examined.update(labels)
        self.usable.update(
            label for label, reason in zip(labels, reasons, strict=True) if not reason
        )
        self.rejected.update(filter(None, reasons))


@dataclass(frozen=True)
class Staged:
    """What a staging made.

    Attributes:
        dataset: the dataset.
        dropped: the candidates that were left out.
        spare: by class, photographs that could have been used and were not needed.
        missing: by class, photographs that were wanted and that the source had not.
        notes: sentences on what is not as its user may mean it.
    """

    dataset: Dataset
    dropped: list[Dropped]
    spare: dict[str, int]
    missing: dict[str, int]
    notes: tuple[str, ...] = ()


def stage(
    source: Source,
    storage: Storage,
    name: str,
    config: StagingConfig | None = None,
    *,
    per_class: int = 0,
    fetching: FetchConfig | None = None,
    replace: bool = False,
    mapper: Mapper | None = None,
    observe: Callable[[StagingProgress], None] = lambda progress: None,
) -> Staged:
    """Write a source's photographs as a dataset.

    Every candidate is decoded fully, turned upright, converted to sRGB and scaled down to the
    staged size; those that cannot be used are left out, and listed beside the manifest in
    dropped.csv. The manifest comes last, so the dataset is visible whole or not at all. A staging
    that was interrupted goes on, when it is started again, from the pieces that it left.

    The same source and options give the same rows, whatever the mapper.

    Args:
        source: where the photographs come from.
        storage: where the dataset goes.
        name: the dataset's name.
        config: checks, sizes and shares; the defaults where None.
        per_class: photographs a class (in each split that the source has); 0 takes all.
        fetching: how to download; the defaults where None.
        replace: write over a dataset of that name.
        mapper: does the work; threads of this process where None.
        observe: called with one object that changes.

    Raises:
        ColorganError: the dataset exists already, or a class has no photograph that can be used.
    """
    config, mapper = config or StagingConfig(), mapper or ThreadMapper()
    folder = f"datasets/{check_name('dataset', name)}"
    if storage.exists(f"{folder}/manifest.json") and not replace:
        raise ColorganError(
            f"dataset {name!r} exists in {storage.uri}: --replace writes it anew, "
            "or choose another name"
        )
    pieces = f"staging/{name}"
    checks = _checks(source, config)
    work = Examination(
        storage.uri,
        checks,
        (fetching or FetchConfig()).share(mapper.workers) if source.downloads else None,
    )
    progress = StagingProgress(per_class)
    observe(progress)
    drawing = _Drawing(source, pieces, checks)
    chunks = drawing.draw(per_class)
    selected = -1
    while chunks:
        progress.known += sum(len(chunk.candidates) for chunk in chunks)
        for piece in mapper.map(work, chunks):
            drawing.put(piece)
            progress.add(piece)
            observe(progress)
        selection = drawing.select(per_class, config.near_duplicate_bits)
        selected = drawing.outcomes
        chunks = drawing.draw(per_class)
    if drawing.outcomes != selected:  # the last drawing found what was listed before
        selection = drawing.select(per_class, config.near_duplicate_bits)
    _check_classes(source, selection, storage, pieces)

    plans = plan_shards(selection.kept, config.shard_mib * 2**20)
    # Nobody may read the old shards and the new ones as one dataset.
    patiently(lambda: storage.delete(f"{folder}/manifest.json"))
    shards = []
    for shard in mapper.map(ShardWriting(storage.uri, folder), plans):
        shards.append(shard)
        progress.shards = (len(shards), len(plans))
        observe(progress)
    manifest = _manifest(name, source, config, selection, shards)
    patiently(lambda: _delete_others(storage, folder, manifest))
    patiently(lambda: storage.put(f"{folder}/dropped.csv", _dropped_csv(selection.dropped)))
    patiently(lambda: storage.put(f"{folder}/manifest.json", manifest.to_json()))
    patiently(lambda: storage.delete(pieces))
    wanted = {label: per_class and per_class - got for label, got in drawing.got().items()}
    return Staged(
        Dataset(storage, manifest),
        selection.dropped,
        dict(selection.spare),
        {label: count for label, count in wanted.items() if count > 0},
        notes_on(source, selection, manifest, checks),
    )


def _checks(source: Source, config: StagingConfig) -> ExaminationConfig:
    """The checks of a source's photographs, without a share for splits that the source has."""
    checks = ExaminationConfig(
        **{each.name: getattr(config, each.name) for each in fields(ExaminationConfig)}
    )
    if not source.has_splits:
        return checks
    return replace(
        checks,
        val_share=checks.val_share if "val" in source.made_up else 0,
        test_share=checks.test_share if "test" in source.made_up else 0,
    )


class _Group:
    """The candidates of a class, or of a class in a split that the source names."""

    def __init__(self, label: str, candidates: Iterator[Candidate]) -> None:
        self.label = label
        self.candidates = candidates
        self.outcomes: list[int | Dropped] = []  # chunks' places, and what was not examined
        self.examined = 0
        self.got = 0
        self.exhausted = False


class _Drawing:
    """Draws candidates from a source, as many as seem to be needed, and knows what came of them."""

    def __init__(self, source: Source, pieces: str, checks: ExaminationConfig) -> None:
        self._downloads, self._pieces, self._checks = source.downloads, pieces, checks
        self._size = CHUNK_ONLINE if source.downloads else CHUNK
        # Of copies the first stays: a copy in test must not be trained on.
        splits = reversed(SPLITS) if source.has_splits else (None,)
        self._groups = [
            _Group(label, source.candidates(label, split))
            for split in splits
            if split not in source.made_up
            for label in source.classes
        ]
        self._seen: set[str] = set()
        self._found: dict[int, Piece] = {}
        self._places = 0

    def draw(self, wanted: int) -> list[Chunk]:
        """The next chunks to examine; none when every group has what it should or no more."""
        return [chunk for group in self._groups for chunk in self._draw(group, wanted)]

    def _draw(self, group: _Group, wanted: int) -> Iterator[Chunk]:
        if group.exhausted:
            return
        count = None
        if wanted:
            if group.got >= wanted:
                return
            expected = _EXPECTED_ONLINE if self._downloads else _EXPECTED_HERE
            if group.examined:
                expected = max(group.got / group.examined, _EXPECTED_LEAST)
            count = math.ceil((wanted - group.got) / expected / self._size) * self._size
        drawn = 0
        for candidates in batched(islice(self._new(group), count), self._size):
            chunk = make_chunk(self._places, self._pieces, candidates, self._checks)
            self._places += 1
            drawn += len(candidates)
            group.outcomes.append(chunk.place)
            yield chunk
        group.examined += drawn
        group.exhausted = count is None or drawn < count

    def _new(self, group: _Group) -> Iterator[Candidate]:
        """Candidates whose source was not drawn before."""
        for candidate in group.candidates:
            if candidate.source in self._seen:
                group.outcomes.append(
                    Dropped(candidate.source, group.label, "duplicate", "it is listed before")
                )
                continue
            self._seen.add(candidate.source)
            yield candidate

    @property
    def outcomes(self) -> int:
        """How many there are by now: chunks, and candidates that were not examined."""
        return sum(len(group.outcomes) for group in self._groups)

    def put(self, piece: Piece) -> None:
        """Take what came of a chunk."""
        self._found[piece.place] = piece

    def select(self, wanted: int, near_duplicate_bits: int) -> Selection:
        """Select among all that was examined by now."""
        outcomes = [
            [each if isinstance(each, Dropped) else self._found[each] for each in group.outcomes]
            for group in self._groups
        ]
        selection, filled = select(outcomes, wanted, near_duplicate_bits, self._downloads)
        for group, got in zip(self._groups, filled, strict=True):
            group.got = got
        return selection

    def got(self) -> dict[str, int]:
        """The fewest photographs that a group of each class has."""
        return {
            label: min(group.got for group in self._groups if group.label == label)
            for label in dict.fromkeys(group.label for group in self._groups)
        }


def _check_classes(source: Source, selection: Selection, storage: Storage, pieces: str) -> None:
    for label in source.classes:
        if any(selection.kept[label, split] for split in SPLITS):
            continue
        storage.delete(pieces)
        reasons = Counter(drop.reason for drop in selection.dropped if drop.label == label)
        listed = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
        raise ColorganError(
            f"class {label!r} is empty: none of its {reasons.total()} files is a photograph that "
            "can be used" + (f" ({listed})" if listed else "")
        )


def _manifest(
    name: str,
    source: Source,
    config: StagingConfig,
    selection: Selection,
    shards: Sequence[Shard],
) -> Manifest:
    shards = sorted(shards, key=lambda shard: shard.key)
    reasons = Counter(drop.reason for drop in selection.dropped) + Counter(source.excluded)
    return Manifest(
        name=name,
        created=datetime.now(UTC).isoformat(timespec="milliseconds"),
        source=source.description,
        size=config.size,
        split_seed=None if source.has_splits and not source.made_up else config.split_seed,
        classes=source.classes,
        counts={
            label: {split: len(selection.kept[label, split]) for split in SPLITS}
            for label in source.classes
        },
        dropped=dict(reasons),
        shards=tuple(shards),
        fingerprint=hashlib.sha256("".join(s.sha256 for s in shards).encode()).hexdigest(),
        origins=_commonest(selection.origins),
        licences=_commonest(selection.licences),
        names={label: name for label, name in source.names.items() if label in source.classes},
        made_up=source.made_up,
    )


def _commonest(counts: Counter[str]) -> dict[str, int]:
    common = dict(counts.most_common(_LISTED))
    others = counts.total() - sum(common.values())
    return {**common, "others": others} if others else common


def _delete_others(storage: Storage, folder: str, manifest: Manifest) -> None:
    """Delete what another dataset of the name has left."""
    ours = {f"{folder}/{shard.key}" for shard in manifest.shards}
    for key in storage.list(folder):
        if key not in ours:
            storage.delete(key)


def _dropped_csv(dropped: list[Dropped]) -> bytes:
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["source", "class", "reason", "detail"])
    table.writerows([drop.source, drop.label, drop.reason, drop.detail] for drop in dropped)
    return text.getvalue().encode()
