"""Publishing a trained network as a package, and loading it again: see colorgan.cards."""

import hashlib
import json
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import torch
from safetensors.torch import load, save

import colorgan
from colorgan.cards import ModelCard, StoredFile
from colorgan.data.dataset import Dataset
from colorgan.errors import ConfigError, Corrupt
from colorgan.models.architectures import HeadConfig
from colorgan.models.encoder_unet import EncoderUNetGenerator
from colorgan.models.generator import Generator
from colorgan.models.head import RouterHead
from colorgan.models.hypercolumn import HypercolumnNetwork
from colorgan.models.unet import UNetGenerator
from colorgan.storage import Storage

Network = TypeVar("Network", UNetGenerator, EncoderUNetGenerator, HypercolumnNetwork, RouterHead)

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
    extra: Mapping[str, bytes] = field(default_factory=dict)


def publish(storage: Storage, model: str, dataset: Dataset, trained: Trained) -> ModelCard:
    """Write a package and make it the model's latest version.

    Args:
        storage: where the package goes.
        model: the model's name.
        dataset: what it was trained on.
        trained: the network.
    """
    network = trained.network
    kind = next(name for name, made in _NETWORKS.items() if isinstance(network, made))
    weights = {
        name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()
    }
    contents = {f"{kind}.safetensors": save(weights), **trained.extra}
    now = datetime.now(UTC)
    card = ModelCard(
        model=model,
        kind=kind,
        version=_free_version(storage, model, now.strftime("%Y%m%d-%H%M%S")),
        created=now.isoformat(timespec="seconds"),
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
    )
    folder = f"models/{model}/{card.version}"
    for name, data in contents.items():
        storage.put(f"{folder}/{name}", data)
    storage.put(f"{folder}/model.json", card.to_json())
    latest = json.dumps({"version": card.version}) + "\n"
    storage.put(f"models/{model}/latest.json", latest.encode())
    return card


def _free_version(storage: Storage, model: str, stamp: str) -> str:
    taken = set(storage.folders(f"models/{model}"))
    version, number = stamp, 1
    while version in taken:
        number += 1
        version = f"{stamp}-{number}"
    return version


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
