"""What each model of a run gets of the cluster; tests/jobs trains on it."""

import pytest

from cluster.planning import NodeResources, TrainingOptions
from cluster.trainer import plan_shares
from colorgan.errors import ConfigError
from colorgan.training.config import SpeedConfig, TrainingConfig
from colorgan.training.plan import RunPlan

CLASSES = ("animals", "people", "vehicles")
PLAN = RunPlan(
    run="r",
    dataset="scenes",
    fingerprint="f",
    configs={model: TrainingConfig() for model in ("general", *CLASSES)},
    bases={},
    finished={},
    stages=(("general",), CLASSES),
    going_on=False,
    head="",
)


def options(device: str = "auto", max_parallel: int | None = None) -> TrainingOptions:
    return TrainingOptions(device, 1.0, max_parallel, 3, 5, SpeedConfig())


def test_the_models_of_a_stage_divide_the_whole_cluster() -> None:
    shares = plan_shares(PLAN, options(), [NodeResources(cpus=2, gpus=0)])
    assert {model: (share.cpus, share.at_once) for model, share in shares.items()} == {
        "general": (2, 1),
        **dict.fromkeys(CLASSES, (0.66, 3)),
    }
    one = plan_shares(PLAN, options(max_parallel=1), [NodeResources(cpus=2, gpus=0)])
    assert {share.at_once for share in one.values()} == {1}
    assert {share.cpus for share in one.values()} == {2}


def test_a_device_that_no_machine_has_is_refused() -> None:
    with pytest.raises(ConfigError, match="--device gpu: the cluster has no GPU"):
        plan_shares(PLAN, options("gpu"), [NodeResources(cpus=2, gpus=0)])
