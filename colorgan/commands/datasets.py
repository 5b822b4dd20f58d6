"""The commands `colorgan datasets`, `colorgan datasets verify` and `colorgan datasets show`."""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from colorgan.commands.process import EXIT_FAULT, add_storage_option
from colorgan.commands.text import add_wide_option, print_errors, print_table, printable
from colorgan.data.dataset import SPLITS, Dataset, Manifest, Shard, list_datasets, open_dataset
from colorgan.data.verification import manifest_key, verify
from colorgan.errors import ColorganError, ConfigError, Corrupt, ImageRejected
from colorgan.files import check_outputs, write_file
from colorgan.images.contact_sheet import SheetRow, contact_sheet
from colorgan.images.decoding import Pixels, decode
from colorgan.images.encoding import encode, find_format, suffixes
from colorgan.names import check_name
from colorgan.storage import open_storage
from colorgan.storage.documents import read_all, reading
from colorgan.training.progress import format_seconds

_LOOKERS = 8  # threads for small reads
LINE_SECONDS = 5.0  # between lines of progress
_SHOWN = 6  # photographs per class and split
_LISTED = 10  # maximum number of sources and of licences in the output
SHOWN_HEIGHT = 144  # height of a shown photograph, in pixels


def prepare_datasets(parser: argparse.ArgumentParser) -> None:
    """Add the options of `colorgan datasets`."""
    parser.add_argument("--json", action="store_true", help="print the manifests as JSON")
    add_wide_option(parser)
    parser.set_defaults(command=_list)
    actions = parser.add_subparsers(title="actions", metavar="verify|show")
    check = actions.add_parser("verify", help="read every shard and compare it with its manifest")
    check.add_argument("names", metavar="NAME", nargs="*", help="a dataset (default: all)")
    check.set_defaults(command=_verify)
    show = actions.add_parser("show", help="describe a dataset and draw some of its photographs")
    show.add_argument("name", metavar="NAME", help="the dataset")
    show.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=Path,
        help="the photographs' sheet; the suffix decides the format (default: NAME.png in this "
        "folder)",
    )
    show.add_argument("--overwrite", action="store_true", help="replace FILE where it exists")
    show.set_defaults(command=_show)
    for action in (check, show):
        add_storage_option(action, argparse.SUPPRESS)
        action.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help="print it as JSON"
        )


def _list(args: argparse.Namespace) -> int:
    storage = open_storage(args.storage)
    # A damaged dataset must not hide the others.
    faults: list[ColorganError] = []
    manifests = list_datasets(storage, faults.append)
    if args.json:
        print(json.dumps([json.loads(manifest.to_json()) for manifest in manifests]))
    else:
        rows = read_all(manifests, _row, faults.append)
        if rows:
            spare = () if args.wide else ("source", "created (UTC)")
            print_table(("dataset", "created (UTC)", "photographs", "source"), rows, spare)
        elif not faults:
            print(
                f"no dataset in {storage.uri}: create one with colorgan stage SOURCE --dataset NAME"
            )
    print_errors(faults)
    return EXIT_FAULT if faults else 0


def _row(manifest: Manifest) -> tuple[str, ...]:
    with reading(manifest_key(manifest.name)):
        counts = manifest.counts.items()
        return (
            manifest.name,
            manifest.created[:16].replace("T", " "),
            ", ".join(f"{manifest.title_of(label)} {sum(each.values())}" for label, each in counts),
            manifest.source,
        )


def _verify(args: argparse.Namespace) -> int:
    storage = open_storage(args.storage)
    folders = storage.folders("datasets")
    whole = [name for name in folders if storage.exists(manifest_key(name))]
    for name in args.names:
        if name not in whole:
            open_dataset(storage, name)  # raises an error that lists the datasets
    verdicts = []
    for name in dict.fromkeys(args.names) or whole:
        verdict = verify(storage, name, _observer(name))
        verdicts.append(verdict)
        if args.json:
            continue
        for fault in verdict.faults:
            print(f"{fault.key} {fault.fault}")
        print(
            f"{name}: {verdict.photographs} photographs in {verdict.shards} shards, "
            f"{_size(verdict.bytes)}: {_faults(len(verdict.faults))}",
            flush=True,
        )
    if args.json:
        print(json.dumps([asdict(verdict) for verdict in verdicts]))
    elif not args.names:
        for name in folders:
            if name not in whole:
                print(f"{name}: incomplete, because its staging has not finished")
        if not folders:
            print(
                f"no dataset in {storage.uri}: create one with colorgan stage SOURCE --dataset NAME"
            )
    return EXIT_FAULT if any(verdict.faults for verdict in verdicts) else 0


