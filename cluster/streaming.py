"""A stream of photographs that any CPU of the cluster decodes, through Ray Data.

It is for trainings on GPUs in a cluster that has machines without one: a GPU needs more photographs
than the CPUs beside it can decode. On one machine the library's own stream
(colorgan.data.streams) is as fast, starts sooner, and has an order that can be repeated;
docs/datasets.md has the figures.

Each worker of a training reads its own part of the epoch with a Ray dataset of its own. One dataset
with `streaming_split` would drop photographs (`equal=True`), or give the workers unequal numbers of
steps.
"""

import logging
import pickle
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from ray import cloudpickle

from cluster.code import check_code, code_version
from cluster.connection import cluster_nodes
from cluster.errors import cause
from cluster.planning import NodeResources, Plan
from colorgan.data.batches import Batches
from colorgan.data.dataset import Dataset
from colorgan.data.squares import Selection, selected_shards
from colorgan.data.stream_order import Piece, pieces_of, portion, shuffled, size
from colorgan.data.streams import Recipe
from colorgan.errors import ColorganError
from colorgan.images.decoding import Pixels
from colorgan.training.config import SpeedConfig, TrainingConfig
from colorgan.training.reading import streams_from
from colorgan.workers import ALONE, Workers

_ROWS = 256  # photographs that a task decodes
_BUFFER = 1024  # decoded crops in the shuffle buffer
_STORE_BYTES = 512 * 2**20  # decoded crops in Ray's object store that are not taken yet


@contextmanager
def decoding_on_cluster(plan: Plan) -> Iterator[None]:
    """Let the machines without a GPU decode the streams of the training in a `with` block."""
    cpus = decoding_cpus(plan, cluster_nodes())
    if not cpus:
        yield
        return

    def source(wanted: Selection, config: TrainingConfig, speed: SpeedConfig) -> "RayStream | None":
        balanced = config.balance != "none"  # whose draws a stream of the library makes
        return None if balanced else RayStream(wanted, cpus, speed.scratch)

    with streams_from(source):
        yield


def decoding_cpus(plan: Plan, nodes: Sequence[NodeResources]) -> int:
    """The CPUs of machines without a GPU that each worker of a training may use for decoding.

    It is 0 if the models train on CPUs, which then have other work to do.
    """
    spare = sum(node.cpus for node in nodes if not node.gpus) if plan.on_gpu else 0
    return int(spare / (plan.at_once * plan.most))


class RayStream:
    """The photographs of a selection, decoded anew in every epoch on the CPUs of the cluster."""

    def __init__(self, wanted: Selection, cpus: int, scratch: str = "") -> None:
        """Describe the photographs; nothing is read yet.

        Args:
            wanted: the photographs.
            cpus: maximum number of tasks at a time, each of which takes one CPU of the cluster.
            scratch: see `PhotoStream`.

        Raises:
            ColorganError: there is no such photograph.
        """
        wanted.dataset.check_split(wanted.classes, wanted.split)
        self._wanted, self._cpus, self._scratch = wanted, cpus, scratch
        self._pieces = [Piece(shard, 0, count) for shard, count in selected_shards(wanted)]

    def __len__(self) -> int:
        """The number of photographs of an epoch, over all workers."""
        return sum(piece.rows for piece in self._pieces)

    def order(self, workers: Workers) -> str:
        """Empty: tasks end in any order, so an epoch that was begun begins again."""
        return ""

    def batches(
        self,
        batch_size: int,
        crop: int,
        rng: np.random.Generator,
        skip: int = 0,
        workers: Workers = ALONE,
    ) -> Batches:
        """One epoch of random crops, in any order; see `PhotoStream.batches`.

        The crop and flip of each photograph follow from the state of `rng`, the order does not.

        Raises:
            ColorganError: a shard is damaged or missing, a photograph cannot be decoded, or a task
                was lost more often than Ray retries it.
        """
        seed, total = int(rng.integers(2**62)), len(self)
        recipe = Recipe(self._wanted.side, crop, seed)
        own = pieces_of(self._pieces, seed, portion(total, batch_size, workers), _ROWS)
        order = np.random.default_rng([seed, workers.rank])
        with closing(self._crops(own, recipe)) as crops:
            mixed = shuffled(crops, _BUFFER, order)
            some: list[Pixels] = []
            for number, begin in enumerate(range(0, total, batch_size)):
                count = size(min(batch_size, total - begin), workers)
                some = list(islice(mixed, count)) or some[-1:] or [_black(crop)]
                if number >= skip:
                    yield torch.from_numpy(np.stack(some)).permute(0, 3, 1, 2).contiguous()

    def _crops(self, pieces: Sequence[Piece], recipe: Recipe) -> Generator[Pixels, None, None]:
        """The crops of some pieces, (crop, crop, 3) uint8 each, as soon as tasks have made them."""
        if not pieces:
            return
        import ray.data  # takes a second, in which most trainings have no use for it

        decode = _Decode(self._wanted.dataset, recipe, self._scratch)
        code = code_version()
        tasks = [{"task": cloudpickle.dumps((decode, piece)), "code": code} for piece in pieces]
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        context.execution_options.resource_limits = ray.data.ExecutionResources.for_limits(
            cpu=self._cpus, object_store_memory=_STORE_BYTES
        )
        decoded = ray.data.from_items(tasks, override_num_blocks=len(tasks)).map(
            _do, num_cpus=1, compute=ray.data.TaskPoolStrategy(size=self._cpus)
        )
        side = recipe.crop
        try:
            for row in decoded.iter_rows():
                if row["error"]:
                    raise pickle.loads(row["error"])  # comes from our own task, not from storage
                yield from np.frombuffer(row["crops"], np.uint8).reshape(-1, side, side, 3)
        except ray.exceptions.RayError as error:
            raise ColorganError(f"a task that decodes photographs failed: {cause(error)}") from None


@dataclass(frozen=True)
class _Decode:
    """Reads and decodes a piece of the dataset, in a task."""

    dataset: Dataset
    recipe: Recipe
    scratch: str

    def __call__(self, piece: Piece) -> Pixels:
        opened = self.dataset.rows_of([piece.shard], ahead=0, scratch=self.scratch)
        with closing(opened) as rows:
            own = list(islice(rows, piece.begin, piece.end))
        return self.recipe.batch(piece.number, own)


def _do(row: dict[str, Any]) -> dict[str, bytes]:
    try:
        check_code(row["code"])
        decode, piece = pickle.loads(row["task"])
        return {"crops": decode(piece).tobytes(), "error": b""}
    except ColorganError as error:
        return {"crops": b"", "error": cloudpickle.dumps(error)}


def _black(side: int) -> Pixels:
    """A photograph for a worker that has none, whose result has no weight."""
    return np.zeros((side, side, 3), np.uint8)
