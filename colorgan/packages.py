"""Model packages: a trained generator as files that are safe to load.

models/<model>/<version>/model.json             what it is, with checksums of the other files
models/<model>/<version>/generator.safetensors  the weights
models/<model>/<version>/history.csv            a line an epoch
models/<model>/<version>/samples.png            what it makes of validation photographs
models/<model>/latest.json                      points to the newest version; written last
"""

import hashlib
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import torch
from safetensors.torch import load, save

import colorgan
from colorgan.data.dataset import Dataset, check_name
from colorgan.documents import read_document
from colorgan.errors import Corrupt, NotInStorage
from colorgan.models.unet import GeneratorConfig, UNetGenerator
from colorgan.storage import Storage
from colorgan.training import EpochRecord, TrainingConfig, history_csv

SCHEMA_VERSION = 1
WEIGHTS = "generator.safetensors"


@dataclass(frozen=True)
class StoredFile:
    """A file of a package, as it was written."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class ModelCard:
    """What is in a package: its model.json.

    Attributes:
        model: the model's name: a class, or `general`.
        version: unique within the model; later versions sort after earlier ones.
        created: UTC, ISO 8601.
        classes: the classes whose photographs it was trained on.
        architecture: the generator's configuration.
        dataset: name and fingerprint of the dataset.
        photographs: in the training split.
        training: all hyper-parameters.
        epochs: how many were done.
        metrics: the last epoch's record.
        seconds: of training, over all epochs.
        device: that it was trained on.
        run: the run that made it, or an empty string.
        versions: of colorgan, torch and python.
        files: the package's other files.
    """

    model: str
    version: str
    created: str
    classes: tuple[str, ...]
    architecture: GeneratorConfig
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

    def to_json(self) -> bytes:
        """The contents of model.json."""
        return (json.dumps(asdict(self), indent=2) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes, key: str) -> "ModelCard":
        """Read a model.json; raises Corrupt where it is not one."""

        def build(fields: dict[str, Any]) -> "ModelCard":
            fields["classes"] = tuple(fields["classes"])
            fields["architecture"] = GeneratorConfig(**fields["architecture"])
            fields["files"] = {name: StoredFile(**file) for name, file in fields["files"].items()}
            return cls(**fields)

        return read_document(data, key, SCHEMA_VERSION, build)


def publish(
    storage: Storage,
    generator: UNetGenerator,
    history: Sequence[EpochRecord],
    config: TrainingConfig,
    dataset: Dataset,
    model: str,
    device: str,
    run: str = "",
    samples: bytes | None = None,
) -> ModelCard:
    """Write a package and make it the model's latest version.

    Args:
        storage: where the package goes.
        generator: the trained network, on any device.
        history: a record for every epoch, at least one.
        config: what it was trained with.
        dataset: what it was trained on.
        model: the model's name.
        device: what it was trained on, in words.
        run: the run's name.
        samples: a PNG that shows what the model does.
    """
    weights = {
        name: tensor.detach().cpu().contiguous() for name, tensor in generator.state_dict().items()
    }
    contents = {WEIGHTS: save(weights), "history.csv": history_csv(history)}
    if samples:
        contents["samples.png"] = samples
    now = datetime.now(UTC)
    classes = dataset.model_classes(model)
    card = ModelCard(
        model=model,
        version=_free_version(storage, model, now.strftime("%Y%m%d-%H%M%S")),
        created=now.isoformat(timespec="seconds"),
        classes=classes,
        architecture=generator.config,
        dataset={"name": dataset.manifest.name, "fingerprint": dataset.manifest.fingerprint},
        photographs=dataset.count(classes, "train"),
        training=asdict(config),
        epochs=len(history),
        metrics=asdict(history[-1]),
        seconds=sum(record.seconds for record in history),
        device=device,
        run=run,
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
) -> UNetGenerator:
    """The trained network of a package, in evaluation mode.

    Raises:
        Corrupt: the weights are cut short, do not match their checksum or do not fit.
    """
    key = f"models/{card.model}/{card.version}/{WEIGHTS}"
    expected = card.files.get(WEIGHTS)
    data = storage.get(key)
    if expected is None or len(data) != expected.bytes:
        size = expected.bytes if expected else 0
        raise Corrupt(f"{key} has {len(data)} bytes instead of {size}: publish the model again")
    if hashlib.sha256(data).hexdigest() != expected.sha256:
        raise Corrupt(f"{key} does not match its checksum: publish the model again")
    generator = UNetGenerator(card.architecture)
    try:
        generator.load_state_dict(load(data))
    except Exception as error:  # safetensors and PyTorch have each their own
        raise Corrupt(f"{key} does not fit the architecture in model.json: {error}") from None
    return generator.to(device or torch.device("cpu")).eval()


def list_models(storage: Storage) -> list[ModelCard]:
    """The latest package of every model."""
    return [
        find(storage, model)
        for model in storage.folders("models")
        if storage.exists(f"models/{model}/latest.json")
    ]
