"""The actions `push` and `pull` of `colorgan models`."""

import argparse
from collections.abc import Callable
from typing import Protocol

from colorgan.packages.releases import release_sentence
from colorgan.storage import open_storage
from colorgan.storage.hub import HubAddress


class _AddAction(Protocol):
    def __call__(
        self, name: str, command: Callable[[argparse.Namespace], int], help: str
    ) -> argparse.ArgumentParser: ...


def add_hub_actions(action: _AddAction) -> None:
    """Add `push` and `pull`."""
    pushing = action("push", _push, "publish packages on the Hugging Face Hub")
    _add_address(pushing, "that they go to; it is created if there is none")
    pushing.add_argument(
        "packages", metavar="MODEL", nargs="*", help="as animals, animals@VERSION (default: all)"
    )
    pushing.add_argument(
        "--license", metavar="ID", default="", help="as on the Hub: mit, cc-by-4.0"
    )
    pushing.add_argument(
        "--private", action="store_true", help="close a new repository to other people"
    )
    pulling = action("pull", _pull, "copy packages of the Hugging Face Hub to the storage")
    _add_address(pulling, "that has them")
    pulling.add_argument(
        "packages", metavar="MODEL", nargs="*", help="as animals, animals@VERSION (default: all)"
    )


def _add_address(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument(
        "address",
        metavar="hf://OWNER/NAME[@REVISION]",
        help=f"the repository {what}",
    )


def _push(args: argparse.Namespace) -> int:
    from colorgan.packages.hub import push

    address, storage = HubAddress.parse(args.address), open_storage(args.storage)
    print(f"pushed: {push(storage, address, args.packages, args.license, args.private)}")
    return 0


def _pull(args: argparse.Namespace) -> int:
    from colorgan.packages.hub import pull

    address, storage = HubAddress.parse(args.address), open_storage(args.storage)
    for card in pull(storage, address, args.packages):
        print(release_sentence(storage, card.reference))
    return 0
