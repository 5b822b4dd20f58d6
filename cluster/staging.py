"""Staging in tasks on the cluster, which Ray Data schedules and starts again if they are lost."""

import logging
import pickle
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import ray
import ray.data
from ray import cloudpickle

from cluster.code import check_code, code_version
from cluster.errors import cause
from cluster.waiting import wait_for_place
from colorgan.data.mapping import Item, Result, Work, batched
from colorgan.errors import ColorganError

# Maximum number of items per task: large enough to amortise starting the task and opening what the
# work needs. Minimum number of tasks per worker: enough that all workers end at about the same
# time.
_ITEMS_A_TASK = 32
_TASKS_A_WORKER = 4


class RayMapper:
    """Does work in tasks of one CPU, spread over the nodes.

    Only descriptions of the work and its results pass through Ray. Tasks read photographs from
    storage and write them there.
    """

    def __init__(self, workers: int) -> None:
        """Set the maximum number of concurrent tasks."""
        self.workers = workers

    def map(self, work: Work[Item, Result], items: Iterable[Item]) -> Iterator[Result]:
        """Apply the work to every item, and yield the results.

        Raises:
            ColorganError: the work raised it, or a task was lost more often than Ray retries it.
        """
        items = list(items)
        size = max(1, min(_ITEMS_A_TASK, len(items) // (_TASKS_A_WORKER * self.workers)))
        tasks = [
            {"task": cloudpickle.dumps((work, some)), "code": code_version()}
            for some in batched(items, size)
        ]
        if not tasks:
            return
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        ray.data.DataContext.get_current().enable_progress_bars = False
        wait_for_place(1, 0, lambda line: print(line, file=sys.stderr, flush=True))
        outcomes = ray.data.from_items(tasks, override_num_blocks=len(tasks)).map(
            _do,
            num_cpus=1,
            compute=ray.data.TaskPoolStrategy(size=self.workers),
        )
        try:
            for row in outcomes.iter_rows():
                results = pickle.loads(row["results"])  # comes from our own task, not from storage
                if isinstance(results, ColorganError):
                    raise results
                yield from results
        except ray.exceptions.RayError as error:
            raise ColorganError(f"a task of the staging failed: {cause(error)}") from None


def _do(row: dict[str, Any]) -> dict[str, Any]:
    try:
        check_code(row["code"])
        work, items = pickle.loads(row["task"])
        results: Any = list(work(items, 1))
    except ColorganError as error:
        results = error
    return {"results": cloudpickle.dumps(results)}
