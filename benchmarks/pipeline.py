"""The whole pipeline for one photograph and its stages, against its two networks alone.

    python -m benchmarks.pipeline [--quick | --full] [--photos FOLDER] [--json FILE]

The pipeline decodes a JPEG, colours it with `AssembledColorizer`, and encodes a PNG. The router
uses the embedded classifier; the generator is that of the preset `report` with random weights. The
reference is the forward pass of the classifier and of the generator on tensors in memory. Stages
are timed in a version of the pipeline that calls them one by one; shares refer to its time.
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import TypeVar

import torch

from benchmarks.face import Settings, main_of, note
from benchmarks.inference import forward, make_generator, report_config
from benchmarks.measure import Result, Variant, interleave
from benchmarks.photographs import large_photograph, photographs
from colorgan.classes import PhotoClasses
from colorgan.images import lab
from colorgan.images.decoding import decode, encode_png
from colorgan.inference.assembled import AssembledColorizer
from colorgan.inference.colorizer import Colorizer, prepare, recombine
from colorgan.inference.router import LabelRouter
from colorgan.models.architectures import GeneratorConfig
from colorgan.models.classifiers import load_classifier

NAME = "pipeline"
REFERENCE = "classifier and generator alone"

Done = TypeVar("Done")


def run(settings: Settings) -> list[Result]:
    """Measure a photograph of 500 x 375 pixels, and at the full scale one of 12 megapixels."""
    device = settings.device_type
    config = settings.pick(GeneratorConfig(size=32, width=4), report_config(), report_config())
    classifier = load_classifier(device=torch.device(device))
    router = LabelRouter(classifier, PhotoClasses.load())
    colorizer = Colorizer(make_generator(config, device))
    photos = photographs(settings, 1)
    if settings.scale == "full":
        photos.append(large_photograph(settings))
    return [row for photo in photos for row in _case(settings, photo, router, colorizer)]


def _case(
    settings: Settings, photo: bytes, router: LabelRouter, colorizer: Colorizer
) -> list[Result]:
    rgb = decode(photo).rgb
    case = f"{rgb.shape[1]} x {rgb.shape[0]}"
    note(f"  {case}")
    assembled = AssembledColorizer(router, dict.fromkeys(router.classes, colorizer))
    config, network = colorizer.config, router.classifier.network
    seen = router.prepare(rgb)[None].to(settings.device_type).expand(-1, 3, -1, -1) * 2 - 1
    square = prepare(rgb, config.size)[None].to(settings.device_type)
    lightness, _ = lab.encode(square, config.color_space)
    stages: dict[str, list[float]] = {}

    def alone() -> None:
        forward(network, seen)
        forward(colorizer.generator, lightness)

    def whole() -> None:
        encode_png(assembled([decode(photo).rgb])[0].rgb)

    def stage(name: str, work: Callable[[], Done]) -> Done:
        began = time.perf_counter()
        done = work()
        stages.setdefault(name, []).append(time.perf_counter() - began)
        return done

    def apart() -> None:
        pixels = stage("decode", lambda: decode(photo).rgb)
        view = stage("prepare for the router", lambda: router.prepare(pixels)[None])
        stage("route", lambda: router(view))
        batch = stage("prepare for the generator", lambda: prepare(pixels, config.size)[None])
        color = stage("generate", lambda: colorizer.generate(batch))
        joined = stage("recombine", lambda: recombine(pixels, color[0], config.color_space))
        stage("encode", lambda: encode_png(joined))

    timings = interleave(
        [
            Variant(REFERENCE, alone),
            Variant("colorgan, whole", whole),
            Variant("colorgan, stage by stage", apart),
        ],
        settings.rounds(),
    )
    rows = timings.results(NAME, case, "ms", lambda seconds: 1000 * seconds)
    medians = {name: statistics.median(seconds) for name, seconds in stages.items()}
    total = sum(medians.values())
    rows += [
        Result(
            NAME, case, f"  {name}", 1000 * seconds, "ms", facts={"share": f"{seconds / total:.1%}"}
        )
        for name, seconds in medians.items()
    ]
    return rows


if __name__ == "__main__":
    sys.exit(main_of(NAME, run, __doc__))
