"""Processes that do the same thing at the same moment, many times."""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from typing import Any

# Once a session, and not in every process: they take seconds to import.
_PRELOADED = ["boto3", "colorgan.sweeps.documents", "colorgan.survey"]
_PATIENCE_S = 120.0  # for a process to start, or to come to the next round


def race(
    work: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], rounds: int
) -> list[tuple[Any, ...]]:
    """Call `work(round, *arguments)` in a process for each of the arguments, all at once.

    Args:
        work: a module's function.
        arguments: of each process, besides the number of the round.
        rounds: how many; all processes begin each together.

    Returns:
        By round, what each process got, in the order of the arguments.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    barrier = context.Barrier(len(arguments))
    pipes, processes = [], []
    for each in arguments:
        here, there = context.Pipe(duplex=False)
        process = context.Process(
            target=_run, args=(dict(os.environ), work, each, rounds, barrier, there)
        )
        process.start()
        there.close()
        pipes.append(here)
        processes.append(process)
    try:
        results = [pipe.recv() for pipe in pipes]
    finally:
        for process in processes:
            process.join(_PATIENCE_S)
            process.kill()
    return list(zip(*results, strict=True))


def _run(
    environment: dict[str, str],
    work: Callable[..., Any],
    arguments: tuple[Any, ...],
    rounds: int,
    barrier: Any,
    pipe: Any,
) -> None:
    os.environ.update(environment)
    results = []
    for number in range(rounds):
        barrier.wait(_PATIENCE_S)
        results.append(work(number, *arguments))
    barrier.wait(_PATIENCE_S)  # nobody ends, and so seems to have died, while others still race
    pipe.send(results)
