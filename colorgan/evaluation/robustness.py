"""Whether a colouring changes what a classifier says (Kurakin et al. 2016).

Every contestant's pictures, the gray ones and the originals are classified: by the ImageNet label
and by the class that the router derives. Colours are also changed under a bound, once by gradient
steps against the classifier and once at random: see `colorgan.models.adversarial`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from colorgan.classes import imagenet_labels
from colorgan.data.dataset import Row
from colorgan.data.mapping import batched
from colorgan.errors import ConfigError
from colorgan.evaluation.coloring import ObjectDetection, color_by_contestants
from colorgan.evaluation.evaluate import photo_id
from colorgan.evaluation.results import GRAY, IDENTITIES, ORIGINAL, Contestant
from colorgan.evaluation.statistics import bootstrap_mean, groups
from colorgan.images import lab
from colorgan.images.contact_sheet import SheetRow, contact_sheet
from colorgan.images.decoding import Pixels, decode
from colorgan.inference.colorizer import Colorizer
from colorgan.inference.router import Router
from colorgan.models.adversarial import Bound, Loss, attack, label_loss, noise
from colorgan.options import Configuration, Count, NaturalNumber, option

COLORING, NOISE, ATTACK = "colouring", "noise", "attack"
DIFFERENCE = "attack minus noise"

# The share of photographs whose class or label differs: from that of the gray photograph, of the
# original, and, for changed colours, of the same picture before the change.
FLIPS = tuple(f"{what}_flips_{other}" for other in (GRAY, ORIGINAL) for what in ("class", "label"))
CHANGED = ("class_flips", "label_flips")
_OTHERS = ("right", "confidence")
_BATCH = 4
_TINY = 1e-9  # added to scores before their logarithm
_KEYS = ["photo", "model", "change", "epsilon"]


@dataclass(frozen=True)
class RobustnessConfig(Configuration):
    """Options of `colorgan robustness`."""

    epsilons: str = option("2,8", "bounds of the changes of a and b, in Lab units")
    against: Literal["label", "class"] = option(
        "label", "what an attack is to change: the ImageNet label, or the router's class"
    )
    steps: Count = option(5, "gradient steps of an attack")
    photographs: NaturalNumber = option(
        0, "maximum number of photographs, balanced across classes; 0 takes the whole split"
    )
    seed: NaturalNumber = option(0, "seed of the sample, of the noise and of the intervals")
    examples: Count = option(12, "photographs on the contact sheet of the most flipped ones")

    def check(self) -> None:
        """Check the bounds; raises ConfigError."""
        bounds = self.bounds
        if not bounds or not all(0 < each.epsilon <= lab.AB_SCALE for each in bounds):
            raise ConfigError(
                f"--epsilons {self.epsilons} are not numbers above 0 and up to {lab.AB_SCALE:g}, "
                "separated by commas"
            )

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """The bounds, smallest first; empty if they cannot be read."""
        try:
            values = sorted({float(value) for value in self.epsilons.split(",")})
        except ValueError:
            return ()
        return tuple(Bound(value, self.steps) for value in values)


@dataclass(frozen=True)
class Prediction:
    """What a classifier says about a picture.

    Attributes:
        photo_class: the class that the router derives.
        synset: the id of the most likely ImageNet label.
        label: its name.
        confidence: its probability.
    """

    photo_class: str
    synset: str
    label: str
    confidence: float


def predict(router: Router, views: Tensor) -> list[Prediction]:
    """Classify pictures with their colours.

    Args:
        router: the router, whose classifier is used.
        views: (batch, 3, side, side) uint8 sRGB, of the classifier's view.
    """
    features, probabilities = router.classifier(views)
    routes = router.decide(features, probabilities)
    chances, places = probabilities.max(dim=1)
    return [
        Prediction(route.best_class, label.synset, label.name, chance)
        for route, label, chance in zip(
            routes, [imagenet_labels()[place] for place in places], chances.tolist(), strict=True
        )
    ]


def class_loss(router: Router, photo_classes: Sequence[str]) -> Loss:
    """How far another class's score is above that of the given one, as a log ratio, summed."""
    classifier = router.classifier
    own = torch.tensor([[name == given for name in router.classes] for given in photo_classes])

    def loss(pictures: Tensor) -> Tensor:
        normal = classifier.normalized(pictures.to(classifier.device))
        features, logits, *_ = classifier.observed(normal)
        scores = router.score(features.cpu(), logits.softmax(dim=1).cpu())
        given, others = (scores * where for where in (own, ~own))
        ratio = (others.amax(dim=1) + _TINY).log() - (given.amax(dim=1) + _TINY).log()
        return ratio.sum()

    return loss


