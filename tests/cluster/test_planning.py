import itertools
import json
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pytest

from cluster.planning import NodeResources, Plan, fits, plan_training, workers_with_room
from colorgan.errors import ConfigError
from tests.waiting import PATIENCE_S

TWO_CORES = [NodeResources(cpus=2, gpus=0)]
FOUR = NodeResources(cpus=8, gpus=4)
ONE = NodeResources(cpus=4, gpus=1)
CLASSES = ("animals", "people", "vehicles")


def test_three_models_share_two_cores_at_the_same_time() -> None:
    plan = plan_training(3, TWO_CORES)
    assert plan == Plan(on_gpu=False, at_once=3, cpus=0.66, gpus=0, threads=1)
    assert plan.sentence(CLASSES) == (
        "training 3 models (animals, people, vehicles), 3 at once, on CPU, "
        "0.66 CPU and 1 thread each"
    )


def test_one_model_gets_every_core_as_a_thread() -> None:
    assert plan_training(1, [NodeResources(cpus=8, gpus=0)]).threads == 8


def test_every_model_gets_a_gpu_where_there_are_enough() -> None:
    plan = plan_training(3, [NodeResources(cpus=16, gpus=4)])
    assert plan == Plan(on_gpu=True, at_once=3, cpus=1, gpus=1, threads=1)


def test_models_beyond_the_gpus_wait_and_the_line_says_so() -> None:
    plan = plan_training(3, [NodeResources(cpus=16, gpus=1), NodeResources(cpus=4, gpus=1)])
    assert plan.at_once == 2
    assert plan.sentence(CLASSES).endswith("; vehicles waits for a free place")


def test_models_share_a_gpu_by_fractions() -> None:
    assert plan_training(3, [NodeResources(cpus=16, gpus=1)], gpus_per_model=0.33).at_once == 3
    # Two halves of different GPUs are no whole one.
    nodes = [NodeResources(cpus=2, gpus=1), NodeResources(cpus=2, gpus=1)]
    assert plan_training(3, nodes, gpus_per_model=0.6).at_once == 2


def test_cpu_shares_fit_on_the_machines_that_there_are() -> None:
    plan = plan_training(3, [NodeResources(cpus=4, gpus=0), NodeResources(cpus=1, gpus=0)])
    assert plan.cpus == 1.33, "three thirds of the large machine, since the small one has less"
    plan = plan_training(3, [NodeResources(cpus=1, gpus=0)] * 3)
    assert (plan.cpus, plan.at_once) == (1, 3)


def test_the_user_may_train_fewer_at_once() -> None:
    plan = plan_training(3, TWO_CORES, max_parallel=1)
    assert (plan.at_once, plan.cpus, plan.threads) == (1, 2, 2)


def test_thirty_models_do_not_all_start_on_two_cores() -> None:
    assert plan_training(30, TWO_CORES).at_once == 8


