"""The command `colorgan models` and its actions."""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from colorgan.commands.hub import add_hub_actions
from colorgan.commands.importing import add_import_action
from colorgan.commands.process import EXIT_FAULT, add_storage_option
from colorgan.commands.publishing import add_tag_option, given_tag
from colorgan.commands.text import print_errors, print_table
from colorgan.errors import ColorganError
from colorgan.models.architectures import DetectorConfig, HeadConfig, SegmenterConfig
from colorgan.packages.card import (
    ModelCard,
    find,
    list_models,
    newest_version,
    unreleased,
    version_order,
    whole_versions,
)
from colorgan.packages.embedded import EmbeddedStorage
from colorgan.packages.releases import (
    Release,
    read_releases,
    release,
    release_sentence,
    released_version,
    remove,
    rollback,
)
from colorgan.packages.services import services_of
from colorgan.storage import Storage, open_storage
from colorgan.storage.documents import read_all, reading
from colorgan.training.config import stored_objective

_PACKAGE = "MODEL@VERSION"


def prepare_models(parser: argparse.ArgumentParser) -> None:
    """Add the options and the actions of `colorgan models`."""
    parser.add_argument("--json", action="store_true", help="print the model cards as JSON")
    parser.set_defaults(command=_list, all=False)
    actions = parser.add_subparsers(title="actions", metavar="ACTION")

    def action(
        name: str, command: Callable[[argparse.Namespace], int], help: str
    ) -> argparse.ArgumentParser:
        added = actions.add_parser(name, help=help, description=help.capitalize() + ".")
        add_storage_option(added, argparse.SUPPRESS)
        added.set_defaults(command=command)
        return added

    listing = action("list", _list, "list the released models, as without an action")
    listing.add_argument("--all", action="store_true", help="every version, released or not")
    listing.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="as JSON")
    history = action("history", _history, "show what was released when, by whom and why")
    history.add_argument("model", metavar="MODEL")
    releasing = action(
        "release", _release, "make versions those that are used where no version is named"
    )
    releasing.add_argument("packages", metavar=_PACKAGE, nargs="+")
    releasing.add_argument(
        "--force",
        action="store_true",
        help="also a version that is worse than the released one, or cannot be compared with it",
    )
    back = action("rollback", _rollback, "release the version that was released before")
    back.add_argument("models", metavar="MODEL", nargs="+")
    removing = action("remove", _remove, "delete versions that are neither released nor served")
    removing.add_argument("packages", metavar=_PACKAGE, nargs="+")
    publish = action("publish", _publish, "publish a trial of a sweep as a model package")
    publish.add_argument("--sweep", metavar="NAME", required=True)
    publish.add_argument("--trial", metavar="NAME", required=True, help="as 01")
    publish.add_argument("--epoch", metavar="N", required=True, type=int, help="an evaluated epoch")
    add_tag_option(publish)
    add_import_action(action)
    add_hub_actions(action)


@dataclass(frozen=True)
class _Listed:
    """A model's version in a listing.

    Attributes:
        card: its card.
        released: whether it is the released version.
        was_released: whether it was released once.
        served: whether a service is known to serve it.
    """

    card: ModelCard
    released: bool
    was_released: bool = False
    served: bool = False

    @property
    def state(self) -> str:
        words = []
        if self.released:
            words.append("embedded" if self.card.embedded else "released")
        elif self.was_released:
            words.append("replaced")
        if self.card.tag:
            words.append(self.card.tag)
        if self.served:
            words.append("served")
        return ", ".join(words) or "-"


def _list(args: argparse.Namespace) -> int:
    storage = open_storage(args.storage)
    # A damaged package must not hide the others.
    faults: list[ColorganError] = []
    released = list_models(storage, faults.append)
    listed = [_Listed(card, released=True) for card in released]
    if args.all:
        listed = _every_version(storage, faults)
    waiting = unreleased(storage)
    has_own = bool(listed or faults or waiting)
    listed += [_Listed(card, True) for card in list_models(EmbeddedStorage(), faults.append)]
    if args.json:
        documents = [
            {
                **json.loads(each.card.to_json()),
                "tag": each.card.tag,
                "released": each.released,
                **({"served": each.served} if args.all else {}),
            }
            for each in listed
        ]
        print(json.dumps(documents))
    else:
        _print_versions(listed, faults, args.all)
        if not args.all:
            waiting += _newer(storage, released)
        if waiting and not args.all:
            print(f"not released: {', '.join(waiting)}; colorgan models list --all shows more")
        if not has_own:
            but = ", and those above come with colorgan" if listed else ""
            print(f"no model in {storage.uri}: python jobs/train_all.py makes models{but}")
    print_errors(faults)
    return EXIT_FAULT if faults else 0


