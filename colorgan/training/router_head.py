"""Training the router's head: a dataset's own classes from a frozen classifier's features."""

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from colorgan.data.dataset import Dataset, Row
from colorgan.data.mapping import batched
from colorgan.errors import ColorganError, ConfigError
from colorgan.images.decoding import decode
from colorgan.images.wear import worn
from colorgan.models.architectures import HeadConfig
from colorgan.models.classifiers import Classifier
from colorgan.models.head import RouterHead
from colorgan.names import ROUTER
from colorgan.options import Configuration, Count, NaturalNumber, option
from colorgan.packages.card import ModelCard
from colorgan.packages.weights import Trained, publish

BATCH = 16


@dataclass(frozen=True)
class HeadTrainingConfig(Configuration):
    """Options of the training of a router's head."""

    penalties: str = option(
        "1e-4,1e-3,1e-2,1e-1", "weights of the L2 penalty to try; the validation split chooses"
    )
    steps: Count = option(200, "maximum number of L-BFGS steps per penalty")
    worn: NaturalNumber = option(
        0, "worn copies of every photograph to learn from, too: noise, blur, fading, scratches"
    )

    def check(self) -> None:
        """Check the penalties; raises ConfigError."""
        values = self.penalty_values
        if not values or not all(math.isfinite(value) and value >= 0 for value in values):
            raise ConfigError(f"--penalties {self.penalties} are not numbers separated by commas")

    @property
    def penalty_values(self) -> tuple[float, ...]:
        """The penalties as numbers; empty if they cannot be read."""
        try:
            return tuple(float(value) for value in self.penalties.split(","))
        except ValueError:
            return ()


@dataclass(frozen=True)
class Embedded:
    """A classifier's outputs for photographs of known classes.

    Attributes:
        features: (photographs, features) float32.
        probabilities: (photographs, 1000) float32, of the ImageNet labels.
        targets: (photographs,) int64, the indices of their classes.
    """

    features: Tensor
    probabilities: Tensor
    targets: Tensor


def embed(
    classifier: Classifier,
    dataset: Dataset,
    classes: Sequence[str],
    split: str,
    gray: bool = True,
    observe: Callable[[int], None] = lambda done: None,
    copy: int = 0,
) -> Embedded:
    """Run a classifier on the photographs of a split.

    Args:
        classifier: the classifier.
        dataset: the dataset of the photographs.
        classes: the classes whose photographs to read; their order determines the targets.
        split: train, val or test.
        gray: whether the classifier sees the photographs without colour.
        observe: called with the number of photographs done.
        copy: 0 for the photographs as they are; another number for worn copies of them, which are
            the same at every call.

    Raises:
        ColorganError: the split has no photograph of the classes, or one cannot be read.
    """
    rows = dataset.rows(classes, split)

    def prepare(row: Row) -> Tensor:
        rgb = decode(row.image).rgb
        if copy:
            rgb = worn(rgb, np.random.default_rng([copy, int(row.sha256[:16], 16)]))
        return classifier.view(rgb, gray)

    features: list[Tensor] = []
    probabilities: list[Tensor] = []
    targets: list[int] = []
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for batch in batched(rows, BATCH):
            seen, likely = classifier(torch.stack(list(pool.map(prepare, batch))))
            features.append(seen)
            probabilities.append(likely)
            targets += [classes.index(row.label) for row in batch]
            observe(len(targets))
    if not targets:
        raise ColorganError(
            f"dataset {dataset.manifest.name} has no photograph of {', '.join(classes)} in the "
            f"split {split}"
        )
    return Embedded(torch.cat(features), torch.cat(probabilities), torch.tensor(targets))


def train_router(
    dataset: Dataset,
    classifier: Classifier,
    config: HeadTrainingConfig,
    device: str,
    run: str = "",
    tag: str = "",
    observe: Callable[[str, int], None] = lambda split, done: None,
) -> ModelCard:
    """Train a head and publish it as the model `router`; raises as `train_head`.

    Args:
        dataset: as in `train_head`; the package goes to its storage.
        classifier: as in `train_head`.
        config: as in `train_head`.
        device: as in `train_head`.
        run: the run's name, for the package's record.
        tag: the package's tag; see `Trained`.
        observe: as in `train_head`.
    """
    trained = train_head(classifier, dataset, config, device, observe)
    folder = f"runs/{run}/{ROUTER}" if run else ""
    trained = replace(trained, run=run, folder=folder, tag=tag)
    return publish(dataset.storage, ROUTER, dataset, trained)


