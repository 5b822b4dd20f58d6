"""Training a detector: FCOS on a frozen classifier, from pictures and boxes."""

import copy
import hashlib
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from colorgan.classes import PhotoClasses
from colorgan.data.boxes import Boxed, BoxedFolder
from colorgan.errors import ConfigError
from colorgan.metrics import FoundBoxes, average_precision
from colorgan.models import EMBEDDED
from colorgan.models.architectures import DetectorConfig, SegmenterEncoder
from colorgan.models.classifiers import load_classifier
from colorgan.models.detectors import gray
from colorgan.models.object_detector import ObjectDetector
from colorgan.names import DETECTOR
from colorgan.options import Configuration, Count, NaturalNumber, option
from colorgan.packages.card import ModelCard
from colorgan.packages.weights import Origin, Trained, publish
from colorgan.storage import Storage
from colorgan.system import device_name


@dataclass(frozen=True)
class DetectorTrainingConfig(Configuration):
    """Options of the training of a detector."""

    size: int = option(192, "short side to which the network scales photographs, in pixels")
    width: Count = option(64, "channels of the feature pyramid and of the heads")
    encoder: SegmenterEncoder = option(EMBEDDED, "the frozen classifier that is the encoder")
    epochs: Count = option(8, "passes over the training pictures")
    batch_size: Count = option(8, "pictures per step")
    learning_rate: Annotated[float, Field(gt=0)] = option(
        2e-3, "learning rate of Adam, which falls to zero as a half cosine"
    )
    seed: NaturalNumber = option(0, "seed of the weights and of the order of the pictures")

    def check(self) -> None:
        """Check the size and the width; raises ConfigError."""
        self.architecture(("",))

    def architecture(self, things: tuple[str, ...]) -> DetectorConfig:
        """The architecture of the network that finds some things."""
        return DetectorConfig(self.size, self.width, self.encoder, things)


@dataclass(frozen=True)
class _Example:
    """A picture as the network sees it.

    Attributes:
        picture: (3, height, width) uint8, gray.
        boxes: (things, 4) float32.
        things: the name of each.
    """

    picture: Tensor
    boxes: Tensor
    things: tuple[str, ...]

    def of(self, things: Collection[str]) -> "_Example":
        """The same with the boxes around some things alone."""
        wanted = [number for number, thing in enumerate(self.things) if thing in things]
        return _Example(self.picture, self.boxes[wanted], tuple(self.things[n] for n in wanted))

    def target(self, labels: Sequence[str], mirrored: bool) -> dict[str, Tensor]:
        """Its boxes and labels, as FCOS takes them."""
        boxes = self.boxes
        if mirrored:
            width = self.picture.shape[2]
            left, top, right, bottom = boxes.unbind(dim=1)
            boxes = torch.stack([width - right, top, width - left, bottom], dim=1)
        return {
            "boxes": boxes,
            "labels": torch.tensor([labels.index(each) for each in self.things], dtype=torch.long),
        }


def train_detector(
    storage: Storage,
    folder: BoxedFolder,
    config: DetectorTrainingConfig,
    device: torch.device,
    rule: PhotoClasses,
    tag: str = "",
    observe: Callable[[str], None] = lambda line: None,
) -> ModelCard:
    """Train FCOS on a folder's split `train`, and publish it as the model `detector`.

    It learns gray pictures, and the things that belong to a photo class. The epoch with the highest
    average precision on the split `val` is published.

    Args:
        storage: where the package goes.
        folder: the pictures and boxes.
        config: the hyper-parameters.
        device: the device to train on.
        rule: the photo classes, and the things that belong to each.
        tag: the package's tag; see `Trained`.
        observe: called with a line of progress.

    Raises:
        ConfigError: the folder lacks a split or a picture, or a split has nothing of a photo class.
        Corrupt: a file cannot be read.
    """
    started = time.monotonic()
    torch.manual_seed(config.seed)
    digest = hashlib.sha256()
    examples, held_out = (
        [_example(each, rule, digest) for each in folder.read(folder.names(split))]
        for split in ("train", "val")
    )
    things = tuple(sorted({thing for each in examples for thing in each.things}))
    if not things:
        raise ConfigError(
            f"{folder.path} has no box of the classes {', '.join(rule.names)}: list its things in "
            "the table [coco] of a file for --classes"
        )
    held_out = [each.of(things) for each in held_out]
    if not any(each.things for each in held_out):
        raise ConfigError(
            f"{folder.path} has in its split val no box of {', '.join(things)}, by which the best "
            "epoch is chosen"
        )
    classifier = load_classifier(config.encoder)
    network = ObjectDetector(config.architecture(things), copy.deepcopy(classifier.network))
    network = network.to(memory_format=torch.contiguous_format).to(device)
    metrics = _fit(network, examples, held_out, config, device, observe)
    trained = Trained(
        network.cpu(),
        classes=things,
        training=asdict(config),
        metrics=metrics,
        seconds=time.monotonic() - started,
        device=device_name(device),
        epochs=config.epochs,
        objective="the losses of FCOS",
        tag=tag,
    )
    origin = Origin(folder.path.resolve().name, digest.hexdigest()[:16], len(examples))
    return publish(storage, DETECTOR, origin, trained)


