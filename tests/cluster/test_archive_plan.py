"""How jobs/colorize.py divides a cluster."""

import pytest

from cluster.archives import plan_archive
from cluster.planning import NodeResources
from colorgan.errors import ConfigError

# Nodes as (CPUs, GPUs), options, and the expected actors, CPUs of each, CPUs of a task, batch size.
CASES = [
    ([(2, 0)], {}, (2, 1.0, 0.0, 8)),
    ([(64, 0)], {"actors": 8}, (8, 8.0, 0.0, 8)),
    ([(2, 0)], {"read_by": "tasks"}, (2, 0.4, 0.5, 8)),
    ([(1, 0)], {"read_by": "tasks"}, (1, 0.4, 0.5, 8)),
    ([(16, 1)], {}, (1, 0.4, 1.0, 32)),
    ([(1, 1)], {}, (1, 0.4, 0.5, 32)),
    ([(16, 2)], {"gpus_per_actor": 0.5}, (4, 0.4, 1.0, 32)),
    ([(16, 1)], {"device": "cpu", "actors": 2, "batch_size": 4}, (2, 7.5, 0.0, 4)),
    ([(8, 0), (8, 1)], {}, (1, 0.4, 1.0, 32)),
]


@pytest.mark.parametrize(("nodes", "options", "expected"), CASES)
def test_actors_and_tasks_share_the_machines(
    nodes: list[tuple[float, float]],
    options: dict[str, object],
    expected: tuple[int, float, float, int],
) -> None:
    choice = {"device": "auto", "gpus_per_actor": 1.0, "actors": None, "batch_size": None}
    plan = plan_archive([NodeResources(*node) for node in nodes], **(choice | options))  # type: ignore[arg-type]
    assert (plan.actors, plan.actor_cpus, plan.task_cpus, plan.batch_size) == expected
    cpus = sum(cpus for cpus, _ in nodes)
    assert plan.actors * plan.actor_cpus + plan.task_cpus <= cpus, "a task finds room"


def test_more_gpus_than_a_machine_has_are_refused() -> None:
    with pytest.raises(ConfigError, match="--gpus-per-actor 4: no machine"):
        plan_archive([NodeResources(8, 2)], "auto", 4.0, None, None)
