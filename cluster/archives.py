"""Colours an archive on the cluster, by Ray Data.

With GPUs, tasks on any CPU read and decode photographs, actors that hold the models route and
colour them, and tasks recombine, encode and write them. Without, the same cores do all of it, and
pixels that need not change the process are not copied: each actor runs `color_here`.
"""

import logging
import math
import pickle
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import ray
import ray.data
import torch

from cluster.errors import cause
from cluster.planning import NodeResources, Plan, plan_training
from colorgan.archives.here import color_here
from colorgan.archives.networks import Chosen, Inputs, Networks
from colorgan.archives.reading import S3
from colorgan.archives.steps import Failure, Item, Outcome, Settings, finish, load
from colorgan.data.mapping import batched
from colorgan.errors import ColorganError, ConfigError

# Photographs of one execution of Ray Data, whose driver keeps something for each of its blocks.
_WAVE = 100_000
_ITEMS_A_TASK = 64  # maximum number of photographs that a task reads
_TASKS_A_PLACE = 4  # minimum number of tasks for each actor, so that all end at about the same time
_THREADS_TO_BUCKETS = 8  # threads of a process that reads or writes there: each takes a while
_RETRIES = 2  # how often a block of photographs is tried again after its actor has died
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
        task_cpus: CPUs that Ray reserves for a task that reads or writes; 0 if the actors do that.
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
        by = "tasks on the CPUs read and write" if self.task_cpus else "they read and write"
        return (
            f"{self.actors} actor{'s' * (self.actors > 1)} with the models, {share}, in batches of "
            f"{self.batch_size}; {by}"
        )


def plan_archive(
    nodes: Sequence[NodeResources],
    device: str,
    gpus_per_actor: float,
    actors: int | None,
    batch_size: int | None,
    read_by: Literal["auto", "actors", "tasks"] = "auto",
) -> ArchivePlan:
    """Divide a cluster between the actors and the tasks that read and write.

    Either may be the slower part, by the photographs' size. An actor beside tasks therefore
    reserves less of a CPU than it may use, and the operating system gives each CPU to whichever has
    work.

    Args:
        nodes: the machines of the cluster.
        device: auto, cpu or gpu.
        gpus_per_actor: GPUs for each actor, or the share of one.
        actors: number of actors; None for as many as there is room for.
        batch_size: None for the default of the device.
        read_by: who reads and writes; auto is tasks beside GPUs, and the actors without.

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
    in_tasks = plan.on_gpu if read_by == "auto" else read_by == "tasks"
    # Ray Data would let an actor read as well if it had the same share as a task.
    actor_cpus = round(_ACTORS_SHARE * plan.cpus, 4) if in_tasks else plan.cpus
    left = cpus - at_once * actor_cpus
    task_cpus = 1.0 if plan.on_gpu and left >= 2 else min(_TASK_CPUS, max(left, 0.01))
    return ArchivePlan(
        actors=at_once,
        actor=plan,
        actor_cpus=actor_cpus,
        task_cpus=task_cpus if in_tasks else 0.0,
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
    steps = (
        _steps_apart(chosen, settings, plan) if plan.task_cpus else _whole(chosen, settings, plan)
    )
    for wave in batched(items, _WAVE):
        seen = set()
        for outcome in _run(wave, steps, plan, plan.batch_size):
            seen.add(outcome.item.target)
            yield outcome
        left = [item for item in wave if item.target not in seen]
        if len(left) == len(wave):
            raise ColorganError("no task could colour a photograph; see Ray's log")
        for outcome in _run(left, steps, plan, 1):
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
    # Ray 2.60 has no other way to set the retries of an actor's tasks.
    warnings.filterwarnings("ignore", message=".*ray_remote_args_fn")
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


# The steps of an execution: from a dataset of items to one of outcomes, by the size of batches and
# the number of actors.
_Steps = Callable[[ray.data.Dataset, int, int], ray.data.Dataset]


def _run(
    items: Sequence[Item], steps: _Steps, plan: ArchivePlan, batch_size: int
) -> Iterator[Outcome]:
    if not items:
        return
    rows = [{"item": pickle.dumps(item)} for item in items]
    # Whole batches, and one photograph a task where each is tried alone.
    batches = min(_ITEMS_A_TASK, len(rows) // (_TASKS_A_PLACE * plan.actors)) // batch_size
    blocks = math.ceil(len(rows) / (batch_size * max(1, batches) if batch_size > 1 else 1))
    dataset = ray.data.from_items(rows, override_num_blocks=blocks)
    try:
        for row in steps(dataset, batch_size, min(plan.actors, blocks)).iter_rows():
            yield pickle.loads(row["outcome"])  # comes from our own task, not from storage
    except ray.exceptions.RayError as error:
        raise ColorganError(f"the archive could not be coloured: {cause(error)}") from None


def _actors(plan: ArchivePlan, number: int) -> dict[str, Any]:
    """The options of `map_batches` for actors with the models."""
    return {
        "batch_format": "pyarrow",
        "zero_copy_batch": True,
        "num_cpus": plan.actor_cpus,
        "num_gpus": plan.actor.gpus,
        "compute": ray.data.ActorPoolStrategy(size=number),
        "ray_remote_args_fn": _retries,
    }


def _retries() -> dict[str, int]:
    """By default, a photograph that kills its process would do so for ever."""
    return {"max_task_retries": _RETRIES}


def _whole(chosen: Chosen, settings: Settings, plan: ArchivePlan) -> _Steps:
    """All steps in actors."""

    def steps(items: ray.data.Dataset, batch_size: int, number: int) -> ray.data.Dataset:
        return items.map_batches(
            _Pipeline,
            fn_constructor_args=(chosen, settings, plan.actor, batch_size),
            batch_size=None,
            **_actors(plan, number),
        )

    return steps


def _steps_apart(chosen: Chosen, settings: Settings, plan: ArchivePlan) -> _Steps:
    """Tasks that read, actors that colour, and tasks that write."""
    inputs = _inputs_of(chosen, plan)
    tasks: dict[str, Any] = {
        "batch_size": None,
        "batch_format": "pyarrow",
        "zero_copy_batch": True,
        "num_cpus": plan.task_cpus,
    }

    def steps(items: ray.data.Dataset, batch_size: int, number: int) -> ray.data.Dataset:
        return (
            items.map_batches(_read, fn_kwargs={"job": (settings, inputs, plan.actor)}, **tasks)
            .map_batches(
                _Painter,
                fn_constructor_args=(chosen, plan.actor),
                batch_size=batch_size,
                **_actors(plan, number),
            )
            .map_batches(_write, fn_kwargs={"job": (settings, plan.actor)}, **tasks)
        )

    return steps


def _load_networks(chosen: Chosen, plan: Plan) -> Networks:
    plan.apply_to_process()
    return chosen.load(torch.device("cuda" if plan.on_gpu else "cpu"))


class _Pipeline:
    """An actor that does everything."""

    def __init__(self, chosen: Chosen, settings: Settings, plan: Plan, batch_size: int) -> None:
        self._networks = _load_networks(chosen, plan)
        self._settings = settings
        self._batch_size = batch_size
        self._threads = plan.threads

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Colour photographs, and return what became of each."""
        items = [pickle.loads(item) for item in batch["item"].to_pylist()]
        threads = _THREADS_TO_BUCKETS if _uses_bucket(items, self._settings) else self._threads
        work = color_here(items, self._networks, self._settings, self._batch_size, threads)
        return _table(outcome=[pickle.dumps(outcome) for outcome in work])


