"""Planning an evaluation: what it compares, decided before anything is coloured."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch

import colorgan
from colorgan.classes import PhotoClasses
from colorgan.data.dataset import Dataset
from colorgan.errors import ConfigError
from colorgan.evaluation.contestants import choose_contestants, default_models
from colorgan.evaluation.evaluate import missing_metrics
from colorgan.evaluation.results import Evaluation
from colorgan.evaluation.segmentation import SegmentationConfig, open_score
from colorgan.inference.object_choice import ObjectConfig
from colorgan.inference.router_choice import RouterChoice, RouterConfig
from colorgan.names import check_name


@dataclass(frozen=True)
class Sample:
    """The photographs of a dataset that an evaluation measures.

    Attributes:
        split: train, val or test.
        photographs: maximum number of photographs; 0 means the whole split.
        seed: seed of the choice.
    """

    split: str
    photographs: int = 0
    seed: int = 0


def plan_evaluation(
    dataset: Dataset,
    sample: Sample,
    models: Sequence[str] | None,
    router: RouterConfig,
    name: str | None,
    segmentation: SegmentationConfig | None = None,
    objects: ObjectConfig | None = None,
) -> tuple[Evaluation, RouterChoice | None]:
    """Resolve the models, the router and the photographs of an evaluation.

    Args:
        dataset: the dataset whose photographs are coloured; its storage has the packages.
        sample: the choice of these photographs.
        models: as `find_contestants` takes them; None takes `default_models`.
        router: the options for the choice of the assembled models' router.
        name: the report's name; None derives one from the time.
        segmentation: the options of the FCN score; it is not measured without a segmenter.
        objects: the options of the model `objects`; None for its defaults.

    Returns:
        The evaluation, and the router of the assembled models; None if there is no such model.

    Raises:
        ConfigError: the split has no photograph, or a name or a model is invalid.
        NotInStorage: a model is missing.
        ColorganError: the segmenter cannot be loaded.
    """
    manifest, storage = dataset.manifest, dataset.storage
    available = photographs = dataset.count(manifest.classes, sample.split)
    if sample.photographs:
        photographs = min(sample.photographs, available)
    if not photographs:
        raise ConfigError(f"dataset {manifest.name} has no photograph in the split {sample.split}")
    now = datetime.now(UTC)
    models = models or default_models(storage, manifest.classes)
    contestants, choice = choose_contestants(router, storage, dataset, models, objects)
    segmenter, segments = _segmenter(segmentation, dataset, router)
    evaluation = Evaluation(
        name=check_name("report", name or f"evaluation-{now:%Y%m%d-%H%M%S}"),
        created=now.isoformat(timespec="seconds"),
        dataset={"name": manifest.name, "fingerprint": manifest.fingerprint},
        split=sample.split,
        photographs=photographs,
        available=available,
        seed=sample.seed,
        classes=manifest.classes,
        contestants=contestants,
        router=choice.config.router if choice else "",
        router_package=choice.package if choice else "",
        classifier=choice.classifier if choice else router.classifier,
        missing=missing_metrics(),
        versions={"colorgan": colorgan.__version__, "torch": str(torch.__version__)},
        segmenter=segmenter,
        segments=segments,
        options=_further_options(
            router,
            segmentation or SegmentationConfig(),
            (objects if any(each.detector for each in contestants) else None) or ObjectConfig(),
        ),
    )
    return evaluation, choice


def _further_options(
    router: RouterConfig, segmentation: SegmentationConfig, objects: ObjectConfig
) -> dict[str, str]:
    """The options that are not the default and that no other field of an evaluation has, by name.

    What a contestant's detector is stands with the contestant.
    """
    found: dict[str, str] = {}
    for config, names in (
        (router, ("weights", "classes", "unsure_below")),
        (segmentation, ("masks", "segmenter_weights")),
        (objects, ("detector_weights", "object_score", "object_masks", "object_edges")),
    ):
        usual = type(config)()
        values = {name: getattr(config, name) for name in names}
        found |= {
            name.replace("_", "-"): str(value)
            for name, value in values.items()
            if value != getattr(usual, name)
        }
    return found


def _segmenter(
    segmentation: SegmentationConfig | None, dataset: Dataset, router: RouterConfig
) -> tuple[str, tuple[str, ...]]:
    """The segmenter's name and classes. It is loaded, so that what is missing is said at once."""
    if segmentation is None or not segmentation.segmenter:
        return "", ()
    rule = PhotoClasses.load(Path(router.classes) if router.classes else None)
    name = segmentation.resolve(dataset.storage)
    score = open_score(name, dataset.storage, rule.synsets, segmentation)
    return name, score.segmenter.classes
