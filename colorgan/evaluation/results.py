"""An evaluation in storage: which models coloured which photographs, and the results.

reports/<report>/evaluation.json                 the evaluation's plan: see Evaluation
reports/<report>/parts/<block>.parquet           results and features of a block of photographs
reports/<report>/pictures/<photo>/<model>.webp   colourings; also `gray` and `original`
reports/<report>/results.parquet, results.csv    all results, one line per photograph and model
reports/<report>/index.html, tables/, figures/   the report for people
reports/<report>/report.json                     the tables' numbers, for programs
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pandas as pd

from colorgan.errors import NotInStorage
from colorgan.names import check_name
from colorgan.storage import Storage
from colorgan.storage.documents import read_document

SCHEMA_VERSION = 1

GRAY = "gray"
ORIGINAL = "original"
ASSEMBLED = "assembled"
IDENTITIES = (GRAY, ORIGINAL)


@dataclass(frozen=True)
class Metric:
    """A column of the results.

    Attributes:
        title: the title, for people.
        unit: the unit of its values, or an empty string.
        best: whether the `lowest` or the `highest` value is the best one.
        meaning: one sentence for somebody who has not read the paper.
        decimals: number of decimals worth showing.
    """

    title: str
    unit: str
    best: str
    meaning: str
    decimals: int


METRICS: Mapping[str, Metric] = {
    "l1": Metric(
        "L1 in ab",
        "Lab units",
        "lowest",
        "How far a and b, the colours of Lab, are from the true ones, on average over the pixels.",
        2,
    ),
    "rmse": Metric(
        "RMSE in ab", "Lab units", "lowest", "The same, with large errors counted more.", 2
    ),
    "psnr": Metric(
        "PSNR", "dB", "highest", "How little the picture differs from the original, as a signal.", 1
    ),
    "ssim": Metric(
        "SSIM", "", "highest", "How alike the structures of picture and original are; 1 at most.", 3
    ),
    "colorfulness": Metric(
        "Colourfulness",
        "",
        "highest",
        "How strong and varied the colours look; not whether they are right.",
        1,
    ),
    "colorfulness_gap": Metric(
        "Colourfulness gap", "", "lowest", "How far that is from the original's colourfulness.", 1
    ),
    "semantic": Metric(
        "Semantic score",
        "",
        "highest",
        "How sure a classifier is that the coloured photograph shows what it shows.",
        3,
    ),
    "lpips": Metric(
        "LPIPS",
        "",
        "lowest",
        "How different picture and original look to a network that was fitted to people's eyes.",
        3,
    ),
    "fcn_accuracy": Metric(
        "FCN pixel accuracy",
        "",
        "highest",
        "On which share of a photograph a segmentation network sees in the colouring what it sees "
        "in the original.",
        3,
    ),
    "fcn_iou": Metric(
        "FCN mean IoU",
        "",
        "highest",
        "The same as intersection over union, on average over what either picture shows, so that "
        "small things count as much as large ones.",
        3,
    ),
    "mask_accuracy": Metric(
        "FCN pixel accuracy on masks",
        "",
        "highest",
        "On which share of a photograph that network sees what the photograph's mask says.",
        3,
    ),
    "mask_iou": Metric(
        "FCN mean IoU on masks",
        "",
        "highest",
        "The same as intersection over union, on average over what picture or mask shows.",
        3,
    ),
}


@dataclass(frozen=True)
class Contestant:
    """A colouriser, or one of the identities `gray` and `original` to compare it with.

    Attributes:
        name: `assembled`, `objects`, `general`, `hypercolumn`, `cic`, a class, `gray` or
            `original`, or the name that the user gave it.
        reference: its package, `model@version`; an assembled model's are joined by commas; empty
            for the identities.
        note: what a reader must know: the objective of the models, or the backbone of the
            hypercolumns; or an empty string.
        detector: what finds the objects that the packages' models colour; empty if nothing does.
    """

    name: str
    reference: str
    note: str = ""
    detector: str = ""

    @property
    def packages(self) -> tuple[str, ...]:
        """The references of its packages, one per class if it is an assembled model.

        With a detector, the general model's is among them.
        """
        return tuple(self.reference.split(",")) if self.reference else ()

    @property
    def routed(self) -> bool:
        """Whether it is an assembled model, for which the router chooses the package."""
        return not self.detector and (self.name == ASSEMBLED or len(self.packages) > 1)


@dataclass(frozen=True)
class Evaluation:
    """The plan of an evaluation: a report's evaluation.json.

    Attributes:
        name: the report's name.
        created: time of creation, UTC, ISO 8601.
        dataset: name and fingerprint of the dataset.
        split: train, val or test.
        photographs: number of photographs, balanced across classes if it is not the whole split.
        available: number of photographs of the split; 0 in reports of versions of colorgan that did
            not record it.
        seed: the seed of their choice.
        classes: the dataset's classes.
        contestants: the contestants, in the order in which tables show them.
        router: the router of the assembled models, `labels` or `head`; empty if there is none.
        classifier: the classifier of the semantic score, and of the router.
        judge: the classifier whose features the Fréchet distances compare; empty in a report that
            an earlier version began, which stores no such features.
        missing: the metrics that could not be computed, by name (`lpips`, `fid`), with the reason.
        versions: the versions of colorgan, torch and python.
        router_package: the head's package, `router@version`; empty for another router, and in
            reports of versions of colorgan that did not record it.
        segmenter: the segmentation network of the FCN score; empty if it is not measured.
        segments: what that network's pixels can show.
    """

    name: str
    created: str
    dataset: dict[str, str]
    split: str
    photographs: int
    seed: int
    classes: tuple[str, ...]
    contestants: tuple[Contestant, ...]
    router: str
    classifier: str
    missing: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    judge: str = ""
    schema_version: int = SCHEMA_VERSION
    router_package: str = ""
    available: int = 0
    segmenter: str = ""
    segments: tuple[str, ...] = ()

    @property
    def routing(self) -> str:
        """The router as text: `labels on efficientnet_lite0`; empty if there is none."""
        named = f"{self.router} {self.router_package}".strip()
        return f"{named} on {self.classifier}" if self.router else ""

    def to_json(self) -> bytes:
        """The contents of evaluation.json."""
        return (json.dumps(asdict(self), indent=2) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes, key: str) -> "Evaluation":
        """Read an evaluation.json; raises Corrupt if it is not one."""

        def build(fields: dict[str, Any]) -> "Evaluation":
            fields["classes"] = tuple(fields["classes"])
            fields["segments"] = tuple(fields.get("segments", ()))
            fields["contestants"] = tuple(Contestant(**each) for each in fields["contestants"])
            return cls(**fields)

        return read_document(data, key, SCHEMA_VERSION, build)


def no_labels(classes: Sequence[str]) -> str:
    """A clause on why photographs of some classes have no semantic score."""
    return f"{', '.join(classes)} have no ImageNet labels; --classes FILE names them"


class Report:
    """A report's folder in storage.

    Attributes:
        storage: the storage of the report.
        evaluation: the evaluation that it reports.
    """

    def __init__(self, storage: Storage, evaluation: Evaluation) -> None:
        """Take an evaluation that is in storage, or is about to be."""
        self.storage = storage
        self.evaluation = evaluation

    def key(self, name: str) -> str:
        """The storage key of one of the report's files."""
        return f"reports/{self.evaluation.name}/{name}"

    def picture(self, photo: str, contestant: str) -> bytes:
        """A contestant's picture of a photograph, as WebP; raises NotInStorage."""
        return self.storage.get(self.picture_key(photo, contestant))

    def picture_key(self, photo: str, contestant: str) -> str:
        """The storage key of `picture`."""
        return self.key(f"pictures/{photo}/{contestant}.webp")

    def results(self) -> pd.DataFrame:
        """All results, one line per photograph and contestant.

        Returns:
            photo (its id), source, class, model (the contestant), sent_to (the class whose model
            coloured it for an assembled model, otherwise empty), and the computed metrics, named as
            in METRICS.

        Raises:
            NotInStorage: the evaluation is not finished.
        """
        key = self.key("results.parquet")
        if not self.storage.exists(key):
            name = self.evaluation.name
            raise NotInStorage(
                f"report {name!r} has no results yet: python jobs/evaluate.py --report {name} "
                "finishes it"
            )
        return pd.read_parquet(io.BytesIO(self.storage.get(key)))


def open_report(storage: Storage, name: str) -> Report:
    """A report by its name; raises NotInStorage, listing the existing reports, or Corrupt."""
    key = f"reports/{check_name('report', name)}/evaluation.json"
    if not storage.exists(key):
        known = ", ".join(storage.folders("reports"))
        raise NotInStorage(
            f"no report {name!r} in {storage.uri}: "
            + (f"there are {known}" if known else "python jobs/evaluate.py makes one")
        )
    return Report(storage, Evaluation.from_json(storage.get(key), key))
