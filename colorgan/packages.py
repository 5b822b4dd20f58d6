"""Publishing a trained network as a package, and loading it again: see colorgan.cards.

<run's folder>/version-<digest>.json    the version that the run publishes its network as
"""

import hashlib
import json
import platform
import re
import secrets
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import torch
from safetensors.torch import load, save

import colorgan
from colorgan.cards import ModelCard, StoredFile, find, version_order
from colorgan.data.dataset import Dataset, check_name
from colorgan.errors import ConfigError, Corrupt, NotInStorage
from colorgan.hyperparameters import stored_objective
from colorgan.models.architectures import HeadConfig
from colorgan.models.encoder_unet import EncoderUNetGenerator
from colorgan.models.generator import Generator
from colorgan.models.head import RouterHead
from colorgan.models.hypercolumn import HypercolumnNetwork
from colorgan.models.unet import UNetGenerator
from colorgan.storage import Storage

Network = TypeVar("Network", UNetGenerator, EncoderUNetGenerator, HypercolumnNetwork, RouterHead)

# The time of a version; the first ones had no fraction of the second.
_STAMP = re.compile(r"(\d{8}-\d{6})(?:-(\d{6})-)?")

# By the kind of a package.
_NETWORKS: dict[str, type[Any]] = {
    "generator": UNetGenerator,
    "encoder_unet": EncoderUNetGenerator,
    "hypercolumn": HypercolumnNetwork,
    "router": RouterHead,
}


@dataclass(frozen=True)
class Trained:
    """A network and how it came about, to be published.

    Attributes:
        network: the trained network, on any device.
        classes: the classes whose photographs it was trained on.
        training: all hyper-parameters.
        metrics: by name.
        seconds: of training.
        device: what it was trained on, in words.
        epochs: how many were done.
        run: the run's name.
        folder: of the run in storage, if it publishes this network alone from there.
        extra: further files of the package, by name.
    """

    network: Generator | RouterHead
    classes: tuple[str, ...]
    training: Mapping[str, Any]
    metrics: Mapping[str, float]
    seconds: float
    device: str
    epochs: int = 0
    run: str = ""
    folder: str = ""
    extra: Mapping[str, bytes] = field(default_factory=dict)


def publish(storage: Storage, model: str, dataset: Dataset, trained: Trained) -> ModelCard:
    """Write a package and make it the model's latest version, unless there is a newer one.

    A fault in the middle leaves nothing that is in the way: to publish again from the same folder,
    or without one the same weights of the same run, finishes the package of before, or finds it
    finished. What of it is in storage already is kept, so processes that do this at the same time
    end with one package, and its card fits its files.

    Args:
        storage: where the package goes.
        model: the model's name.
        dataset: what it was trained on.
        trained: the network.

    Returns:
        The package's card; that of before, where it was finished before.
    """
    network = trained.network
    kind = next(name for name, made in _NETWORKS.items() if isinstance(network, made))
    weights = {
        name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()
    }
    contents = {f"{kind}.safetensors": save(weights), **trained.extra}
    version = _version(storage, model, dataset, trained, contents[f"{kind}.safetensors"])
    folder = f"models/{model}/{version}"
    contents = {
        name: _written_first(storage, f"{folder}/{name}", data) for name, data in contents.items()
    }
    card = ModelCard(
        model=model,
        kind=kind,
        version=version,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        classes=trained.classes,
        architecture=network.config,
        dataset={"name": dataset.manifest.name, "fingerprint": dataset.manifest.fingerprint},
        photographs=min(
            dataset.count(trained.classes, "train"),
            trained.training.get("photographs") or sys.maxsize,
        ),
        training=dict(trained.training),
        epochs=trained.epochs,
        metrics=dict(trained.metrics),
        seconds=trained.seconds,
        device=trained.device,
        run=trained.run,
        versions={
            "colorgan": colorgan.__version__,
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        },
        files={
            name: StoredFile(len(data), hashlib.sha256(data).hexdigest())
            for name, data in contents.items()
        },
        objective=(
            ""
            if isinstance(network.config, HeadConfig)
            else stored_objective(model, trained.training, trained.epochs)
        ),
    )
    _written_first(storage, f"{folder}/model.json", card.to_json())
    _point(storage, model, version)
    return find(storage, f"{model}@{version}")


