"""The process group of the workers of one training, which Ray Train sets up before its loop."""

import os
from datetime import timedelta
from typing import Any

import psutil
import ray
from ray.train.torch import TorchConfig

from cluster.planning import Plan

# Longer than a worker waits for a storage that does not respond, several times over.
PATIENCE = timedelta(hours=2)


class GroupConfig(TorchConfig):
    """What a TorchTrainer takes as its `torch_config`, for machines with several networks."""

    @property
    def backend_cls(self) -> type:
        """The class that sets the group up."""
        return _GroupBackend


class _GroupBackend(TorchConfig().backend_cls):  # type: ignore[misc]
    def on_start(self, worker_group: Any, backend_config: TorchConfig) -> None:
        worker_group.execute(listen_where_ray_does)
        super().on_start(worker_group, backend_config)


def group_config(plan: Plan) -> GroupConfig:
    """The process group of the workers of a plan."""
    return GroupConfig(backend=backend_of(plan), timeout_s=int(PATIENCE.total_seconds()))


def backend_of(plan: Plan) -> str:
    """PyTorch's backend for a plan: NCCL between GPUs, and gloo between CPUs.

    NCCL refuses two workers on one GPU, so workers with a share of a GPU also use gloo.
    """
    return "cpu:gloo,cuda:nccl" if plan.on_gpu and plan.gpus == 1 else "gloo"


def listen_where_ray_does() -> None:
    """Let gloo use the network interface of the machine's address in Ray.

    By default it uses that of the host's name, which may be the loopback interface.
    """
    address = ray.util.get_node_ip_address()
    for name, addresses in psutil.net_if_addrs().items():
        if any(each.address == address for each in addresses):
            os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
