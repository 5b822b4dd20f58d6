"""Photographs that the CPUs of a cluster decode for a training, and who trains on those."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from cluster.local import LocalRay
from cluster.planning import NodeResources, plan_training
from colorgan.storage import Storage
from tests.cluster.ray_epoch import digest
from tests.conftest import CHECKOUT
from tests.data.cache.datasets import write_dataset
from tests.data.photographs import pixels
from tests.data.test_streams import COUNT, LAYOUT, SIDE, picture


@pytest.mark.slow
def test_an_epoch_through_ray_data_has_every_photograph_once(
    ray_cluster: LocalRay, storage: Storage
) -> None:
    for name in ("pets", "damaged"):
        write_dataset(storage, name, LAYOUT, picture)
    path = Path(storage.location("datasets/damaged/dogs/train-00001.parquet"))
    path.write_bytes(path.read_bytes()[:-9])
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.cluster.ray_epoch",
            storage.uri,
            str(SIDE),
            "pets",
            "damaged",
        ],
        cwd=CHECKOUT,
        env={
            **os.environ,
            **ray_cluster.environment,
            "RAY_ADDRESS": ray_cluster.address,
            "COLORGAN_WARM_COMMANDS": "1",
        },
        capture_output=True,
        text=True,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(lines) == 4, done.stderr
    alone, first, second, damaged = lines
    everything = Counter(digest(pixels(number, SIDE, SIDE)) for number in range(COUNT))
    assert alone["sizes"] == [4] * 7 + [3]
    assert Counter(alone["found"]) == everything
    assert (first["sizes"], second["sizes"]) == ([2] * 7 + [1], [2] * 8)
    assert Counter(first["found"] + second["found"]) == everything
    assert damaged["error"].startswith("datasets/damaged/dogs/train-00001.parquet does not match")


@pytest.mark.parametrize(
    ("nodes", "models", "device", "cpus"),
    [
        # The CPUs of machines without a GPU feed trainings on GPUs, in equal parts.
        ([(8, 1), (16, 0)], 1, "auto", 16),
        ([(8, 2), (16, 0), (3, 0)], 2, "auto", 9),
        ([(8, 4), (3, 0)], 4, "auto", 0),
        # The processes of a training feed it where it has the machines for itself.
        ([(8, 1)], 1, "auto", 0),
        ([(2, 0), (16, 0)], 1, "auto", 0),
        ([(8, 1), (16, 0)], 1, "cpu", 0),
    ],
)
def test_cpus_of_machines_without_a_gpu_decode_for_trainings_on_gpus(
    nodes: list[tuple[float, float]], models: int, device: str, cpus: int
) -> None:
    from cluster.streaming import decoding_cpus  # imports Ray: see cluster.connection

    machines = [NodeResources(*node) for node in nodes]
    assert decoding_cpus(plan_training(models, machines, device), machines) == cpus
