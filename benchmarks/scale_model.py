"""A model of time, money and memory beyond the machines that colorgan was measured on.

    python -m benchmarks.scale_model [--costs FILE] [--json FILE] [--gpu-hour DOLLARS] ...
    python -m benchmarks.scale_model --measure [--photos FOLDER]

Every number comes from the data file (benchmarks/results/scale_costs.json), where it stands with
its source: the benchmark that measured it, the document that states it, or the assumption that it
is. The tables are those of docs/scale.md; an asterisk marks what rests on assumptions.

A step of a training takes, in each worker,

    seconds = max(device + all-reduce, data)
    device = max(photographs x GFLOP / (peak x share), start of the step's kernels)
    all-reduce = gradients x 2 (workers - 1) / workers / bandwidth + collectives x latency
    data = photographs x seconds of a core to read and crop one / processes that decode

and what is the largest of these is its bottleneck. Nothing else is modelled: validations,
checkpoints and lost machines come on top.
"""

import argparse
import heapq
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from colorgan.commands.process import guarded
from colorgan.errors import ColorganError
from colorgan.files import write_file
from colorgan.training.presets import PRESETS

DATA = Path(__file__).with_name("results") / "scale_costs.json"
IMAGENET, ARCHIVE = 1_281_167, 10_000_000
GPUS = (1, 8, 64)
CLASSES = (3, 30)
_PART = 8 * 2**20  # bytes of a request of colorgan/storage/s3.py
_MONTH = 730.0  # hours
_GIB = 2**30
_BATCH_ON_GPU = 32  # photographs that an actor colours at once, as in cluster/archives.py
_LIST = 1000  # names in a page of a listing


@dataclass(frozen=True)
class Costs:
    """The numbers of the data file, by name."""

    values: Mapping[str, float]

    def __getitem__(self, name: str) -> float:
        """A number; raises KeyError."""
        return self.values[name]

    @classmethod
    def of(cls, data: Mapping[str, Any], **prices: float | None) -> "Costs":
        """The numbers of a data file's content, with other prices where they are given."""
        values = {name: float(entry["value"]) for name, entry in data["costs"].items()}
        return cls({**values, **{k: v for k, v in prices.items() if v is not None}})


@dataclass(frozen=True)
class Step:
    """A step of a training, in seconds.

    Attributes:
        terms: the alternatives of which the largest decides, by name.
        reduce: the all-reduce, which adds to the device's time.
    """

    terms: Mapping[str, float]
    reduce: float

    @property
    def seconds(self) -> float:
        """The duration."""
        device = max(self.terms["arithmetic"], self.terms["kernel starts"])
        return max(device + self.reduce, self.terms["decoding"])

    @property
    def bottleneck(self) -> str:
        """The name of the largest term."""
        every = {**self.terms, "all-reduce": self.reduce}
        return max(every, key=lambda name: every[name])


def step(costs: Costs, work: str, preset: str, batch: int, workers: int) -> Step:
    """The duration of a step of `batch` photographs, divided among workers with a GPU each."""
    photographs = math.ceil(batch / workers)
    across = workers > costs["gpus_per_machine"]
    bandwidth = costs["network_bytes_s"] / costs["gpus_per_machine"]
    bandwidth = bandwidth if across else costs["nvlink_bytes_s"]
    collectives = 3 * costs[f"{work}_norms"] + costs["collectives"]
    reduced = costs[f"{work}_gradient_bytes"] * 2 * (workers - 1) / workers / bandwidth
    processes = min(costs["data_processes"], costs["cpus_per_gpu"])
    flops = photographs * costs[f"{work}_gflop"] * 1e9
    return Step(
        {
            "arithmetic": flops / (costs["gpu_tflops"] * 1e12 * costs["gpu_share"]),
            "kernel starts": costs["step_floor"],
            "decoding": photographs * costs[f"stream_{preset}"] / processes,
        },
        reduced + collectives * costs["collective_latency"] if workers > 1 else 0.0,
    )


@dataclass(frozen=True)
class Model:
    """A model's training.

    Attributes:
        hours: its duration.
        workers: its workers.
        bottleneck: what its longest phase waits for.
        photographs_s: photographs a second, of all workers.
    """

    hours: float
    workers: int
    bottleneck: str
    photographs_s: float


def works(preset: str, model: str) -> dict[str, float]:
    """The epochs of a model by the name of their cost, from the preset's own phases."""
    config = PRESETS[preset].config(model, {})
    found: dict[str, float] = {}
    for phase in config.phases_of(model):
        kind = "regression" if phase.objective == "regression" else "adversarial"
        name = preset if preset == "report" else f"{preset}_{kind}"
        found[name] = found.get(name, 0.0) + phase.share * config.epochs
    return found