def _faults(count: int) -> str:
    if not count:
        return "no faults"
    return f"{count} faults" if count > 1 else "1 fault"


def _observer(name: str) -> Callable[[int, int, int, int], None]:
    """Return a function that prints a line of progress every few seconds."""
    started = shown = time.monotonic()

    def observe(shards: int, of: int, read: int, total: int) -> None:
        nonlocal shown
        if time.monotonic() - shown > LINE_SECONDS:
            shown = time.monotonic()
            rate = read / (shown - started)
            print(
                f"{name}: {shards} of {of} shards, {_size(read)} of {_size(total)}, "
                f"{_size(rate)} a second, {format_seconds((total - read) / rate)} left",
                file=sys.stderr,
                flush=True,
            )

    return observe


def _show(args: argparse.Namespace) -> int:
    storage = open_storage(args.storage)
    output: Path = args.output or Path(f"{check_name('dataset', args.name)}.png")
    picture_format = find_format(output.name)
    if not picture_format:
        raise ConfigError(f"-o {output}: pictures are written as {suffixes()}")
    check_outputs([output], overwrite=args.overwrite)
    dataset = open_dataset(storage, args.name)
    manifest = dataset.manifest
    with ThreadPoolExecutor(_LOOKERS) as pool:
        extent = _extent(dataset, pool)
        sheet = _sheet(dataset, pool)
    write_file(output, encode(picture_format, sheet), args.overwrite)
    size = sum(shard.bytes for shard in manifest.shards)
    if args.json:
        fields = json.loads(manifest.to_json())
        print(json.dumps({**fields, "bytes": size, "pixels": extent, "sheet": str(output)}))
        return 0
    _print_counts(manifest)
    if len(manifest.sources) > 1:
        print()
        staged = [(printable(each.source), str(each.total)) for each in manifest.sources]
        print_table(("staged from", "photographs"), staged)
    for kind, counts in (("source", manifest.origins), ("licence", manifest.licences)):
        if counts:
            print()
            rows = [(what, str(count)) for what, count in _commonest(counts).items()]
            print_table((kind, "photographs"), rows)
    photographs = sum(shard.rows for shard in manifest.shards)
    facts = {
        "staged": f"{manifest.created[:16].replace('T', ' ')} UTC from {manifest.source}",
        "shards": f"{len(manifest.shards)}, {_size(size)}, "
        f"{_size(size / max(photographs, 1))} a photograph",
        "pixels": ", ".join(f"{side} {least} to {most}" for side, (least, most) in extent.items()),
        "dropped": ", ".join(f"{count} {reason}" for reason, count in manifest.dropped.items()),
        "split": _split(manifest),
        "fingerprint": manifest.fingerprint,
        "sheet": printable(output),
    }
    print()
    for name, fact in facts.items():
        print(f"{name:11}  {fact or 'none'}")
    return 0


def _split(manifest: Manifest) -> str:
    """Describe how the photographs were split."""
    if manifest.split_seed is None:
        return "by its source"
    by_content = f"by content, seed {manifest.split_seed}"
    made_up = " and ".join(manifest.made_up)
    in_part = " in part" if len(manifest.sources) > 1 else ""
    return f"by its source, but {made_up}{in_part} {by_content}" if made_up else by_content


def _print_counts(manifest: Manifest) -> None:
    counts = manifest.counts
    rows = [
        (
            manifest.title_of(label),
            *(str(counts[label][split]) for split in SPLITS),
            str(sum(counts[label].values())),
        )
        for label in manifest.classes
    ]
    sums = [sum(counts[label][split] for label in manifest.classes) for split in SPLITS]
    rows.append(("all", *map(str, sums), str(sum(sums))))
    print_table(("class", *SPLITS, "all"), rows)


def _commonest(counts: Mapping[str, int]) -> dict[str, int]:
    """The largest counts in descending order, and the sum of the rest as `others`."""
    named = {what: count for what, count in counts.items() if what != "others"}
    first = sorted(named.items(), key=lambda item: -item[1])[:_LISTED]
    others = sum(counts.values()) - sum(count for _, count in first)
    return {**dict(first), **({"others": others} if others else {})}


