"""Training a segmenter: FCN-8s on a frozen classifier, from pictures and masks."""

import copy
import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from colorgan.data.mapping import batched
from colorgan.data.masks import IGNORED, MaskedFolder, resize_mask
from colorgan.metrics import segmentation_confusion, segmentation_scores
from colorgan.models import EMBEDDED
from colorgan.models.architectures import SegmenterConfig, SegmenterEncoder
from colorgan.models.classifiers import load_classifier
from colorgan.models.fcn import FCN8s
from colorgan.models.segmenters import square
from colorgan.names import SEGMENTER
from colorgan.options import Configuration, Count, NaturalNumber, option
from colorgan.packages.card import ModelCard
from colorgan.packages.weights import Origin, Trained, publish
from colorgan.storage import Storage
from colorgan.system import device_name


@dataclass(frozen=True)
class SegmenterTrainingConfig(Configuration):
    """Options of the training of a segmenter."""

    size: int = option(256, "side of the network's square input, in pixels: a multiple of 32")
    width: Count = option(128, "channels of the layer on the encoder's coarsest features")
    encoder: SegmenterEncoder = option(EMBEDDED, "the frozen classifier that is the encoder")
    epochs: Count = option(30, "passes over the training pictures")
    batch_size: Count = option(16, "pictures per step")
    learning_rate: Annotated[float, Field(gt=0)] = option(
        2e-3, "learning rate of Adam, which falls to zero as a half cosine"
    )
    seed: NaturalNumber = option(0, "seed of the weights and of the order of the pictures")

    def check(self) -> None:
        """Check the size; raises ConfigError."""
        self.architecture(("",))

    def architecture(self, classes: tuple[str, ...]) -> SegmenterConfig:
        """The architecture of the network for some classes."""
        return SegmenterConfig(self.size, self.width, self.encoder, classes)


@dataclass(frozen=True)
class _Examples:
    """Pictures as the decoder sees them, each also mirrored.

    Attributes:
        maps: the encoder's features, (pictures, 2, ...) float16 each; 1 is the mirrored picture.
        masks: (pictures, size, size) uint8.
        digest: a hash of all pictures and masks.
    """

    maps: list[Tensor]
    masks: Tensor
    digest: str

    def batch(self, places: Tensor, mirrored: Tensor) -> tuple[list[Tensor], Tensor]:
        """Features and masks of some pictures, mirrored where said; on the CPU."""
        masks = self.masks[places]
        masks = torch.where(mirrored[:, None, None], masks.flip(2), masks)
        return [each[places, mirrored.long()].float() for each in self.maps], masks.long()


def train_segmenter(
    storage: Storage,
    folder: MaskedFolder,
    config: SegmenterTrainingConfig,
    device: torch.device,
    tag: str = "",
    observe: Callable[[str], None] = lambda line: None,
) -> ModelCard:
    """Train FCN-8s on a folder's split `train`, and publish it as the model `segmenter`.

    The epoch with the highest mean IoU of the split `val` is published.

    Args:
        storage: where the package goes.
        folder: the pictures and masks.
        config: the hyper-parameters.
        device: the device to train on.
        tag: the package's tag; see `Trained`.
        observe: called with a line of progress.

    Raises:
        ConfigError: the folder lacks a split or a picture, or the encoder is not installed.
        Corrupt: a picture or a mask cannot be read.
    """
    started = time.monotonic()
    torch.manual_seed(config.seed)
    classifier = load_classifier(config.encoder)
    network = FCN8s(config.architecture(folder.classes), copy.deepcopy(classifier.network))
    network = network.to(memory_format=torch.contiguous_format).to(device)
    examples, held_out = (
        _examples(network, folder, split, device, observe) for split in ("train", "val")
    )
    metrics = _fit(network, examples, held_out, config, device, observe)
    metrics["val_majority"] = majority(held_out.masks.numpy(), len(folder.classes))
    trained = Trained(
        network.cpu(),
        classes=folder.classes,
        training=asdict(config),
        metrics=metrics,
        seconds=time.monotonic() - started,
        device=device_name(device),
        epochs=config.epochs,
        objective="cross-entropy of each pixel's class",
        tag=tag,
    )
    digest = hashlib.sha256((examples.digest + held_out.digest).encode()).hexdigest()
    origin = Origin(folder.path.resolve().name, digest[:16], len(examples.masks))
    return publish(storage, SEGMENTER, origin, trained)


