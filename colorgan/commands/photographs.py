"""colorgan classify, colorgan colorize."""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import torch

from colorgan.assembled import find_class_models, load_assembled
from colorgan.cards import find
from colorgan.cli import EXIT_FAULT
from colorgan.colorizer import VIVID, Colorizer
from colorgan.commands.text import print_table
from colorgan.data.mapping import batched
from colorgan.errors import ConfigError, ImageRejected
from colorgan.images.decoding import Photograph, Pixels, decode, encode_png
from colorgan.options import add_options, parse
from colorgan.packages import load_generator
from colorgan.router import Route, RouterConfig, open_router
from colorgan.storage import open_storage
from colorgan.training import choose_device

ASSEMBLED = "assembled"

Loaded = TypeVar("Loaded")
_Result = tuple[Pixels, str]  # a coloured photograph, and how it was coloured


def prepare_classify(parser: argparse.ArgumentParser) -> None:
    """Add the options of `colorgan classify`."""
    parser.add_argument("photographs", metavar="PHOTO", nargs="+", type=Path)
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto")
    _add_batch_size(parser, 16)
    add_options(parser, RouterConfig)
    parser.set_defaults(command=_classify)


def _classify(args: argparse.Namespace) -> int:
    _check_batch_size(args.batch_size)
    config = parse(RouterConfig, args)
    router = open_router(config, open_storage(args.storage), choose_device(args.device))
    reader = _Reader(args.photographs, args.batch_size, "classified")
    routes: list[tuple[Path, Route]] = []
    for batch in reader.read(lambda photograph: router.prepare(photograph.rgb)):
        paths, prepared = zip(*batch, strict=True)
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
        print(json.dumps(described, indent=2))
    else:
        rows = [
            (str(path), route.photo_class, f"{route.score:.2f}", route.label or "-")
            for path, route in routes
        ]
        print_table(("photograph", "class", "score", "label"), rows)
    return EXIT_FAULT if reader.failed else 0


def prepare_colorize(parser: argparse.ArgumentParser) -> None:
    """Add the options of `colorgan colorize`."""
    parser.add_argument("photographs", metavar="PHOTO", nargs="+", type=Path)
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        type=Path,
        required=True,
        help="a folder, or a .png file for one photograph",
    )
    parser.add_argument(
        "--model",
        metavar="MODEL",
        default=ASSEMBLED,
        help=f"{ASSEMBLED}: each photograph by the model of its class (the default); or one model "
        "for all: animals, animals@VERSION, general",
    )
    parser.add_argument(
        "--class", metavar="NAME", dest="photo_class", help="the class, instead of the router's"
    )
    parser.add_argument(
        "--vividness",
        type=float,
        default=1.0,
        metavar="X",
        help=f"what the chroma is multiplied by, from 0, which is gray, to {VIVID:g} (default: 1)",
    )
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto")
    parser.add_argument(
        "--compile",
        action="store_true",
        help="without a GPU: compile the networks first, some 20 seconds each the first time on a "
        "machine, which many photographs win back",
    )
    _add_batch_size(parser, 8)
    add_options(parser.add_argument_group("router"), RouterConfig)
    parser.set_defaults(command=_colorize)


def _colorize(args: argparse.Namespace) -> int:
    _check_batch_size(args.batch_size)
    if not 0 <= args.vividness <= VIVID:
        raise ConfigError(f"--vividness must lie between 0 and {VIVID:g}")
    targets = _targets(args.photographs, args.output)
    reader = _Reader(args.photographs, args.batch_size, "coloured")
    color = _colorer(args)
    for batch in reader.read(lambda photograph: photograph):
        for (path, photograph), (rgb, by) in zip(batch, color([p for _, p in batch]), strict=True):
            target = targets[path]
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(encode_png(rgb, photograph.alpha))
            except OSError as error:
                reader.fail(f"{target}: {error.strerror}")
            else:
                print(f"{target}: {by}")
    return EXIT_FAULT if reader.failed else 0


