"""Colouring a split with every contestant, and measuring the colourings, block by block."""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from colorgan.classes import PhotoClasses, imagenet_labels
from colorgan.data.dataset import (
    Dataset,
    Row,
    even_shares,
)
from colorgan.errors import ColorganError, ConfigError
from colorgan.evaluation.coloring import color_by_contestants, open_detectors
from colorgan.evaluation.results import (
    IDENTITIES,
    ORIGINAL,
    Evaluation,
    Report,
)
from colorgan.evaluation.segmentation import CONFUSIONS, SegmentationConfig, open_score
from colorgan.evaluation.sets import FEATURES, describe_sets
from colorgan.images.decoding import Pixels, decode, encode_webp
from colorgan.inference.colorizer import Colorizer
from colorgan.inference.object_choice import ObjectConfig
from colorgan.inference.router import Router, open_router
from colorgan.inference.router_choice import RouterConfig
from colorgan.metrics import (
    ab_l1,
    ab_rmse,
    colorfulness,
    hue_invariant,
    load_lpips,
    psnr,
    ssim,
)
from colorgan.models import EMBEDDED, JUDGE
from colorgan.models.classifiers import Classifier, installed, load_classifier
from colorgan.packages.card import find
from colorgan.packages.weights import load_generator
from colorgan.storage import Storage

BLOCK = 12  # photographs per task, and the most that an interruption costs


def choose_rows(dataset: Dataset, split: str, photographs: int, seed: int) -> Iterator[Row]:
    """A split's photographs, or a sample of them that is balanced across classes.

    Args:
        dataset: the dataset of the photographs.
        split: train, val or test.
        photographs: size of the sample; 0 takes all photographs.
        seed: seed of the sample.
    """
    classes = dataset.manifest.classes
    counts = {label: dataset.count([label], split) for label in classes}
    shares = even_shares(counts, photographs) if photographs else counts
    rng = np.random.default_rng(seed)
    for label in classes:
        chosen = set(rng.permutation(counts[label])[: shares[label]].tolist())
        for place, row in enumerate(dataset.rows([label], split)):
            if place in chosen:
                yield row


class SemanticScore:
    """The 2018 report's score: whether a classifier recognises the content of a colouring.

    It is the highest probability that the classifier gives, for the coloured photograph, to a label
    of the photograph's true class.
    """

    def __init__(self, synsets: Mapping[str, Sequence[str]]) -> None:
        """Take the labels of each class, as synset ids."""
        place = {label.synset: number for number, label in enumerate(imagenet_labels())}
        self._labels = {
            name: torch.tensor([place[synset] for synset in each]) for name, each in synsets.items()
        }

    def __call__(self, probabilities: Tensor, photo_class: str) -> Tensor:
        """Score pictures.

        Args:
            probabilities: (batch, 1000), of ImageNet's labels.
            photo_class: the true class of all pictures.

        Returns:
            (batch,) in [0, 1]; NaN if the class has no labels.
        """
        if photo_class not in self._labels:
            return torch.full((len(probabilities),), torch.nan)
        return probabilities[:, self._labels[photo_class]].max(dim=1).values


