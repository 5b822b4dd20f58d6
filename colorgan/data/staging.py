"""Staging: turns candidates into a checked and resized Parquet dataset in storage.

    candidates --examine--> pieces in storage --select--> photographs --write--> shards, manifest

Candidates are examined in chunks, by threads of this process or by other processes (`Mapper`); the
result of a chunk is stored as a piece. The order of the candidates then decides which photographs
are selected; this needs their facts but not their pictures. If fewer photographs are usable than
requested, more candidates are drawn and examined. Finally, the shards are written from the pieces,
and then the manifest.
"""

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import partial
from typing import Annotated

import pyarrow as pa
from pydantic import Field

from colorgan.data.dataset import SPLITS, Dataset, Manifest, Shard, StagedSource
from colorgan.data.drawing import Drawing
from colorgan.data.examination import Chunk, ExaminationConfig, examine_chunks
from colorgan.data.fetching import FetchConfig
from colorgan.data.groups import Dropped, Group, open_groups
from colorgan.data.mapping import Mapper, ThreadMapper, Work
from colorgan.data.naming import ClassNames
from colorgan.data.notes import notes_on
from colorgan.data.selection import LARGEST_DISTANCE, Selection
from colorgan.data.shards import ShardPlan, plan_shards, write_shards
from colorgan.data.sources.candidates import Source
from colorgan.errors import ColorganError, ConfigError
from colorgan.names import check_name
from colorgan.options import Count, option
from colorgan.storage import Storage, retry_transient

_LISTED = 50  # maximum number of origins and of licences that a manifest lists separately


@dataclass(frozen=True)
class StagingConfig(ExaminationConfig):
    """How photographs are checked, resized, split, selected and written."""

    near_duplicate_bits: Annotated[int, Field(ge=-1, le=LARGEST_DISTANCE)] = option(
        LARGEST_DISTANCE,
        "drop a photograph whose 256-bit perceptual hash differs from another's in at most this "
        f"many bits: up to {LARGEST_DISTANCE}; -1 drops none",
    )
    hold_out: bool = option(
        False,
        "where a source has train but no val or test, take --val-share or --test-share of each "
        "class's train; without this option, only if no source has the split",
    )
    shard_mib: Count = option(64, "size of a Parquet shard, in MiB, at which the next one is begun")


@dataclass
class StagingProgress:
    """The progress of a staging, passed to its observer after every chunk and every shard.

    Attributes:
        wanted: requested photographs per class; 0 for all.
        examined: number of examined candidates by class.
        usable: number of usable candidates by class, before duplicates are removed.
        rejected: number of rejected candidates by reason.
        known: number of candidates scheduled for examination so far.
        shards: number of shards written, and number in total.
    """

    wanted: int = 0
    examined: Counter[str] = field(default_factory=Counter)
    usable: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    known: int = 0
    shards: tuple[int, int] = (0, 0)

    def add(self, chunk: Chunk) -> None:
        """Count the candidates of an examined chunk."""
        reasons, labels = chunk.column("reason"), chunk.column("label")
        self.examined.update(labels)
        self.usable.update(
            label for label, reason in zip(labels, reasons, strict=True) if not reason
        )
        self.rejected.update(filter(None, reasons))


@dataclass(frozen=True)
class Staged:
    """The result of a staging.

    Attributes:
        dataset: the dataset.
        dropped: the candidates that were left out.
        spare: number of usable photographs that were not needed, by class.
        missing: number of requested photographs that the sources lack, by class.
        notes: sentences on whatever may differ from the user's intent.
    """

    dataset: Dataset
    dropped: list[Dropped]
    spare: dict[str, int]
    missing: dict[str, int]
    notes: tuple[str, ...] = ()


def _tell_nobody(progress: StagingProgress) -> None:
    pass


@dataclass(frozen=True)
class Execution:
    """How a staging is executed and observed.

    Attributes:
        mapper: executes the work; by default in threads of this process.
        fetching: the limits on downloads.
        observe: receives the progress; every call passes the same, mutable object.
    """

    mapper: Mapper = field(default_factory=ThreadMapper)
    fetching: FetchConfig = field(default_factory=FetchConfig)
    observe: Callable[[StagingProgress], None] = _tell_nobody


