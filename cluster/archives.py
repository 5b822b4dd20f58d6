"""Colours an archive on the cluster, by Ray Data: read on CPUs, colour in actors, write on CPUs."""

import logging
import math
import pickle
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray
import ray.data
import torch

from cluster.errors import cause
from cluster.planning import NodeResources, Plan, plan_training
from colorgan.archives.networks import Chosen, Inputs
from colorgan.archives.reading import S3
from colorgan.archives.steps import Failure, Item, Outcome, Settings, finish, load
from colorgan.data.mapping import batched
from colorgan.errors import ColorganError, ConfigError

# Photographs of one execution of Ray Data, whose driver keeps something for each of its blocks.
_WAVE = 100_000
_ITEMS_A_TASK = 64  # maximum number of photographs that a task reads
_TASKS_A_PLACE = 4  # minimum number of tasks for each actor, so that all end at about the same time
_READERS = 8  # threads of a task that reads from a bucket, as each object takes a while to come
_BLOCK = 32 * 2**20  # bytes of decoded photographs after which a task hands on a block
_QUEUED = 256 * 2**20  # bytes of decoded photographs in the object store for each CPU or actor
_MIN_QUEUED = 1024 * 2**20
_BATCH_ON_CPU, _BATCH_ON_GPU = 8, 32
_ACTORS_SHARE, _TASK_CPUS = 0.4, 0.5  # of a CPU


@dataclass(frozen=True)
class ArchivePlan:
    """How the cluster is divided among the steps.

    Attributes:
        actors: number of actors that hold the models.
        actor: the resources that Ray reserves for each, and its threads.
        actor_cpus: CPUs that Ray reserves for an actor.
        task_cpus: CPUs that Ray reserves for a task that reads or writes.
        batch_size: number of photographs that the networks take at once.
        queued: maximum number of bytes of decoded photographs in the object store.
    """

    actors: int
    actor: Plan
    actor_cpus: float
    task_cpus: float
    batch_size: int
    queued: int

    def sentence(self) -> str:
        """The plan in one line."""
        share = f"{self.actor.gpus:g} GPU each" if self.actor.on_gpu else "on CPU"
        return (
            f"{self.actors} actor{'s' * (self.actors > 1)} with the models, {share}, batches of "
            f"{self.batch_size}; photographs are read and written on the CPUs"
        )


def plan_archive(
    nodes: Sequence[NodeResources],
    device: str,
    gpus_per_actor: float,
    actors: int | None,
    batch_size: int | None,
) -> ArchivePlan:
    """Divide a cluster between the actors and the tasks that read and write.

    Either may be the slower part, by the photographs' size. Without a GPU, half of each CPU is
    therefore reserved for tasks and a bit less for an actor, and the operating system gives each
    CPU to whichever has work.

    Args:
        nodes: the machines of the cluster.
        device: auto, cpu or gpu.
        gpus_per_actor: GPUs for each actor, or the share of one.
        actors: number of actors; None for as many as there is room for.
        batch_size: None for the default of the device.

    Raises:
        ConfigError: the cluster cannot run even one such actor.
    """
    cpus, gpus = (sum(getattr(node, kind) for node in nodes) for kind in ("cpus", "gpus"))
    most = max(1, math.floor(cpus), math.floor(gpus / max(gpus_per_actor, 1e-4)))
    try:
        plan = plan_training(actors or most, nodes, device, gpus_per_actor)
    except ConfigError as error:
        raise ConfigError(str(error).replace("--gpus-per-model", "--gpus-per-actor")) from None
    at_once = plan.at_once
    if not plan.on_gpu and actors is None:
        at_once = min(at_once, max(1, math.floor(cpus)))
    # Ray Data would let an actor read as well if it had the same share as a task.
    actor_cpus = round(_ACTORS_SHARE * plan.cpus, 4)
    left = cpus - at_once * actor_cpus
    return ArchivePlan(
        actors=at_once,
        actor=plan,
        actor_cpus=actor_cpus,
        task_cpus=1.0 if plan.on_gpu and left >= 2 else min(_TASK_CPUS, max(left, 0.01)),
        batch_size=batch_size or (_BATCH_ON_GPU if plan.on_gpu else _BATCH_ON_CPU),
        queued=max(_MIN_QUEUED, _QUEUED * (math.ceil(cpus) + at_once)),
    )


def color_on_cluster(
    items: Sequence[Item], chosen: Chosen, settings: Settings, plan: ArchivePlan
) -> Iterator[Outcome]:
    """Colour photographs, and yield what became of each, in any order.

    Pixels go from task to actor to task through the object store, at most `plan.queued` bytes of
    them. A photograph whose process dies is tried once more alone, and then counts as failed.

    Raises:
        ColorganError: the models cannot be loaded, or no task succeeds.
    """
    _configure(plan)
    inputs = _inputs_of(chosen, plan)
    for wave in batched(items, _WAVE):
        seen = set()
        for outcome in _run(wave, chosen, inputs, settings, plan, plan.batch_size):
            seen.add(outcome.item.target)
            yield outcome
        left = [item for item in wave if item.target not in seen]
        if len(left) == len(wave):
            raise ColorganError("no task could colour a photograph; see Ray's log")
        for outcome in _run(left, chosen, inputs, settings, plan, 1):
            seen.add(outcome.item.target)
            yield outcome
        for item in left:
            if item.target not in seen:
                yield Outcome(item, _died(item))


def _died(item: Item) -> Failure:
    sentence = f"{item.photo.address}: the process that worked on it has died, twice"
    return Failure("process died", "see Ray's log", sentence)


