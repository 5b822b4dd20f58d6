"""The tables of the model of scale, in Markdown, as docs/scale.md has them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.scale_model import (
    CLASSES,
    GPUS,
    IMAGENET,
    Costs,
    color,
    cpu_step,
    train_all,
    worker_gib,
)
from colorgan.training.presets import PRESETS

COMMAND = "python -m benchmarks.scale_model --measure"
LARGE_BATCH = 512
_WAVE, _ITEMS = 100_000, 64  # as in cluster/archives.py
_ROWS = 256  # photographs of a task of cluster/streaming.py
_SIZES = (("small", "png", "500 x 375, PNG"), ("large", "jpeg", "4000 x 3000, JPEG"))


def tables(costs: Costs, data: Mapping[str, Any]) -> dict[str, str]:
    """Every table by its name."""
    return {
        "costs": costs_table(data),
        "training": training_table(costs),
        "archive": archive_table(costs),
        "limits": limits_table(costs),
        "checks": checks_table(data["checks"], costs),
    }


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; columns of numbers are aligned to the right."""
    right = [
        all(cell[:1].isdigit() or cell[:1] in "+-" for cell in column)
        for column in zip(*rows, strict=True)
    ]
    rule = ["---:" if each else "---" for each in right]
    return "\n".join(f"| {' | '.join(line)} |" for line in (headings, rule, *rows))


def number(value: float) -> str:
    """A number in three digits."""
    if abs(value) < 1000:
        return f"{float(f'{value:.3g}'):g}"
    digits = max(0, int(math.log10(abs(value))) - 2)
    return f"{round(value, -digits):,.0f}"


def costs_table(data: Mapping[str, Any]) -> str:
    """The costs that decide, with their sources; `measured` is by this program."""
    rows = []
    for name in data["shown"]:
        entry = data["costs"][name]
        value, unit = entry["value"], entry["unit"]
        if unit == "s" and value < 1:
            value, unit = 1000 * value, "ms"
        if unit == "bytes" and value >= 1e9:
            value, unit = value / 1e9, "GB"
        elif unit == "bytes" and value >= 1e3:
            value, unit = value / 1e3, "kB"
        elif unit == "bytes/s":
            value, unit = value / 1e9, "GB/s"
        mark = " *" if entry["assumed"] else ""
        source = "measured" if entry["source"] == COMMAND else entry["source"]
        rows.append([entry["what"], f"{number(value)} {unit}{mark}", source])
    return markdown(("cost", "", "source"), rows)


def training_table(costs: Costs) -> str:
    """ImageNet by preset, batch size and GPUs, with 3 and with 30 classes."""
    rows = []
    for preset in ("best", "report"):
        for batch in (PRESETS[preset].training.batch_size, LARGE_BATCH):
            for gpus in GPUS:
                made = [train_all(costs, preset, classes, gpus, batch) for classes in CLASSES]
                rows.append(
                    [
                        f"{preset}, {batch}",
                        str(gpus),
                        *(f"{each.general} + {each.each}" for each in made),
                        *(number(each.hours) for each in made),
                        *(number(each.dollars) for each in made),
                        number(max(each.gets_s for each in made)),
                        number(max(each.network for each in made) / 1e6),
                        " and ".join(f"{each.idle:.0%}" for each in made),
                        " and ".join(dict.fromkeys(each.bottleneck for each in made)),
                    ]
                )
    one, two = CLASSES
    headings = (
        "preset, batch size",
        "GPUs",
        f"workers: general + class, {one} classes",
        f"{two} classes",
        f"hours *, {one}",
        f"{two}",
        f"$ *, {one}",
        f"{two}",
        "GETs/s",
        "MB/s",
        f"GPUs without a worker, {one} and {two}",
        "what a step waits for",
    )
    return markdown(headings, rows)


def archive_table(costs: Costs) -> str:
    """Ten million photographs by size, kind and number of machines."""
    rows = []
    for size, kind, words in _SIZES:
        for gpu in (False, True):
            for machines in GPUS:
                made = color(costs, size, kind, machines, gpu)
                rows.append(
                    [
                        words,
                        f"{machines} with a GPU *" if gpu else str(machines),
                        number(made.hours),
                        number(made.dollars),
                        number(made.rate),
                        number(made.store_gib),
                        made.bottleneck,
                    ]
                )
    headings = (
        "photographs",
        "machines",
        "hours",
        "$ *",
        "photographs/s",
        "object store a machine, GiB",
        "what saturates first",
    )
    return markdown(headings, rows)