def _extent(dataset: Dataset, pool: ThreadPoolExecutor) -> dict[str, tuple[int, int]]:
    """The smallest and largest width and height in pixels, from the Parquet statistics."""

    def look(shard: Shard) -> list[tuple[str, int, int]]:
        with _parquet(dataset, shard) as file:
            groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
        columns = [group.column(i) for group in groups for i in range(group.num_columns)]
        return [
            (column.path_in_schema, column.statistics.min, column.statistics.max)
            for column in columns
            if column.path_in_schema in ("width", "height")
            and column.statistics
            and column.statistics.has_min_max
        ]

    found = [each for looked in pool.map(look, dataset.manifest.shards) for each in looked]
    return {
        side: (
            min(least for name, least, _ in found if name == side),
            max(most for name, _, most in found if name == side),
        )
        for side in ("width", "height")
        if any(name == side for name, _, _ in found)
    }


def _sheet(dataset: Dataset, pool: ThreadPoolExecutor) -> Pixels:
    """A contact sheet of photographs of each class and split, chosen evenly from its shards."""
    rows = []
    for label in dataset.manifest.classes:
        for split in SPLITS:
            shards = [
                shard
                for shard in dataset.manifest.shards
                if (shard.label, shard.split) == (label, split)
            ]
            looked = pool.map(_pictures(dataset), *_places(shards))
            pictures = [picture for some in looked for picture in some]
            if pictures:
                name = dataset.manifest.name_of(label)
                caption = f"{name}/{split}: {dataset.count((label,), split)}"
                # Missing photographs are one pixel wide and have the colour of the background.
                missing = [np.full((SHOWN_HEIGHT, 1, 3), 250, np.uint8)] * (_SHOWN - len(pictures))
                rows.append(SheetRow(caption, [*pictures, *missing]))
    if not rows:
        raise ColorganError(f"dataset {dataset.manifest.name} has no photographs")
    # The sheet should be about square; a row is about eight times as wide as a picture is high.
    columns = max(1, round(math.sqrt(len(rows) / 8)))
    return contact_sheet((dataset.manifest.name, *[""] * (_SHOWN - 1)), rows, SHOWN_HEIGHT, columns)


def _places(shards: Sequence[Shard]) -> tuple[list[Shard], list[list[int]]]:
    """The shards to read, and for each the rows of the shown photographs."""
    bounds = [0, *accumulate(shard.rows for shard in shards)]
    shown = min(_SHOWN, bounds[-1])
    wanted = [(2 * number + 1) * bounds[-1] // (2 * shown) for number in range(shown)]
    inside = [
        [place - start for place in wanted if start <= place < end]
        for start, end in pairwise(bounds)
    ]
    chosen = [(shard, places) for shard, places in zip(shards, inside, strict=True) if places]
    return [shard for shard, _ in chosen], [places for _, places in chosen]


def _pictures(dataset: Dataset) -> Callable[[Shard, Sequence[int]], list[Pixels]]:
    def look(shard: Shard, places: Sequence[int]) -> list[Pixels]:
        found = []
        with _parquet(dataset, shard) as file:
            sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
            for group, (start, end) in enumerate(pairwise([0, *accumulate(sizes)])):
                inside = [place - start for place in places if start <= place < end]
                if inside:
                    images = file.read_row_group(group, columns=["image.bytes"]).column("image")
                    found += [images[place].as_py()["bytes"] for place in inside]
        try:
            return [_narrowed(decode(image).rgb) for image in found]
        except ImageRejected as error:
            raise Corrupt(
                f"a photograph in datasets/{dataset.manifest.name}/{shard.key} cannot be decoded: "
                f"{error}"
            ) from None

    return look


def _narrowed(rgb: Pixels) -> Pixels:
    """Crop a photograph to its middle if it is more than twice as wide as high."""
    height, width = rgb.shape[:2]
    spare = max(0, width - 2 * height)
    return rgb[:, spare // 2 : width - (spare - spare // 2)]


@contextmanager
def _parquet(dataset: Dataset, shard: Shard) -> Iterator[pq.ParquetFile]:
    """Open a shard for partial reads, which cannot check its checksum; raises Corrupt."""
    name = dataset.manifest.name
    key = f"datasets/{name}/{shard.key}"
    try:
        with dataset.storage.open(key) as file:
            yield pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        raise Corrupt(
            f"{key} is damaged: colorgan datasets verify {name} says what else is"
        ) from error


def _size(size: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
