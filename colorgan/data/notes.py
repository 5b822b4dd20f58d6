"""What a staging tells of a dataset that may not be as its user means it."""

from collections.abc import Sequence, Set
from dataclasses import replace
from itertools import count

from colorgan.data.dataset import SPLITS, Manifest
from colorgan.data.examination import ExaminationConfig, split_of
from colorgan.data.selection import Selection
from colorgan.data.sources.candidates import Source
from colorgan.data.splits import nothing_in, way_out

_TRIED = 200_000  # photographs' splits that are looked at for another seed


def notes_on(
    source: Source, selection: Selection, manifest: Manifest, config: ExaminationConfig
) -> tuple[str, ...]:
    """Sentences on a dataset: on its source, on splits that are made up or empty, on copies.

    Args:
        source: what it was staged from.
        selection: what was selected.
        manifest: of the dataset.
        config: with which its photographs were split; a share is 0 where the source has the split.
    """
    notes = list(source.notes)
    for split in source.made_up:
        share = config.val_share if split == "val" else config.test_share
        if share:
            notes.append(
                f"{manifest.source} has no split {split}: {share * 100:g}% of its train, chosen "
                f"by content, is {split} (--{split}-share)."
            )
    copies = selection.in_two_splits
    if source.has_splits and copies:
        notes.append(
            f"Copies of photographs in val or test were left out of train or val ({copies}; "
            "dropped.csv lists them), so that nothing is tested on what was trained on."
        )
    return (*notes, *_empty(selection, manifest, config))


def _empty(selection: Selection, manifest: Manifest, config: ExaminationConfig) -> list[str]:
    """Which classes have no photograph in a split, and what to do."""
    shares = {
        "train": 1 - config.val_share - config.test_share,
        "val": config.val_share,
        "test": config.test_share,
    }
    notes, can_help = [], False
    for split in SPLITS:
        by_content = manifest.is_by_content(split)
        names = [
            manifest.name_of(label)
            for label in manifest.classes
            if not manifest.counts[label][split]
        ]
        if names and (shares[split] or not by_content):
            notes.append(f"{nothing_in(manifest.name, names, split)} {way_out(split, by_content)}")
            can_help |= by_content
    if can_help:
        # What content has put anywhere, and where another seed may put it.
        drawn = {
            "train",
            *(each for each in SPLITS if manifest.is_by_content(each) and shares[each]),
        }
        contents = [
            [sha256 for split in sorted(drawn) for sha256 in selection.contents[label, split]]
            for label in manifest.classes
        ]
        seed = _better_seed(contents, drawn, config)
        if seed is not None:
            notes.append(
                f"With --replace --split-seed {seed}, every class of these photographs has some in "
                f"{', '.join(each for each in SPLITS if each in drawn)}."
            )
    return notes


def _better_seed(
    contents: Sequence[Sequence[str]], splits: Set[str], config: ExaminationConfig
) -> int | None:
    """The first seed under which each class has a photograph in each split; None for none.

    Classes are not filled up by moving a photograph: its split must follow from its content alone,
    or another dataset, of more photographs, would train on what this one tests on.
    """
    classes = sorted(contents, key=len)  # a small class decides soonest
    if len(classes[0]) < len(splits):
        return None
    tried = 0
    for seed in count(config.split_seed + 1):
        other = replace(config, split_seed=seed)
        for photographs in classes:
            missing = set(splits)
            for sha256 in photographs:
                missing.discard(split_of(sha256, other))
                tried += 1
                if not missing:
                    break
            if missing:
                break
        else:
            return seed
        if tried > _TRIED:
            break
    return None