def _configure(plan: ArchivePlan) -> None:
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.target_max_block_size = _BLOCK
    # What a lost block held is coloured again, or fails, by itself.
    context.max_errored_blocks = -1
    context.execution_options.resource_limits = ray.data.ExecutionResources(
        object_store_memory=plan.queued
    )


def _inputs_of(chosen: Chosen, plan: ArchivePlan) -> Inputs:
    """What the networks need of a photograph: known once they are loaded, in a process there."""
    task = ray.remote(_load_inputs).options(num_cpus=plan.task_cpus)
    try:
        inputs: Inputs | ColorganError = ray.get(task.remote(chosen, plan))
    except ray.exceptions.RayError as error:
        raise ColorganError(f"the models cannot be loaded: {cause(error)}") from None
    if isinstance(inputs, ColorganError):
        raise inputs
    return inputs


def _load_inputs(chosen: Chosen, plan: ArchivePlan) -> Inputs | ColorganError:
    try:
        plan.actor.apply_to_process()
        return chosen.load(torch.device("cpu")).inputs
    except ColorganError as error:
        return error


def _run(
    items: Sequence[Item],
    chosen: Chosen,
    inputs: Inputs,
    settings: Settings,
    plan: ArchivePlan,
    batch_size: int,
) -> Iterator[Outcome]:
    if not items:
        return
    rows = [{"item": pickle.dumps(item)} for item in items]
    # Whole batches, and one photograph a task where each is tried alone.
    batches = min(_ITEMS_A_TASK, len(rows) // (_TASKS_A_PLACE * plan.actors)) // batch_size
    blocks = math.ceil(len(rows) / (batch_size * max(1, batches) if batch_size > 1 else 1))
    tasks: dict[str, Any] = {
        "batch_size": None,
        "batch_format": "pyarrow",
        "zero_copy_batch": True,
        "num_cpus": plan.task_cpus,
    }
    outcomes = (
        ray.data.from_items(rows, override_num_blocks=blocks)
        .map_batches(_read, fn_kwargs={"job": (settings, inputs, plan.actor)}, **tasks)
        .map_batches(
            _Painter,
            fn_constructor_kwargs={"chosen": chosen, "plan": plan.actor},
            batch_size=batch_size,
            batch_format="pyarrow",
            zero_copy_batch=True,
            num_cpus=plan.actor_cpus,
            num_gpus=plan.actor.gpus,
            compute=ray.data.ActorPoolStrategy(size=min(plan.actors, blocks)),
        )
        .map_batches(_write, fn_kwargs={"job": (settings, plan.actor)}, **tasks)
    )
    try:
        for row in outcomes.iter_rows():
            yield pickle.loads(row["outcome"])  # comes from our own task, not from storage
    except ray.exceptions.RayError as error:
        raise ColorganError(f"the archive could not be coloured: {cause(error)}") from None


# The columns of pickled objects that `_read` returns. An actor replaces the squares by a column
# `color`, a Predicted; `outcome` is set where the photograph has failed.
_COLUMNS = ("loaded", "squares", "outcome")


def _read(batch: pa.Table, job: tuple[Settings, Inputs, Plan]) -> Iterator[pa.Table]:
    settings, inputs, plan = job
    plan.apply_to_process()
    items = [pickle.loads(item) for item in batch["item"].to_pylist()]
    threads = _READERS if items[0].photo.address.startswith(S3) else 1
    columns: dict[str, list[bytes | None]] = {}
    waiting = 0
    with ThreadPoolExecutor(threads) as pool:
        # A few at a time, so that no more is in memory than goes into a block.
        for some in batched(items, threads):
            for loaded in pool.map(lambda item: load(item, settings, inputs), some):
                row: tuple[bytes | None, ...]
                if isinstance(loaded, Outcome):
                    row = None, None, pickle.dumps(loaded)
                else:
                    row = pickle.dumps(loaded[0]), pickle.dumps(loaded[1]), None
                for name, value in zip(_COLUMNS, row, strict=True):
                    columns.setdefault(name, []).append(value)
                waiting += sum(map(len, filter(None, row)))
            if waiting > _BLOCK:
                yield _table(**columns)
                columns, waiting = {}, 0
    if columns:
        yield _table(**columns)


class _Painter:
    """An actor that holds the networks."""

    def __init__(self, chosen: Chosen, plan: Plan) -> None:
        plan.apply_to_process()
        self._networks = chosen.load(torch.device("cuda" if plan.on_gpu else "cpu"))

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Replace the squares of each photograph by its predicted colours."""
        squares = batch["squares"].to_pylist()
        usable = [pickle.loads(each) for each in squares if each is not None]
        predicted = iter(self._networks.predict(usable))
        colors = [None if each is None else pickle.dumps(next(predicted)) for each in squares]
        column = pa.array(colors, pa.large_binary())
        return batch.drop_columns(["squares"]).append_column("color", column)


def _write(batch: pa.Table, job: tuple[Settings, Plan]) -> pa.Table:
    settings, plan = job
    plan.apply_to_process()
    outcomes = []
    for loaded, color, outcome in zip(
        *(batch[name] for name in ("loaded", "color", "outcome")), strict=True
    ):
        if outcome.is_valid:
            outcomes.append(outcome.as_py())
            continue
        photograph, predicted = (pickle.loads(part.as_buffer()) for part in (loaded, color))
        outcomes.append(pickle.dumps(finish(photograph, predicted, settings)))
    return _table(outcome=outcomes)


def _table(**columns: Sequence[bytes | None]) -> pa.Table:
    return pa.table({name: pa.array(each, pa.large_binary()) for name, each in columns.items()})
