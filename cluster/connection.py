"""Connects a job to Ray, and lists the resources of the cluster.

Ray reads its authentication settings once, when it is imported. This module therefore sets them
first and imports Ray afterwards.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import yaml

from cluster.local import private_ray_environment
from cluster.planning import NodeResources
from colorgan.errors import ColorganError, ConfigError

AUTOSCALING = "COLORGAN_AUTOSCALING"

# Settings of a private Ray. Nobody else knows its token, so nobody could read its metrics. Its
# trainings run at normal priority, because they are the foreground work of the machine.
_UNOBSERVED = {
    "RAY_enable_metrics_collection": "0",
    "RAY_task_events_report_interval_ms": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_worker_niceness": "0",
}


@contextmanager
def connected(address: str | None = None, worker_logs: bool = False) -> Iterator[None]:
    """Connect to Ray for the duration of a `with` block.

    Args:
        address: address of a running cluster. None means `$RAY_ADDRESS`, which `ray job submit`
            sets; if that is unset too, a private Ray is started, which ends with this process.
        worker_logs: whether to print the output of the cluster's processes.

    Raises:
        ColorganError: no cluster answers at the address.
    """
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    if address == "local":
        os.environ.update(private_ray_environment() | _UNOBSERVED)
        os.environ.pop(AUTOSCALING, None)  # it describes another cluster
    # The autoscaler may take minutes to start a machine; Ray Train's default timeout is one minute.
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "1800")
    import ray

    terminate = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            address=address,
            log_to_driver=worker_logs,
            logging_level="WARNING",
            # Nobody else knows the token of a private Ray, so nobody could open its dashboard.
            include_dashboard=False if address == "local" else None,
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ColorganError(
            f"no Ray cluster answers at {address}: {reason}; check the address and, if the "
            "cluster requires a token, RAY_AUTH_MODE=token"
        ) from None
    signal.signal(signal.SIGTERM, terminate)  # ray.init has replaced it with its own handler
    try:
        yield
    finally:
        ray.shutdown()


def cluster_nodes() -> list[NodeResources]:
    """The machines of the cluster, including those that its autoscaler may add."""
    import ray

    nodes = [
        NodeResources(node["Resources"].get("CPU", 0), node["Resources"].get("GPU", 0))
        for node in ray.nodes()
        if node["Alive"]
    ]
    possible = list(nodes)
    for kind, most in autoscaled():
        possible += [kind] * (most - nodes.count(kind))
    return possible


def autoscaled() -> Iterator[tuple[NodeResources, int]]:
    """The types of machines that the autoscaler may start, and the maximum number of each.

    Ray does not expose these to its jobs. $COLORGAN_AUTOSCALING therefore names the autoscaler's
    configuration file, which `ray up` leaves on the head, or contains the configuration itself, as
    {available_node_types: …}.

    Raises:
        ConfigError: the configuration cannot be read, or lacks the resources or the maximum number
            of a type.
    """
    told = os.environ.get(AUTOSCALING, "")
    if not told:
        return
    try:
        text = told if told.startswith("{") else Path(told).expanduser().read_text()
        config = yaml.safe_load(text)
        for name, kind in config["available_node_types"].items():
            if name != config.get("head_node_type"):
                resources, most = kind["resources"], kind["max_workers"]
                yield NodeResources(resources.get("CPU", 0), resources.get("GPU", 0)), int(most)
    except (OSError, yaml.YAMLError, LookupError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError(
            f"${AUTOSCALING} must name the autoscaler's configuration, with the resources and the "
            f"max_workers of each of its available_node_types; {told}: {error!r}"
        ) from None


def storage_uri(uri: str | None) -> str | None:
    """The storage URI of a job: `uri` if given, else its default; None for the library's default.

    `ray job submit --working-dir .` runs the job in a temporary copy of the checkout, where
    `artifacts/` would be lost. In that case the default is `artifacts/` in the folder in which Ray
    was started, as it is for a job that was submitted without --working-dir.

    Raises:
        ColorganError: the job runs in such a copy, and the folder in which Ray was started cannot
            be found.
    """
    if uri or os.environ.get("COLORGAN_STORAGE") or "working_dir_files" not in Path.cwd().parts:
        return uri
    for process in psutil.Process().parents():
        if process.name() == "raylet":
            return str(Path(process.cwd()) / "artifacts")
    raise ColorganError(
        "the job runs in a temporary copy of the working directory: give --storage a full path or "
        "s3://bucket/prefix"
    )