def _colorer(args: argparse.Namespace) -> Callable[[Sequence[Photograph]], list[_Result]]:
    """What colours a batch, and says of each photograph how."""
    storage, device = open_storage(args.storage), choose_device(args.device)
    if args.photo_class and args.model != ASSEMBLED:
        raise ConfigError(
            f"--class chooses a model instead of the router: drop --model {args.model}"
        )
    model = args.photo_class or args.model
    if model != ASSEMBLED:
        card = find(storage, model)
        colorizer = Colorizer(load_generator(storage, card, device))
        if args.compile:
            colorizer.compile()

        def by_one(photographs: Sequence[Photograph]) -> list[_Result]:
            pictures = [photograph.rgb for photograph in photographs]
            colored = colorizer(pictures, vividness=args.vividness)
            return [(rgb, f"coloured by {card.reference}") for rgb in colored]

        return by_one

    router = open_router(parse(RouterConfig, args), storage, device)
    cards = find_class_models(storage, router.classes)
    assembled = load_assembled(storage, router, cards, device)
    if args.compile:
        assembled.compile()

    def by_class(photographs: Sequence[Photograph]) -> list[_Result]:
        pictures = [photograph.rgb for photograph in photographs]
        return [
            (colored.rgb, f"{_words(colored.route)}, coloured by {cards[colored.model].reference}")
            for colored in assembled(pictures, args.vividness)
        ]

    return by_class


def _words(route: Route) -> str:
    label = f" ({route.label})" if route.label else ""
    return f"{route.photo_class} {route.score:.2f}{label}"


def _targets(photographs: Sequence[Path], output: Path) -> dict[Path, Path]:
    """Where each photograph's colouring goes; raises ConfigError where two would meet."""
    if output.suffix.lower() == ".png" and not output.is_dir():
        if len(photographs) > 1:
            raise ConfigError(f"{output} is one file: give a folder for several photographs")
        return {photographs[0]: output}
    if output.exists() and not output.is_dir():
        raise ConfigError(f"{output} is neither a folder nor a .png file")
    targets = [(path, output / f"{path.stem}.png") for path in photographs]
    for target, count in Counter(target for _, target in targets).items():
        if count > 1:
            raise ConfigError(f"{count} photographs would be written to {target}")
    return dict(targets)


def _add_batch_size(parser: argparse.ArgumentParser, default: int) -> None:
    parser.add_argument(
        "--batch-size", type=int, default=default, metavar="N", help="photographs at once"
    )


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise ConfigError("--batch-size must be at least 1")


class _Reader:
    """Reads photographs in batches; names those that cannot be read and goes on without them."""

    def __init__(self, paths: Sequence[Path], batch_size: int, done: str) -> None:
        self.failed = 0
        self._paths = paths
        self._batch_size = batch_size
        self._done = done

    def fail(self, sentence: str) -> None:
        """Count and report a photograph that could not be worked on."""
        self.failed += 1
        print(f"error: {sentence}", file=sys.stderr)

    def read(self, prepare: Callable[[Photograph], Loaded]) -> Iterator[list[tuple[Path, Loaded]]]:
        """Batches of photographs, each read and prepared in a thread."""

        def load(path: Path) -> Loaded | str:
            try:
                return prepare(decode(path.read_bytes()))
            except ImageRejected as rejected:
                return f"{path} cannot be {self._done}: {rejected}"
            except OSError as error:
                return f"{error.filename or path}: {error.strerror}"

        seen, shown = 0, time.monotonic()
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            for paths in batched(self._paths, self._batch_size):
                batch = []
                for path, loaded in zip(paths, pool.map(load, paths), strict=True):
                    if isinstance(loaded, str):
                        self.fail(loaded)
                    else:
                        batch.append((path, loaded))
                if batch:
                    yield batch
                seen += len(paths)
                if time.monotonic() - shown > 2:
                    shown = time.monotonic()
                    print(f"{self._done} {seen} of {len(self._paths)}", file=sys.stderr)