def majority(masks: np.ndarray, classes: int) -> float:
    """The pixel accuracy of always answering the most frequent class of some masks."""
    counts = np.bincount(masks.ravel(), minlength=IGNORED + 1)[:classes]
    return float(counts.max() / max(1, counts.sum()))


def _examples(
    network: FCN8s,
    folder: MaskedFolder,
    split: str,
    device: torch.device,
    observe: Callable[[str], None],
) -> _Examples:
    """Compute the features of a split once, as the encoder never changes."""
    size, names = network.config.size, folder.names(split)
    prepare = square(size)
    maps: list[list[Tensor]] = []
    masks: list[Tensor] = []
    digest = hashlib.sha256()
    network.eval()
    for batch in batched(folder.read(names), 16):
        pictures = torch.stack([prepare(each.picture) for each in batch]).to(device).float()
        both = torch.stack([pictures, pictures.flip(3)], dim=1).flatten(0, 1) / 127.5 - 1
        features = network.encode(both)
        maps.append([each.half().cpu().reshape(-1, 2, *each.shape[1:]) for each in features])
        masks += [torch.from_numpy(resize_mask(each.mask, size, size)) for each in batch]
        for each in batch:
            digest.update(f"{each.name} {each.digest}\n".encode())
        observe(f"read {len(masks)} of {len(names)} pictures ({split})")
    joined = [torch.cat(several) for several in zip(*maps, strict=True)]
    return _Examples(joined, torch.stack(masks), digest.hexdigest())


def _fit(
    network: FCN8s,
    examples: _Examples,
    held_out: _Examples,
    config: SegmenterTrainingConfig,
    device: torch.device,
    observe: Callable[[str], None],
) -> dict[str, float]:
    """Train the decoder, and leave the weights of the best epoch in it; returns its metrics."""
    weights = [each for each in network.parameters() if each.requires_grad]
    optimizer = torch.optim.Adam(weights, config.learning_rate)
    generator = torch.Generator().manual_seed(config.seed)
    steps = -(-len(examples.masks) // config.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.epochs * steps)
    best: dict[str, float] = {}
    kept: dict[str, Tensor] = {}
    for epoch in range(1, config.epochs + 1):
        network.train()
        losses = []
        order = torch.randperm(len(examples.masks), generator=generator)
        for places in torch.split(order, config.batch_size):
            mirrored = torch.rand(len(places), generator=generator) < 0.5
            maps, masks = examples.batch(places, mirrored)
            logits = network.decode([each.to(device) for each in maps])
            loss = F.cross_entropy(logits, masks.to(device), ignore_index=IGNORED)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
        metrics = _validate(network, held_out, config.batch_size, device)
        observe(
            f"epoch {epoch}: loss {np.mean(losses):.3f}, validation pixel accuracy "
            f"{metrics['val_pixel_accuracy']:.1%}, mean IoU {metrics['val_mean_iou']:.1%}"
        )
        if not best or metrics["val_mean_iou"] > best["val_mean_iou"]:
            own = (each for each in network.state_dict() if not each.startswith("encoder."))
            state = network.state_dict()
            best, kept = metrics, {name: state[name].clone() for name in own}
    network.load_state_dict(kept, strict=False)
    network.eval()
    return best


@torch.inference_mode()
def _validate(
    network: FCN8s, held_out: _Examples, batch_size: int, device: torch.device
) -> dict[str, float]:
    network.eval()
    classes = len(network.config.classes)
    confusion = np.zeros((classes, classes), np.int64)
    for places in torch.split(torch.arange(len(held_out.masks)), batch_size):
        maps, masks = held_out.batch(places, torch.zeros(len(places), dtype=torch.bool))
        seen = network.decode([each.to(device) for each in maps]).argmax(dim=1)
        confusion += segmentation_confusion(seen.cpu(), masks, classes)
    scores = segmentation_scores(confusion)
    return {f"val_{name}": float(value) for name, value in vars(scores).items()}
