"""Connects a job to Ray, and lists the resources of the cluster.

Ray reads its authentication settings once, when it is imported. This module therefore sets them
first and imports Ray afterwards.
"""

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import yaml

from cluster.code import checkout_path
from cluster.local import SHORT, private_ray_environment
from cluster.planning import NodeResources
from cluster.reach import check_address, saying_so
from colorgan.errors import ColorganError, ConfigError
from colorgan.temporary import temporary_folder

AUTOSCALING = "COLORGAN_AUTOSCALING"

# Settings of a private Ray. Nobody else knows its token, so nobody could read its metrics. Its
# trainings run at normal priority, because they are the foreground work of the machine.
_UNOBSERVED = {
    "RAY_enable_metrics_collection": "0",
    "RAY_task_events_report_interval_ms": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_worker_niceness": "0",
}

_FAILURES = (ConnectionError, ValueError, RuntimeError)  # of `ray.init`


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
    check_address(address)
    if address == "local":
        os.environ.update(private_ray_environment() | _UNOBSERVED)
        os.environ.pop(AUTOSCALING, None)  # it describes another cluster
    # The autoscaler may take minutes to start a machine; Ray Train's default timeout is one minute.
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "1800")
    with ExitStack() as stack:
        own: dict[str, Any] = {}
        if address == "local":
            # Nobody else knows the token of a private Ray, so nobody could open its dashboard.
            own["include_dashboard"] = False
            folder = stack.enter_context(temporary_folder("ray", SHORT))
            own["_temp_dir"] = str(folder)
        _init(address, worker_logs, own)
        import ray

        stack.callback(ray.shutdown)
        yield


def _init(address: str, worker_logs: bool, own: Mapping[str, Any]) -> None:
    """Call `ray.init` with the options `own` of a private Ray."""
    import ray
    from ray._private import worker
    from ray.job_config import JobConfig

    if not worker_logs:
        # Ray would print its warnings about processes of the cluster, of other jobs as well.
        worker.listen_error_messages = lambda *arguments: None
    terminate = signal.getsignal(signal.SIGTERM)
    try:
        with saying_so(address):
            ray.init(
                address=address,
                log_to_driver=worker_logs,
                logging_level="WARNING",
                # Tasks import the code that this process runs, wherever it was started.
                job_config=JobConfig(_py_driver_sys_path=checkout_path()),
                **own,
            )
    except Exception as error:
        # Ray raises a plain Exception if its own processes do not start in time.
        if type(error) is not Exception and not isinstance(error, _FAILURES):
            raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if address == "local":
            raise ColorganError(
                f"Ray did not start on this machine: {reason}; try again when the machine is less "
                "busy"
            ) from None
        raise ColorganError(
            f"no Ray cluster answers at {address}: {reason}; `ray status` on the head says whether "
            "it runs"
        ) from None
    signal.signal(signal.SIGTERM, terminate)  # ray.init has replaced it with its own handler


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


def may_grow() -> bool:
    """Whether the cluster has an autoscaler; see `autoscaled`."""
    return bool(os.environ.get(AUTOSCALING))


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
