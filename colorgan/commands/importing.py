"""The action `import` of `colorgan models`."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from colorgan.commands.publishing import add_tag_option, given_tag
from colorgan.names import CIC
from colorgan.packages.releases import release_sentence
from colorgan.storage import open_storage


class _AddAction(Protocol):
    def __call__(
        self, name: str, command: Callable[[argparse.Namespace], int], help: str
    ) -> argparse.ArgumentParser: ...


def add_import_action(action: _AddAction) -> None:
    """Add `import`."""
    importing = action("import", _import, "make a package of published weights in a file")
    importing.add_argument(
        "model", metavar="MODEL", choices=(CIC,), help=f"{CIC}, of which the authors' weights exist"
    )
    importing.add_argument(
        "--weights",
        metavar="FILE",
        type=Path,
        required=True,
        help="a state dict, .safetensors or from torch.save, as the authors' eccv16 has it",
    )
    importing.add_argument(
        "--dataset",
        metavar="NAME",
        required=True,
        help="the dataset on whose validation photographs it is measured",
    )
    importing.add_argument(
        "--size",
        metavar="PX",
        type=int,
        default=256,
        help="side of its square input, in pixels (default: %(default)s)",
    )
    importing.add_argument(
        "--width",
        metavar="N",
        type=int,
        default=64,
        help="channels of the first block (default: %(default)s, as the authors')",
    )
    add_tag_option(importing)


def _import(args: argparse.Namespace) -> int:
    # These import PyTorch, which takes a second or two.
    from colorgan.data.dataset import open_dataset
    from colorgan.models.architectures import CicConfig
    from colorgan.training.importing import import_cic

    config, tag = CicConfig(args.size, args.width), given_tag(args)
    storage = open_storage(args.storage)
    dataset = open_dataset(storage, args.dataset)
    card = import_cic(dataset, args.weights, config, tag)
    l1, psnr = card.metrics["val_l1"], card.metrics["val_psnr"]
    print(f"{card.reference}: validation L1 {l1:.2f}, PSNR {psnr:.1f} dB on {args.dataset}")
    print(release_sentence(storage, card.reference))
    return 0