@pytest.mark.parametrize(
    ("nodes", "options", "message"),
    [
        (TWO_CORES, {"device": "gpu"}, "has no GPU and its autoscaler can add none"),
        ([NodeResources(2, 1)], {"gpus_per_model": 2.0}, "no machine of the cluster has that many"),
        (TWO_CORES, {"gpus_per_model": 2.0}, "--gpus-per-model 2: the cluster has no GPU"),
        ([NodeResources(0, 0)], {}, "offers no CPU"),
        (TWO_CORES, {"gpus_per_model": 0.0}, "--gpus-per-model must be more than 0"),
        (TWO_CORES, {"gpus_per_model": float("nan")}, "must be a finite number, not nan"),
        (TWO_CORES, {"gpus_per_model": 4e-5}, "4e-05: the smallest share of a GPU is 0.0001"),
        ([NodeResources(8, 4)], {"gpus_per_model": 1.5}, "1.5: above 1 .* whole GPUs, as 1 or 2"),
        ([NodeResources(8, 4)], {"gpus_per_model": float("inf")}, "must be a finite number"),
        ([NodeResources(8, 2)] * 2, {"gpus_per_model": 4.0}, "no machine of the cluster has that"),
        (TWO_CORES, {"max_parallel": 0}, "--max-parallel must be at least 1"),
        (TWO_CORES, {"workers": 0}, "each model needs at least 1 worker, not 0"),
        (TWO_CORES, {"workers": 9}, "9 workers a model: the cluster's 2 CPU hold at most 8 of"),
        ([NodeResources(8, 1)] * 2, {"workers": 3}, "3 workers a model: the cluster's GPUs hold 2"),
        (TWO_CORES, {"workers": 3, "most_workers": 2}, "3-2 workers: the greatest number is below"),
        (TWO_CORES, {"workers": 3, "most_workers": 4}, "needs a whole CPU, and the cluster has 2;"),
        ([ONE], {"workers": 2, "most_workers": 4}, "2 workers a model: the cluster's GPUs hold 1"),
        (
            [ONE],
            {"workers": 1, "most_workers": 4, "gpus_per_model": 0.5},
            "--gpus-per-model 0.5 with 1 to 4 workers a model: .* have whole GPUs",
        ),
        (
            [NodeResources(8, 4)],
            {"workers": 2, "gpus_per_model": 4.0},
            "--gpus-per-model 4 with 2 workers a model: each worker uses one GPU",
        ),
    ],
)
def test_a_cluster_that_cannot_train_is_refused_at_once(
    nodes: list[NodeResources], options: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_training(3, nodes, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("models", "nodes", "options", "expected"),
    [
        # A model has the share of a worker as often as it has workers, on any machines.
        (1, TWO_CORES, {"workers": 2}, Plan(False, 1, 1, 0, 1, 2)),
        (3, TWO_CORES, {"workers": 2}, Plan(False, 3, 0.33, 0, 1, 2)),
        (1, [NodeResources(2, 0)] * 2, {"workers": 2}, Plan(False, 1, 2, 0, 2, 2)),
        (2, [ONE] * 3, {"workers": 2}, Plan(True, 1, 1, 1, 1, 2)),
        (2, [ONE], {"workers": 2, "gpus_per_model": 0.25}, Plan(True, 2, 1, 0.25, 1, 2)),
        # A worker for each of several GPUs of a machine, by default if every model has one.
        (1, [FOUR], {"gpus_per_model": 2.0}, Plan(True, 1, 1, 1, 1, 2, True)),
        (9, [FOUR], {"gpus_per_model": 2.0}, Plan(True, 2, 1, 1, 1, 2, True)),
        (1, [FOUR], {}, Plan(True, 1, 1, 1, 1, 4, True)),
        (1, [ONE, FOUR], {}, Plan(True, 1, 1, 1, 1, 4, True)),
        (2, [FOUR, NodeResources(8, 2)], {}, Plan(True, 2, 1, 1, 1, 2, True)),
        (1, [NodeResources(2, 4)], {}, Plan(True, 1, 0.5, 1, 1, 4, True)),
        # By default one, where models share a machine, or where a share was asked for.
        (2, [FOUR], {}, Plan(True, 2, 1, 1, 1)),
        (2, [ONE, FOUR], {}, Plan(True, 2, 1, 1, 1)),
        (1, [FOUR], {"gpus_per_model": 1.0}, Plan(True, 1, 1, 1, 1)),
        (1, [FOUR], {"workers": 1}, Plan(True, 1, 1, 1, 1)),
        (1, TWO_CORES, {}, Plan(False, 1, 2, 0, 2)),
        (3, [FOUR], {"max_parallel": 1}, Plan(True, 1, 1, 1, 1, 4, True)),
    ],
)
def test_a_model_has_workers(
    models: int, nodes: list[NodeResources], options: dict[str, Any], expected: Plan
) -> None:
    plan = plan_training(models, nodes, **options)
    assert plan == expected
    assert fits(nodes, plan.reservations * plan.at_once)


@pytest.mark.parametrize(
    ("models", "nodes", "most", "expected"),
    [
        # Workers that come and go have whole CPUs: as many as the greatest number would have.
        (1, [NodeResources(2, 0)] * 2, 2, (1, 2, 0)),
        (1, [NodeResources(8, 0)], 2, (1, 4, 0)),
        (1, [NodeResources(1, 0)], 2, (1, 1, 0)),
        # The models at once are those that can have the smallest number.
        (3, TWO_CORES, 2, (2, 1, 0)),
        (1, [ONE, ONE], 4, (1, 1, 1)),
        (3, [ONE, ONE], 4, (2, 1, 1)),
        (1, [NodeResources(2, 4)], 4, (1, 0.5, 1)),
    ],
)
def test_a_model_whose_workers_come_and_go_reserves_the_fewest(
    models: int, nodes: list[NodeResources], most: int, expected: tuple[int, float, float]
) -> None:
    plan = plan_training(models, nodes, workers=1, most_workers=most)
    assert (plan.at_once, plan.cpus, plan.gpus) == expected
    assert (plan.workers, plan.most, plan.elastic) == (1, most, True)
    assert plan.reservations == [(plan.cpus, plan.gpus)]


@pytest.mark.parametrize(
    ("free", "others", "expected"),
    [
        ([(1, 0)], [], 1),
        ([(1, 0), (1, 0)], [], 2),
        ([(8, 0)], [], 4),
        ([], [], 1),  # it waits for room for the fewest
        # It leaves room for what others wait for, from the first on, as far as that is enough.
        ([(4, 0)], [[(1, 0)]], 3),
        ([(4, 0)], [[(1, 0), (1, 0)], [(1, 0)]], 1),
        ([(4, 0)], [[(2, 0)], [(2, 0)]], 2),
        ([(1, 0), (4, 0)], [[(4, 0)]], 1),
        ([(4, 0)], [[(4, 0)]], 4),
        ([(4, 0)], [[(1, 1)]], 4),
    ],
)
def test_a_training_has_as_many_workers_as_there_is_room_for(
    free: list[tuple[float, float]], others: list[list[tuple[float, float]]], expected: int
) -> None:
    plan = Plan(False, 1, 1, 0, 1, 1, most=4)
    machines = [NodeResources(*each) for each in free]
    assert workers_with_room(plan, machines, others) == expected


def test_the_line_names_the_workers() -> None:
    plan = plan_training(1, TWO_CORES, workers=2)
    assert plan.sentence(["animals"]).endswith("on CPU, 2 workers of 1 CPU and 1 thread each")
    plan = plan_training(1, TWO_CORES, workers=1, most_workers=2)
    assert plan.sentence(["animals"]).endswith("CPU, 1 to 2 workers of 1 CPU and 1 thread each")
    plan = plan_training(1, [FOUR])
    assert plan.sentence(["animals"]).endswith("on GPU, 4 workers of 1 GPU and 1 CPU each")


@pytest.mark.parametrize(
    ("gpus", "share", "places"),
    [
        (2, 0.4, 4),
        (2, 0.6, 2),
        (1, 0.1, 10),
        (1, 0.2, 5),
        (3, 0.2, 15),
        (1, 0.33, 3),
        (2, 1 / 3, 6),
        (2, 1 / 7, 14),  # Ray counts 0.1428 of it
        (2, 0.3, 6),
        (8, 0.7, 8),
        (8, 1.0, 8),
        (8, 2.0, 4),
        (8, 3.0, 2),
        (2, 0.0001, 20_000),
    ],
)
def test_no_share_lies_on_parts_of_two_gpus(gpus: int, share: float, places: int) -> None:
    node = NodeResources(cpus=gpus, gpus=gpus)
    assert plan_training(10**6, [node], gpus_per_model=share).at_once == places


def packs(nodes: Sequence[NodeResources], needs: Sequence[tuple[float, float]]) -> bool:
    """Whether processes find room in any order and on any GPUs, tried one by one."""

    def place(free: tuple[tuple[Fraction, tuple[Fraction, ...]], ...], left: int) -> bool:
        if left == len(needs):
            return True
        cpus, gpus = (Fraction(int(need * 10_000 + 1e-6), 10_000) for need in needs[left])
        for number, (cores, cards) in enumerate(free):
            if cpus > cores:
                continue
            several = max(1, int(gpus)) if gpus else 0
            for chosen in itertools.combinations(range(len(cards)), several):
                share = gpus / (several or 1)
                if all(cards[card] >= share for card in chosen):
                    rest = tuple(c - share * (n in chosen) for n, c in enumerate(cards))
                    after = (*free[:number], (cores - cpus, rest), *free[number + 1 :])
                    if place(after, left + 1):
                        return True
        return False

    free = tuple((Fraction(n.cpus), (Fraction(1),) * int(n.gpus)) for n in nodes)
    return place(free, 0)


def test_as_many_are_promised_as_can_be_packed_by_hand() -> None:
    draw = random.Random(0)
    for _ in range(150):
        nodes = [
            NodeResources(draw.choice([0, 1, 2, 6]), draw.choice([0, 1, 1, 2]))
            for _ in range(draw.choice([1, 2]))
        ]
        if not any(node.gpus for node in nodes):
            continue
        share = draw.choice([0.3, 0.33, 1 / 3, 0.4, 0.5, 0.6, 0.7, 1.0, 2.0])
        try:
            plan = plan_training(99, nodes, gpus_per_model=share)
        except ConfigError:
            assert not packs(nodes, [(0, share)])
            continue
        case = (nodes, share, plan)
        assert packs(nodes, [(plan.cpus, share)] * plan.at_once), case
        assert not packs(nodes, [(0, share)] * (plan.at_once + 1)), case
        fewer = plan_training(draw.randint(1, plan.at_once), nodes, gpus_per_model=share)
        assert packs(nodes, [(fewer.cpus, share)] * fewer.at_once), (nodes, share, fewer)


def test_processes_that_are_said_to_fit_do_fit() -> None:
    draw = random.Random(1)
    answers = []
    for _ in range(150):
        nodes = [NodeResources(draw.choice([1, 2, 4]), draw.choice([0, 1, 2])) for _ in range(2)]
        needs = [
            (draw.choice([0.5, 1.0]), draw.choice([0.0, 0.3, 0.4, 0.6, 1.0, 2.0]))
            for _ in range(draw.randint(1, 5))
        ]
        answers.append(fits(nodes, needs))
        assert not answers[-1] or packs(nodes, needs), (nodes, needs)
    assert {*answers} == {True, False}
    assert not fits([NodeResources(8, 2)], [(1, 0.4)] * 5)
    assert fits([NodeResources(8, 2)], [(1, 0.4)] * 4)


def test_gpus_are_not_promised_to_models_that_find_no_core_beside_them() -> None:
    # One machine has the cores, the other the GPUs.
    plan = plan_training(5, [NodeResources(cpus=16, gpus=1), NodeResources(cpus=1, gpus=4)])
    assert (plan.at_once, plan.cpus) == (5, 0.25)


ON_RAY = """
import json, sys
import ray

ray.init(address="local", num_cpus=4, num_gpus=2, include_dashboard=False, log_to_driver=False)

@ray.remote(num_cpus=0)
class Model:
    def gpus(self):
        return [int(each) for each in ray.get_gpu_ids()]

for share, promised in json.loads(sys.argv[1]):
    models = [Model.options(num_gpus=share).remote() for _ in range(promised + 1)]
    calls = {model.gpus.remote(): model for model in models}
    running, waiting = ray.wait(list(calls), num_returns=promised)
    placed = ray.get(running)
    ray.kill(calls[running[0]])  # its place, and no other, is what the last one waits for
    last = ray.get(waiting[0])
    print(json.dumps({"placed": placed, "last": last, "first": placed[0]}))
    for model in models:
        ray.kill(model)
"""


@pytest.mark.slow
def test_ray_packs_as_many_as_were_promised() -> None:
    node = NodeResources(cpus=4, gpus=2)
    on_each = {0.4: 2, 1 / 3: 3, 0.6: 1}
    promised = [(s, plan_training(99, [node], gpus_per_model=s).at_once) for s in on_each]
    done = subprocess.run(
        [sys.executable, "-c", ON_RAY, json.dumps(promised)],
        env={name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    for each, answer in zip(on_each.values(), said, strict=True):
        assert sorted(answer["placed"]) == [[0]] * each + [[1]] * each
        assert answer["last"] == answer["first"]
