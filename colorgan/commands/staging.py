"""The command `colorgan stage`; jobs/stage_data.py shares its options and its output."""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from colorgan.classes import PhotoClasses
from colorgan.commands.holding import working_on
from colorgan.commands.text import printable
from colorgan.data.fetching import FetchConfig, Fetcher
from colorgan.data.mapping import Mapper, ThreadMapper
from colorgan.data.sources import SourceConfig, find_sources
from colorgan.data.sources.files import expand
from colorgan.data.staging import Execution, Staged, StagingConfig, StagingProgress, stage
from colorgan.errors import ConfigError
from colorgan.options import add_options, parse
from colorgan.storage import Storage, open_storage
from colorgan.training.progress import format_seconds

_LISTED = 100  # maximum number of dropped candidates on standard output
_LINE_SECONDS = 5.0  # between lines of progress without a terminal


def prepare_stage(parser: argparse.ArgumentParser) -> None:
    """Add the options of `colorgan stage`."""
    add_stage_options(parser)
    parser.set_defaults(command=_stage)


def add_stage_options(parser: argparse.ArgumentParser) -> None:
    """Add the arguments and options of a staging."""
    parser.add_argument(
        "sources",
        metavar="SOURCE",
        nargs="+",
        help="one source or several, which make one dataset: "
        "folder:PATH (CLASS/, {train,val,test}/CLASS/ or CLASS/{train,val,test}/ in it), "
        "scenes (drawn ones), "
        "urls:FILE, imagenet:SYNSETS, coco:ANNOTATIONS[,IMAGES], openimages:LABELS,IMAGES; see "
        "docs/datasets.md",
    )
    parser.add_argument("--dataset", metavar="NAME", required=True, help="name of the dataset")
    parser.add_argument(
        "--classes",
        metavar="FILE",
        type=Path,
        help="a file like colorgan/classes.toml that lists the photographs' classes",
    )
    parser.add_argument("--replace", action="store_true", help="replace an existing dataset")
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")
    add_options(parser.add_argument_group("sources"), SourceConfig)
    add_options(parser.add_argument_group("checks and shards"), StagingConfig)
    add_options(parser.add_argument_group("downloads"), FetchConfig)


def _stage(args: argparse.Namespace) -> int:
    return run_stage(args, open_storage(args.storage), lambda most: ThreadMapper())


def run_stage(
    args: argparse.Namespace,
    storage: Storage,
    mapper: Callable[[int], Mapper],
    job: str = "",
) -> int:
    """Stage photographs, with progress on stderr and the outcome on stdout; returns 0.

    Args:
        args: parsed options of `add_stage_options`.
        storage: storage of the new dataset.
        mapper: makes the mapper that does the work; its argument is the maximum number of
            processes.
        job: the name under which a cluster knows this process.
    """
    config, fetching = parse(StagingConfig, args), parse(FetchConfig, args)
    wanted = parse(SourceConfig, args)
    classes = PhotoClasses.load(expand(args.classes)) if args.classes else None
    with Fetcher(fetching) as fetcher:
        sources = find_sources(
            args.sources, wanted, config.size, classes, fetcher.download, storage
        )
    if classes:
        found = dict.fromkeys(label for source in sources for label in source.classes)
        _check_classes(list(found), classes, args.classes)
    # Each process opens connections, so more processes than `per_host` would exceed this limit.
    downloads = any(source.downloads for source in sources)
    workers = mapper(fetching.per_host if downloads else sys.maxsize)
    try:
        with working_on(storage, "dataset", args.dataset, job) as lease, _Display() as display:

            def show(progress: StagingProgress) -> None:
                display.show(progress)
                written, shards = progress.shards
                if shards:
                    lease.report("shards", written, shards)
                else:
                    lease.report("photographs", progress.examined.total(), progress.known)

            staged = stage(
                sources,
                storage,
                args.dataset,
                config,
                per_class=wanted.per_class,
                replace=args.replace,
                execution=Execution(workers, fetching, show),
            )
    except KeyboardInterrupt:
        print("\nstopped; run the same command again to continue", file=sys.stderr)
        raise
    _print(staged, args, storage, wanted.per_class)
    for note in staged.notes:
        print(printable(f"note: {note}"), file=sys.stderr)
    return 0


