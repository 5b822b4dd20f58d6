"""The commands `colorgan classify` and `colorgan colorize`."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout

import torch
from torch import Tensor

from colorgan.archives.here import color_here
from colorgan.archives.listing import STANDARD, Photo
from colorgan.archives.networks import ModelChoice, Networks, choose_models
from colorgan.archives.steps import Failure, Outcome, Settings, failure_of
from colorgan.archives.tally import FAILED, Tally
from colorgan.commands.choices import add_choices, add_restore, read_choices
from colorgan.commands.coloring import add_models, given_models
from colorgan.commands.counting import Counting
from colorgan.commands.films import color_films
from colorgan.commands.output import add_max_pixels
from colorgan.commands.pictures import (
    Outputs,
    add_outputs,
    add_photographs,
    check_page,
    find_photos,
    plan_outputs,
    reader_of,
)
from colorgan.commands.process import EXIT_FAULT
from colorgan.commands.text import print_note, print_notes, print_table, printable
from colorgan.data.mapping import batched
from colorgan.errors import ColorganError, ConfigError
from colorgan.film.kinds import find_films
from colorgan.images.decoding import MAX_PIXELS, Pixels, decode
from colorgan.images.prints import restore
from colorgan.inference.router import Route, open_router
from colorgan.inference.router_choice import RouterConfig, choose_lone_router
from colorgan.models.noise import FIRST
from colorgan.options import add_options, parse
from colorgan.storage import open_storage
from colorgan.system import choose_device


def prepare_classify(parser: argparse.ArgumentParser) -> None:
    """Add the options of `colorgan classify`."""
    add_photographs(parser)
    add_max_pixels(parser)
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto")
    _add_batch_size(parser, 16)
    add_restore(parser)
    add_options(parser, RouterConfig)
    parser.set_defaults(command=_classify)


def _classify(args: argparse.Namespace) -> int:
    _check_batch_size(args.batch_size)
    check_page(args.page)
    storage = open_storage(args.storage)
    choice = choose_lone_router(parse(RouterConfig, args), storage)
    print_note(choice.note)
    router = open_router(choice.config, storage, choose_device(args.device))
    photos = find_photos(args)
    routes: list[tuple[str, Route]] = []
    failed = 0
    for batch in _prepared(photos, args, router.prepare):
        usable = [each for each in batch if not isinstance(each, Failure)]
        failed += len(batch) - len(usable)
        if usable:
            paths = ["stdin" if each.address == STANDARD else each.address for each, _ in usable]
            routes += zip(paths, router(torch.stack([each for _, each in usable])), strict=True)
    if args.json:
        described = [
            {
                "path": str(path),
                "class": route.photo_class,
                "score": route.score,
                "scores": route.scores,
                "label": route.label,
                "router": router.name,
            }
            for path, route in routes
        ]
        # ASCII is valid, and the same, in every terminal's encoding.
        print(json.dumps(described, indent=2, ensure_ascii=True))
    else:
        rows = [
            (str(path), route.photo_class, f"{route.score:.2f}", route.label or "-")
            for path, route in routes
        ]
        print_table(("photograph", "class", "score", "label"), rows)
    return EXIT_FAULT if failed else 0


def prepare_colorize(parser: argparse.ArgumentParser) -> None:
    """Add the options of `colorgan colorize`."""
    add_photographs(parser)
    add_outputs(parser)
    add_models(parser)
    add_choices(parser)
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto")
    parser.add_argument(
        "--compile",
        action="store_true",
        help="without a GPU: compile the networks first: about 40 seconds each the first time "
        "on a machine, worthwhile for many photographs",
    )
    _add_batch_size(parser, 8)
    parser.set_defaults(command=_colorize)


def _colorize(args: argparse.Namespace) -> int:
    _check_batch_size(args.batch_size)
    check_page(args.page)
    films = find_films(args.photographs, args.recursive)
    if films:
        return color_films(args, films)
    choice = given_models(args)
    outputs = plan_outputs(args)
    if outputs.skipped:
        print(f"skipped {outputs.skipped} whose output exists", file=sys.stderr)
    if not outputs.items:
        return 0
    # Standard output must contain nothing but the picture.
    with redirect_stdout(sys.stderr if outputs.stream else sys.stdout):
        return _color_all(args, choice, outputs)


def _color_all(args: argparse.Namespace, choice: ModelChoice, outputs: Outputs) -> int:
    photos = [item.photo for item in outputs.items]
    settings = Settings(
        reader_of(photos, args.storage),
        outputs.destination,
        outputs.options,
        read_choices(args, len(photos)),
        args.page,
        args.overwrite,
        args.keep_times,
    )
    networks = _load_networks(choice, args, outputs)
    # Every photograph that was named gets a line, but not every one of an archive.
    archive = not {photo.address for photo in photos} <= set(args.photographs)
    tally = Tally(len(outputs.items), outputs.skipped)
    threads = max(2, torch.get_num_threads())
    # Photographs that may be larger than usual are held one at a time.
    batch_size = args.batch_size if args.max_pixels <= MAX_PIXELS else 1
    work = color_here(outputs.items, networks, settings, batch_size, threads)
    full: Failure | None = None
    try:
        with Counting(tally.total) as counting:
            for outcome in work:
                tally.add(outcome)
                if outcome.failure and outcome.failure.full:
                    full = full or outcome.failure
                else:
                    _print_outcome(outcome, outputs, archive)
                counting.show(tally.done, tally.progress())
    except KeyboardInterrupt:
        work.close()
        if archive:
            _write_failures(tally, outputs)
        print(f"\nstopped; what is written is whole{_way_on(args)}", file=sys.stderr)
        raise
    if full:  # all further photographs would fail as well
        raise ColorganError(
            f"{full.sentence}; {tally.colored} of {tally.total} are written{_way_on(args)}"
        )
    if archive:
        _write_failures(tally, outputs)
        print(printable(tally.sentence()))
    return EXIT_FAULT if tally.failures else 0


def _print_outcome(outcome: Outcome, outputs: Outputs, archive: bool) -> None:
    if outcome.failure:
        print(f"error: {printable(outcome.failure.sentence)}", file=sys.stderr)
        return
    print_notes(printable(outcome.item.photo.address), outcome.notes)
    if not archive:
        for target in outcome.item.targets:
            print(f"{printable(outputs.destination.location(target))}: {outcome.by}")


def _write_failures(tally: Tally, outputs: Outputs) -> None:
    if tally.write_failures(outputs.destination) and tally.failures:
        where = printable(outputs.destination.location(FAILED))
        print_note(f"{where} lists what failed, and why")


def _way_on(args: argparse.Namespace) -> str:
    return "" if args.overwrite else "; --skip-existing continues from there"


def _load_networks(choice: ModelChoice, args: argparse.Namespace, outputs: Outputs) -> Networks:
    """The networks that the options choose, with notes on the choice."""
    device = choose_device(args.device)
    chosen = choose_models(choice, args.storage)
    for note in chosen.notes:
        print_note(note)
    if any(item.numbers != FIRST for item in outputs.items):
        chosen.check_noise()
    networks = chosen.load(device)
    if args.compile:
        networks.compile()
    return networks


def _add_batch_size(parser: argparse.ArgumentParser, default: int) -> None:
    parser.add_argument(
        "--batch-size", type=int, default=default, metavar="N", help="photographs at once"
    )


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise ConfigError("--batch-size must be at least 1")


def _prepared(
    photos: Sequence[Photo], args: argparse.Namespace, prepare: Callable[[Pixels], Tensor]
) -> Iterator[list[tuple[Photo, Tensor] | Failure]]:
    """Yield batches of photographs, which are read and prepared in threads."""
    reader = reader_of(photos, args.storage)

    def load(photo: Photo) -> tuple[Photo, Tensor, tuple[str, ...]] | Failure:
        try:
            photograph = decode(reader.read(photo.address), args.max_pixels, args.page)
            restored = restore(photograph, args.restore)
            return photo, prepare(restored.seen), restored.photograph.notes
        except (ColorganError, OSError) as error:
            return failure_of(photo.address, error, "classified")

    seen = 0
    with Counting(len(photos)) as counting, ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for batch in batched(photos, args.batch_size):
            loaded: list[tuple[Photo, Tensor] | Failure] = []
            for each in pool.map(load, batch):
                if isinstance(each, Failure):
                    print(f"error: {printable(each.sentence)}", file=sys.stderr)
                    loaded.append(each)
                    continue
                photo, prepared, notes = each
                print_notes(printable(photo.address), notes)
                loaded.append((photo, prepared))
            yield loaded
            seen += len(batch)
            counting.show(seen, f"classified {seen:,} of {len(photos):,}")
