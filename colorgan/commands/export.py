"""The command `colorgan export`."""

import argparse
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from colorgan.commands.text import print_note
from colorgan.errors import ConfigError
from colorgan.export.onnx import OnnxModel, export_generator, export_router
from colorgan.export.runtime import NAME, PACKAGE, RUNTIME_FILES, load_runtime
from colorgan.export.web import MODELS, WEIGHTS, model_files, page_files
from colorgan.files import check_outputs, write_file
from colorgan.inference.assembled import assemble
from colorgan.inference.router import open_router
from colorgan.inference.router_choice import HEAD, RouterConfig, choose_lone_router
from colorgan.models.architectures import DetectorConfig, HeadConfig, SegmenterConfig
from colorgan.names import ROUTER
from colorgan.options import add_options, parse
from colorgan.packages.card import ModelCard, find
from colorgan.packages.embedded import embedded_note, with_embedded
from colorgan.packages.weights import load_generator
from colorgan.storage import Storage, open_storage

_ASSEMBLED = "assembled"
_WEB = "web"
_SUFFIX = ".onnx"

# What makes a file, by the name that it has in a folder.
_Makers = Mapping[str, Callable[[], OnnxModel]]


def prepare_export(parser: argparse.ArgumentParser) -> None:
    """Add the options of `colorgan export`."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        help=f"animals, animals@VERSION, general; {ROUTER}, or a head as {ROUTER}@VERSION; or "
        f"{_ASSEMBLED}, the router and the model of each of its classes",
    )
    parser.add_argument(
        "--format",
        choices=("onnx", _WEB),
        default="onnx",
        help=f"{_WEB} writes a folder with a page that colours in the browser, of {_ASSEMBLED}",
    )
    parser.add_argument(
        "--runtime",
        type=Path,
        metavar="FILE",
        help=f"for {_WEB}: the package {PACKAGE}; by default npm fetches it",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="FILE",
        help=f"the file; for {_ASSEMBLED} a folder, where {ROUTER}{_SUFFIX} and the others go",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace files that exist (default: refuse)"
    )
    add_options(parser.add_argument_group("router"), RouterConfig)
    parser.set_defaults(command=_export)


def _export(args: argparse.Namespace) -> int:
    storage = with_embedded(open_storage(args.storage))
    if args.format == _WEB:
        return _export_page(args, storage)
    if args.runtime is not None:
        raise ConfigError(f"--runtime: only --format {_WEB} runs by {NAME}")
    makers = _makers(args, storage)
    outputs = {name: args.output / f"{name}{_SUFFIX}" for name in makers}
    if args.model != _ASSEMBLED:
        outputs = dict.fromkeys(makers, args.output)
        if args.output.suffix != _SUFFIX:
            raise ConfigError(f"-o {args.output}: give a file that ends in {_SUFFIX}")
    check_outputs([*outputs.values()], overwrite=args.overwrite, new_folders=True)
    for name, make in makers.items():
        made = make()
        write_file(outputs[name], made.data, args.overwrite)
        print(f"{outputs[name]}: {len(made.data) / 1e6:.1f} MB, {_difference(made)}", flush=True)
    return 0


def _export_page(args: argparse.Namespace, storage: Storage) -> int:
    if args.model != _ASSEMBLED:
        raise ConfigError(f"--format {_WEB}: the page needs a router; export {_ASSEMBLED}")
    makers = _makers(args, storage)
    page = page_files()
    models = {name: args.output / f"{name}{_SUFFIX}" for name in makers}
    names = (*page, *RUNTIME_FILES, WEIGHTS, MODELS)
    outputs = [*models.values(), *(args.output / name for name in names)]
    check_outputs(outputs, [args.runtime] if args.runtime else (), args.overwrite, True)
    runtime = load_runtime(args.runtime)  # before minutes of work
    made: dict[str, bytes] = {}
    for name, make in makers.items():
        model = make()
        made[name] = model.data
        print(f"{name}: {_difference(model)}", flush=True)
    files = {**page, **model_files(made, runtime)}
    for name, data in files.items():
        write_file(args.output / name, data, args.overwrite)
    size = sum(map(len, files.values())) / 1e6
    print(f"{args.output}: {size:.1f} MB, all that a browser needs")
    folder = shlex.quote(str(args.output))
    print(f"look at it with: python -m http.server --bind 127.0.0.1 -d {folder}")
    return 0


def _difference(made: OnnxModel) -> str:
    return f"at most {made.difference:.2g} of 255 from PyTorch's result"


def _check_spaces(cards: Iterable[ModelCard]) -> None:
    """Check that generators write Lab, as the page requires; raises ConfigError."""
    for card in cards:
        architecture = card.architecture
        assert not isinstance(architecture, HeadConfig | SegmenterConfig | DetectorConfig)
        if architecture.color_space != "lab":
            raise ConfigError(
                f"{card.reference} writes {architecture.color_space}: the page takes models of "
                "Lab, the default of --color-space"
            )


def _makers(args: argparse.Namespace, storage: Storage) -> _Makers:
    """What to export, by name; nothing is loaded yet."""
    config = parse(RouterConfig, args)

    def router(chosen: RouterConfig) -> _Makers:
        return {ROUTER: lambda: export_router(open_router(chosen, storage, exact=True))}

    def generator(card: ModelCard) -> Callable[[], OnnxModel]:
        if getattr(card.architecture, "noise_channels", 0):
            print_note(f"{card.reference} is exported without its noise: it gives variant 1 alone")
        return lambda: export_generator(load_generator(storage, card), card.reference)

    if args.model == _ASSEMBLED:
        assembly = assemble(config, storage)
        if args.format == _WEB:
            _check_spaces(assembly.cards.values())
        print_note(assembly.choice.note)
        print_note(embedded_note(storage, assembly.cards.values()))
        models = {name: generator(card) for name, card in assembly.cards.items()}
        return {**router(assembly.choice.config), **models}
    name, _, version = args.model.partition("@")
    if name == ROUTER:
        if version:
            return router(replace(config, router=HEAD, head=args.model))
        choice = choose_lone_router(config, storage)
        print_note(choice.note)
        return router(choice.config)
    card = find(storage, args.model)
    if not version:
        print_note(embedded_note(storage, [card], routed=False))
    return {card.model: generator(card)}
