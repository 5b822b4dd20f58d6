"""Evaluates blocks of photographs as Ray tasks."""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import ray
import torch

from cluster.errors import cause
from cluster.planning import Plan
from colorgan.data.dataset import Row
from colorgan.errors import ColorganError
from colorgan.evaluation.evaluate import Evaluator
from colorgan.evaluation.results import Report, open_report
from colorgan.evaluation.segmentation import SegmentationConfig
from colorgan.inference.object_choice import ObjectConfig
from colorgan.inference.router_choice import RouterConfig
from colorgan.packages.embedded import with_embedded
from colorgan.storage import open_storage

Options = tuple[RouterConfig, SegmentationConfig, ObjectConfig]


def evaluate_blocks(
    report: Report,
    blocks: Iterator[tuple[int, list[Row]]],
    options: Options,
    plan: Plan,
    retries: int,
) -> Iterator[int]:
    """Colour and measure blocks on the cluster.

    Args:
        report: report that receives the results.
        blocks: numbered blocks of photographs; at most twice as many as run at once are read
            ahead.
        options: of the assembled model's router, of the FCN score and of the detector.
        plan: number of concurrent processes, and the resources of each.
        retries: how often a process that died is restarted.

    Yields:
        The number of photographs in each finished block.

    Raises:
        ColorganError: a block failed; the results of finished blocks are kept.
    """
    task = _evaluate_block.options(
        num_cpus=plan.cpus, num_gpus=plan.gpus, max_retries=retries, retry_exceptions=False
    )
    running: dict[ray.ObjectRef, int] = {}
    for number, rows in blocks:
        reference = task.remote(
            report.storage.uri, report.evaluation.name, number, rows, options, plan
        )
        running[reference] = len(rows)
        if len(running) >= 2 * plan.at_once:
            yield _next_done(running)
    while running:
        yield _next_done(running)


def _next_done(running: dict[ray.ObjectRef, int]) -> int:
    (done, *_), _ = ray.wait(list(running), num_returns=1)
    try:
        outcome = ray.get(done)
    except ray.exceptions.RayError as error:
        raise ColorganError(f"a block could not be evaluated: {cause(error)}") from None
    if isinstance(outcome, ColorganError):
        raise outcome
    return running.pop(done)


@ray.remote
def _evaluate_block(
    storage: str, report: str, number: int, rows: Sequence[Row], options: Options, plan: Plan
) -> ColorganError | None:
    try:
        plan.apply_to_process()
        _evaluator(storage, report, options, plan.on_gpu).evaluate(rows, number)
    except ColorganError as error:
        return error
    return None


@lru_cache(maxsize=1)
def _evaluator(storage: str, report: str, options: Options, on_gpu: bool) -> Evaluator:
    """The evaluator of this process, which all its tasks share."""
    device = torch.device("cuda" if on_gpu else "cpu")
    router, segmentation, objects = options
    opened = open_report(with_embedded(open_storage(storage)), report)
    return Evaluator(opened, router, device, segmentation, objects)