class RobustnessMeasurement:
    """Colours photographs with every contestant and classifies them."""

    def __init__(
        self,
        router: Router,
        contestants: Sequence[Contestant],
        colorizers: Mapping[str, Colorizer],
        config: RobustnessConfig,
        detectors: Mapping[str, ObjectDetection] = MappingProxyType({}),
    ) -> None:
        """Take loaded networks.

        Args:
            router: the router, whose classifier computes in float32.
            contestants: the contestants; gray and the original are among them.
            colorizers: the colorizers by the references of the contestants' packages.
            config: the options.
            detectors: see `color_by_contestants`.
        """
        self._detectors = detectors
        self.router = router
        self.contestants = contestants
        self.colorizers = colorizers
        self.config = config

    def measure(
        self, rows: Sequence[Row], observe: Callable[[int], None] = lambda done: None
    ) -> pd.DataFrame:
        """Classify photographs, their colourings, and these with changed colours.

        Args:
            rows: the photographs.
            observe: called with the number of photographs done.

        Returns:
            As `count_flips` returns it; `change` is `colouring`, `noise` or `attack`, and `epsilon`
            its bound in Lab units (0 for a colouring).
        """
        lines: list[dict[str, object]] = []
        done = 0
        for batch in batched(iter(rows), _BATCH):
            views = self._views([decode(row.image).rgb for row in batch])
            seed = self.config.seed + done  # other signs for every batch
            for model, seen in views.items():
                for (change, epsilon), pictures in self._variants(seen, seed).items():
                    for row, made in zip(batch, predict(self.router, pictures), strict=True):
                        head = {"photo": photo_id(row), "source": row.source, "class": row.label}
                        variant = {"model": model, "change": change, "epsilon": epsilon}
                        lines.append({**head, **variant, **_described(made, row.label)})
            done += len(batch)
            observe(done)
        return count_flips(pd.DataFrame(lines))

    def _color(self, originals: list[Pixels]) -> dict[str, list[Pixels]]:
        prepared = torch.stack([self.router.prepare(rgb) for rgb in originals])
        sent_to = [route.best_class for route in self.router(prepared)]
        return color_by_contestants(
            self.contestants, self.colorizers, originals, sent_to, self._detectors
        )

    def _views(self, originals: list[Pixels]) -> dict[str, Tensor]:
        """By contestant, what the classifier sees of its pictures: (batch, 3, side, side) uint8."""
        view = self.router.classifier.view
        return {
            model: torch.stack([view(rgb, gray=False) for rgb in pictures])
            for model, pictures in self._color(originals).items()
        }

    def _variants(self, views: Tensor, seed: int) -> dict[tuple[str, float], Tensor]:
        """Pictures by change and bound: as they are, and with changed colours."""
        variants = {(COLORING, 0.0): views}
        channels = lab.rgb_to_lab(views.float() / 255)
        for bound in self.config.bounds:
            variants[NOISE, bound.epsilon] = _rounded(noise(channels, bound, seed))
            variants[ATTACK, bound.epsilon] = self._attacked(views, bound)
        return variants

    def _attacked(self, views: Tensor, bound: Bound) -> Tensor:
        """Pictures after an attack on what the classifier says about them."""
        classifier = self.router.classifier
        features, probabilities = classifier(views)
        if self.config.against == "label":
            loss = label_loss(classifier, probabilities.argmax(dim=1))
        else:
            routes = self.router.decide(features, probabilities)
            loss = class_loss(self.router, [route.best_class for route in routes])
        return _rounded(attack(lab.rgb_to_lab(views.float() / 255), loss, bound))

    def examples(self, frame: pd.DataFrame, rows: Sequence[Row]) -> Pixels:
        """A contact sheet of the most flipped photographs, with every contestant's picture.

        Beside each colouring stands the same after the attack with the largest bound.

        Args:
            frame: as `measure` returns it.
            rows: the photographs that it measured.

        Returns:
            (height, width, 3) uint8.
        """
        by_id = {photo_id(row): row for row in rows}
        largest = self.config.bounds[-1]
        sheet, headings = [], []
        for photo in most_flipped(frame, self.config.examples):
            row = by_id[photo]
            original = decode(row.image).rgb
            made = self._color([original])
            views = self._views([original])
            shown = {}
            for model, (picture,) in made.items():
                shown[model] = picture
                if model not in IDENTITIES:
                    attacked = self._attacked(views[model], largest)[0]
                    shape = (original.shape[1], original.shape[0])
                    image = Image.fromarray(attacked.permute(1, 2, 0).numpy()).resize(shape)
                    shown[f"{model}, attacked"] = np.asarray(image)
            headings = list(shown)
            sheet.append(SheetRow(_caption(frame[frame["photo"] == photo]), list(shown.values())))
        return contact_sheet(headings, sheet)