def train(
    costs: Costs, preset: str, model: str, photographs: float, batch: int, workers: int
) -> Model:
    """The training of one model on `photographs` with `workers` GPUs."""
    seconds, terms = 0.0, dict[str, float]()
    passes = 0.0
    for work, epochs in works(preset, model).items():
        each = step(costs, work, preset, batch, workers)
        took = epochs * math.ceil(photographs / batch) * each.seconds
        terms[each.bottleneck] = terms.get(each.bottleneck, 0.0) + took
        seconds, passes = seconds + took, passes + epochs * photographs
    bottleneck = max(terms, key=lambda name: terms[name])
    return Model(seconds / 3600, workers, bottleneck, passes / seconds)


def makespan(hours: Sequence[float], places: int) -> float:
    """When the last of some trainings ends; each takes the next free place, the longest first."""
    free = [0.0] * places
    for each in sorted(hours, reverse=True):
        heapq.heappush(free, heapq.heappop(free) + each)
    return max(free)


@dataclass(frozen=True)
class Training:
    """The training of all models of a dataset.

    Attributes:
        hours: duration, from the start of the job.
        dollars: machines, requests and a month's share of the storage.
        general: workers of the general model.
        each: workers of each class's model.
        bottleneck: what the longest part waits for.
        idle: the share of the GPU-hours in which a GPU has nothing to do.
        gets_s: greatest number of requests a second to storage.
        network: greatest number of bytes a second from storage.
        models: the most models that train at once.
    """

    hours: float
    dollars: float
    general: int
    each: int
    bottleneck: str
    idle: float
    gets_s: float
    network: float
    models: int


