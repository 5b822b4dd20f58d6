"""Colouring photographs with all contestants of an evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import torch

from colorgan.classes import PhotoClasses
from colorgan.evaluation.results import GRAY, IDENTITIES, Contestant
from colorgan.images.decoding import Pixels
from colorgan.inference.colorizer import Colorizer, grayscale
from colorgan.inference.layers import Edges
from colorgan.inference.object_choice import ObjectConfig, open_detector
from colorgan.inference.objects import ObjectColorizer
from colorgan.models.detection import Detector
from colorgan.storage import Storage

ObjectDetection = tuple[Detector, Edges]


def open_detectors(
    contestants: Sequence[Contestant],
    config: ObjectConfig,
    storage: Storage,
    rule: PhotoClasses,
    device: torch.device | None = None,
) -> dict[str, ObjectDetection]:
    """Load the detectors of contestants, by name, with how they feather edges.

    Args:
        contestants: the contestants; those without a detector are passed over.
        config: the other options of the detectors.
        storage: the storage of their packages.
        rule: the photo classes, and the things that belong to each.
        device: the device that they run on.

    Raises:
        ColorganError: as `open_detector`.
    """
    names = dict.fromkeys(each.detector for each in contestants if each.detector)
    return {
        name: (
            open_detector(replace(config, detector=name), storage, rule, device),
            config.object_edges,
        )
        for name in names
    }


def color_by_contestants(
    contestants: Sequence[Contestant],
    colorizers: Mapping[str, Colorizer],
    originals: list[Pixels],
    sent_to: Sequence[str],
    detectors: Mapping[str, ObjectDetection] = MappingProxyType({}),
) -> dict[str, list[Pixels]]:
    """Colour photographs with every contestant; each package colours a photograph only once.

    Args:
        contestants: the contestants.
        colorizers: the colorizers by the references of the contestants' packages.
        originals: the photographs, (height, width, 3) uint8 sRGB each.
        sent_to: the class of each photograph by the router, for the assembled contestants.
        detectors: the detectors of the contestants that have one, by the contestants' `detector`.

    Returns:
        By contestant, in their order, its pictures, of the photographs' sizes.
    """
    made: dict[tuple[str, int], Pixels] = {}  # by package, which contestants may share

    def color(reference: str, places: Sequence[int]) -> None:
        places = [place for place in places if (reference, place) not in made]
        pictures = colorizers[reference]([originals[place] for place in places])
        made.update(zip([(reference, place) for place in places], pictures, strict=True))

    done: dict[str, list[Pixels]] = {}
    for contestant in contestants:
        if contestant.name in IDENTITIES:
            gray = contestant.name == GRAY
            done[contestant.name] = [grayscale(rgb) for rgb in originals] if gray else originals
            continue
        if contestant.detector:
            found = detectors[contestant.detector]
            done[contestant.name] = _color_objects(contestant, colorizers, originals, found)
            continue
        by_class = {each.partition("@")[0]: each for each in contestant.packages}
        chosen = [by_class[sent] if contestant.routed else contestant.reference for sent in sent_to]
        for reference in set(chosen):
            color(reference, [n for n, each in enumerate(chosen) if each == reference])
        done[contestant.name] = [made[each, place] for place, each in enumerate(chosen)]
    return done


def _color_objects(
    contestant: Contestant,
    colorizers: Mapping[str, Colorizer],
    originals: list[Pixels],
    found: ObjectDetection,
) -> list[Pixels]:
    detector, edges = found
    own = {each.partition("@")[0]: colorizers[each] for each in contestant.packages}
    return [each.rgb for each in ObjectColorizer(detector, own, edges)(originals)]
