"""Making a package of weights that were trained elsewhere."""

from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from colorgan.data.batches import PhotoBank
from colorgan.data.dataset import Dataset
from colorgan.images import lab
from colorgan.inference.colorizer import Colorizer
from colorgan.models.architectures import CicConfig
from colorgan.models.cic import CicNetwork, read_published
from colorgan.names import CIC
from colorgan.packages.card import ModelCard
from colorgan.packages.weights import Trained, publish
from colorgan.training.config import SpeedConfig
from colorgan.training.validation import Validation

_BATCH = 8  # photographs coloured at a time


def import_cic(dataset: Dataset, weights: Path, config: CicConfig, tag: str = "") -> ModelCard:
    """Publish CIC with the weights of a file, measured on a dataset's validation photographs.

    It is evaluated, served, exported and continued (`--start-from cic@VERSION`) like any package.
    Its card says that it was trained on none of the dataset's photographs.

    Args:
        dataset: the dataset on which it is measured, in the storage that gets the package.
        weights: the file; see `read_published`.
        config: the architecture.
        tag: see `Trained.tag`.

    Raises:
        ConfigError: there is no such file.
        Corrupt: it cannot be read, or has the weights of another architecture.
        ColorganError: the dataset has no validation photographs.
    """
    network = read_published(config, weights)
    classes = dataset.model_classes(CIC)
    dataset.check_split(classes, "val")
    limit = int(SpeedConfig().photo_memory_gib * 2**30)
    photographs = PhotoBank.load(dataset, classes, "val", config.size, limit)
    measured = Validation(None)(_pairs(network, photographs), distance=False)
    metrics = {"val_l1": measured.l1, "val_psnr": measured.psnr}
    if measured.colorfulness is not None:
        metrics["val_colorfulness"] = measured.colorfulness
    trained = Trained(
        network,
        classes=(),
        training={},
        metrics=metrics,
        seconds=0.0,
        device="",
        objective=f"published weights (Zhang et al. 2016), from {weights.name}",
        tag=tag,
    )
    return publish(dataset.storage, CIC, dataset, trained)


def _pairs(network: CicNetwork, photographs: PhotoBank) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of colourings and of the originals, both sRGB in [0, 1]."""
    colorizer = Colorizer(network)
    for rgb in photographs.in_order(_BATCH):
        lightness, _ = lab.encode(rgb, network.config.color_space)
        colored = lab.decode(lightness, colorizer.generate(rgb), network.config.color_space)
        yield colored, rgb.float() / 255
