"""The further workers of a trial: tasks in the reservation that Ray Tune made for it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import ray
import torch.distributed as dist
from ray.train._internal.utils import get_address_and_port
from ray.util import get_current_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from cluster.planning import Plan
from cluster.process_group import PATIENCE, backend_of, listen_where_ray_does


@contextmanager
def assisted(plan: Plan, assist: Callable[[], None]) -> Iterator[None]:
    """Be the first worker of a trial, whose others run `assist`, each in a task of its own.

    If a worker dies, the next step fails in all others, and Tune starts the trial again. The tasks
    end with this process.

    Args:
        plan: resources of the trial, of which this process has the first worker's.
        assist: what the other workers run, in PyTorch's process group.
    """
    if plan.workers == 1:
        yield
        return
    host, port = get_address_and_port()
    place = f"tcp://{host}:{port}"
    tasks = [
        ray.remote(_join_and)
        .options(
            num_cpus=plan.cpus,
            num_gpus=plan.gpus,
            max_retries=0,
            scheduling_strategy=PlacementGroupSchedulingStrategy(
                get_current_placement_group(), placement_group_bundle_index=rank
            ),
        )
        .remote(plan, rank, place, assist)
        for rank in range(1, plan.workers)
    ]
    _join(plan, 0, place)
    try:
        yield
        ray.get(tasks)
    finally:
        for task in tasks:
            ray.cancel(task, force=True)
        dist.destroy_process_group()


def _join_and(plan: Plan, rank: int, place: str, work: Callable[[], None]) -> None:
    plan.apply_to_process()
    _join(plan, rank, place)
    work()
    dist.destroy_process_group()


def _join(plan: Plan, rank: int, place: str) -> None:
    listen_where_ray_does()
    dist.init_process_group(
        backend_of(plan),
        init_method=place,
        rank=rank,
        world_size=plan.workers,
        timeout=PATIENCE,
    )