class Evaluator:
    """Colours and measures photographs, with networks that are loaded once."""

    def __init__(
        self,
        report: Report,
        router: RouterConfig,
        device: torch.device | None = None,
        segmentation: SegmentationConfig | None = None,
        objects: ObjectConfig | None = None,
    ) -> None:
        """Load the contestants.

        Args:
            report: the report to which pictures and results are written. Its evaluation names the
                router of the assembled models, whose classifier also gives the semantic score.
            router: the other options of that router; without one, only the classifier is used.
            device: the device that the networks run on.
            segmentation: the other options of the report's segmenter; None if it has none.
            objects: the other options of the contestants' detectors; None if they have none.

        Raises:
            ColorganError: a package, or a classifier's weights, cannot be read.
        """
        self._report = report
        self._router: Router | None = None
        evaluation = report.evaluation
        if evaluation.router:
            # A report names its router as text, and the configuration checks it.
            found: dict[str, Any] = {"router": evaluation.router, "head": evaluation.router_package}
            named = replace(router, **found)
            opened = open_router(named, report.storage, device, exact=True)
            self._router, self._classifier = opened, opened.classifier
        else:
            weights = Path(router.weights) if router.weights else None
            self._classifier = load_classifier(router.classifier, weights, device)
        rule = PhotoClasses.load(Path(router.classes) if router.classes else None)
        self._semantic = SemanticScore(rule.synsets)
        self._fcn = None
        if name := evaluation.segmenter:
            files = segmentation or SegmentationConfig()
            self._fcn = open_score(name, report.storage, rule.synsets, files, device)
        self._judge = self._load_judge(report.evaluation.judge, device)
        references = {
            reference
            for contestant in report.evaluation.contestants
            for reference in contestant.packages
        }
        self._colorizers = {
            card.reference: Colorizer(load_generator(report.storage, card, device))
            for card in (find(report.storage, reference) for reference in sorted(references))
        }
        self._detectors = open_detectors(
            evaluation.contestants, objects or ObjectConfig(), report.storage, rule, device
        )
        self._routed = {each.name for each in report.evaluation.contestants if each.routed}
        self._lpips = None if "lpips" in report.evaluation.missing else load_lpips()

    def _load_judge(self, name: str, device: torch.device | None) -> Classifier | None:
        if name == self._classifier.name:
            return self._classifier
        return load_classifier(name, device=device) if name else None

    def evaluate(self, rows: Sequence[Row], block: int) -> None:
        """Colour and measure a block of photographs, and write pictures and results.

        Args:
            rows: the photographs.
            block: the block's number within the evaluation.
        """
        originals = [decode(row.image).rgb for row in rows]
        sent_to = self._route(originals)
        pictures = color_by_contestants(
            self._report.evaluation.contestants,
            self._colorizers,
            originals,
            sent_to,
            self._detectors,
        )
        lines = []
        for place, row in enumerate(rows):
            made = {name: each[place] for name, each in pictures.items()}
            photo = photo_id(row)
            for name, rgb in made.items():
                self._report.storage.put(self._report.picture_key(photo, name), encode_webp(rgb))
            measured = self._measure(made, row.label)
            if self._fcn:
                measured |= self._fcn(made, row)
            for number, name in enumerate(made):
                lines.append(
                    {
                        "photo": photo,
                        "source": row.source,
                        "class": row.label,
                        "model": name,
                        "sent_to": sent_to[place] if name in self._routed else "",
                        **{metric: values[number] for metric, values in measured.items()},
                    }
                )
        file = io.BytesIO()
        pd.DataFrame(lines).to_parquet(file, index=False)
        self._report.storage.put(_part_key(self._report, block), file.getvalue())

    def _route(self, originals: list[Pixels]) -> list[str]:
        """The class of each photograph by the router; empty if there is no router."""
        if self._router is None:
            return [""] * len(originals)
        prepared = torch.stack([self._router.prepare(rgb) for rgb in originals])
        return [route.best_class for route in self._router(prepared)]

    def _measure(self, made: Mapping[str, Pixels], photo_class: str) -> dict[str, list[object]]:
        """Every metric of the pictures of one photograph, and the judge's features of them."""
        stack = torch.from_numpy(np.stack(list(made.values()))).permute(0, 3, 1, 2).float() / 255
        original = stack[list(made).index(ORIGINAL)].expand_as(stack)
        views = [self._classifier.view(rgb, gray=False) for rgb in made.values()]
        _, probabilities = self._classifier(torch.stack(views))
        colors = colorfulness(stack)
        columns = {
            "l1": ab_l1(stack, original),
            "rmse": ab_rmse(stack, original),
            "psnr": psnr(stack, original),
            "ssim": ssim(stack, original),
            "colorfulness": colors,
            "colorfulness_gap": (colors - colorfulness(original)).abs(),
            "semantic": self._semantic(probabilities, photo_class),
        }
        if self._lpips:
            columns["lpips"] = self._lpips(stack, original)
        table: dict[str, list[object]] = {name: each.tolist() for name, each in columns.items()}
        return table | self._features(made, stack, original)

    def _features(
        self, made: Mapping[str, Pixels], stack: Tensor, originals: Tensor
    ) -> dict[str, list[object]]:
        """The judge's features of the pictures, and of colourings with the original's chroma."""
        if self._judge is None:
            return {}
        colorings = [place for place, name in enumerate(made) if name not in IDENTITIES]
        scaled = hue_invariant(stack[colorings], originals[colorings])
        strong = (scaled * 255).round().byte().permute(0, 2, 3, 1).numpy()
        pictures = [*made.values(), *strong]
        views = [self._judge.view(np.ascontiguousarray(rgb), gray=False) for rgb in pictures]
        features, _ = self._judge(torch.stack(views))
        seen: list[object] = list(features.half().numpy())
        hues: list[object] = [None] * len(made)
        for place, feature in zip(colorings, seen[len(made) :], strict=True):
            hues[place] = feature
        return {FEATURES["distance"]: seen[: len(made)], FEATURES["hue_distance"]: hues}