def _rounded(channels: Tensor) -> Tensor:
    """Lab as sRGB of 8 bits, as a file of the picture has it."""
    return (lab.lab_to_rgb(channels) * 255).round().to(torch.uint8)


def _described(made: Prediction, photo_class: str) -> dict[str, object]:
    return {
        "says_class": made.photo_class,
        "says_synset": made.synset,
        "says_label": made.label,
        "confidence": made.confidence,
        "right": float(made.photo_class == photo_class),
    }


def _caption(frame: pd.DataFrame) -> str:
    plain = frame[frame["change"] == COLORING]
    said = [f"{row.model}: {row.says_label} ({row.says_class})" for row in plain.itertuples()]
    return f"{plain['class'].iloc[0]}; " + ", ".join(said)


def count_flips(frame: pd.DataFrame) -> pd.DataFrame:
    """Add to every prediction whether it differs from those of other pictures of its photograph.

    Args:
        frame: one line per photo, model, change and epsilon, with says_class and says_synset.

    Returns:
        The same with the columns FLIPS and CHANGED, each 0 or 1; NaN where a picture would be
        compared with itself.
    """
    plain = frame[frame["change"] == COLORING].set_index(["photo", "model"])
    said = {"class": "says_class", "label": "says_synset"}
    out = frame.copy()
    for what, column in said.items():
        for other in (GRAY, ORIGINAL):
            known = frame["photo"].map(plain[column].xs(other, level="model"))
            itself = (frame["model"] == other) & (frame["change"] == COLORING)
            out[f"{what}_flips_{other}"] = (frame[column] != known).astype(float).mask(itself)
        pairs = pd.MultiIndex.from_frame(frame[["photo", "model"]])
        before = plain[column].reindex(pairs).to_numpy()
        flips = (frame[column] != before).astype(float)
        out[f"{what}_flips"] = flips.mask(frame["change"] == COLORING)
    return out


def summarize(frame: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Means over the photographs with their 95 % bootstrap intervals, overall and by class.

    Args:
        frame: as `count_flips` returns it.
        seed: seed of the bootstrap.

    Returns:
        One line per class (ALL_CLASSES first), model, change, epsilon and measure: photographs,
        mean, low, high. The measures are FLIPS, CHANGED, `right` (the share whose class is the true
        one) and `confidence` (the probability of the most likely label). The change `attack minus
        noise` has the differences of the same photographs' CHANGED.
    """
    lines = []
    for group, part in groups(frame).items():
        for (model, change, epsilon), chosen in part.groupby(_KEYS[1:], sort=False):
            head = {"class": group, "model": model, "change": change, "epsilon": epsilon}
            values = {each: chosen[each] for each in (*FLIPS, *CHANGED, *_OTHERS)}
            lines += _means(head, values, seed)
            if change == ATTACK:
                drawn = part[
                    (part["model"] == model)
                    & (part["change"] == NOISE)
                    & (part["epsilon"] == epsilon)
                ]
                pair = chosen.merge(drawn, on="photo", suffixes=("", "_noise"))
                gained = {each: pair[each] - pair[f"{each}_noise"] for each in CHANGED}
                lines += _means(head | {"change": DIFFERENCE}, gained, seed)
    return pd.DataFrame(lines)


def _means(
    head: Mapping[str, object], values: Mapping[str, pd.Series], seed: int
) -> list[dict[str, object]]:
    lines: list[dict[str, object]] = []
    for measure, column in values.items():
        finite = column.dropna()
        if len(finite):
            mean = bootstrap_mean(finite, seed)
            line = {"measure": measure, "photographs": len(finite)}
            lines.append({**head, **line, "mean": mean.mean, "low": mean.low, "high": mean.high})
    return lines


def most_flipped(frame: pd.DataFrame, count: int) -> list[str]:
    """The photographs about whose colourings the classifier says something else most often.

    Flips of the class count first, from the gray photograph or from the original, then those of the
    label, then how sure the classifier is of what it says.

    Args:
        frame: as `count_flips` returns it.
        count: maximum number of photographs.

    Returns:
        The photographs' ids, the most flipped one first.
    """
    plain = frame[(frame["change"] == COLORING) & ~frame["model"].isin(IDENTITIES)]
    ranks = pd.DataFrame(
        {
            "photo": plain["photo"],
            "classes": plain[[FLIPS[0], FLIPS[2]]].sum(axis=1),
            "labels": plain[[FLIPS[1], FLIPS[3]]].sum(axis=1),
            "sure": plain["confidence"],
        }
    )
    totals = (
        ranks.groupby("photo", sort=False)
        .sum()
        .sort_values(["classes", "labels", "sure"], ascending=False, kind="stable")
    )
    return [str(photo) for photo in totals.index[:count]]
