"""Detectors: torchvision's, the trained one, and the included classifier on parts of a picture."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import find_objects, label
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from colorgan.classes import PhotoClasses
from colorgan.errors import ConfigError
from colorgan.images.decoding import Pixels, to_image
from colorgan.models.detection import Detection, Detector, Place
from colorgan.models.object_detector import ObjectDetector
from colorgan.models.segmenters import Segmenter, dense_classifier
from colorgan.models.state_files import fetch, fill, read_state

_CELLS = 56  # the label detector's grid has so many cells on a side
_LIKELY = 0.25  # a cell with this probability of a class, or more, may show an object of it
_LEAST_AREA = 0.02  # of the picture; smaller objects are not found by labels
# Published weights that were trained with frozen normalisations whose epsilon was 0; see
# torchvision.models.detection._utils.overwrite_eps.
_WITHOUT_EPSILON = (
    *("fasterrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn"),
    *("retinanet_resnet50_fpn", "keypointrcnn_resnet50_fpn"),
)

Numbers = npt.NDArray[np.float32]
Outputs = Sequence[Mapping[str, Tensor]]


def gray(picture: Pixels) -> Pixels:
    """A (height, width, 3) picture without its colours, as luma."""
    luma = np.asarray(to_image(picture).convert("L"))
    return np.repeat(luma[..., None], 3, axis=-1)


class NetworkDetector:
    """A detection network with torchvision's interface.

    Attributes:
        name: its name, for people.
        classes: the photo classes of the objects that it finds.
    """

    def __init__(
        self,
        name: str,
        network: Callable[[list[Tensor]], Outputs],
        labels: Sequence[str],
        rule: PhotoClasses,
        device: torch.device,
        least: float,
    ) -> None:
        """Take a network.

        Args:
            name: its name.
            network: pictures, (3, height, width) sRGB in [0, 1] each -> boxes (objects, 4) as left,
                top, right, bottom in pixels, labels (objects,), scores (objects,) and, if it finds
                masks, masks (objects, 1, height, width) in [0, 1].
            labels: what its labels are called; the names of no photo class are not looked for.
            rule: the photo classes, and the things that belong to each.
            device: the network's device.
            least: the lowest score of an object.

        Raises:
            ConfigError: none of its labels belongs to a photo class.
        """
        self.name = name
        self._network = network
        self._labels = tuple(labels)
        self._owners = {each: rule.class_of(each) for each in labels}
        self.classes = tuple(name for name in rule.names if name in self._owners.values())
        if not self.classes:
            raise ConfigError(
                f"the detector {name} finds nothing of the classes {', '.join(rule.names)}: list "
                "what it finds in the table [coco] of a file for --classes"
            )
        self._device = device
        self._least = least

    @torch.inference_mode()
    def __call__(self, pictures: Sequence[Pixels]) -> list[list[Detection]]:
        """Find objects; see `Detector`."""
        found = []
        for picture in pictures:  # one at a time: a batch of the largest networks takes gigabytes
            seen = torch.from_numpy(gray(picture)).permute(2, 0, 1).to(self._device).float() / 255
            (made,) = self._network([seen])
            found.append(self._described(made, *picture.shape[:2]))
        return found

    def _described(self, made: Mapping[str, Tensor], height: int, width: int) -> list[Detection]:
        detections = []
        masks = made.get("masks")
        for number, score in enumerate(made["scores"].tolist()):
            name = self._labels[int(made["labels"][number])]
            owner = self._owners[name]
            left, top, right, bottom = made["boxes"][number].tolist()
            if owner is None or score < self._least or right - left < 1 or bottom - top < 1:
                continue
            place = Place(
                max(0.0, top / height),
                min(1.0, bottom / height),
                max(0.0, left / width),
                min(1.0, right / width),
            )
            mask = None
            if masks is not None:
                part = place.box(height, width).of(masks[number, 0].cpu().numpy())
                mask = (part * 255).round().astype(np.uint8)
            detections.append(Detection(owner, name, score, place, mask))
        return sorted(detections, key=lambda each: -each.score)


def check_name(name: str) -> None:
    """Check that torchvision has a detector; raises ConfigError if there is none of this name."""
    # Importing torchvision takes as long as importing PyTorch itself.
    from torchvision import models as torchvision_models
    from torchvision.models import detection

    known = [
        each
        for each in torchvision_models.list_models(module=detection)
        if not each.startswith("keypoint")
    ]
    if name not in known:
        raise ConfigError(
            f"no detector {name!r}: choose labels, trained (colorgan train-detector) or one of "
            f"torchvision's: {', '.join(known)}"
        )


def load_torchvision(
    name: str,
    rule: PhotoClasses,
    least: float,
    weights: Path | None = None,
    device: torch.device | None = None,
) -> Detector:
    """Load one of torchvision's detectors with its weights on COCO's categories.

    Args:
        name: maskrcnn_resnet50_fpn, fasterrcnn_resnet50_fpn, ssdlite320_mobilenet_v3_large, ….
        rule: the photo classes.
        least: the lowest score of an object.
        weights: a file with its state dict, .safetensors or from torch.save. By default, they come
            from torchvision's cache or are downloaded.
        device: the device for the network; None for the CPU.

    Raises:
        ConfigError: there is no such detector or file.
        Corrupt: the weights cannot be read, or belong to another network.
        ColorganError: the weights are not cached and could not be downloaded.
    """
    check_name(name)
    from torchvision import models as torchvision_models

    choices: Any = torchvision_models.get_model_weights(name)
    chosen = choices.DEFAULT
    categories = tuple(chosen.meta["categories"])
    way_out = "give the file as --detector-weights, or use --detector labels"
    path = weights or fetch(name, chosen.url, way_out)
    state = read_state(path)
    # Its anchors are no weights, so the network cannot be built without memory.
    network = torchvision_models.get_model(
        name, weights=None, weights_backbone=None, num_classes=len(categories)
    )
    fill(network, state, name, path)
    if name in _WITHOUT_EPSILON:
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.eps = 0.0
    place = device or torch.device("cpu")
    network = network.eval().requires_grad_(False).to(place)
    return NetworkDetector(name, network, categories, rule, place, least)


def trained_detector(
    name: str,
    network: ObjectDetector,
    rule: PhotoClasses,
    least: float,
    device: torch.device | None = None,
) -> Detector:
    """A detector of a trained network; raises ConfigError if it finds nothing of the classes."""
    place = device or torch.device("cpu")
    network = network.eval().to(place)
    return NetworkDetector(name, network, network.labels, rule, place, least)


class LabelDetector:
    """The included classifier as a detector, without any training.

    It is used fully convolutionally (see `dense_classifier`), on the photograph scaled to a square
    of twice its own side. Connected cells that show labels of one photo class are an object, and
    their probabilities are its mask.

    Attributes:
        name: `labels`.
        classes: the photo classes.
    """

    name = "labels"

    def __init__(self, segmenter: Segmenter, least: float) -> None:
        """Take a dense classifier, and the lowest score of an object."""
        self._segmenter = segmenter
        self.classes = segmenter.classes[1:]
        self._least = least

    @torch.inference_mode()
    def __call__(self, pictures: Sequence[Pixels]) -> list[list[Detection]]:
        """Find objects; see `Detector`."""
        return [self._found(self._likely(picture)) for picture in pictures]

    def _likely(self, picture: Pixels) -> Numbers:
        """The probability of each class and of none in each cell, (1 + classes, cells, cells)."""
        segmenter = self._segmenter
        prepared = segmenter.prepare(gray(picture))[None].to(segmenter.device).float() / 255
        likely = F.interpolate(segmenter.network(prepared), (_CELLS, _CELLS), mode="area")
        numbers: Numbers = likely[0].cpu().numpy()
        return numbers

    def _found(self, likely: Numbers) -> list[Detection]:
        detections = []
        winners = likely.argmax(axis=0)
        for number, name in enumerate(self.classes, 1):
            regions, _ = label((likely[number] >= _LIKELY) & (winners == number))
            for region, part in enumerate(find_objects(regions), 1):
                inside = regions[part] == region
                score = float(likely[number][part][inside].mean())
                if inside.sum() < _LEAST_AREA * _CELLS**2 or score < self._least:
                    continue
                rows, columns = part
                place = Place(
                    rows.start / _CELLS,
                    rows.stop / _CELLS,
                    columns.start / _CELLS,
                    columns.stop / _CELLS,
                )
                mask = np.where(inside, np.uint8(255), np.uint8(0))
                detections.append(Detection(name, name, score, place, mask))
        return sorted(detections, key=lambda each: -each.score)


def label_detector(
    rule: PhotoClasses, least: float, device: torch.device | None = None
) -> Detector:
    """The detector that needs no training; raises ConfigError as `dense_classifier`."""
    return LabelDetector(dense_classifier(rule.synsets, device=device), least)


class MaskedDetector:
    """A detector whose objects get their masks from a segmenter.

    Attributes:
        name: that of the detector.
        classes: those of the detector.
    """

    def __init__(self, detector: Detector, segmenter: Segmenter, rule: PhotoClasses) -> None:
        """Take a detector, a segmenter, and what belongs to which photo class."""
        self._detector, self._segmenter = detector, segmenter
        self.name, self.classes = detector.name, detector.classes
        self._owners = np.array([rule.class_of(each) or "" for each in segmenter.classes])

    def __call__(self, pictures: Sequence[Pixels]) -> list[list[Detection]]:
        """Find objects; see `Detector`. One of which the segmenter sees nothing keeps its box."""
        found = []
        for picture, detections in zip(pictures, self._detector(pictures), strict=True):
            (seen,) = self._segmenter([gray(picture)]) if detections else ([],)
            found.append([self._masked(each, np.asarray(seen)) for each in detections])
        return found

    def _masked(self, detection: Detection, seen: npt.NDArray[np.uint8]) -> Detection:
        part = detection.place.box(*seen.shape).of(seen)
        inside = self._owners[part] == detection.photo_class
        mask = np.where(inside, np.uint8(255), np.uint8(0)) if inside.any() else None
        return replace(detection, mask=mask)


class BoxDetector:
    """A detector whose masks are left out.

    Attributes:
        name: that of the detector.
        classes: those of the detector.
    """

    def __init__(self, detector: Detector) -> None:
        """Take a detector."""
        self._detector = detector
        self.name, self.classes = detector.name, detector.classes

    def __call__(self, pictures: Sequence[Pixels]) -> list[list[Detection]]:
        """Find objects; see `Detector`."""
        return [[each.without_mask() for each in some] for some in self._detector(pictures)]
