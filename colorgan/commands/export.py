"""The command `colorgan export`."""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from colorgan.commands.text import print_note
from colorgan.errors import ConfigError
from colorgan.export.onnx import OnnxModel, export_generator, export_router
from colorgan.files import check_outputs, write_file
from colorgan.inference.assembled import assemble
from colorgan.inference.router import open_router
from colorgan.inference.router_choice import HEAD, RouterConfig, choose_lone_router
from colorgan.names import ROUTER
from colorgan.options import add_options, parse
from colorgan.packages.card import ModelCard, find
from colorgan.packages.embedded import embedded_note, with_embedded
from colorgan.packages.weights import load_generator
from colorgan.storage import Storage, open_storage

_ASSEMBLED = "assembled"
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
    parser.add_argument("--format", choices=("onnx",), default="onnx")
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
        print(
            f"{outputs[name]}: {len(made.data) / 1e6:.1f} MB, at most {made.difference:.2g} of 255 "
            "from PyTorch's result",
            flush=True,
        )
    return 0


def _makers(args: argparse.Namespace, storage: Storage) -> _Makers:
    """What to export, by name; nothing is loaded yet."""
    config = parse(RouterConfig, args)

    def router(chosen: RouterConfig) -> _Makers:
        return {ROUTER: lambda: export_router(open_router(chosen, storage, exact=True))}

    def generator(card: ModelCard) -> Callable[[], OnnxModel]:
        return lambda: export_generator(load_generator(storage, card), card.reference)

    if args.model == _ASSEMBLED:
        assembly = assemble(config, storage)
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
