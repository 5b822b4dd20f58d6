"""How many models train at once, and on what, decided before anything starts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from colorgan.errors import ConfigError

# Three models on two cores are worth training at once; thirty are not.
_MODELS_PER_CPU = 4


@dataclass(frozen=True)
class NodeResources:
    """What one machine of the cluster offers."""

    cpus: float
    gpus: float


@dataclass(frozen=True)
class Plan:
    """What every training gets.

    Attributes:
        on_gpu: whether it trains on a GPU.
        at_once: how many trainings run at the same time; the others wait their turn.
        cpus: Ray's CPU share of each.
        gpus: Ray's GPU share of each.
        threads: that PyTorch may use in each.
    """

    on_gpu: bool
    at_once: int
    cpus: float
    gpus: float
    threads: int

    def sentence(self, models: Sequence[str], noun: str = "model") -> str:
        """The plan in one line."""
        share = f"{self.cpus:g} CPU and {self.threads} thread{'s' * (self.threads > 1)} each"
        if self.on_gpu:
            share = f"{self.gpus:g} GPU and {self.cpus:g} CPU each"
        line = (
            f"training {len(models)} {noun}{'s' * (len(models) > 1)} ({', '.join(models)}), "
            f"{self.at_once} at once, on {'GPU' if self.on_gpu else 'CPU'}, {share}"
        )
        waiting = models[self.at_once :]
        if waiting:
            line += f"; {', '.join(waiting)} wait{'s' * (len(waiting) == 1)} for a free place"
        return line


def plan_training(
    models: int,
    nodes: Sequence[NodeResources],
    device: str = "auto",
    gpus_per_model: float = 1.0,
    at_once: int | None = None,
) -> Plan:
    """Divide a cluster among models.

    Args:
        models: how many there are to train.
        nodes: the machines that there are, or that the autoscaler may add.
        device: auto (GPUs where there are any), cpu or gpu.
        gpus_per_model: a GPU's share for each; several models fit on one GPU below 1.
        at_once: an upper limit of the user's.

    Raises:
        ConfigError: the cluster cannot run even one model so.
    """
    if gpus_per_model <= 0:
        raise ConfigError("--gpus-per-model must be more than 0")
    if at_once is not None and at_once < 1:
        raise ConfigError("--at-once must be at least 1")
    wanted = min(models, at_once or models)
    gpus = sum(node.gpus for node in nodes)
    if device == "gpu" and not gpus:
        raise ConfigError(
            "--device gpu: the cluster has no GPU and its autoscaler can add none; "
            "--device cpu trains without"
        )
    if device == "gpu" or (device == "auto" and gpus):
        places = sum(_fits(node.gpus, gpus_per_model) for node in nodes)
        if not places:
            raise ConfigError(
                f"--gpus-per-model {gpus_per_model:g}: no machine of the cluster has so many GPUs"
            )
        running = min(wanted, places)
        on_gpu_nodes = [node.cpus for node in nodes if node.gpus]
        # One core feeds a GPU; where GPUs have fewer, they share what there is.
        cpus = min(1.0, _largest_share(on_gpu_nodes, running))
        return Plan(True, running, cpus, gpus_per_model, 1)
    cores = [node.cpus for node in nodes if node.cpus]
    if not cores:
        raise ConfigError("the cluster offers no CPU: start Ray with --num-cpus")
    running = min(wanted, max(1, math.floor(sum(cores) * _MODELS_PER_CPU)))
    share = _largest_share(cores, running)
    return Plan(False, running, share, 0, max(1, math.floor(share)))


def _fits(offered: float, share: float) -> int:
    return math.floor(offered / share + 1e-9)


def _largest_share(nodes: Sequence[float], places: int) -> float:
    """The largest share, rounded down to a hundredth, of which `places` fit on the nodes."""
    shares = {node / parts for node in nodes for parts in range(1, places + 1)}
    fitting = [s for s in shares if s > 0 and sum(_fits(node, s) for node in nodes) >= places]
    return math.floor(max(fitting, default=0.0) * 100) / 100