def stage(
    sources: Source | Sequence[Source],
    storage: Storage,
    name: str,
    config: StagingConfig | None = None,
    *,
    per_class: int = 0,
    replace: bool = False,
    execution: Execution | None = None,
) -> Staged:
    """Stage the photographs of one or more sources as one dataset.

    Every candidate is fully decoded, turned upright, converted to sRGB and scaled down to the
    staged size. Unusable candidates are left out and listed in dropped.csv beside the manifest.
    The manifest is written last, so the dataset becomes visible complete or not at all. When an
    interrupted staging is started again, it resumes from its existing pieces.

    The same sources and options give the same rows, whatever the mapper.

    Args:
        sources: the sources of the photographs; of duplicates, the first source's copy is kept.
        storage: the storage that the dataset is written to.
        name: the dataset's name.
        config: checks, sizes and shares; None for the defaults.
        per_class: number of photographs per class (in each split that the sources define), taken
            evenly from the sources that have the class; 0 takes all.
        replace: replace an existing dataset of that name.
        execution: how the work is executed; None for the defaults.

    Raises:
        ColorganError: the dataset already exists, or a class has no usable photograph.
        ConfigError: a source is given twice, or two sources name one class differently.
    """
    sources = list(sources) if isinstance(sources, Sequence) else [sources]
    names = _class_names(sources)
    config, execution = config or StagingConfig(), execution or Execution()
    folder, pieces = _free_folder(storage, name, replace), f"staging/{name}"
    progress = StagingProgress(per_class)
    execution.observe(progress)
    groups = open_groups(sources, _checks(config), config.hold_out)
    drawing = Drawing(groups, pieces, per_class)
    downloads = any(source.downloads for source in sources)
    fetching = execution.fetching.share(execution.mapper.workers) if downloads else None
    examine = partial(examine_chunks, storage=storage.uri, fetching=fetching)
    selection = _examine(drawing, examine, config.near_duplicate_bits, execution, progress)
    _check_classes(names, selection, storage, pieces)
    plans = plan_shards(selection.kept, config.shard_mib * 2**20)
    shards = _write_shards(storage, folder, plans, execution, progress)
    manifest = _manifest(name, names, sources, config, groups, selection, shards)
    retry_transient(lambda: _delete_others(storage, folder, manifest))
    retry_transient(lambda: storage.put(f"{folder}/dropped.csv", _dropped_csv(selection.dropped)))
    retry_transient(lambda: storage.put(f"{folder}/manifest.json", manifest.to_json()))
    retry_transient(lambda: storage.delete(pieces))
    return Staged(
        Dataset(storage, manifest),
        selection.dropped,
        dict(selection.spare),
        drawing.missing(),
        notes_on(sources, groups, selection, manifest, config),
    )


def _examine(
    drawing: Drawing,
    examine: Work[Chunk, tuple[int, pa.Table]],
    near_duplicate_bits: int,
    execution: Execution,
    progress: StagingProgress,
) -> Selection:
    """Examine candidates until there are enough photographs, or no more candidates."""
    chunks, selected = drawing.draw(), None
    while chunks or drawing.state != selected:
        progress.known += sum(len(chunk.candidates) for chunk in chunks)
        for place, table in execution.mapper.map(examine, chunks):
            progress.add(drawing.put(place, table))
            execution.observe(progress)
        # The last draw may yield only candidates already listed, or change the shares.
        selected = drawing.state
        selection = drawing.select(near_duplicate_bits)
        chunks = drawing.draw()
    return selection


