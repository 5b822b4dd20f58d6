"""Staging on the cluster, by Ray Data."""

import logging
import pickle
from collections.abc import Iterable, Iterator
from typing import Any

import ray
import ray.data
from ray import cloudpickle

from cluster.errors import cause
from colorgan.data.mapping import Item, Result, ThreadMapper, Work, batched
from colorgan.errors import ColorganError

# A task holds so many items at most, so that starting it and what it opens are paid for; and each
# worker gets so many tasks at least, so that all end at about the same time.
_ITEMS_A_TASK = 32
_TASKS_A_WORKER = 4


class RayMapper:
    """Does work in tasks of one CPU, spread over the nodes.

    What travels through Ray is what to do and what is known of the outcome; photographs go from
    the task to storage and back.
    """

    def __init__(self, workers: int) -> None:
        """Keep at most so many tasks running."""
        self.workers = workers

    def map(self, work: Work[Item, Result], items: Iterable[Item]) -> Iterator[Result]:
        """Do the work to every item.

        Raises:
            ColorganError: of the work; or a task was lost more often than Ray tries again.
        """
        items = list(items)
        size = max(1, min(_ITEMS_A_TASK, len(items) // (_TASKS_A_WORKER * self.workers)))
        tasks = [{"task": cloudpickle.dumps((work, some))} for some in batched(items, size)]
        if not tasks:
            return
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        ray.data.DataContext.get_current().enable_progress_bars = False
        outcomes = ray.data.from_items(tasks, override_num_blocks=len(tasks)).map(
            _do,
            num_cpus=1,
            compute=ray.data.TaskPoolStrategy(size=self.workers),
        )
        try:
            for row in outcomes.iter_rows():
                results = pickle.loads(row["results"])  # of our own task, not from storage
                if isinstance(results, ColorganError):
                    raise results
                yield from results
        except ray.exceptions.RayError as error:
            raise ColorganError(f"a task of the staging failed: {cause(error)}") from None


def _do(row: dict[str, Any]) -> dict[str, Any]:
    work, items = pickle.loads(row["task"])
    try:
        results: Any = list(ThreadMapper(threads=1).map(work, items))
    except ColorganError as error:
        results = error
    return {"results": cloudpickle.dumps(results)}
