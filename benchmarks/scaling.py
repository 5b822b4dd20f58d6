"""How costs scale: the time of a training epoch, and the memory and cold start of the service.

    python -m benchmarks.scaling [--quick | --full] [--json FILE]

The time of an epoch as a function of photographs, pixels, batch size or width is fitted as
c x^exponent, by least squares on the logarithms of the medians over rounds. The reference is the
same number of reference steps, fitted over the same points in the same rounds. Then one process of
the service without Ray loads 3, 10 and 30 generators besides the router; the results are the time
from the start of the process until it is ready, and its memory. All sizes are small.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from benchmarks.children import Child, Facts, Work, settler
from benchmarks.face import LATE, Settings, left_out, main_of, note
from benchmarks.inference import report_config
from benchmarks.machine import memory_mib
from benchmarks.measure import (
    AGAIN,
    Result,
    Spread,
    Unavailable,
    Variant,
    interleave,
)
from benchmarks.packages import publish_untrained, spread
from benchmarks.training_step import make_ours, make_reference
from colorgan.classes import imagenet_labels
from colorgan.evaluation.statistics import PowerLaw, fit_power_law
from colorgan.inference.router_choice import RouterConfig
from colorgan.models.architectures import GeneratorConfig
from colorgan.temporary import temporary_folder
from colorgan.training.config import SpeedConfig
from colorgan.training.presets import PRESETS

NAME = "scaling"
OURS = "colorgan"

_CLASSES = "classes.toml"  # the router's classes, in a storage of generators
REFERENCE = "reference step"

_MIB = 2**20


@dataclass(frozen=True)
class _Point:
    """The sizes of a timed epoch; `photographs` is a multiple of `batch`."""

    photographs: int
    size: int
    batch: int
    width: int


def run(settings: Settings) -> list[Result]:
    """Fit the time of epochs over each variable, then load generators."""
    device, settings = settings.device_type, settings.within(110)
    base = settings.pick(_Point(4, 32, 2, 4), _Point(8, 64, 4, 32), _Point(20, 128, 5, 32))
    # Points by variable, and by the value x of the variable.
    photographs = [
        base.photographs * n for n in settings.pick((1, 2), (1, 2, 4, 8), (1, 2, 4, 8, 16))
    ]
    sides = settings.pick((32, 64), (32, 64, 128), (32, 64, 128, 256))
    batches = settings.pick((1, 2), (1, 2, 4, 8, 16), (1, 2, 5, 10, 20, 40))
    widths = settings.pick((2, 4), (8, 16, 32, 64), (8, 16, 32, 64))
    families = {
        "photographs": {x: replace(base, photographs=x) for x in photographs},
        "pixels": {x * x: replace(base, size=x) for x in sides},
        "batch size": {x: replace(base, photographs=batches[-1], batch=x) for x in batches},
        "width": {x: replace(base, width=x) for x in widths},
    }
    results = []
    for family, points in families.items():
        if settings.late():
            results.append(left_out(NAME, f"an epoch over {family}", LATE))
            continue
        note(f"  an epoch over {family}")
        results += _fit(settings, family, points, device)
    try:
        return results + _generators(settings, device)
    except Unavailable as reason:
        return [*results, left_out(NAME, "generators in one process", str(reason))]


def _fit(settings: Settings, family: str, points: dict[int, _Point], device: str) -> list[Result]:
    """Time a family's points in the same rounds, and fit each contender's exponent."""
    variants = [variant for x, point in points.items() for variant in _contenders(x, point, device)]
    timings = interleave(variants, settings.rounds(), settler(device))
    xs = list(points)
    rows = []
    for name in (REFERENCE, AGAIN, OURS):
        found = [timings.seconds[f"{name}, {x}"] for x in xs]
        law = fit_power_law(xs, [statistics.median(seconds) for seconds in found])
        rounds = [fit_power_law(xs, seconds).exponent for seconds in zip(*found, strict=True)]
        ends = {
            f"s at {x}": statistics.median(found[place]) for x, place in ((xs[0], 0), (xs[-1], -1))
        }
        case = f"an epoch over {family}"
        facts: Facts = {"rounds": str(Spread.of(rounds)), **_quality(law), **ends}
        rows.append(Result(NAME, case, name, law.exponent, "exponent", facts=facts))
    return rows


def _contenders(x: int, point: _Point, device: str) -> list[Variant]:
    steps = point.photographs // point.batch
    reference = make_reference(point.size, point.batch, steps, device, point.width)
    config = replace(
        PRESETS["report"].training,
        size=point.size,
        batch_size=point.batch,
        width=point.width,
        discriminator_width=point.width,
        epochs=sys.maxsize,
    )
    ours = make_ours(config, SpeedConfig(), steps, device)
    return [
        Variant(f"{REFERENCE}, {x}", reference.run),
        Variant(f"{AGAIN}, {x}", reference.run),
        Variant(f"{OURS}, {x}", ours.run),
    ]


def _quality(law: PowerLaw) -> Facts:
    return {"R²": f"{law.r_squared:.4f}"}


def _generators(settings: Settings, device: str) -> list[Result]:
    """Load different numbers of generators in a new process of the service, in every round."""
    small = GeneratorConfig(size=128, width=24)  # as in the preset `small`
    config = settings.pick(GeneratorConfig(size=32, width=2), small, report_config())
    counts = settings.pick((1, 2), (3, 10, 30), (3, 10, 30))
    cold: dict[int, list[float]] = {count: [] for count in counts}
    memory: dict[int, list[float]] = {count: [] for count in counts}
    facts: dict[int, Facts] = {}
    with temporary_folder("bench") as folder:
        card = publish_untrained(Path(folder, "one"), config)
        for count in counts:
            names = [f"class{number}" for number in range(count)]
            spread(Path(folder, str(count)), Path(folder, "one"), card, names)
            _write_classes(Path(folder, str(count), _CLASSES), names)
        for number in range(settings.pick(1, 2, 5)):
            if number and settings.late():
                break
            for count in counts if number % 2 else reversed(counts):
                note(f"  {count} generators in one process")
                where = str(Path(folder, str(count)))
                arguments = (where, device, time.time())
                with Child(f"{count} generators", make_service, *arguments) as child:
                    facts[count], _ = child.end()
                cold[count].append(float(facts[count]["s to ready"]))
                memory[count].append(float(facts[count]["MiB"]))
    weights = sum(file.bytes for file in card.files.values()) / _MIB
    what = f"{config.size} px, width {config.width}"
    return [
        *_growth(f"cold start over generators ({what})", "s", cold, {}),
        *_growth(
            f"memory over generators ({what})",
            "MiB",
            memory,
            {"weights": f"{weights:.1f} MiB each"},
        ),
    ]


def _write_classes(path: Path, names: Sequence[str]) -> None:
    """Write a classes file for the router that gives each model one ImageNet label."""
    lines = [f'fallback = "{names[0]}"']
    for name, label in zip(names, imagenet_labels(), strict=False):
        lines += [f"[classes.{name}]", f'{label.synset} = "{label.name}"']
    path.write_text("\n".join(lines) + "\n", "utf-8")


def _growth(case: str, unit: str, found: dict[int, list[float]], facts: Facts) -> list[Result]:
    """A row for each number of generators, and one for the linear and power-law fits."""
    medians = {count: statistics.median(values) for count, values in found.items()}
    rows = [
        Result(
            NAME,
            case,
            f"{count} generators",
            median,
            unit,
            facts=({"rounds": str(Spread.of(found[count]))}),
        )
        for count, median in medians.items()
    ]
    each, alone = statistics.linear_regression(list(medians), list(medians.values()))
    law = fit_power_law(list(medians), list(medians.values()))
    line: Facts = {f"{unit} each": each, f"{unit} without": alone, **_quality(law), **facts}
    return [*rows, Result(NAME, case, OURS, law.exponent, "exponent", facts=line)]


def make_service(storage: str, device: str, launched: float) -> Work:
    """Work that starts the service without Ray, and reports its start-up times and memory.

    Args:
        storage: URI of the storage of the generators.
        device: cpu or cuda.
        launched: when the process was started, in seconds since the Unix epoch.

    Raises:
        Unavailable: a package that the service needs is not installed.
    """
    try:
        from serve.backend import LocalBackend
        from serve.config import ServeConfig
    except ImportError as error:
        raise Unavailable(str(error)) from None
    imported = time.time()
    config = ServeConfig(
        storage=storage,
        router=RouterConfig(classes=str(Path(storage, _CLASSES))),
        device="gpu" if device == "cuda" else "cpu",
    )
    backend = LocalBackend(config)
    ready = time.time()
    facts: Facts = {
        "s to import": imported - launched,
        "s to ready": ready - launched,
        "MiB": memory_mib("VmRSS") if device == "cpu" else torch.cuda.memory_allocated() / _MIB,
        "generators": len(asyncio.run(backend.models())),
    }
    return Work(lambda: None, lambda: facts)


if __name__ == "__main__":
    sys.exit(main_of(NAME, run, __doc__))