def limits_table(costs: Costs) -> str:
    """What the largest cases ask of Ray and of S3, beside the published limits."""
    training = train_all(costs, "best", 30, 64, LARGE_BATCH)
    archive = color(costs, "small", "png", 64, gpu=True)
    machines = 64 / costs["gpus_per_machine"]
    cpus = 64 * costs["cpus_per_gpu"]
    decoding = min(costs["data_processes"], costs["cpus_per_gpu"]) * 64
    rows = [
        ("nodes of a cluster", "ray_nodes", machines, 64),
        ("actors", "ray_actors", 64 + 4, 64 + 2),
        ("tasks that run at once", "ray_tasks", decoding, cpus),
        ("placement groups at once", "ray_groups", training.models, 0),
        ("tasks in a queue", "ray_queued", IMAGENET / _ROWS, _WAVE / _ITEMS),
        ("GETs a second and prefix", "s3_gets", training.gets_s, archive.rate),
        ("PUTs a second and prefix", "s3_puts", 0, archive.rate),
        ("memory of the driver: names, GiB", "head_gib", 0, archive.head_gib),
        ("memory of a worker and its processes, GiB", "gib_per_gpu", worker_gib(costs), 0),
        ("memory of an object store, GiB", "store_gib", 0, archive.store_gib),
    ]
    return markdown(
        ("limit", "at least, or assumed *", "training, 64 GPUs", "archive, 64 machines with a GPU"),
        [[words, *(number(each) for each in (costs[name], *used))] for words, name, *used in rows],
    )


def checks_table(checks: Mapping[str, Any], costs: Costs) -> str:
    """Predicted and measured, with the residual in per cent of the measured."""
    rows = [
        [words, number(predicted), number(measured), f"{predicted / measured - 1:+.0%}"]
        for words, predicted, measured in predictions(checks, costs)
    ]
    return markdown(("on two cores", "predicted, s", "measured, s", "residual"), rows)


def predictions(checks: Mapping[str, Any], costs: Costs) -> list[tuple[str, float, float]]:
    """What the model predicts of a larger case from smaller ones, and what was measured.

    The runs of each check stand in data files as benchmarks/scale_check.py prints them.
    """
    return [
        *_of_workers(checks["workers"]["runs"]),
        *_of_scenes(checks["scenes"]["runs"]),
        *_of_archive(checks["archive"]["runs"], costs),
        _of_smaller(checks["archive_pipeline"], costs),
    ]


def _of_workers(runs: Sequence[Mapping[str, Any]]) -> list[tuple[str, float, float]]:
    """Steps of several workers, from those of one with two sizes of batch and the all-reduces."""
    one, *others = runs
    small, large = (int(name) for name in one if name.isdigit())
    few, many = (one[str(batch)]["processor"] for batch in (small, large))
    each = (many - few) / (large - small)
    found = []
    for run in others:
        for batch in (small, large):
            measured = run[str(batch)]
            sync = run["gradients"] + measured["calls"] * run["small"]
            count = run["workers"]
            predicted = cpu_step(few - small * each, each, batch, count, sync)
            words = f"a step of `best`, batch {batch}, {count} workers"
            found.append((words, predicted, measured["processor"]))
    return found


def _of_scenes(runs: Mapping[str, Any]) -> list[tuple[str, float, float]]:
    """An epoch of the most photographs, from those of the two smaller numbers."""
    (few, first), (more, second), *larger = _by_count(runs)
    each = (second - first) / (more - few)
    return [
        (
            f"an epoch of {most:,} scenes as a stream, from {few:,} and {more:,}",
            first + (most - few) * each,
            measured,
        )
        for most, measured in larger
    ]


def _of_archive(runs: Mapping[str, Any], costs: Costs) -> list[tuple[str, float, float]]:
    """Colouring more photographs, from fewer and the unit costs of the steps."""
    (few, first), (more, second) = _by_count(runs)
    each = costs["archive_small_read"] + costs["archive_color"] + costs["archive_small_png"]
    return [(f"colouring {more:,} photographs, from {few:,}", first + (more - few) * each, second)]


def _of_smaller(check: Mapping[str, Any], costs: Costs) -> tuple[str, float, float]:
    """A photograph of fewer pixels, in which the files' cost is in proportion."""
    files = costs["archive_small_read"] + costs["archive_small_jpeg"]
    predicted = costs["archive_color"] + files * check["pixels"]
    return "colouring one of 384 x 288 as JPEG, from 500 x 375", predicted, check["seconds"]


def _by_count(runs: Mapping[str, Any]) -> list[tuple[int, float]]:
    return sorted((int(count), run["processor"]) for count, run in runs.items())
