"""Model packages: a trained network as files that are safe to load.

models/<model>/<version>/model.json             what it is, with checksums of the other files
models/<model>/<version>/<kind>.safetensors     the weights
models/<model>/<version>/history.csv            of what colours: a line an epoch
models/<model>/<version>/samples.png            of what colours: what it makes of photographs
models/<model>/latest.json                      points to the newest version; written last
"""

import hashlib
import json
import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import torch
from safetensors.torch import load, save

import colorgan
from colorgan.data.dataset import Dataset, check_name
from colorgan.documents import read_document
from colorgan.errors import ConfigError, Corrupt, NotInStorage
from colorgan.models.generator import Generator
from colorgan.models.head import HeadConfig, RouterHead
from colorgan.models.hypercolumn import HypercolumnConfig, HypercolumnNetwork
from colorgan.models.unet import GeneratorConfig, UNetGenerator
from colorgan.storage import Storage

SCHEMA_VERSION = 1

Network = TypeVar("Network", UNetGenerator, HypercolumnNetwork, RouterHead)

# By kind: the configuration and the network that it describes.
_KINDS: dict[str, tuple[type[Any], type[Any]]] = {
    "generator": (GeneratorConfig, UNetGenerator),
    "hypercolumn": (HypercolumnConfig, HypercolumnNetwork),
    "router": (HeadConfig, RouterHead),
}


@dataclass(frozen=True)
class StoredFile:
    """A file of a package, as it was written."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class ModelCard:
    """What is in a package: its model.json.

    Attributes:
        model: the model's name: a class, `general`, `hypercolumn` or `router`.
        kind: of network: `generator`, `hypercolumn` or `router`.
        version: unique within the model; later versions sort after earlier ones.
        created: UTC, ISO 8601.
        classes: the classes whose photographs it was trained on.
        architecture: the network's configuration.
        dataset: name and fingerprint of the dataset.
        photographs: that it was trained on.
        training: all hyper-parameters.
        epochs: how many were done; 0 where training knows no epochs.
        metrics: of the finished network, by name.
        seconds: of training.
        device: that it was trained on.
        run: the run that made it, or an empty string.
        versions: of colorgan, torch and python.
        files: the package's other files.
    """

    model: str
    kind: str
    version: str
    created: str
    classes: tuple[str, ...]
    architecture: GeneratorConfig | HypercolumnConfig | HeadConfig
    dataset: dict[str, str]
    photographs: int
    training: dict[str, Any]
    epochs: int
    metrics: dict[str, float]
    seconds: float
    device: str
    run: str
    versions: dict[str, str]
    files: dict[str, StoredFile]
    schema_version: int = SCHEMA_VERSION

    @property
    def reference(self) -> str:
        """The package's full name, `model@version`."""
        return f"{self.model}@{self.version}"

    @property
    def colors(self) -> bool:
        """Whether it is a model that colours photographs."""
        return not isinstance(self.architecture, HeadConfig)

    def to_json(self) -> bytes:
        """The contents of model.json."""
        return (json.dumps(asdict(self), indent=2) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes, key: str) -> "ModelCard":
        """Read a model.json; raises Corrupt where it is not one."""

        def build(fields: dict[str, Any]) -> "ModelCard":
            fields["classes"] = tuple(fields["classes"])
            fields["architecture"] = _architecture(fields["kind"], fields["architecture"])
            fields["files"] = {name: StoredFile(**file) for name, file in fields["files"].items()}
            return cls(**fields)

        return read_document(data, key, SCHEMA_VERSION, build)


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
    kind = next(name for name, (_, made) in _KINDS.items() if isinstance(network, made))
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


def find(storage: Storage, reference: str) -> ModelCard:
    """The card of a package by `model` (its latest version) or `model@version`.

    Raises:
        NotInStorage: there is none; the message lists the models that there are.
        Corrupt: its files cannot be read.
    """
    model, _, version = reference.partition("@")
    pointer = f"models/{check_name('model', model)}/latest.json"
    if not version:
        if not storage.exists(pointer):
            known = ", ".join(storage.folders("models"))
            raise NotInStorage(
                f"no model {model!r} in {storage.uri}: "
                + (f"there are {known}" if known else "python jobs/train_all.py makes models")
            )
        try:
            version = json.loads(storage.get(pointer))["version"]
        except (ValueError, TypeError, KeyError):
            raise Corrupt(f"{pointer} does not point to a version") from None
    key = f"models/{model}/{check_name('version', version)}/model.json"
    if not storage.exists(key):
        known = ", ".join(storage.folders(f"models/{model}"))
        raise NotInStorage(
            f"no version {version!r} of model {model!r}: there are {known or 'none'}"
        )
    return ModelCard.from_json(storage.get(key), key)


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
    generator: Generator = _load(storage, card, _KINDS[card.kind][1](card.architecture))
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


def _architecture(kind: str, fields: dict[str, Any]) -> Any:
    if "classes" in fields:
        fields = {**fields, "classes": tuple(fields["classes"])}
    return _KINDS[kind][0](**fields)


def list_models(storage: Storage) -> list[ModelCard]:
    """The latest package of every model."""
    return [
        find(storage, model)
        for model in storage.folders("models")
        if storage.exists(f"models/{model}/latest.json")
    ]