def _uses_bucket(items: Sequence[Item], settings: Settings) -> bool:
    return items[0].photo.address.startswith(S3) or settings.destination.uri.startswith(S3)


# The columns of pickled objects that `_read` returns. An actor replaces the squares by a column
# `color`, a Predicted; `outcome` is set where the photograph has failed.
_COLUMNS = ("loaded", "squares", "outcome")


def _read(batch: pa.Table, job: tuple[Settings, Inputs, Plan]) -> Iterator[pa.Table]:
    settings, inputs, plan = job
    plan.apply_to_process()
    items = [pickle.loads(item) for item in batch["item"].to_pylist()]
    threads = _THREADS_TO_BUCKETS if _uses_bucket(items, settings) else 1
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
        self._networks = _load_networks(chosen, plan)

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

    def write(row: tuple[pa.Scalar, ...]) -> bytes:
        loaded, color, outcome = row
        if outcome.is_valid:
            failed: bytes = outcome.as_py()
            return failed
        photograph, predicted = (pickle.loads(part.as_buffer()) for part in (loaded, color))
        return pickle.dumps(finish(photograph, predicted, settings))

    rows = zip(*(batch[name] for name in ("loaded", "color", "outcome")), strict=True)
    threads = _THREADS_TO_BUCKETS if settings.destination.uri.startswith(S3) else 1
    with ThreadPoolExecutor(threads) as pool:
        outcomes = [each for some in batched(rows, threads) for each in pool.map(write, some)]
    return _table(outcome=outcomes)


def _table(**columns: Sequence[bytes | None]) -> pa.Table:
    return pa.table({name: pa.array(each, pa.large_binary()) for name, each in columns.items()})
