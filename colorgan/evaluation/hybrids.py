"""Colouring by objects on hybrid pictures: those in which things of two classes are seen.

The 2018 report found that a model colours badly what belongs to another class, such as the people
in a photograph that was sent to the model of animals. Here the place of both things is known: in
drawn scenes by their masks, and in mosaics, which are put together from two photographs.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from PIL import Image

from colorgan.data.dataset import Dataset, Row
from colorgan.data.mapping import batched
from colorgan.data.scenes import CLASSES
from colorgan.data.scenes.hybrids import PAIRS, draw_hybrid
from colorgan.errors import ConfigError
from colorgan.evaluation.coloring import ObjectDetection, color_by_contestants
from colorgan.evaluation.results import ORIGINAL, Contestant
from colorgan.evaluation.statistics import bootstrap_mean
from colorgan.images.decoding import Pixels, decode
from colorgan.images.lab import rgb_to_lab
from colorgan.images.scaling import scale
from colorgan.inference.colorizer import Colorizer
from colorgan.inference.objects import ObjectColorizer
from colorgan.inference.router import Router
from colorgan.models.detection import Detection, Place
from colorgan.names import OBJECTS
from colorgan.options import Configuration, Count, NaturalNumber, option

Kind = Literal["scenes", "beside", "within"]
TRUTH = "objects, true places"  # with the known places instead of a detector's
SECOND, FIRST, ALL = "second object", "first object", "whole picture"
REGIONS = (SECOND, FIRST, ALL)
SHARES = ("found", "mistaken")
_BATCH = 4
_INSET = 0.5  # the sides of a photograph within another one, of that one's
_EDGE = 0.05  # its distance from the edges


@dataclass(frozen=True)
class HybridConfig(Configuration):
    """Options of `colorgan hybrids`."""

    kind: Kind = option(
        "beside",
        "scenes: drawn ones with objects of two classes; beside: two photographs of a dataset side "
        "by side; within: one in a corner of another",
    )
    pictures: Count = option(60, "number of pictures")
    size: int = option(256, "their height in pixels")
    seed: NaturalNumber = option(0, "seed of the pictures and of the intervals")

    def check(self) -> None:
        """Check the height; raises ConfigError."""
        if self.size < 64:
            raise ConfigError(f"--size {self.size} is less than 64")


@dataclass(frozen=True)
class Hybrid:
    """A picture in which things of two classes are seen.

    Attributes:
        name: its name.
        picture: (height, width, 3) uint8 sRGB.
        owners: (height, width) uint8: 1 where the first thing is, 2 where the second is, otherwise
            0.
        classes: the classes of both.
    """

    name: str
    picture: Pixels
    owners: npt.NDArray[np.uint8]
    classes: tuple[str, str]

    def detections(self) -> list[Detection]:
        """What a perfect detector would find."""
        found = []
        height, width = self.owners.shape
        for number, name in enumerate(self.classes, 1):
            inside = self.owners == number
            rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
            top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
            place = Place(top / height, bottom / height, left / width, right / width)
            mask = np.where(inside[top:bottom, left:right], np.uint8(255), np.uint8(0))
            found.append(Detection(name, name, 1.0, place, mask))
        return found


def draw_hybrids(config: HybridConfig) -> Iterator[Hybrid]:
    """Draw scenes of every pair of classes in turn."""
    width = round(config.size * 4 / 3)
    for number in range(config.pictures):
        pair = PAIRS[number % len(PAIRS)]
        seed = (config.seed + 500) * 1_000_000 + number  # none that is drawn for a training
        drawn = draw_hybrid(pair, seed, config.size, width)
        yield Hybrid(f"{'-'.join(pair)}-{number:03d}", drawn.picture, drawn.owners, pair)


def make_mosaics(
    config: HybridConfig, dataset: Dataset, split: str, classes: Sequence[str]
) -> Iterator[Hybrid]:
    """Put together pairs of photographs of different classes.

    Raises:
        ConfigError: fewer than two of the classes have photographs in the split.
    """
    photographs = {name: list(dataset.rows([name], split)) for name in classes}
    names = [name for name, rows in photographs.items() if rows]
    if len(names) < 2:
        raise ConfigError(
            f"dataset {dataset.manifest.name} has photographs of {', '.join(names) or 'no class'} "
            f"in the split {split}: a mosaic needs two of {', '.join(classes)}"
        )
    rng = np.random.default_rng(config.seed)
    for number in range(config.pictures):
        first, second = (names[place] for place in rng.choice(len(names), 2, replace=False))
        rows = [photographs[name][rng.integers(len(photographs[name]))] for name in (first, second)]
        picture, owners = _put_together(rows, config)
        yield Hybrid(f"{first}-{second}-{number:03d}", picture, owners, (first, second))


def _put_together(
    rows: Sequence[Row], config: HybridConfig
) -> tuple[Pixels, npt.NDArray[np.uint8]]:
    size = config.size
    if config.kind == "beside":
        both = [_filling(row, size, size) for row in rows]
        owners = np.repeat(np.array([1, 2], np.uint8), size)[None].repeat(size, axis=0)
        return np.concatenate(both, axis=1), owners
    width = round(size * 4 / 3)
    picture, owners = _filling(rows[0], size, width), np.ones((size, width), np.uint8)
    height, across, edge = round(size * _INSET), round(width * _INSET), round(size * _EDGE)
    part = slice(size - edge - height, size - edge), slice(width - edge - across, width - edge)
    picture[part] = _filling(rows[1], height, across)
    owners[part] = 2
    return picture, owners


def _filling(row: Row, height: int, width: int) -> Pixels:
    """The middle of a photograph, scaled to fill a size."""
    image = Image.fromarray(decode(row.image).rgb)
    factor = max(height / image.height, width / image.width)
    size = max(width, round(image.width * factor)), max(height, round(image.height * factor))
    image = scale(image, size, Image.Resampling.BICUBIC)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return np.array(image.crop((left, top, left + width, top + height)))


class _Known:
    """A detector that knows what is in the pictures.

    Attributes:
        name: `true places`.
        classes: the classes of the things.
    """

    name = "true places"

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self.found: list[list[Detection]] = []

    def __call__(self, pictures: Sequence[Pixels]) -> list[list[Detection]]:
        return self.found


class HybridMeasurement:
    """Colours hybrid pictures with every contestant, and measures each thing by itself."""

    def __init__(
        self,
        router: Router,
        contestants: Sequence[Contestant],
        colorizers: Mapping[str, Colorizer],
        detectors: Mapping[str, ObjectDetection],
    ) -> None:
        """Take loaded networks.

        Args:
            router: the router of the assembled contestants.
            contestants: the contestants; the original is among them.
            colorizers: the colorizers by the references of the contestants' packages.
            detectors: see `color_by_contestants`.
        """
        self._router, self._contestants = router, contestants
        self._colorizers, self._detectors = colorizers, detectors

    def measure(
        self, hybrids: Iterator[Hybrid], observe: Callable[[int], None] = lambda done: None
    ) -> pd.DataFrame:
        """Measure hybrid pictures.

        Args:
            hybrids: the pictures.
            observe: called with the number of pictures done.

        Returns:
            One line per picture and model: name, first and second (the classes), sent_to (by the
            router), model, l1 (in ab, in Lab units) of each of REGIONS, and found and mistaken, the
            shares of the second object that a detector found with its class and with another. The
            second object is the one to whose class the router did not send the picture; if it chose
            another class, the later one.
        """
        lines: list[dict[str, object]] = []
        done = 0
        for batch in batched(hybrids, _BATCH):
            originals = [each.picture for each in batch]
            prepared = torch.stack([self._router.prepare(rgb) for rgb in originals])
            sent_to = [route.best_class for route in self._router(prepared)]
            made = self.color(batch, sent_to)
            shares = self._found(batch, sent_to)
            for place, hybrid in enumerate(batch):
                head = {
                    "picture": hybrid.name,
                    "first": hybrid.classes[0],
                    "second": hybrid.classes[1],
                    "sent_to": sent_to[place],
                }
                for model, pictures in made.items():
                    if model == ORIGINAL:
                        continue
                    values = _by_region(hybrid, pictures[place], sent_to[place])
                    found = shares[model][place] if model in shares else {}
                    lines.append({**head, "model": model, **values, **found})
            done += len(batch)
            observe(done)
        return pd.DataFrame(lines).reindex(columns=[*lines[0], *SHARES])

    def color(self, batch: Sequence[Hybrid], sent_to: Sequence[str]) -> dict[str, list[Pixels]]:
        """The pictures of every contestant, and of TRUTH if one colours by objects."""
        originals = [each.picture for each in batch]
        made = color_by_contestants(
            self._contestants, self._colorizers, originals, sent_to, self._detectors
        )
        objects = next((each for each in self._contestants if each.detector), None)
        if objects:
            known = _Known(sorted({name for each in batch for name in each.classes}))
            known.found = [each.detections() for each in batch]
            own = {each.partition("@")[0]: self._colorizers[each] for each in objects.packages}
            edges = self._detectors[objects.detector][1]
            colored = ObjectColorizer(known, own, edges)(originals)
            made[TRUTH] = [each.rgb for each in colored]
        return made

    def _found(
        self, batch: Sequence[Hybrid], sent_to: Sequence[str]
    ) -> dict[str, list[dict[str, float]]]:
        """By contestant with a detector, which shares of each second object it found."""
        shares = {}
        for contestant in self._contestants:
            if contestant.detector:
                detector, _ = self._detectors[contestant.detector]
                detections = detector([each.picture for each in batch])
                shares[contestant.name] = [
                    _covered(*each) for each in zip(batch, detections, sent_to, strict=True)
                ]
        return shares


def second_of(hybrid: Hybrid, sent_to: str) -> int:
    """The number of the thing to whose class the router did not send the picture: 1 or 2."""
    return 1 if sent_to == hybrid.classes[1] else 2


def _covered(hybrid: Hybrid, detections: Sequence[Detection], sent_to: str) -> dict[str, float]:
    """The shares of the second object that were found with its class, and with another."""
    number = second_of(hybrid, sent_to)
    inside = hybrid.owners == number
    right, wrong = np.zeros_like(inside), np.zeros_like(inside)
    for each in detections:
        covered = right if each.photo_class == hybrid.classes[number - 1] else wrong
        part = each.place.box(*inside.shape).of(covered)
        mask = np.full((1, 1), 255, np.uint8) if each.mask is None else each.mask
        size = part.shape[1], part.shape[0]
        part |= np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST)) > 127
    shares = (float(each[inside].mean()) for each in (right, wrong))
    return dict(zip(SHARES, shares, strict=True))


def _by_region(hybrid: Hybrid, made: Pixels, sent_to: str) -> dict[str, float]:
    both = torch.from_numpy(np.stack([made, hybrid.picture])).permute(0, 3, 1, 2).float() / 255
    channels = rgb_to_lab(both)[:, 1:]
    apart = (channels[0] - channels[1]).abs().mean(dim=0).numpy()
    second = second_of(hybrid, sent_to)
    return {
        SECOND: float(apart[hybrid.owners == second].mean()),
        FIRST: float(apart[hybrid.owners == 3 - second].mean()),
        ALL: float(apart.mean()),
    }


def summarize(frame: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Means over the pictures, and paired differences of the models, with 95 % intervals.

    Args:
        frame: as `HybridMeasurement.measure` returns it.
        seed: seed of the bootstrap.

    Returns:
        One line per region, model and what it is compared with (`minus`; empty for the model
        itself): pictures, mean, low and high of the L1 in ab, in Lab units. Objects are compared
        with each other model.
    """
    lines = []
    models = list(dict.fromkeys(frame["model"]))
    for region in REGIONS:
        values = frame.pivot(index="picture", columns="model", values=region)
        for model in models:
            lines.append(_line(region, model, "", values[model], seed))
        for model in (each for each in models if each.startswith(OBJECTS)):
            for other in (each for each in models if each != model):
                lines.append(_line(region, model, other, values[model] - values[other], seed))
    return pd.DataFrame(lines)


def _line(region: str, model: str, minus: str, values: pd.Series, seed: int) -> dict[str, object]:
    mean = bootstrap_mean(values, seed)
    found = {"mean": mean.mean, "low": mean.low, "high": mean.high}
    return {"region": region, "model": model, "minus": minus, "pictures": len(values), **found}


def classes_of(kind: Kind, dataset: Dataset | None, known: Sequence[str]) -> tuple[str, ...]:
    """The classes whose things the pictures show, of those that a rule knows."""
    own = CLASSES if kind == "scenes" or dataset is None else dataset.manifest.classes
    return tuple(name for name in own if name in known)