def _example(boxed: Boxed, rule: PhotoClasses, digest: "hashlib._Hash") -> _Example:
    digest.update(f"{boxed.name} {boxed.digest}\n".encode())
    picture = torch.from_numpy(gray(boxed.picture)).permute(2, 0, 1).contiguous()
    whole = _Example(picture, torch.from_numpy(boxed.boxes), boxed.things)
    return whole.of({thing for thing in boxed.things if rule.class_of(thing)})


def _fit(
    network: ObjectDetector,
    examples: Sequence[_Example],
    held_out: Sequence[_Example],
    config: DetectorTrainingConfig,
    device: torch.device,
    observe: Callable[[str], None],
) -> dict[str, float]:
    """Train the pyramid and the heads, and leave the weights of the best epoch in the network."""
    weights = [each for each in network.parameters() if each.requires_grad]
    optimizer = torch.optim.Adam(weights, config.learning_rate)
    generator = torch.Generator().manual_seed(config.seed)
    steps = -(-len(examples) // config.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.epochs * steps)
    best: dict[str, float] = {}
    kept: dict[str, Tensor] = {}
    for epoch in range(1, config.epochs + 1):
        network.train()
        losses = []
        order = torch.randperm(len(examples), generator=generator)
        for places in torch.split(order, config.batch_size):
            mirrored = torch.rand(len(places), generator=generator) < 0.5
            chosen = [
                (examples[n], flip) for n, flip in zip(places, mirrored.tolist(), strict=True)
            ]
            pictures = [
                (each.picture.flip(2) if flip else each.picture).to(device).float() / 255
                for each, flip in chosen
            ]
            targets = [each.target(network.labels, flip) for each, flip in chosen]
            moved = [{name: each.to(device) for name, each in one.items()} for one in targets]
            loss = network.losses(pictures, moved)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
        metrics = {"val_precision": _precision(network, held_out, device)}
        observe(
            f"epoch {epoch}: loss {np.mean(losses):.3f}, validation average precision "
            f"{metrics['val_precision']:.1%}"
        )
        if not best or metrics["val_precision"] > best["val_precision"]:
            state = network.state_dict()
            own = (each for each in state if ".encoder." not in each)
            best, kept = metrics, {name: state[name].clone() for name in own}
    network.load_state_dict(kept, strict=False)
    network.eval()
    return best


@torch.inference_mode()
def _precision(
    network: ObjectDetector, held_out: Sequence[_Example], device: torch.device
) -> float:
    """The mean average precision of the network on pictures."""
    network.eval()
    found, true = [], []
    for each in held_out:
        (made,) = network.find([each.picture.to(device).float() / 255])
        seen = {name: tensor.cpu().numpy() for name, tensor in made.items()}
        found.append(FoundBoxes(seen["boxes"], seen["labels"], seen["scores"]))
        target = each.target(network.labels, mirrored=False)
        boxes, labels = target["boxes"].numpy(), target["labels"].numpy()
        true.append(FoundBoxes(boxes, labels, np.ones(len(labels), np.float32)))
    return average_precision(found, true)
