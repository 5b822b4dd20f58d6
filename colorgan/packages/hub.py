"""Publishing packages on the Hugging Face Hub, and taking packages from there.

README.md                           the card of the repository, with the Hub's metadata
models/<model>/<version>/…          packages, as in every storage
models/<model>/latest.json          names the version that was pushed last
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from colorgan.errors import ColorganError, ConfigError, Corrupt, NotInStorage
from colorgan.packages.card import ModelCard, find, list_models
from colorgan.packages.releases import release_published
from colorgan.storage import Storage
from colorgan.storage.hub import HubAddress, HubStorage, hub_client, hub_errors
from colorgan.version import __version__

_SAFE = re.compile(r"[A-Za-z0-9][\w-]*\.(safetensors|csv|png|md)", re.ASCII)

# The Hub's tasks of the kinds of packages that do not colour.
_TASKS: Mapping[str, str] = {
    "router": "image-classification",
    "segmenter": "image-segmentation",
    "detector": "object-detection",
}


@dataclass(frozen=True)
class _Metric:
    """A metric of a card: its key there, its name for people, and the Hub's name of its type."""

    key: str
    name: str
    type: str


_METRICS = (
    _Metric("val_l1", "L1 in Lab", "l1"),
    _Metric("val_psnr", "PSNR in dB", "psnr"),
    _Metric("val_accuracy", "accuracy", "accuracy"),
    _Metric("val_pixel_accuracy", "pixel accuracy", "accuracy"),
    _Metric("val_mean_iou", "mean IoU", "mean_iou"),
    _Metric("val_precision", "average precision", "mean_average_precision"),
)


def push(
    storage: Storage,
    address: HubAddress,
    references: Sequence[str] = (),
    license: str = "",
    private: bool = False,
) -> str:
    """Publish packages in a repository of the Hub, in one commit; it is created if need be.

    Args:
        storage: the user's own storage.
        address: the repository, and the branch that the commit goes to.
        references: packages, by `model` or `model@version`; none for every released model.
        license: the licence's identifier on the Hub, such as `mit`; empty for none.
        private: whether a new repository is closed to others.

    Returns:
        The address of the commit, which `pull` and `colorgan.load` take.

    Raises:
        ConfigError: the extra `hub` is not installed.
        NotInStorage: there is no such package, or nothing is released.
        Corrupt: a package's files do not match its card.
        ColorganError: the Hub refuses the user.
        StorageUnavailable: the Hub does not answer.
    """
    cards = [find(storage, each) for each in references] or list_models(storage)
    if not cards:
        raise NotInStorage(f"no model in {storage.uri} is released: name packages to push")
    hub = hub_client()
    files: dict[str, bytes] = {}
    for card in cards:
        files |= checked_files(storage, card)
        pointer = json.dumps({"version": card.version}) + "\n"
        files[f"models/{card.model}/latest.json"] = pointer.encode()
    there: dict[str, ModelCard] = {}
    with suppress(NotInStorage):
        there = {card.model: card for card in list_models(HubStorage(address))}
    all_cards = [*(there | {card.model: card for card in cards}).values()]
    files["README.md"] = describe(address, all_cards, license).encode()
    api = hub.HfApi(library_name="colorgan", library_version=__version__)
    with hub_errors(address):
        api.create_repo(address.repository, private=private, exist_ok=True)
        commit = api.create_commit(
            address.repository,
            [hub.CommitOperationAdd(path, data) for path, data in files.items()],
            commit_message=f"Push {', '.join(card.reference for card in cards)}",
            revision=address.revision or None,
        )
    return str(HubAddress(address.repository, commit.oid))


