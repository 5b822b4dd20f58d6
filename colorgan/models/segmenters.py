"""Segmentation networks: torchvision's, the trained FCN-8s, and dense classifiers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn

from colorgan.classes import imagenet_labels
from colorgan.errors import ConfigError
from colorgan.images.decoding import Pixels, to_image
from colorgan.models import EMBEDDED
from colorgan.models.classifiers import load_classifier
from colorgan.models.fcn import FCN8s
from colorgan.models.state_files import fetch, fill, read_state
from colorgan.models.view import View

OTHER = "other"  # what the dense classifier calls a pixel of none of the photo classes
_LARGER = 2  # the side of a dense classifier's input, in multiples of its own
_AUXILIARY = "aux_classifier."  # a second output, which only training uses


@dataclass(frozen=True)
class Segmenter:
    """A network that says what each pixel of a photograph shows, and its preprocessing.

    Attributes:
        name: its name, for people.
        classes: what a pixel can show, in the order of its outputs.
        prepare: photograph (height, width, 3) uint8 sRGB -> (3, h, w) uint8, h and w being the
            same for photographs of the same size.
        network: (batch, 3, h, w) in [0, 1] -> (batch, classes, h, w), of which the highest wins.
        device: the device of the network.
    """

    name: str
    classes: tuple[str, ...]
    prepare: Callable[[Pixels], Tensor]
    network: Callable[[Tensor], Tensor]
    device: torch.device

    @torch.inference_mode()
    def __call__(self, pictures: Sequence[Pixels]) -> npt.NDArray[np.uint8]:
        """Segment pictures.

        Args:
            pictures: (height, width, 3) uint8 sRGB each, all of the same size.

        Returns:
            (pictures, h, w) places of classes; h and w are those of the network's input.
        """
        seen = []
        for rgb in pictures:  # one at a time: a batch of the largest networks takes gigabytes
            prepared = self.prepare(rgb)[None].to(self.device).float() / 255
            seen.append(self.network(prepared).argmax(dim=1)[0].byte().cpu().numpy())
        return np.stack(seen)


def load_segmenter(
    name: str, weights: Path | None = None, device: torch.device | None = None
) -> Segmenter:
    """Load one of torchvision's segmentation networks with its weights on PASCAL VOC's classes.

    Args:
        name: fcn_resnet50, deeplabv3_resnet50, lraspp_mobilenet_v3_large, ….
        weights: a file with its state dict, .safetensors or from torch.save. By default, they come
            from torchvision's cache or are downloaded.
        device: the device for the network; None for the CPU.

    Raises:
        ConfigError: there is no such network or file.
        Corrupt: the weights cannot be read, or belong to another network.
        ColorganError: the weights are not cached and could not be downloaded.
    """
    # Importing torchvision takes as long as importing PyTorch itself.
    from torchvision import models as torchvision_models
    from torchvision.models import segmentation

    known = torchvision_models.list_models(module=segmentation)
    if name not in known:
        raise ConfigError(
            f"no segmenter {name!r}: choose trained (colorgan train-segmenter), {EMBEDDED} or one "
            f"of torchvision's: {', '.join(known)}"
        )
    choices: Any = torchvision_models.get_model_weights(name)
    chosen = choices.DEFAULT
    categories = tuple(chosen.meta["categories"])
    with torch.device("meta"):  # avoids initialising weights that the file replaces
        network = torchvision_models.get_model(
            name, weights=None, weights_backbone=None, num_classes=len(categories)
        )
    way_out = f"give the file as --segmenter-weights, or use --segmenter {EMBEDDED}"
    path = weights or fetch(name, chosen.url, way_out)
    state = read_state(path)
    used = {key: each for key, each in state.items() if not key.startswith(_AUXILIARY)}
    fill(network, used, name, path)
    place = device or torch.device("cpu")
    network = network.eval().requires_grad_(False).to(place)
    preset = chosen.transforms()
    (short,) = preset.resize_size
    filter = Image.Resampling[preset.interpolation.name]
    mean, std = (
        torch.tensor(each, device=place)[:, None, None] for each in (preset.mean, preset.std)
    )
    return Segmenter(
        name,
        categories,
        lambda rgb: _with_short_side(rgb, short, filter),
        lambda pictures: network((pictures - mean) / std)["out"],
        place,
    )


def trained_segmenter(name: str, network: FCN8s, device: torch.device | None = None) -> Segmenter:
    """A segmenter of a trained FCN-8s, which sees whole photographs as squares."""
    place = device or torch.device("cpu")
    network = network.eval().to(place)
    config = network.config
    return Segmenter(
        name, config.classes, square(config.size), lambda each: network(2 * each - 1), place
    )


def dense_classifier(
    synsets: Mapping[str, Sequence[str]],
    name: str = EMBEDDED,
    device: torch.device | None = None,
) -> Segmenter:
    """An EfficientNet-Lite as a fully convolutional network (Long et al. 2015, section 3.1).

    Its last layer classifies every cell of 32 x 32 pixels. A pixel shows the photo class whose
    labels have the highest sum of probabilities, or something else if the other labels' is higher.
    It is coarse and was not taught to find outlines, but it needs no masks and knows photographs.

    Args:
        synsets: the labels of each photo class, as synset ids.
        name: `efficientnet_lite0`, the embedded one, to `efficientnet_lite2`.
        device: the device for the network; None for the CPU.

    Raises:
        ConfigError: the package with the classifier's weights is not installed.
    """
    classifier = load_classifier(name, device=device)
    network = classifier.network
    body = nn.Sequential(
        *(network.get_submodule(name) for name in ("conv_stem", "bn1", "blocks")),
        *(network.get_submodule(name) for name in ("conv_head", "bn2")),
    )
    last = network.get_submodule("classifier")
    assert isinstance(last, nn.Linear)
    place = {label.synset: number for number, label in enumerate(imagenet_labels())}
    groups = torch.zeros(1 + len(synsets), len(place))
    for number, labels in enumerate(synsets.values(), 1):
        groups[number, [place[synset] for synset in labels]] = 1
    groups[0] = 1 - groups[1:].amax(dim=0)
    groups = groups.to(classifier.device)

    def score(pictures: Tensor) -> Tensor:
        maps: Tensor = body(classifier.normalized(pictures))
        likely = last(maps.permute(0, 2, 3, 1)).softmax(dim=-1) @ groups.T
        return nn.functional.interpolate(
            likely.permute(0, 3, 1, 2), pictures.shape[-2:], mode="bilinear", align_corners=False
        )

    side = _LARGER * classifier.view.side
    return Segmenter(name, (OTHER, *synsets), square(side), score, classifier.device)


def square(side: int) -> Callable[[Pixels], Tensor]:
    """The preprocessing of a network that sees whole photographs as squares, in colour."""
    view = View(side, None, Image.Resampling.BICUBIC)
    return lambda rgb: view(rgb, gray=False)


def _with_short_side(rgb: Pixels, short: int, filter: Image.Resampling) -> Tensor:
    image = to_image(rgb)
    width, height = (int(short * length / min(image.size)) for length in image.size)
    return torch.from_numpy(np.array(image.convert("RGB").resize((width, height), filter))).permute(
        2, 0, 1
    )
