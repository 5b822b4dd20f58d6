"""Measurements that the model of scale is checked against, on this machine.

    torchrun --nproc-per-node N -m benchmarks.scale_check workers
    python -m benchmarks.scale_check scenes STORAGE DATASET
    python -m benchmarks.scale_check archive FOLDER

Each prints a line of JSON with seconds by the clock and of processor time.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from colorgan.data.batches import PhotoBank
from colorgan.data.dataset import open_dataset
from colorgan.storage import open_storage
from colorgan.training.config import SpeedConfig, TrainingConfig
from colorgan.training.loop import Training
from colorgan.training.presets import PRESETS
from colorgan.workers import current_workers

_EPOCHS, _STEPS = 4, 5


def config_of(batch: int) -> TrainingConfig:
    """The preset `best`, against its adversary, at 128 px."""
    best = PRESETS["best"].training
    values = {"size": 128, "phases": "adversarial", "start_from": "", "epochs": _EPOCHS + 1}
    return replace(best, batch_size=batch, **values)  # type: ignore[arg-type]


def workers(batches: Sequence[int]) -> dict[str, Any]:
    """Seconds of a step of `best` by batch, and of an all-reduce of its gradients."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    those = current_workers()
    found: dict[str, Any] = {"workers": those.count}
    for batch in batches:
        found[str(batch)] = _step_seconds(config_of(batch), batch)
    found["parameters"] = found[str(batches[0])].pop("parameters")
    for name, size, repeats in (("gradients", found["parameters"], 10), ("small", 128, 200)):
        found[name] = _all_reduce_seconds(torch.zeros(size), repeats)
    return {**found, "first": those.first}


def _all_reduce_seconds(tensor: torch.Tensor, repeats: int) -> float:
    """Processor seconds of a worker for an all-reduce, the mean of all workers."""
    dist.all_reduce(tensor)
    started = time.process_time()
    for _ in range(repeats):
        dist.all_reduce(tensor)
    used = current_workers().sum(torch.tensor((time.process_time() - started) / repeats))
    return float(used) / current_workers().count


@contextmanager
def _counted() -> Iterator[list[int]]:
    """Counts the all-reduces that the library asks for, without those inside of DDP."""
    count, original = [0], dist.all_reduce

    def counting(*arguments: Any, **options: Any) -> Any:
        count[0] += 1
        return original(*arguments, **options)

    dist.all_reduce = counting
    try:
        yield count
    finally:
        dist.all_reduce = original


def _step_seconds(config: TrainingConfig, batch: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    shape = (config.size, config.size, 3)
    train = PhotoBank(rng.integers(0, 256, (batch * _STEPS, *shape), np.uint8))
    val = PhotoBank(rng.integers(0, 256, (1, *shape), np.uint8))
    speed = SpeedConfig(precision="float32", keep_features="off")
    training = Training(config, train, val, torch.device("cpu"), speed, "", current_workers())
    clock: list[float] = []
    processor: list[float] = []
    started: list[tuple[float, float, int]] = []

    calls: list[int] = []

    def observe(fraction: float) -> None:
        now = time.perf_counter(), time.process_time(), count[0]
        if started:
            clock.append(now[0] - started[-1][0])
            processor.append(now[1] - started[-1][1])
            calls.append(now[2] - started[-1][2])
        started[:] = [now] if fraction < 1.0 else []

    with _counted() as count:
        for _ in training.run(observe):
            pass
    used = current_workers().sum(torch.tensor(float(np.median(processor))))
    learned = sum(
        each.numel() for each in training._learner.parameters() if each.requires_grad
    ) + sum(each.numel() for each in (training.discriminators or torch.nn.Module()).parameters())
    return {
        "clock": float(np.median(clock)),
        "processor": float(used),
        "calls": float(np.median(calls)),
        "parameters": learned,
    }


def scenes(storage: str, dataset: str, counts: Sequence[int]) -> dict[str, Any]:
    """Seconds of `colorgan train --data stream` for an epoch, by the number of photographs."""
    staged = open_dataset(open_storage(storage), dataset)
    every = staged.count(staged.manifest.classes, "train")
    found = {}
    for count in counts:
        options = f"--size 32 --width 8 --discriminator-width 8 --batch-size 128 --epochs 1 \
            --preset small --data stream --no-publish --device cpu --run n{count}-{os.getpid()} \
            --photographs {count} --precision float32".split()
        where = ["--storage", storage, "--dataset", dataset, "--model", "general"]
        found[str(count or every)] = _run(
            [sys.executable, "-m", "colorgan", "train", *where, *options]
        )
    return found


def archive(folder: str) -> dict[str, Any]:
    """Seconds of `colorgan colorize FOLDER` for a part of a folder's photographs and for all."""
    paths = sorted(path for path in Path(folder).iterdir() if path.is_file())
    found = {}
    for count in (len(paths) // 4, len(paths)):
        with tempfile.TemporaryDirectory() as out:
            command = [sys.executable, "-m", "colorgan", "colorize", "--model", "embedded"]
            command += [*map(str, paths[:count]), "-o", out]
            found[str(count)] = _run(command)
    return found


def _run(command: Sequence[str]) -> dict[str, float]:
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "clock": time.perf_counter() - started,
        "processor": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "peak_mib": after.ru_maxrss / 1024,
    }


def main(argv: Sequence[str]) -> None:
    """Measure what is named, and print it."""
    what, *given = argv
    if what == "workers":
        found = workers([8, 16])
        if not found.pop("first"):
            return
    elif what == "scenes":
        found = scenes(given[0], given[1], [int(each) for each in given[2:]] or [2500, 10000, 0])
    else:
        found = archive(given[0])
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