def _print(staged: Staged, args: argparse.Namespace, storage: Storage, per_class: int) -> None:
    manifest = staged.dataset.manifest
    if args.json:
        outcome = {
            "dataset": args.dataset,
            "counts": manifest.counts,
            "sources": [asdict(source) for source in manifest.sources],
            "dropped": [vars(drop) for drop in staged.dropped],
            "reasons": manifest.dropped,
            "spare": staged.spare,
            "missing": staged.missing,
            "names": manifest.names,
            "notes": staged.notes,
        }
        print(json.dumps(outcome))
        return
    for drop in staged.dropped[:_LISTED]:
        detail = f" ({drop.detail})" if drop.detail else ""
        print(printable(f"dropped {drop.source}: {drop.reason}{detail}"))
    if len(staged.dropped) > _LISTED:
        key = f"datasets/{args.dataset}/dropped.csv"
        print(f"dropped {len(staged.dropped) - _LISTED} more: see {storage.location(key)}")
    for label, counts in manifest.counts.items():
        listed = ", ".join(f"{split} {count}" for split, count in counts.items())
        print(f"{manifest.title_of(label)}: {listed}")
    for label, count in staged.missing.items():
        sources = "sources have" if len(manifest.sources) > 1 else "source has"
        print(f"{label}: {count} short of {per_class}: the {sources} no more that can be used")
    if len(manifest.sources) > 1:
        for source in manifest.sources:
            print(printable(f"{source.source}: {source.total} photographs"))
    total = sum(sum(counts.values()) for counts in manifest.counts.values())
    reasons = Counter(manifest.dropped)
    listed = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    print(
        f"dataset {args.dataset}: {total} photographs in "
        f"{storage.location(f'datasets/{args.dataset}')}"
        + (f"; dropped {reasons.total()}: {listed}" if listed else "")
    )


def _check_classes(found: Sequence[str], known: PhotoClasses, path: Path) -> None:
    unknown = [label for label in found if label not in known.names]
    if unknown:
        raise ConfigError(
            f"{path} has no class {', '.join(unknown)}; its classes are {', '.join(known.names)}"
        )


class _Display:
    """Shows a staging's progress on stderr: bars on a terminal, otherwise a line now and then."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[detail]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._terminal = console.is_terminal
        self._tasks: dict[str, TaskID] = {}
        self._shown = time.monotonic()
        self._began: dict[str, float] = {}

    def __enter__(self) -> "_Display":
        self._bars.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._bars.stop()

    def show(self, progress: StagingProgress) -> None:
        """Show the progress."""
        written, shards = progress.shards
        done = progress.examined.total()
        if shards:
            self._line("shards", written, shards, "")
            return
        usable = ", ".join(f"{label} {count}" for label, count in progress.usable.items())
        rejected = ", ".join(f"{count} {reason}" for reason, count in progress.rejected.items())
        seconds = max(time.monotonic() - self._began.get("examined", 0), 1e-3)
        detail = f"{done / seconds:.0f} a second; usable: {usable or 'none yet'}" + (
            f"; rejected: {rejected}" if rejected else ""
        )
        self._line("examined", done, progress.known, detail)

    def _line(self, what: str, done: int, total: int, detail: str) -> None:
        now = time.monotonic()
        began = self._began.setdefault(what, now)
        if self._terminal:
            if what not in self._tasks:
                self._tasks[what] = self._bars.add_task(what, detail="")
            self._bars.update(self._tasks[what], completed=done, total=total, detail=detail)
            return
        if now - self._shown > _LINE_SECONDS:
            self._shown = now
            left = (now - began) / done * (total - done) if done else 0
            print(
                f"{what} {done} of {total}"
                + (f", {detail}" if detail else "")
                + (f", {format_seconds(left)} left" if left else ""),
                file=sys.stderr,
                flush=True,
            )
