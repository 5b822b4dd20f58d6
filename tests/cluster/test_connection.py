import os
from pathlib import Path

import pytest
import yaml

from cluster.connection import AUTOSCALING, autoscaled
from cluster.planning import NodeResources
from colorgan.errors import ConfigError
from tests.conftest import CHECKOUT

GPUS = (NodeResources(cpus=4, gpus=1), 3)


def test_what_the_autoscaler_may_add_stands_in_the_file_that_ray_up_leaves_on_the_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ray's own preparation adds what the file leaves out, the head's part among it.
    from ray.autoscaler._private.util import prepare_config

    config = prepare_config(yaml.safe_load((CHECKOUT / "ray_config.yaml").read_text()))
    (tmp_path / "bootstrap.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.setenv(AUTOSCALING, str(tmp_path / "bootstrap.yaml"))
    assert list(autoscaled()) == [GPUS]


@pytest.mark.parametrize("file", ["raycluster.yaml", "rayjob.yaml"])
def test_on_kubernetes_it_stands_in_the_manifest(
    file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = yaml.safe_load((CHECKOUT / "cluster" / "kubernetes" / file).read_text())["spec"]
    spec = spec.get("rayClusterSpec", spec)
    (head,) = spec["headGroupSpec"]["template"]["spec"]["containers"]
    monkeypatch.setenv(AUTOSCALING, {e["name"]: e["value"] for e in head["env"]}[AUTOSCALING])
    (group,) = spec["workerGroupSpecs"]
    (worker,) = group["template"]["spec"]["containers"]
    limits = worker["resources"]["limits"]
    offered = NodeResources(int(limits["cpu"]), limits["nvidia.com/gpu"])
    assert list(autoscaled()) == [(offered, group["maxReplicas"])]


def test_a_cluster_without_an_autoscaler_adds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(AUTOSCALING, raising=False)
    assert list(autoscaled()) == []


@pytest.mark.parametrize(
    "told",
    [
        os.devnull,
        "/nowhere/config.yaml",
        "{available_node_types: {gpu: {max_workers: 3}}}",
        "{available_node_types: {gpu: {max_workers: some, resources: {GPU: 1}}}}",
        "{available_node_types: [gpu",
    ],
)
def test_what_says_nothing_of_machines_is_refused_in_a_sentence(
    told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(AUTOSCALING, told)
    with pytest.raises(ConfigError, match="COLORGAN_AUTOSCALING must name the autoscaler's"):
        list(autoscaled())