def _every_version(storage: Storage, faults: list[ColorganError]) -> list[_Listed]:
    """Every package of a storage; faults are collected."""
    served = {package for service in services_of(storage) for package in service.packages}

    def versions(model: str) -> list[_Listed]:
        current = released_version(storage, model)
        once = {each.version for each in read_releases(storage, model)}
        cards = read_all(
            [f"{model}@{version}" for version in whole_versions(storage, model)],
            lambda reference: find(storage, reference),
            faults.append,
        )
        return [
            _Listed(
                card,
                released=card.version == current,
                was_released=card.version in once,
                served=card.reference in served,
            )
            for card in cards
        ]

    models = read_all(storage.folders("models"), versions, faults.append)
    return [each for listed in models for each in listed]


def _newer(storage: Storage, released: Sequence[ModelCard]) -> list[str]:
    """The newest version of each model that is newer than the released one."""
    found = []
    for card in released:
        newest = newest_version(storage, card.model)
        if version_order(newest) > version_order(card.version):
            found.append(f"{card.model}@{newest}")
    return found


def _print_versions(
    listed: Sequence[_Listed], faults: list[ColorganError], with_state: bool
) -> None:
    def row(each: _Listed) -> tuple[str, ...]:
        reference, *rest = _row(each.card)
        return (reference, *([each.state] if with_state else []), *rest)

    rows = read_all(listed, row, faults.append)
    if rows:
        headings = ("architecture", "dataset", "photographs", "epochs", "learned by")
        state = ["state"] if with_state else []
        print_table(("model", *state, *headings, "on validation"), rows)


def _row(card: ModelCard) -> tuple[str, ...]:
    with reading(f"models/{card.model}/{card.version}/model.json"):
        return (
            card.reference,
            _architecture(card),
            card.dataset["name"],
            str(card.photographs),
            str(card.epochs or "-"),
            stored_objective(card) or "-",
            _quality(card),
        )


def _history(args: argparse.Namespace) -> int:
    storage = open_storage(args.storage)
    past = read_releases(storage, args.model)
    if past:
        rows = [
            (
                each.at.replace("+00:00", "Z"),
                f"{each.action}{', forced' * each.forced}",
                each.version,
                each.previous or "-",
                each.by,
                _because(each),
            )
            for each in past
        ]
        print_table(("time", "action", "version", "before", "by", "because"), rows)
        return 0
    card = find(storage, args.model)  # raises NotInStorage if nothing is released
    print(f"{card.reference} was released before {storage.uri} kept a history")
    return 0


def _release(args: argparse.Namespace) -> int:
    storage = open_storage(args.storage)
    for package in args.packages:
        entry = release(storage, package, args.force)
        if entry is None:
            print(f"{package} is released already")
            continue
        by_force = " by --force" * entry.forced
        separator = "," if entry.forced else ":"
        print(f"{package} is released{by_force}{_instead(entry)}{separator} {_because(entry)}")
    return 0


def _because(entry: Release) -> str:
    """The reason of a release; that of a forced one is what speaks against it."""
    return f"although {entry.reason}" if entry.forced else entry.reason


def _instead(entry: Release) -> str:
    return f" instead of {entry.model}@{entry.previous}" if entry.previous else ""


def _rollback(args: argparse.Namespace) -> int:
    storage = open_storage(args.storage)
    for model in args.models:
        entry = rollback(storage, model)
        print(f"{entry.reference} is released again{_instead(entry)}")
    return 0


def _remove(args: argparse.Namespace) -> int:
    storage = open_storage(args.storage)
    for package in args.packages:
        remove(storage, package)
        print(f"{package} is removed")
    return 0


def _publish(args: argparse.Namespace) -> int:
    # This imports PyTorch, which takes a second or two.
    from colorgan.sweeps.publishing import publish_epoch

    storage, tag = open_storage(args.storage), given_tag(args)
    card = publish_epoch(storage, args.sweep, args.trial, args.epoch, tag)
    print(f"{card.reference}: {_quality(card)}, {card.epochs} epochs of {card.run}")
    print(release_sentence(storage, card.reference))
    return 0


def _architecture(card: ModelCard) -> str:
    config = card.architecture
    if isinstance(config, HeadConfig):
        return f"head on {config.classifier} for {', '.join(config.classes)}"
    if isinstance(config, SegmenterConfig):
        return f"{config.size} px, FCN-8s on {config.encoder}, {len(config.classes)} classes"
    if isinstance(config, DetectorConfig):
        return f"{config.size} px, FCOS on {config.encoder}, finds {', '.join(config.classes)}"
    noise = getattr(config, "noise_channels", 0)
    more = f", {noise} noise channels" if noise else ""
    return f"{config.size} px, width {config.width}, {config.color_space}{more}"


def _quality(card: ModelCard) -> str:
    if isinstance(card.architecture, HeadConfig):
        return f"accuracy {card.metrics['val_accuracy']:.1%}"
    if isinstance(card.architecture, SegmenterConfig):
        return f"mean IoU {card.metrics['val_mean_iou']:.1%}"
    if isinstance(card.architecture, DetectorConfig):
        return f"average precision {card.metrics['val_precision']:.1%}"
    return f"L1 {card.metrics['val_l1']:.2f}, PSNR {card.metrics['val_psnr']:.1f} dB"
