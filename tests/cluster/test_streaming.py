"""Photographs that the CPUs of a cluster decode for a training, and who trains on those."""

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster.local import LocalRay
from cluster.planning import NodeResources, plan_training
from colorgan.data.dataset import Dataset
from colorgan.storage import Storage
from tests.conftest import CHECKOUT
from tests.data.cache.datasets import write_dataset
from tests.data.photographs import pixels
from tests.data.test_streams import COUNT, LAYOUT, SIDE, picture


@pytest.fixture
def pets(storage: Storage) -> Dataset:
    return write_dataset(storage, "pets", LAYOUT, picture)


def epochs(ray: LocalRay, dataset: Dataset) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "tests.cluster.ray_epoch"]
    environment = {**os.environ, **ray.environment, "RAY_ADDRESS": ray.address}
    done = subprocess.run(
        [*command, dataset.storage.uri, "pets", str(SIDE)],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def digest(number: int) -> str:
    """The SHA-256 of a photograph, flipped or not, of which the lower one counts."""
    rgb = pixels(number, SIDE, SIDE)
    both = (np.ascontiguousarray(each).data for each in (rgb, rgb[:, ::-1]))
    return min(hashlib.sha256(each).hexdigest() for each in both)


@pytest.mark.slow
def test_an_epoch_through_ray_data_has_every_photograph_once(
    ray_cluster: LocalRay, pets: Dataset
) -> None:
    alone, *both = epochs(ray_cluster, pets)
    everything = Counter(digest(number) for number in range(COUNT))
    assert alone["sizes"] == [4] * 7 + [3]
    assert Counter(alone["found"]) == everything
    assert [each["sizes"] for each in both] == [[2] * 7 + [1], [2] * 8]
    assert Counter(both[0]["found"] + both[1]["found"]) == everything
    path = Path(pets.storage.location("datasets/pets/dogs/train-00001.parquet"))
    path.write_bytes(path.read_bytes()[:-9])
    (failed,) = epochs(ray_cluster, pets)
    assert failed["error"].startswith("datasets/pets/dogs/train-00001.parquet does not match")


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
    assert decoding_cpus(plan_training(models, machines, device), 1, machines) == cpus
