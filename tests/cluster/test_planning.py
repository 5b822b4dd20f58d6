import pytest

from cluster.planning import NodeResources, Plan, plan_training
from colorgan.errors import ConfigError

TWO_CORES = [NodeResources(cpus=2, gpus=0)]
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
        ([NodeResources(2, 1)], {"gpus_per_model": 2.0}, "no machine of the cluster has so many"),
        ([NodeResources(0, 0)], {}, "offers no CPU"),
        (TWO_CORES, {"gpus_per_model": 0.0}, "--gpus-per-model must be more than 0"),
        (TWO_CORES, {"max_parallel": 0}, "--max-parallel must be at least 1"),
    ],
)
def test_a_cluster_that_cannot_train_is_refused_at_once(
    nodes: list[NodeResources], options: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_training(3, nodes, **options)  # type: ignore[arg-type]
