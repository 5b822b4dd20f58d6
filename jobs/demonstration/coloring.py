"""Colours and measures the test photographs with the demo's models."""

from dataclasses import dataclass

import torch

from colorgan.data.dataset import Dataset
from colorgan.errors import ColorganError
from colorgan.images.decoding import Pixels, decode
from colorgan.inference.colorizer import Colorizer, grayscale
from colorgan.metrics import ab_l1, psnr
from colorgan.packages.card import ModelCard, find
from colorgan.packages.weights import load_generator
from colorgan.storage import Storage


@dataclass(frozen=True)
class Colored:
    """A model's colourings of its class's test photographs.

    Attributes:
        card: card of the model's package.
        rows: (grayscale, coloured, original) of each photograph, each a (height, width, 3) uint8
            array.
        gray_l1: mean L1 in ab of the grayscale photographs, in Lab units.
        model_l1: mean L1 in ab of the model, in Lab units.
        model_psnr: mean PSNR of the model, in dB.
    """

    card: ModelCard
    rows: list[tuple[Pixels, Pixels, Pixels]]
    gray_l1: float
    model_l1: float
    model_psnr: float

    @property
    def gain(self) -> float:
        """The share by which the model reduces the L1 error of the grayscale photographs."""
        return 1 - self.model_l1 / self.gray_l1


def color_test_photographs(
    storage: Storage, dataset: Dataset, label: str, package: str = ""
) -> Colored:
    """Colour the test photographs of a class with its model; raises ColorganError.

    Args:
        storage: storage of the packages.
        dataset: dataset of the photographs.
        label: the class.
        package: the model, as `model@version`; by default the released one of the class.
    """
    card = find(storage, package or label)
    colorizer = Colorizer(load_generator(storage, card))
    rows, gray_l1, model_l1, ratio = [], [], [], []
    for row in dataset.rows((label,), "test"):
        original = decode(row.image).rgb
        gray, (colored,) = grayscale(original), colorizer([original])
        rows.append((gray, colored, original))
        gray_l1.append(ab_l1(_unit(gray), _unit(original)))
        model_l1.append(ab_l1(_unit(colored), _unit(original)))
        ratio.append(psnr(_unit(colored), _unit(original)))
    if not rows:
        raise ColorganError(f"class {label!r} has no test photograph: give more photographs")
    means = [torch.cat(values).mean().item() for values in (gray_l1, model_l1, ratio)]
    return Colored(card, rows, *means)


def _unit(rgb: Pixels) -> torch.Tensor:
    return torch.from_numpy(rgb.copy()).permute(2, 0, 1)[None].float() / 255
