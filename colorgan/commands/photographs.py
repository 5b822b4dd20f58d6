"""The commands `colorgan classify` and `colorgan colorize`."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch

from colorgan.commands.output import add_max_pixels
from colorgan.commands.pictures import (
    Outputs,
    Source,
    add_outputs,
    add_photographs,
    check_page,
    plan_outputs,
)
from colorgan.commands.process import EXIT_FAULT
from colorgan.commands.text import print_note, print_notes, print_table, printable
from colorgan.data.mapping import batched
from colorgan.errors import ColorganError, ConfigError, ImageRejected
from colorgan.files import NotWritten
from colorgan.images.decoding import MAX_PIXELS, Pixels, decode
from colorgan.images.writing import Original, read_original, write_colored
from colorgan.inference.assembled import assemble
from colorgan.inference.colorizer import VIVID, Colorizer
from colorgan.inference.networks import GeneratorNetwork, describe
from colorgan.inference.prediction import Prediction, predict_alone
from colorgan.inference.router import Route, open_router
from colorgan.inference.router_choice import RouterConfig, choose_lone_router
from colorgan.options import add_options, parse
from colorgan.packages.card import find
from colorgan.packages.embedded import EMBEDDED_MODELS, embedded_note, open_embedded, with_embedded
from colorgan.packages.weights import load_generator
from colorgan.storage import Storage, open_storage
from colorgan.system import choose_device

ASSEMBLED = "assembled"

Loaded = TypeVar("Loaded")
_Result = tuple[Prediction, str]  # predicted colours, and a phrase that says whose they are
_Notes = tuple[str, ...]


def prepare_classify(parser: argparse.ArgumentParser) -> None:
    """Add the options of `colorgan classify`."""
    add_photographs(parser)
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto")
    _add_batch_size(parser, 16)
    add_max_pixels(parser)
    add_options(parser, RouterConfig)
    parser.set_defaults(command=_classify)


def _classify(args: argparse.Namespace) -> int:
    _check_batch_size(args.batch_size)
    check_page(args.page)
    storage = open_storage(args.storage)
    choice = choose_lone_router(parse(RouterConfig, args), storage)
    print_note(choice.note)
    router = open_router(choice.config, storage, choose_device(args.device))
    reader = _Reader(args.photographs, args, "classified")
    routes: list[tuple[Path, Route]] = []

    def load(source: Source, data: bytes) -> tuple[torch.Tensor, _Notes]:
        photograph = decode(data, args.max_pixels, args.page)
        return router.prepare(photograph.rgb), photograph.notes

    for batch in reader.read(load):
        sources, prepared = zip(*batch, strict=True)
        paths = [source.path for source in sources]
        routes += zip(paths, router(torch.stack(prepared)), strict=True)
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
    return EXIT_FAULT if reader.failed else 0


def prepare_colorize(parser: argparse.ArgumentParser) -> None:
    """Add the options of `colorgan colorize`."""
    add_photographs(parser)
    add_outputs(parser)
    parser.add_argument(
        "--model",
        metavar="MODEL",
        default=ASSEMBLED,
        help=f"{ASSEMBLED}: each photograph by the model of its class (the default); "
        f"{EMBEDDED_MODELS}: the same with the models that come with colorgan; or one model for "
        "all: animals, animals@VERSION, general",
    )
    parser.add_argument(
        "--class", metavar="NAME", dest="photo_class", help="the class, instead of the router's"
    )
    parser.add_argument(
        "--vividness",
        type=float,
        default=1.0,
        metavar="X",
        help=f"factor for the chroma, from 0 (gray) to {VIVID:g} (default: 1)",
    )
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto")
    parser.add_argument(
        "--compile",
        action="store_true",
        help="without a GPU: compile the networks first: about 40 seconds each the first time "
        "on a machine, worthwhile for many photographs",
    )
    _add_batch_size(parser, 8)
    add_options(parser.add_argument_group("router"), RouterConfig)
    parser.set_defaults(command=_colorize)


def _colorize(args: argparse.Namespace) -> int:
    _check_batch_size(args.batch_size)
    check_page(args.page)
    if not 0 <= args.vividness <= VIVID:
        raise ConfigError(f"--vividness must lie between 0 and {VIVID:g}")
    outputs = plan_outputs(args)
    if outputs.skipped:
        print(f"skipped {outputs.skipped} whose output exists", file=sys.stderr)
    if not outputs.targets:
        return 0
    # Standard output must contain nothing but the picture.
    with redirect_stdout(sys.stderr if outputs.stream else sys.stdout):
        return _color_all(args, outputs)


def _color_all(args: argparse.Namespace, outputs: Outputs) -> int:
    options = outputs.options
    reader = _Reader(list(outputs.targets), args, "coloured")
    color = _colorer(args)
    written = 0

    def load(source: Source, data: bytes) -> tuple[Original, _Notes]:
        target = outputs.targets[source]
        original = read_original(data, options, args.page, target.name if target else "")
        return original, original.photograph.notes

    for batch in reader.read(load):
        colored = color([original.photograph.rgb for _, original in batch])
        while batch:  # each is freed before the next one is written, or read
            (source, original), (predicted, by) = batch.pop(0), colored.pop(0)
            coloring = partial(predicted.strips, args.vividness)
            encoded = write_colored(coloring, original, options)
            del original, predicted, coloring
            print_notes(source, encoded.notes)
            try:
                print(f"{outputs.write(source, encoded.data)}: {by}")
                written += 1
            except NotWritten as error:
                if error.full:  # all further photographs would fail as well
                    on = "" if args.overwrite else "; --skip-existing continues from there"
                    raise ColorganError(
                        f"{error}; {written} of {len(outputs.targets)} are written{on}"
                    ) from error
                reader.fail(str(error))
            del encoded
    return EXIT_FAULT if reader.failed else 0


def _colorer(args: argparse.Namespace) -> Callable[[Sequence[Pixels]], list[_Result]]:
    """Return a function that predicts a batch's colours, and says which model predicted them."""
    storage, device = _models_of(args), choose_device(args.device)
    if args.photo_class and args.model != ASSEMBLED:
        raise ConfigError(
            f"--class chooses a model instead of the router: drop --model {args.model}"
        )
    model = args.photo_class or args.model
    if model not in (ASSEMBLED, EMBEDDED_MODELS):
        card = find(storage, model)
        if "@" not in model:
            print_note(embedded_note(storage, [card], routed=False))
        colorizer = Colorizer(load_generator(storage, card, device))
        if args.compile:
            colorizer.compile()

        network = GeneratorNetwork(colorizer, describe(colorizer, card.model, card.reference))

        def by_one(photographs: Sequence[Pixels]) -> list[_Result]:
            predicted = predict_alone(network, photographs)
            return [(each, f"coloured by {card.reference}") for each in predicted]

        return by_one

    alone = "--model NAME colours with one model alone"
    assembly = assemble(parse(RouterConfig, args), storage, way_out=alone)
    print_note(assembly.choice.note)
    print_note(embedded_note(storage, assembly.cards.values()))
    assembled, cards = assembly.load(storage, device), assembly.cards
    if args.compile:
        assembled.compile()

    def by_class(photographs: Sequence[Pixels]) -> list[_Result]:
        return [
            (each, f"{_words(each.route)}, coloured by {cards[each.color.model.name].reference}")
            for each in assembled.predict(photographs)
        ]

    return by_class