def train_head(
    classifier: Classifier,
    dataset: Dataset,
    config: HeadTrainingConfig,
    device: str,
    observe: Callable[[str, int], None] = lambda split, done: None,
) -> Trained:
    """Fit a head to the training split; the validation split gives its penalty and temperature.

    The head is multinomial logistic regression on standardised features with an L2 penalty, and a
    temperature on its logits (Guo et al. 2017, "On Calibration of Modern Neural Networks", 4.2).
    With `worn` copies, both splits have these besides the photographs; the metrics without the
    word are those of the photographs alone.

    Args:
        classifier: the classifier whose features to use; its weights stay as they are.
        dataset: the dataset whose classes to tell apart; with one class, all photographs go there.
        config: the hyper-parameters.
        device: the classifier's device, as text for people.
        observe: called with a split and the number of its photographs that are classified.

    Raises:
        ColorganError: a class has no photograph in the training split, or the validation split
            has none at all.
    """
    started = time.monotonic()
    classes = dataset.manifest.classes
    for label in classes:
        if not dataset.count((label,), "train"):
            raise ColorganError(f"class {label!r} has no photograph in the split train")
    train, val = (
        _with_copies(classifier, dataset, split, config.worn, observe) for split in ("train", "val")
    )
    mean, std = train.features.mean(dim=0), train.features.std(dim=0).clamp(min=1e-6)
    inputs, held_out = (train.features - mean) / std, (val.features - mean) / std
    best_loss, penalty = float("inf"), 0.0
    weight, bias = torch.empty(0), torch.empty(0)
    for candidate in config.penalty_values:
        fitted = _fit(inputs, train.targets, len(classes), candidate, config.steps)
        loss = float(F.cross_entropy(held_out @ fitted[0].T + fitted[1], val.targets))
        if loss < best_loss:
            best_loss, penalty, (weight, bias) = loss, candidate, fitted
    logits = held_out @ weight.T + bias
    temperature = _temperature(logits, val.targets)
    head = RouterHead(
        HeadConfig(classifier.name, classifier.fingerprint(), inputs.shape[1], classes, temperature)
    )
    with torch.no_grad():  # the standardisation becomes part of the layer
        head.linear.weight.copy_(weight / std)
        head.linear.bias.copy_(bias - weight @ (mean / std))
    clean = len(val.targets) // (1 + config.worn)
    rights = (logits.argmax(dim=1) == val.targets).float()
    entropy = F.cross_entropy(logits[:clean] / temperature, val.targets[:clean])
    metrics = {"val_accuracy": float(rights[:clean].mean()), "val_cross_entropy": float(entropy)}
    if config.worn:
        metrics["val_accuracy_worn"] = float(rights[clean:].mean())
    return Trained(
        head,
        classes=classes,
        training={**asdict(config), "penalty": penalty},
        metrics=metrics,
        seconds=time.monotonic() - started,
        device=device,
    )


def _with_copies(
    classifier: Classifier,
    dataset: Dataset,
    split: str,
    copies: int,
    observe: Callable[[str, int], None],
) -> Embedded:
    """A split's photographs, followed by their worn copies."""
    classes = dataset.manifest.classes
    parts: list[Embedded] = []
    for copy in range(1 + copies):
        before = sum(len(part.targets) for part in parts)

        def count(done: int, before: int = before) -> None:
            observe(split, before + done)

        parts.append(embed(classifier, dataset, classes, split, observe=count, copy=copy))
    return Embedded(
        torch.cat([part.features for part in parts]),
        torch.cat([part.probabilities for part in parts]),
        torch.cat([part.targets for part in parts]),
    )


def _fit(
    inputs: Tensor, targets: Tensor, classes: int, penalty: float, steps: int
) -> tuple[Tensor, Tensor]:
    """Fit logistic regression; returns a weight (classes, features) and a bias (classes,)."""
    weight = torch.zeros(classes, inputs.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=steps, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        fit = F.cross_entropy(inputs @ weight.T + bias, targets)
        value = fit + penalty * weight.square().sum() / 2
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return weight.detach(), bias.detach()


def _temperature(logits: Tensor, targets: Tensor) -> float:
    """The temperature from 0.1 to 10 that minimises the cross-entropy of the logits."""
    candidates = torch.logspace(-1, 1, 201)
    losses = torch.stack([F.cross_entropy(logits / t, targets) for t in candidates])
    return float(candidates[losses.argmin()])