def pull(storage: Storage, address: HubAddress, models: Sequence[str] = ()) -> list[ModelCard]:
    """Copy packages of a repository to a storage, and release them if the rule allows that.

    Args:
        storage: the user's own storage.
        address: the repository and its revision.
        models: packages, by `model` or `model@version`; none for all that latest.json names.

    Returns:
        The cards of the packages.

    Raises:
        NotInStorage: the repository has no such package.
        Corrupt: a file does not match its checksum, or is of a kind that no package has.
        ColorganError: the storage has another package of the same name.
    """
    source = HubStorage(address)
    cards = [find(source, each) for each in models] or list_models(source)
    if not cards:
        raise NotInStorage(f"{address} has no models of colorgan")
    contents = [(card, checked_files(source, card)) for card in cards]
    for card, files in contents:
        end = f"/{card.version}/model.json"
        # The card is written last: without it there is no package.
        for key, data in sorted(files.items(), key=lambda file: file[0].endswith(end)):
            if not storage.create(key, data) and storage.get(key) != data:
                raise ColorganError(
                    f"{storage.uri} has another {card.reference}: its {key} differs from {address}"
                )
        release_published(storage, card)
    return cards


def checked_files(storage: Storage, card: ModelCard) -> dict[str, bytes]:
    """The files of a package by key, its card among them.

    Raises:
        ConfigError: the package comes with colorgan.
        Corrupt: a file is missing, does not match its checksum, or is of a kind that no package
            has: only safetensors hold weights.
    """
    if card.embedded:
        raise ConfigError(f"{card.reference} comes with colorgan: every colorgan has it")
    folder = f"models/{card.model}/{card.version}"
    files = {}
    for name, expected in card.files.items():
        if not _SAFE.fullmatch(name):
            raise Corrupt(f"{folder} has a file {name!r}, which no package of colorgan has")
        data = storage.get(f"{folder}/{name}")
        if hashlib.sha256(data).hexdigest() != expected.sha256:
            raise Corrupt(f"{folder}/{name} in {storage.uri} does not match its checksum")
        files[f"{folder}/{name}"] = data
    return {**files, f"{folder}/model.json": storage.get(f"{folder}/model.json")}


def describe(address: HubAddress, cards: Sequence[ModelCard], license: str = "") -> str:
    """The README.md of a repository: the Hub's metadata in YAML, and a text for people."""
    hub = hub_client()
    data = hub.ModelCardData(
        license=license or None,
        library_name="colorgan",
        pipeline_tag="image-to-image",
        tags=["colorgan", "image-colorization", "pix2pix"],
        model_name=address.repository.partition("/")[2],
        eval_results=[each for card in cards for each in _results(hub, card)] or None,
    )
    models = "\n".join(f"| {' | '.join(_row(card))} |" for card in cards)
    text = f"""# {address.repository}

Models that colour black-and-white photographs, by [colorgan](https://pypi.org/project/colorgan).

    pip install 'colorgan[hub]'

    import colorgan

    color = colorgan.load("hf://{address.repository}")
    color("photo.jpg").save("coloured.png")

`colorgan models pull hf://{address.repository}` copies them to your storage.

| model | architecture | trained on | photographs | epochs | on validation |
| --- | --- | --- | --- | --- | --- |
{models}
"""
    return f"---\n{data.to_yaml()}\n---\n\n{text}"


def _row(card: ModelCard) -> tuple[str, ...]:
    quality = ", ".join(f"{metric.name} {value:.2f}" for metric, value in _measured(card))
    return (
        f"`{card.reference}`",
        card.kind + ", with noise" * (getattr(card.architecture, "noise_channels", 0) > 0),
        f"{card.dataset['name']} ({', '.join(card.classes)})",
        str(card.photographs),
        str(card.epochs or "-"),
        quality or "-",
    )


def _measured(card: ModelCard) -> list[tuple[_Metric, float]]:
    return [(each, card.metrics[each.key]) for each in _METRICS if each.key in card.metrics]


def _results(hub: Any, card: ModelCard) -> list[Any]:
    return [
        hub.EvalResult(
            task_type=_TASKS.get(card.kind, "image-to-image"),
            dataset_type=card.dataset["name"],
            dataset_name=f"{card.dataset['name']}, validation split",
            metric_type=metric.type,
            metric_name=f"{metric.name}, {card.model}",
            metric_value=round(value, 4),
        )
        for metric, value in _measured(card)
    ]
