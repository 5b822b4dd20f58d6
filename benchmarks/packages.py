"""Creates storages with any number of packages of untrained generators."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.inference import make_generator
from colorgan.data.dataset import SPLITS, Dataset, Manifest
from colorgan.data.scenes import CLASSES
from colorgan.models.architectures import GeneratorConfig
from colorgan.names import GENERAL
from colorgan.packages.card import ModelCard
from colorgan.packages.weights import Trained, publish
from colorgan.storage import open_storage

# The dataset that the cards of the packages name.
_NOTHING = Manifest(
    name="nothing",
    created="",
    source="nothing",
    size=0,
    split_seed=None,
    classes=CLASSES,
    counts={label: dict.fromkeys(SPLITS, 0) for label in CLASSES},
    dropped={},
    shards=(),
    fingerprint="",
)


def publish_untrained(root: Path, config: GeneratorConfig) -> ModelCard:
    """Publish a generator with random weights under the name `general`.

    Args:
        root: folder of the storage.
        config: configuration of the generator.
    """
    storage = open_storage(str(root))
    dataset = Dataset(storage, _NOTHING)
    trained = Trained(
        make_generator(config, "cpu"),
        classes=dataset.manifest.classes,
        training={},
        metrics={"val_l1": 0.0, "val_psnr": 0.0},
        seconds=0.0,
        device="cpu",
    )
    return publish(storage, GENERAL, dataset, trained)


def spread(root: Path, source: Path, card: ModelCard, names: Sequence[str]) -> None:
    """Create a storage with copies of a package, whose files are hard links to the original.

    Args:
        root: folder of the new storage.
        source: folder of the storage with the package, on the same file system.
        card: card of the package.
        names: names of the models.
    """
    storage = open_storage(str(root))
    package = source / "models" / card.model / card.version
    for name in names:
        folder = f"models/{name}"
        storage.put(f"{folder}/{card.version}/model.json", replace(card, model=name).to_json())
        storage.put(f"{folder}/latest.json", f'{{"version": "{card.version}"}}\n'.encode())
        for file in card.files:
            os.link(package / file, root / folder / card.version / file)