def _models_of(args: argparse.Namespace) -> Storage:
    """The storage of the models: the user's with the embedded ones, or the embedded ones alone."""
    own = open_storage(args.storage)
    return open_embedded() if args.model == EMBEDDED_MODELS else with_embedded(own)


def _words(route: Route | None) -> str:
    assert route is not None  # the router is asked unless a model is given
    label = f" ({route.label})" if route.label else ""
    return f"{route.photo_class} {route.score:.2f}{label}"


def _add_batch_size(parser: argparse.ArgumentParser, default: int) -> None:
    parser.add_argument(
        "--batch-size", type=int, default=default, metavar="N", help="photographs at once"
    )


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise ConfigError("--batch-size must be at least 1")


class _Reader:
    """Reads photographs in batches; reports those that cannot be read and skips them."""

    def __init__(self, sources: Sequence[Source], args: argparse.Namespace, done: str) -> None:
        self.failed = 0
        self._sources = sources
        # Photographs that may be larger than usual are held one at a time.
        self._batch_size: int = args.batch_size if args.max_pixels <= MAX_PIXELS else 1
        self._done = done

    def fail(self, sentence: str) -> None:
        """Count and report a photograph that could not be processed."""
        self.failed += 1
        print(f"error: {printable(sentence)}", file=sys.stderr)

    def read(
        self, decode: Callable[[Source, bytes], tuple[Loaded, _Notes]]
    ) -> Iterator[list[tuple[Source, Loaded]]]:
        """Yield batches of photographs, which are read and decoded in threads."""

        def load(source: Source, given: bytes | OSError | None) -> tuple[Loaded, _Notes] | str:
            try:
                if isinstance(given, OSError):
                    raise given
                return decode(source, source.read() if given is None else given)
            except ImageRejected as rejected:
                more = "; --max-pixels N takes more" * (rejected.reason == "too many pixels")
                return f"{source} cannot be {self._done}: {rejected}{more}"
            except IsADirectoryError:
                return f"{source} is a folder: give its photographs, as {source}/*"
            except OSError as error:
                return f"{error.filename or source}: {error.strerror or error}"

        seen, shown = 0, time.monotonic()
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            for sources in batched(self._sources, self._batch_size):
                given = [_read_here(source) if source.standard else None for source in sources]
                batch = []
                for source, loaded in zip(sources, pool.map(load, sources, given), strict=True):
                    if isinstance(loaded, str):
                        self.fail(loaded)
                        continue
                    batch.append((source, loaded[0]))
                    print_notes(source, loaded[1])
                    del loaded
                if batch:
                    yield batch
                seen += len(sources)
                if time.monotonic() - shown > 2:
                    shown = time.monotonic()
                    print(f"{self._done} {seen} of {len(self._sources)}", file=sys.stderr)


def _read_here(source: Source) -> bytes | OSError:
    """Read standard input in the main thread, because Ctrl-C cannot interrupt another thread."""
    try:
        return source.read()
    except OSError as error:
        return error
