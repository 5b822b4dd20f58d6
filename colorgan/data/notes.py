"""Notes of a staging on a dataset that may differ from what the user intended."""

from collections.abc import Sequence, Set
from dataclasses import dataclass, field, replace
from itertools import count

from colorgan.data.dataset import SPLITS, Manifest
from colorgan.data.examination import PALE, ExaminationConfig, split_of
from colorgan.data.groups import Group
from colorgan.data.selection import Selection
from colorgan.data.sources.candidates import Source
from colorgan.data.splits import nothing_in, way_out

_TRIED = 200_000  # maximum number of splits computed in the search for another seed


def notes_on(
    sources: Sequence[Source],
    groups: Sequence[Group],
    selection: Selection,
    manifest: Manifest,
    config: ExaminationConfig,
) -> tuple[str, ...]:
    """Sentences on a dataset's sources, on splits made up by content or empty, and on copies.

    Args:
        sources: the sources that it was staged from.
        groups: their groups of candidates.
        selection: the selected photographs.
        manifest: the dataset's manifest.
        config: the configuration of the staging.
    """
    notes = [note for source in sources for note in source.notes]
    for number, source in enumerate(sources):
        if source.has_splits:
            ours = [group for group in groups if group.source == number]
            notes += _made_up(source, ours, manifest, config)
    copies = selection.in_two_splits
    if copies and any(source.has_splits for source in sources):
        notes.append(
            f"Copies of photographs in val or test were left out of train or val ({copies}; "
            "dropped.csv lists them), so that nothing is tested on what was trained on."
        )
    return (*notes, *_empty(groups, selection, manifest, config))


def _made_up(
    source: Source, groups: Sequence[Group], manifest: Manifest, config: ExaminationConfig
) -> list[str]:
    """Notes on splits that a source lacks: how they were made up, or that they were not."""
    notes = []
    for split in ("val", "test"):
        share = config.val_share if split == "val" else config.test_share
        labels = dict.fromkeys(group.label for group in groups if split in group.by_content)
        if labels and share:
            names = ", ".join(manifest.name_of(label) for label in labels)
            lacking = "" if split in source.made_up else f" of {names}"
            notes.append(
                f"{source.description} has no split {split}{lacking}: {share * 100:g}% of its "
                f"train, chosen by content, is {split} (--{split}-share)."
            )
    held = {split for group in groups for split in group.by_content}
    lacking = " and ".join(split for split in source.made_up if split not in held)
    if lacking:
        notes.append(
            f"{source.description} has no {lacking}, and another source has: its photographs are "
            "for training alone. --hold-out takes some of them for validation and test."
        )
    return notes


def _empty(
    groups: Sequence[Group], selection: Selection, manifest: Manifest, config: ExaminationConfig
) -> list[str]:
    """Notes on classes without a photograph in a split, and on what to do about them."""
    shares = {
        "train": 1 - config.val_share - config.test_share,
        "val": config.val_share,
        "test": config.test_share,
    }
    notes, can_help = [], False
    for split in SPLITS:
        empty = [label for label in manifest.classes if not manifest.counts[label][split]]
        for by_content in (True, False):
            names = [
                manifest.name_of(label)
                for label in empty
                if manifest.is_by_content(split, [label]) == by_content
            ]
            if names and (shares[split] or not by_content):
                pale = split == "train" and any(
                    drop.reason == PALE and drop.label in empty for drop in selection.dropped
                )
                way = "Lower --min-colorfulness." if pale else way_out(split, by_content)
                notes.append(f"{nothing_in(manifest.name, names, split)} {way}")
                can_help |= by_content
    if can_help:
        drawn = {
            "train",
            *(split for group in groups for split in group.by_content if shares[split]),
        }
        seed = _better_seed(_contents(groups, selection, manifest), drawn, config.split_seed)
        if seed is not None:
            notes.append(
                f"With --replace --split-seed {seed}, every class of these photographs has some in "
                f"{', '.join(each for each in SPLITS if each in drawn)}."
            )
    return notes


@dataclass
class _Contents:
    """The photographs of a class: the splits given by sources, and those divided by content."""

    given: set[str] = field(default_factory=set)
    divided: list[tuple[str, ExaminationConfig]] = field(default_factory=list)


def _contents(groups: Sequence[Group], selection: Selection, manifest: Manifest) -> list[_Contents]:
    """For each class, the splits that sources gave and the photographs that content divides."""
    found = {label: _Contents() for label in manifest.classes}
    for group, contents in zip(groups, selection.contents, strict=True):
        if group.by_content:
            found[group.label].divided += [(sha256, group.checks) for sha256 in contents]
        elif contents and group.split:
            found[group.label].given.add(group.split)
    return list(found.values())


def _better_seed(classes: Sequence[_Contents], splits: Set[str], seed: int) -> int | None:
    """The first seed after `seed` with which each class has a photograph in each split, or None.

    An empty split is not filled by moving a photograph: its split must follow from its content
    alone, or a larger dataset with the same photographs would train on what this one tests on.
    """
    classes = sorted(classes, key=lambda each: len(each.divided))  # small classes fail soonest
    if any(len(each.divided) < len(splits - each.given) for each in classes):
        return None
    tried, all_checks = 0, {checks for each in classes for _, checks in each.divided}
    for other in count(seed + 1):
        seeded = {checks: replace(checks, split_seed=other) for checks in all_checks}
        for each in classes:
            missing = splits - each.given
            for sha256, checks in each.divided:
                if not missing:
                    break
                missing -= {split_of(sha256, seeded[checks])}
                tried += 1
            if missing:
                break
        else:
            return other
        if tried > _TRIED:
            break
    return None
