"""The cluster files, as far as they can be checked without a cloud and without Kubernetes."""

import copy
import json
import re
import tomllib
from typing import Any

import jsonschema
import pytest
import yaml

from serve.config import ServeConfig
from tests.conftest import CHECKOUT

CLOUDS = ("cluster/gcp.yaml", "ray_config.yaml")
CLUSTERS = (*CLOUDS, "cluster/on_prem.yaml")

MANIFESTS = {
    "RayCluster": "cluster/kubernetes/raycluster.yaml",
    "RayJob": "cluster/kubernetes/rayjob.yaml",
    "RayService": "cluster/kubernetes/rayservice.yaml",
}
DOCKERFILE = "cluster/kubernetes/Dockerfile"
SCHEMAS = CHECKOUT / "tests" / "cluster" / "crds"


def load(path: str) -> Any:
    return yaml.safe_load((CHECKOUT / path).read_text())


def prepare(config: Any) -> Any:
    """What `ray up` makes of a file before it talks to the provider; raises where it is wrong."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(config)
    validate_config(prepared)
    return prepared


def starts(config: Any) -> dict[str, str]:
    """The command that starts Ray, on the head and on the workers."""
    commands = {}
    for kind in ("head", "worker"):
        (commands[kind],) = [c for c in config[f"{kind}_start_ray_commands"] if "ray start" in c]
    return commands


def environment(config: Any) -> dict[str, str]:
    """What the shells of every machine export, which `ray start` is one of."""
    commands = "\n".join(config["setup_commands"])
    (text,) = re.findall(r"^cat > ~/\.colorgan <<'END'\n(.*?)^END$", commands, re.M | re.S)
    assert "'. ~/.colorgan' | cat - ~/.bashrc > ~/.bashrc.new" in commands
    return dict(re.findall(r"^export (\w+)=(\S+)$", text, re.M))


@pytest.mark.parametrize("path", CLUSTERS)
def test_ray_accepts_the_cluster_file(path: str) -> None:
    prepare(load(path))


@pytest.mark.parametrize("path", CLUSTERS)
@pytest.mark.parametrize("section", [(), ("auth",)])
def test_ray_refuses_a_key_that_it_does_not_know(path: str, section: tuple[str, ...]) -> None:
    config = load(path)
    part = config
    for name in section:
        part = part[name]
    part["no_such_key"] = True
    with pytest.raises(jsonschema.ValidationError, match="no_such_key"):
        prepare(config)


@pytest.mark.parametrize("path", CLUSTERS)
def test_every_machine_wants_the_token_and_has_it(path: str) -> None:
    config = load(path)
    assert environment(config)["RAY_AUTH_MODE"] == "token"
    assert not any("RAY_AUTH_MODE" in command for command in starts(config).values())
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"


@pytest.mark.parametrize("path", CLUSTERS)
def test_the_dashboard_listens_on_loopback(path: str) -> None:
    commands = starts(load(path))
    assert re.findall(r"--dashboard-host[= ](\S+)", commands["head"]) == ["127.0.0.1"]


@pytest.mark.parametrize("path", CLUSTERS)
def test_jobs_start_in_the_checkout_and_may_save_before_they_end(path: str) -> None:
    config = load(path)
    assert config["file_mounts"]["~/colorgan"] == "."
    assert starts(config)["head"].startswith("cd ~/colorgan && ")
    assert environment(config)["RAY_JOB_STOP_WAIT_TIME_S"] == "120"
    assert environment(config)["COLORGAN_STORAGE"].startswith("s3://")


@pytest.mark.parametrize("path", CLUSTERS)
def test_no_machine_gets_what_the_checkout_does_not_need(path: str) -> None:
    assert {".git", ".venv", "artifacts"} <= set(load(path)["rsync_exclude"])


@pytest.mark.parametrize("path", CLOUDS)
def test_a_cloud_has_a_gpu_for_each_class_and_none_while_nothing_trains(path: str) -> None:
    config = prepare(load(path))
    types = dict(config["available_node_types"])
    head = types.pop(config["head_node_type"])
    assert "GPU" not in head.get("resources", {})
    assert config["max_workers"] == 3
    assert [kind["min_workers"] for kind in types.values()] == [0] * len(types)
    assert max(kind["max_workers"] for kind in types.values()) == 3
    assert config["idle_timeout_minutes"] <= 10


def manifest(kind: str) -> Any:
    return load(MANIFESTS[kind])


def validate(document: Any) -> None:
    """Check a manifest against the schema of its kind; no field may be unknown."""
    kuberay = yaml.safe_load((SCHEMAS / "kuberay.yaml").read_text())
    kubernetes = json.loads((SCHEMAS / "kubernetes.json").read_text())
    schema = {
        "$ref": f"#/$defs/{document['kind']}",
        "$defs": {**kubernetes["$defs"], **kuberay["$defs"]},
    }
    jsonschema.Draft202012Validator(schema).validate(document)


def ray_cluster(document: Any) -> Any:
    spec = document["spec"]
    name = {"RayJob": "rayClusterSpec", "RayService": "rayClusterConfig"}.get(document["kind"])
    return spec[name] if name else spec


def container(group: Any) -> Any:
    (only,) = group["template"]["spec"]["containers"]
    return only


@pytest.mark.parametrize("kind", MANIFESTS)
def test_kuberay_and_kubernetes_know_every_field_of_the_manifest(kind: str) -> None:
    document = manifest(kind)
    assert document["kind"] == kind
    validate(document)


@pytest.mark.parametrize("kind", MANIFESTS)
@pytest.mark.parametrize(
    "path",
    [
        (),
        ("headGroupSpec",),
        ("autoscalerOptions",),
        ("workerGroupSpecs", 0),
        ("workerGroupSpecs", 0, "template", "spec"),
        ("workerGroupSpecs", 0, "template", "spec", "containers", 0, "resources"),
    ],
)
def test_a_field_that_nobody_knows_is_refused(kind: str, path: tuple[str | int, ...]) -> None:
    document = copy.deepcopy(manifest(kind))
    part = ray_cluster(document)
    for step in path:
        part = part[step]
    part["noSuchField"] = {}
    with pytest.raises(jsonschema.ValidationError, match="noSuchField"):
        validate(document)


def test_a_start_parameter_that_is_no_string_is_refused() -> None:
    document = copy.deepcopy(manifest("RayCluster"))
    document["spec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] = 0
    with pytest.raises(jsonschema.ValidationError, match="0 is not of type 'string'"):
        validate(document)


@pytest.mark.parametrize("kind", MANIFESTS)
def test_pods_want_the_token_and_nothing_is_open_to_the_outside(kind: str) -> None:
    cluster = ray_cluster(manifest(kind))
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert not cluster["headGroupSpec"].get("enableIngress")
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert not group["template"]["spec"].get("hostNetwork")
        assert not any("hostPort" in port for port in container(group).get("ports", []))


@pytest.mark.parametrize("kind", MANIFESTS)
def test_the_head_has_no_gpu_and_the_workers_scale_from_none_to_three(kind: str) -> None:
    cluster = ray_cluster(manifest(kind))
    assert cluster["enableInTreeAutoscaling"]
    assert cluster["autoscalerOptions"]["version"] == "v2"
    head = cluster["headGroupSpec"]
    assert head["rayStartParams"]["num-cpus"] == "0"
    assert "nvidia.com/gpu" not in container(head)["resources"]["limits"]
    (workers,) = cluster["workerGroupSpecs"]
    assert (workers["minReplicas"], workers["maxReplicas"]) == (0, 3)
    assert container(workers)["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert workers["template"]["spec"]["terminationGracePeriodSeconds"] == 120


@pytest.mark.parametrize("kind", MANIFESTS)
def test_every_pod_has_the_same_image_and_takes_storage_from_the_secret(kind: str) -> None:
    cluster = ray_cluster(manifest(kind))
    pods = [container(cluster["headGroupSpec"]), *map(container, cluster["workerGroupSpecs"])]
    assert len({pod["image"] for pod in pods}) == 1
    for pod in pods:
        assert pod["envFrom"] == [{"secretRef": {"name": "colorgan-environment"}}]
        assert not any(variable["name"].startswith("AWS_") for variable in pod.get("env", []))


def test_the_manifests_name_no_object_of_kubernetes_twice() -> None:
    # The operator calls a cluster's and a service's objects by their names: colorgan-head-svc.
    cluster, service = manifest("RayCluster"), manifest("RayService")
    assert cluster["metadata"]["name"] != service["metadata"]["name"]


@pytest.mark.parametrize("kind", ["RayCluster", "RayJob"])
def test_a_job_has_time_to_save_before_it_is_killed(kind: str) -> None:
    head = container(ray_cluster(manifest(kind))["headGroupSpec"])
    assert {"name": "RAY_JOB_STOP_WAIT_TIME_S", "value": "120"} in head["env"]


def test_the_job_is_a_script_of_the_image() -> None:
    entrypoint = manifest("RayJob")["spec"]["entrypoint"]
    program, script = entrypoint.split()[:2]
    assert program == "python"
    assert (CHECKOUT / script).is_file()
    assert script.split("/")[0] in copied()


def test_the_service_has_the_settings_of_the_production_file() -> None:
    production = load("serve/production.yaml")
    service = yaml.safe_load(manifest("RayService")["spec"]["serveConfigV2"])
    assert service["http_options"].pop("host") == "0.0.0.0"  # of the pod
    del production["http_options"]["host"]
    (ours,), (theirs,) = service["applications"], production["applications"]
    assert "storage" not in ours["args"], "it is COLORGAN_STORAGE, from the secret"
    del theirs["args"]["storage"]
    for deployment in ours["deployments"]:
        share = deployment["ray_actor_options"].pop("num_gpus", None)
        assert share == (None if deployment["name"] == "ingress" else 0.25)
    assert service == production


def test_serve_and_the_application_accept_the_service() -> None:
    from ray.serve.schema import ServeDeploySchema

    text = manifest("RayService")["spec"]["serveConfigV2"]
    schema = ServeDeploySchema.model_validate(yaml.safe_load(text))
    (application,) = schema.applications
    assert ServeConfig(**application.args).storage is None


def test_one_worker_holds_the_whole_service() -> None:
    (workers,) = ray_cluster(manifest("RayService"))["workerGroupSpecs"]
    limits = container(workers)["resources"]["limits"]
    service = yaml.safe_load(manifest("RayService")["spec"]["serveConfigV2"])
    cpus = gpus = 0.0
    for deployment in service["applications"][0]["deployments"]:
        replicas = deployment["autoscaling_config"]["min_replicas"]
        cpus += replicas * deployment["ray_actor_options"]["num_cpus"]
        gpus += replicas * deployment["ray_actor_options"].get("num_gpus", 0)
    assert cpus <= int(limits["cpu"])
    assert gpus <= limits["nvidia.com/gpu"]


def copied() -> set[str]:
    """What the image takes of the checkout."""
    lines = re.findall(r"^COPY (?:--\S+ )*(.+) \S+$", (CHECKOUT / DOCKERFILE).read_text(), re.M)
    return {name for line in lines for name in line.split()}


def test_the_image_takes_every_package_and_what_building_them_needs() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    found = project["tool"]["setuptools"]["packages"]["find"]["include"]
    packages = {name.removesuffix("*") for name in found}
    needed = {"pyproject.toml", project["project"]["readme"], *project["project"]["license-files"]}
    assert copied() == packages | needed
    assert all((CHECKOUT / name).exists() for name in copied())


def test_the_image_has_the_ray_that_the_manifests_and_clouds_name() -> None:
    text = (CHECKOUT / DOCKERFILE).read_text()
    (base,) = re.findall(r"^FROM rayproject/ray:([\d.]+)-", text, re.M)
    assert re.findall(r"'ray\[[a-z,]+\]==([\d.]+)'", text) == [base]
    for kind in MANIFESTS:
        assert ray_cluster(manifest(kind))["rayVersion"] == base
    for path in CLOUDS:
        commands = "\n".join(load(path)["setup_commands"])
        assert set(re.findall(r"ray\[[a-z,]+\]==([\d.]+)", commands)) <= {base}, path