def _written_first(storage: Storage, key: str, data: bytes) -> bytes:
    """What an object holds that nobody writes twice: this, or what was written before."""
    return data if storage.create(key, data) else storage.get(key)


def _version(
    storage: Storage, model: str, dataset: Dataset, trained: Trained, weights: bytes
) -> str:
    """The version that a network is published under: a new one, or that which its run names.

    The run's folder keeps it, written before the package is begun.
    """
    version = _new_version(storage, model)
    if not (trained.folder or trained.run):
        return version
    what = [model, dataset.manifest.fingerprint, trained.epochs, dict(trained.training)]
    if not trained.folder:
        what.append(hashlib.sha256(weights).hexdigest())
    digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
    key = f"{trained.folder or f'runs/{trained.run}/{model}'}/version-{digest[:16]}.json"
    named = (json.dumps({"model": model, "version": version}) + "\n").encode()
    try:
        named = _written_first(storage, key, named)
        return check_name("version", json.loads(named)["version"])
    except (ValueError, TypeError, KeyError):
        raise Corrupt(f"{key} names no version: delete it and publish again") from None


def _new_version(storage: Storage, model: str) -> str:
    """A version that nobody else has, by chance, and that sorts after those that there are.

    It is the time; or, where the clock of whoever published last is ahead, just after that.
    """
    time = datetime.now(UTC).replace(tzinfo=None)
    for version in storage.folders(f"models/{model}"):
        if found := _STAMP.match(version):
            with suppress(ValueError):
                then = datetime.strptime(f"{found[1]}-{found[2] or 0}", "%Y%m%d-%H%M%S-%f")
                step = timedelta(microseconds=1) if found[2] else timedelta(seconds=1)
                time = max(time, then + step)
    return f"{time:%Y%m%d-%H%M%S-%f}-{secrets.token_hex(3)}"


def _point(storage: Storage, model: str, version: str) -> None:
    """Make a version the latest, unless a newer one is whole.

    Two processes may write the pointer in the wrong order. So each looks again after it has
    written, until the pointer names the newest version that is whole.
    """
    folder = f"models/{model}"
    while True:
        named = _pointed(storage, f"{folder}/latest.json")
        newest = version
        for other in {named, *storage.folders(folder)} - {""}:
            newer = version_order(other) > version_order(newest)
            if newer and storage.exists(f"{folder}/{other}/model.json"):
                newest = other
        if newest == named:
            return
        latest = json.dumps({"version": newest}) + "\n"
        storage.put(f"{folder}/latest.json", latest.encode())


def _pointed(storage: Storage, pointer: str) -> str:
    """The version that a pointer names; empty where it names none."""
    try:
        return check_name("version", json.loads(storage.get(pointer))["version"])
    except (NotInStorage, ValueError, TypeError, KeyError):
        return ""


def load_generator(
    storage: Storage, card: ModelCard, device: torch.device | None = None
) -> Generator:
    """The trained network of a package that colours, in evaluation mode.

    Raises:
        ConfigError: the package holds another kind of network.
        Corrupt: the weights are cut short, do not match their checksum or do not fit.
    """
    if not card.colors:
        raise ConfigError(f"{card.reference} is a {card.kind}, not a model that colours")
    generator: Generator = _load(storage, card, _NETWORKS[card.kind](card.architecture))
    return generator.to(device or torch.device("cpu"))


def load_head(storage: Storage, card: ModelCard) -> RouterHead:
    """The trained head of a router's package, on the CPU; raises as `load_generator`."""
    if not isinstance(card.architecture, HeadConfig):
        raise ConfigError(f"{card.reference} is a {card.kind}, not a router")
    return _load(storage, card, RouterHead(card.architecture))


def _load(storage: Storage, card: ModelCard, network: Network) -> Network:
    name = f"{card.kind}.safetensors"
    key = f"models/{card.model}/{card.version}/{name}"
    expected = card.files.get(name)
    data = storage.get(key)
    if expected is None or len(data) != expected.bytes:
        size = expected.bytes if expected else 0
        raise Corrupt(f"{key} has {len(data)} bytes instead of {size}: publish the model again")
    if hashlib.sha256(data).hexdigest() != expected.sha256:
        raise Corrupt(f"{key} does not match its checksum: publish the model again")
    try:
        network.load_state_dict(load(data))
    except Exception as error:  # safetensors and PyTorch have each their own
        raise Corrupt(f"{key} does not fit the architecture in model.json: {error}") from None
    return network.eval()