def _write_shards(
    storage: Storage,
    folder: str,
    plans: Sequence[ShardPlan],
    execution: Execution,
    progress: StagingProgress,
) -> list[Shard]:
    """Write the shards over those of an older dataset; returns them in any order."""
    # A reader must not see a mixture of old and new shards as one dataset.
    retry_transient(lambda: storage.delete(f"{folder}/manifest.json"))
    write: Work[ShardPlan, Shard] = partial(write_shards, storage=storage.uri, folder=folder)
    shards = []
    for shard in execution.mapper.map(write, plans):
        shards.append(shard)
        progress.shards = (len(shards), len(plans))
        execution.observe(progress)
    return shards


def _free_folder(storage: Storage, name: str, replace: bool) -> str:
    """The folder of a new dataset; raises ColorganError if one exists and is not replaced."""
    folder = f"datasets/{check_name('dataset', name)}"
    if storage.exists(f"{folder}/manifest.json") and not replace:
        raise ColorganError(
            f"dataset {name!r} exists in {storage.uri}: replace it with --replace, "
            "or choose another name"
        )
    return folder


def _checks(config: StagingConfig) -> ExaminationConfig:
    """The part of a staging's configuration that applies to each photograph separately."""
    return ExaminationConfig(
        **{each.name: getattr(config, each.name) for each in fields(ExaminationConfig)}
    )


def _class_names(sources: Sequence[Source]) -> dict[str, str]:
    """The names of the classes of all sources, by label; raises ConfigError on a conflict."""
    names, given = ClassNames(), Counter(source.description for source in sources)
    for description, count in given.items():
        if count > 1:
            raise ConfigError(f"{description} is given {count} times: give each source once")
    for source in sources:
        for label in source.classes:
            names.add(source.names.get(label, label))
    if len(sources) == 1:
        return names.by_key
    return dict(sorted(names.by_key.items()))


def _check_classes(
    classes: Iterable[str], selection: Selection, storage: Storage, pieces: str
) -> None:
    for label in classes:
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
    names: Mapping[str, str],
    sources: Sequence[Source],
    config: StagingConfig,
    groups: Sequence[Group],
    selection: Selection,
    shards: Sequence[Shard],
) -> Manifest:
    shards = sorted(shards, key=lambda shard: shard.key)
    reasons = Counter(drop.reason for drop in selection.dropped)
    for source in sources:
        reasons += Counter(source.excluded)
    by_content = {split for group in groups for split in group.by_content}
    has_splits = any(source.has_splits for source in sources)
    return Manifest(
        name=name,
        created=datetime.now(UTC).isoformat(timespec="milliseconds"),
        source=" and ".join(source.description for source in sources),
        size=config.size,
        split_seed=config.split_seed if by_content else None,
        classes=tuple(names),
        counts={
            label: {split: len(selection.kept[label, split]) for split in SPLITS} for label in names
        },
        dropped=dict(reasons),
        shards=tuple(shards),
        fingerprint=hashlib.sha256("".join(s.sha256 for s in shards).encode()).hexdigest(),
        origins=_commonest(selection.origins),
        licences=_commonest(selection.licences),
        names={label: shown for label, shown in names.items() if shown != label},
        made_up=tuple(s for s in ("val", "test") if s in by_content) if has_splits else (),
        sources=tuple(
            _staged_source(source.description, number, groups, selection)
            for number, source in enumerate(sources)
        ),
    )


def _staged_source(
    description: str, number: int, groups: Sequence[Group], selection: Selection
) -> StagedSource:
    groups = [group for group in groups if group.source == number]
    classes = dict.fromkeys(group.label for group in groups)
    counts = {label: dict.fromkeys(SPLITS, 0) for label in classes}
    for (label, split), photographs in selection.kept.items():
        if label in counts:
            counts[label][split] = sum(each.source == number for each in photographs)
    by_content = {group.label: list(group.by_content) for group in groups if group.by_content}
    return StagedSource(description, counts, by_content)


def _commonest(counts: Counter[str]) -> dict[str, int]:
    common = dict(counts.most_common(_LISTED))
    others = counts.total() - sum(common.values())
    return {**common, "others": others} if others else common


def _delete_others(storage: Storage, folder: str, manifest: Manifest) -> None:
    """Delete the remaining files of a previous dataset of this name."""
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