def train_all(
    costs: Costs, preset: str, classes: int, gpus: int, batch: int, photographs: int = IMAGENET
) -> Training:
    """The training of a general model and one for each class, on some GPUs.

    Models that start from the general one wait for it. The number of workers is the fastest one,
    and never more than a step has photographs.
    """
    first = bool(PRESETS[preset].training.start_from)
    numbers = range(1, min(batch, gpus) + 1)

    def general_by(workers: int) -> Model:
        return train(costs, preset, "general", photographs, batch, workers)

    def class_by(workers: int) -> Model:
        return train(costs, preset, "class", photographs / classes, batch, workers)

    def classes_last(workers: int) -> float:
        return makespan([class_by(workers).hours] * classes, gpus // workers)

    def all_last(workers: int) -> float:
        hours = [general_by(workers).hours, *[class_by(workers).hours] * classes]
        return makespan(hours, gpus // workers)

    if first:
        general = general_by(min(numbers, key=lambda workers: general_by(workers).hours))
        each = class_by(min(numbers, key=classes_last))
        hours = general.hours + classes_last(each.workers)
    else:
        workers = min(numbers, key=all_last)
        general, each, hours = general_by(workers), class_by(workers), all_last(workers)
    at_once = min(gpus // each.workers, classes + (not first))
    rate = max(general.photographs_s, at_once * each.photographs_s)
    stored = costs["shard_bytes_286"]
    passes = sum(works(preset, "general").values()) + sum(works(preset, "class").values())
    gets = passes * photographs * stored / _PART
    busy = general.hours * general.workers + classes * each.hours * each.workers
    hours += costs["start_up"] / 3600
    machines = gpus * hours * costs["gpu_hour"]
    kept = photographs * stored / 1e9 * costs["storage_gb_month"] * hours / _MONTH
    return Training(
        hours=hours,
        dollars=machines + gets * costs["get_price"] + kept,
        general=general.workers,
        each=each.workers,
        bottleneck=max(general, each, key=lambda model: model.hours).bottleneck,
        idle=max(0.0, 1 - busy / (gpus * hours)),
        gets_s=rate * stored / _PART,
        network=rate * stored,
        models=at_once,
    )


def worker_gib(costs: Costs) -> float:
    """Memory of a worker with the processes that decode for it, whatever the photographs."""
    processes = min(costs["data_processes"], costs["cpus_per_gpu"])
    return (costs["trainer_mib"] + processes * costs["decoder_mib"]) / 1024


@dataclass(frozen=True)
class Archive:
    """The colouring of an archive.

    Attributes:
        hours: duration.
        dollars: machines and requests.
        rate: photographs a second.
        limits: the rates that each part alone would allow, by name.
        head_gib: memory of the driver for the list of names.
        store_gib: memory of the object store of each machine.
    """

    hours: float
    dollars: float
    rate: float
    limits: Mapping[str, float] = field(default_factory=dict)
    head_gib: float = 0.0
    store_gib: float = 0.0

    @property
    def bottleneck(self) -> str:
        """The part that allows the lowest rate."""
        return min(self.limits, key=lambda name: self.limits[name])


def color(
    costs: Costs, size: str, kind: str, machines: int, gpu: bool, photographs: int = ARCHIVE
) -> Archive:
    """An archive in a bucket, coloured into one, by machines of 16 CPUs, each with a GPU or not."""
    cpus = costs["cpus_per_gpu"]
    files = costs["archive_ray"] * (costs[f"archive_{size}_read"] + costs[f"archive_{size}_{kind}"])
    networks = costs["archive_ray"] * costs["archive_color"]
    limits: dict[str, float] = {}
    if gpu:
        flops = _BATCH_ON_GPU * costs["archive_gflop"] * 1e9
        batch = flops / (costs["gpu_tflops"] * 1e12 * costs["gpu_share"])
        started = costs["networks_a_batch"] * costs["step_floor"]
        limits["GPUs"] = machines * _BATCH_ON_GPU / max(batch, started)
        limits["CPUs: decode, encode"] = machines * cpus / files
    else:
        limits["CPUs: networks, files"] = machines * cpus / (files + networks)
    transferred = costs[f"archive_{size}_bytes"] + costs[f"archive_{size}_{kind}_bytes"]
    limits["network"] = machines * costs["machine_network_bytes_s"] / transferred
    limits["S3: PUTs of a prefix"] = costs["s3_puts"]
    limits["S3: GETs of a prefix"] = costs["s3_gets"]
    rate = min(limits.values())
    listing = photographs / _LIST * costs["list_seconds"]
    seconds = photographs / rate + listing + costs["start_up"]
    price = costs["gpu_hour"] if gpu else cpus * costs["cpu_hour"]
    requests = photographs * (costs["get_price"] + costs["put_price"])
    actors = machines if gpu else machines * cpus
    queued = max(costs["queued_mib_least"], costs["queued_mib"] * (machines * cpus + actors))
    return Archive(
        hours=seconds / 3600,
        dollars=machines * seconds / 3600 * price + requests,
        rate=rate,
        limits=limits,
        head_gib=photographs * costs["name_bytes"] / _GIB,
        store_gib=queued / 1024 / machines,
    )


def cpu_step(fixed: float, each: float, batch: int, workers: int, sync: float) -> float:
    """Processor seconds of a step on CPUs, of all workers with one thread each.

    Args:
        fixed: what each worker needs for a step, whatever its part of the batch.
        each: what a photograph needs.
        batch: photographs of the step.
        workers: the workers.
        sync: what a worker needs to exchange gradients and statistics with the others.
    """
    return workers * fixed + batch * each + (workers * sync if workers > 1 else 0.0)


_PRICES = ("gpu_hour", "cpu_hour", "storage_gb_month", "get_price", "put_price")


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables, or measure the costs; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale_model",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--costs", type=Path, default=DATA, help="the data file")
    parser.add_argument("--json", type=Path, help="also write the predictions to this file")
    parser.add_argument("--measure", action="store_true", help="measure the costs into --costs")
    parser.add_argument("--photos", type=Path, help="photographs whose shards --measure weighs")
    for name in _PRICES:
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(
            option, type=float, metavar="DOLLARS", help="instead of the data file's"
        )
    args = parser.parse_args(argv)
    return guarded(lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    data = read(args.costs)
    if args.measure:
        from benchmarks.face import Settings
        from benchmarks.scale_costs import measure
        from colorgan.system import about_machine

        data["costs"] |= measure(Settings(photos=args.photos))
        data["machine"] = about_machine()
        write_file(args.costs, (json.dumps(data, indent=2) + "\n").encode(), overwrite=True)
    from benchmarks.scale_tables import tables

    made = tables(Costs.of(data, **{name: getattr(args, name) for name in _PRICES}), data)
    print("\n\n".join(made.values()))
    if args.json:
        write_file(args.json, (json.dumps(made, indent=2) + "\n").encode(), overwrite=False)
    return 0


def read(path: Path) -> dict[str, Any]:
    """The content of a data file; raises ColorganError."""
    try:
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ColorganError(f"--costs {path} cannot be read: {error}") from None
    return content


if __name__ == "__main__":
    sys.exit(main())