def photo_id(row: Row) -> str:
    """A photograph's id in a report: the first 16 digits of its pixels' checksum."""
    return row.sha256[:16]


def _part_key(report: Report, block: int) -> str:
    return report.key(f"parts/{block:05d}.parquet")


def blocks_left(report: Report, rows: Iterator[Row]) -> Iterator[tuple[int, list[Row]]]:
    """The blocks of an evaluation that have not been measured yet."""
    there = set(report.storage.list(report.key("parts")))
    block = 0
    while batch := list(islice(rows, BLOCK)):
        if _part_key(report, block) not in there:
            yield block, batch
        block += 1


def choose_judge(classifier: str) -> str:
    """Choose the classifier whose features the Fréchet distances compare.

    It is one that no training loss uses or, if that is not installed, the embedded one, or else the
    router's.
    """
    return next((name for name in (JUDGE, EMBEDDED) if installed(name)), classifier)


def open_evaluation(storage: Storage, evaluation: Evaluation) -> tuple[Report, bool]:
    """Start an evaluation, or continue one that has the same name and options.

    A new evaluation gets the judge that is installed here, and keeps it. One that an earlier
    version began has no judge, and continues without one.

    Returns:
        The report, and whether it had been started before.

    Raises:
        ConfigError: the existing report compares something else; the message names what differs.
    """
    report = Report(storage, evaluation)
    key = report.key("evaluation.json")
    if not storage.exists(key):
        evaluation = replace(evaluation, judge=choose_judge(evaluation.classifier))
        storage.put(key, evaluation.to_json())
        return Report(storage, evaluation), False
    before = Evaluation.from_json(storage.get(key), key)
    evaluation = _as_recorded(evaluation, before)
    known, now = _compared(before), _compared(evaluation)
    differing = [name for name in {**now, **known} if now.get(name) != known.get(name)]
    if differing:
        raise ConfigError(
            f"report {evaluation.name!r} was started with another {', another '.join(differing)}: "
            "give the same to continue it, or another --report"
        )
    return Report(storage, before), True


def _compared(evaluation: Evaluation) -> dict[str, object]:
    """What two evaluations of the same name must have in common, by name."""
    fields = asdict(evaluation)
    options = fields.pop("options") or {}
    for name in ("created", "versions", "judge", "available"):
        del fields[name]
    return {
        **fields,
        **{f"--{name}": value for name, value in options.items()},
        "missing": {*evaluation.missing},
        # Notes are text, which other versions may word differently.
        "contestants": [(one.name, one.reference, one.detector) for one in evaluation.contestants],
    }


def _as_recorded(evaluation: Evaluation, before: Evaluation) -> Evaluation:
    """An evaluation with its router and options as an earlier version recorded them in `before`.

    Earlier versions recorded `labels` where no router was used, neither the package nor the
    classifier of a head, and no further options.
    """
    if before.options is None:
        evaluation = replace(evaluation, options=None)
    if before.router and not evaluation.router:
        return replace(evaluation, router=before.router, router_package=before.router_package)
    if before.router == evaluation.router == "head" and not before.router_package:
        return replace(evaluation, router_package="", classifier=before.classifier)
    return evaluation


def collect(report: Report) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Join the blocks' results, write results.parquet, and compare the sets of pictures.

    Returns:
        The results as `Report.results` returns them, and the sets as `describe_sets` does.
    """
    keys = report.storage.list(report.key("parts"))
    table = pd.concat(
        [pd.read_parquet(io.BytesIO(report.storage.get(key))) for key in keys], ignore_index=True
    )
    # Earlier versions stored `features`, those of the router's classifier.
    results = table.drop(
        columns=["features", *FEATURES.values(), *CONFUSIONS.values()], errors="ignore"
    )
    file = io.BytesIO()
    results.to_parquet(file, index=False)
    report.storage.put(report.key("results.parquet"), file.getvalue())
    return results, describe_sets(table)


def missing_metrics() -> dict[str, str]:
    """The metrics that cannot be computed here, by name, and the reason for each."""
    missing = {
        "fid": "FID needs Inception v3 with weights of its own, and thousands of photographs; the "
        "Fréchet distances on a classifier's features stand in its place"
    }
    try:
        load_lpips()
    except ColorganError as error:
        missing["lpips"] = str(error)
    return missing
