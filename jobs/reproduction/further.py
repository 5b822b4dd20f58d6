"""Plans what else the 2018 report names: the systems that it compares with or leaves for later."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from colorgan.classes import PhotoClasses
from colorgan.data.dataset import Dataset
from colorgan.evaluation.results import ASSEMBLED
from colorgan.inference.router_choice import LABELS
from colorgan.models import EMBEDDED, JUDGE
from colorgan.models.classifiers import installed
from colorgan.names import CIC, GENERAL, HYPERCOLUMN
from jobs.reproduction.plan import (
    BEST,
    BEST_GENERAL,
    COMMAND,
    Reproduction,
    Step,
    evaluation_step,
    options_of,
    training_step,
)
from jobs.reproduction.scales import SCALES

# Reports and steps.
FURTHER, CONDITIONAL = "further", "conditional"
CLASSIFIERS, ROBUSTNESS = "classifiers", "robustness"
CLASS_ROBUSTNESS, HYBRIDS = "class-robustness", "hybrids"
DIVERSE, VARIANTS = "diverse", "variants"

BEST_CONDITIONAL = "best-conditional"

# General models that train as `general` does, but for these options.
ARMS: Mapping[str, Mapping[str, Any]] = {
    CONDITIONAL: {"discriminators": "projection"},
    "general-sn": {"spectral-norm": True},
    "conditional-sn": {"discriminators": "projection", "spectral-norm": True},
}

# How noise is added to a model: see docs/choices.md.
_NOISE: Mapping[str, Any] = {
    "noise-channels": 8,
    "noise-only": True,
    "lambda-diversity": 200,
    "batch-size": 8,
    "epochs": 1,
    "phases": "critic:0.1+adversarial:0.9",
    "learning-rate": 3e-3,
    "adversarial-rate": 1,
    "discriminator-rate": 0.13,
    "lambda-coherence": 400,
}


@dataclass(frozen=True)
class Seeing:
    """The networks that say what a picture shows.

    Attributes:
        segmenter: the segmentation network of the FCN score.
        detector: the detector of `objects`.
    """

    segmenter: str
    detector: str


def is_drawn(dataset: Dataset) -> bool:
    """Whether a dataset has drawn scenes alone, whose masks are known."""
    manifest = dataset.manifest
    sources = [each.source for each in manifest.sources] or [manifest.source]
    return all(source.partition(",")[0] == "scenes" for source in sources)


def known_to_labels(reproduction: Reproduction) -> bool:
    """Whether ImageNet's labels know every class, so that any classifier can be the router."""
    return {*reproduction.classes} <= {*PhotoClasses.load().names}


def knows_labels(reproduction: Reproduction) -> bool:
    """Whether there is a model for every class that ImageNet's labels know, as objects need."""
    return {*PhotoClasses.load().names} <= {*reproduction.classes}


def segmenter_of_photographs() -> str:
    """The network of the FCN score where no segmenter is trained."""
    return JUDGE if installed(JUDGE) else EMBEDDED


def further_trainings(reproduction: Reproduction, general: str) -> list[Step]:
    """The steps that train the further models.

    Args:
        reproduction: the reproduction.
        general: package from which the class models of the preset `best` started.
    """
    scale = SCALES[reproduction.scale]
    plain = {"preset": scale.preset, **scale.plain}
    best = {
        "preset": BEST,
        **scale.best,
        "start-from": general,
        "discriminators": "semantic:4+features:6+projection:1",
        "tag": CONDITIONAL,
    }
    return [
        training_step(reproduction, CIC, (CIC,), {**plain, **scale.cic}),
        *(
            training_step(reproduction, name, (GENERAL,), {**plain, **arm, "tag": name})
            for name, arm in ARMS.items()
        ),
        training_step(reproduction, BEST_CONDITIONAL, (GENERAL,), best),
    ]


def diverse_step(reproduction: Reproduction, general: str) -> Step:
    """The step that adds noise to the general `best`, whose own colours stay as they are.

    Args:
        reproduction: the reproduction.
        general: the package of the general `best`.
    """
    scale = SCALES[reproduction.scale]
    sized = {name: value for name, value in scale.best.items() if name != "epochs"}
    hyper = {"preset": BEST, **sized, "start-from": general, **_NOISE, "tag": DIVERSE}
    return training_step(reproduction, DIVERSE, (GENERAL,), hyper)


def measuring_steps(
    reproduction: Reproduction, models: Mapping[str, str], seeing: Seeing, drawn: bool
) -> list[Step]:
    """The steps that measure the further models.

    Args:
        reproduction: the reproduction.
        models: the packages of all models, by their names in the tables.
        seeing: the networks that say what a picture shows.
        drawn: whether the dataset has drawn scenes alone.
    """
    scale = SCALES[reproduction.scale]
    first = (ASSEMBLED, GENERAL, HYPERCOLUMN, CIC)
    second = (ASSEMBLED, GENERAL, *ARMS, BEST, BEST_GENERAL, BEST_CONDITIONAL)

    def evaluation(part: str, names: tuple[str, ...], fcn: str = "") -> Step:
        chosen = {name: models[name] for name in names}
        return evaluation_step(reproduction, part, chosen, scale.photographs, fcn)

    steps = [evaluation(FURTHER, first, seeing.segmenter), evaluation(CONDITIONAL, second)]
    if known_to_labels(reproduction) and len(scale.classifiers) > 1:
        steps.append(_classifiers(reproduction, scale.classifiers))
    pair = [f"{name}={models[name]}" for name in (BEST, BEST_GENERAL)]
    steps.append(_robustness(reproduction, ROBUSTNESS, pair))
    steps.append(_robustness(reproduction, CLASS_ROBUSTNESS, pair[:1], against="class"))
    steps.append(_variants(reproduction, models[DIVERSE]))
    if knows_labels(reproduction):
        steps.append(_hybrids(reproduction, seeing.detector, drawn))
    return steps


def _variants(reproduction: Reproduction, model: str) -> Step:
    options = {
        "dataset": reproduction.dataset["name"],
        "report": reproduction.run(VARIANTS),
        "model": model,
        **SCALES[reproduction.scale].variants,
    }
    return Step(VARIANTS, COMMAND, ("variants", *options_of(options)))


def _hybrids(reproduction: Reproduction, detector: str, drawn: bool) -> Step:
    scenes = {"kind": "scenes"}
    options = {
        "report": reproduction.run(HYBRIDS),
        **(scenes if drawn else {"dataset": reproduction.dataset["name"], "kind": "beside"}),
        "detector": detector,
        "router": LABELS,
        **SCALES[reproduction.scale].hybrids,
    }
    return Step(HYBRIDS, COMMAND, ("hybrids", *options_of(options)))


def _classifiers(reproduction: Reproduction, names: tuple[str, ...]) -> Step:
    options = {
        "dataset": reproduction.dataset["name"],
        "report": reproduction.run(CLASSIFIERS),
    }
    listed = ("--classifier", *names)
    return Step(CLASSIFIERS, COMMAND, ("evaluate-router", *options_of(options), *listed))


def _robustness(reproduction: Reproduction, part: str, models: list[str], **more: str) -> Step:
    options = {
        "dataset": reproduction.dataset["name"],
        "report": reproduction.run(part),
        **SCALES[reproduction.scale].robustness,
        **more,
    }
    return Step(part, COMMAND, ("robustness", *options_of(options), "--models", *models))
