"""The scales of a reproduction: what each of them trains and measures."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from colorgan.names import HYPERCOLUMN

# Routers' heads: one learned from the photographs alone, the other from worn copies of them, too.
HEAD, WORN_HEAD = "head", "head with worn copies"

# EfficientNet-Lite, and those of torchvision that the 2018 report tried or names.
CLASSIFIERS = (
    *("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"),
    *("alexnet", "vgg16", "inception_v3"),
)


@dataclass(frozen=True)
class Scale:
    """The extent of a reproduction.

    Attributes:
        description: purpose and duration, for the help text and the page.
        preset: preset of the plain cGANs, which are like those of the report.
        plain: hyper-parameters of the plain cGANs that override the preset.
        epochs: number of epochs of general and hypercolumn, where it differs from the preset.
        best: hyper-parameters that override the preset `best`.
        swept: hyper-parameters of the sweeps' trials that override `plain`.
        sizes: image sizes to compare, in pixels.
        batches: batch sizes to compare.
        shares: shares of a class's training photographs to compare; 1 means all.
        eval_every: number of epochs between the evaluations of a sweep.
        photographs: number of test photographs that the comparison measures; 0 means all.
        realizations: number of colourings of each photograph with dropout on.
        in_turn: whether a sweep trains one trial at a time, so that trials do not slow each other.
        cic: hyper-parameters of CIC that override `plain`.
        classifiers: the classifiers that are compared as routers.
        worn: number of worn copies of each test photograph that are routed.
        heads: the routers' heads that are trained for these: HEAD, WORN_HEAD.
        masks: options of `colorgan scenes`, from whose masks the networks below learn if the
            dataset has drawn scenes.
        segmenter: options of `colorgan train-segmenter`.
        detector: options of `colorgan train-detector`.
        hybrids: options of `colorgan hybrids`.
        robustness: options of `colorgan robustness`.
        variants: options of `colorgan variants`.
        here: whether only the first job of each kind runs on Ray, and all others in this process,
            which saves the start of their processes.
        scenes: photographs per class, and their short side in pixels, of the scenes that are staged
            if storage has no dataset; None for those of `colorgan stage scenes`.
    """

    description: str
    preset: str
    plain: Mapping[str, Any]
    epochs: Mapping[str, int]
    best: Mapping[str, Any]
    swept: Mapping[str, Any]
    sizes: tuple[int, ...]
    batches: tuple[int, ...]
    shares: tuple[float, ...]
    eval_every: int
    photographs: int
    realizations: int
    in_turn: bool = False
    cic: Mapping[str, Any] = field(default_factory=dict)
    classifiers: tuple[str, ...] = CLASSIFIERS
    worn: int = 5
    heads: tuple[str, ...] = (HEAD, WORN_HEAD)
    masks: Mapping[str, Any] = field(default_factory=dict)
    segmenter: Mapping[str, Any] = field(default_factory=dict)
    detector: Mapping[str, Any] = field(default_factory=dict)
    hybrids: Mapping[str, Any] = field(default_factory=dict)
    robustness: Mapping[str, Any] = field(default_factory=dict)
    variants: Mapping[str, Any] = field(default_factory=dict)
    here: bool = False
    scenes: tuple[int, int] | None = None


SCALES: Mapping[str, Scale] = {
    "smoke": Scale(
        "minutes on two cores, to see that everything runs: its numbers mean nothing",
        preset="small",
        plain={
            "size": 64,
            "width": 8,
            "discriminator_width": 8,
            "batch_size": 4,
            "epochs": 2,
        },
        epochs={HYPERCOLUMN: 1},
        best={"size": 64, "width": 8, "epochs": 1},
        swept={"epochs": 2},
        sizes=(32, 64),
        batches=(1, 10),
        shares=(0.5, 1.0),
        eval_every=1,
        photographs=6,
        realizations=3,
        cic={"width": 4, "epochs": 1},
        classifiers=("efficientnet_lite0", "efficientnet_lite2"),
        worn=1,
        heads=(WORN_HEAD,),
        masks={"per_class": 8, "size": 64, "hybrids": 5},
        segmenter={"size": 64, "width": 16, "epochs": 2},
        detector={"size": 64, "width": 32, "epochs": 1},
        hybrids={"pictures": 3, "size": 64},
        robustness={"photographs": 3, "epsilons": "8", "steps": 2, "examples": 1},
        variants={"variants": 3, "photographs": 3, "examples": 1},
        here=True,
        scenes=(40, 64),
    ),
    "cpu": Scale(
        "four hours on two cores, with 800 photographs a class: the preset small, 128 px",
        preset="small",
        plain={"epochs": 7},
        epochs={HYPERCOLUMN: 4},
        best={},
        swept={"epochs": 3},
        sizes=(128, 256),
        batches=(1, 5, 10),
        shares=(0.125, 0.25, 0.5, 1.0),
        eval_every=1,
        photographs=0,
        realizations=8,
        in_turn=True,
        cic={
            "size": 64,
            "width": 16,
            "epochs": 5,
            "decay_share": 0,
            "average": 0.998,
            "channels_last": "on",
        },
        masks={"per_class": 200, "size": 64, "hybrids": 200},
        segmenter={"size": 64},
        robustness={"photographs": 60, "epsilons": "0.5,2,8"},
        variants={"photographs": 60},
    ),
    "report": Scale(
        "the report's own schedule, for a GPU: 256 px, width 64, batch 5, 350, 200, 300 and 120 "
        "epochs",
        preset="report",
        plain={},
        epochs={HYPERCOLUMN: 40},
        best={},
        swept={"epochs": 100},
        sizes=(128, 256),
        batches=(1, 5, 10),
        shares=(0.125, 0.25, 0.5, 1.0),
        eval_every=10,
        photographs=0,
        realizations=8,
        masks={"per_class": 200, "size": 128, "hybrids": 200},
        robustness={"epsilons": "0.5,2,8"},
    ),
}
