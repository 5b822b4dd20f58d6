"""How many models train at once, and on what, decided before anything starts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from colorgan.errors import ConfigError
from colorgan.memory import keep_buffers

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

    def settle(self) -> None:
        """Let this process keep to its share: the first thing that a worker does."""
        import torch  # a job's driver plans without it

        torch.set_num_threads(self.threads)
        keep_buffers()

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
    max_parallel: int | None = None,
) -> Plan:
    """Divide a cluster among models.

    Args:
        models: how many there are to train.
        nodes: the machines that there are, or that the autoscaler may add.
        device: auto (GPUs where there are any), cpu or gpu.
        gpus_per_model: a GPU's share for each; several models fit on one GPU below 1.
        max_parallel: an upper limit of the user's.

    Raises:
        ConfigError: the cluster cannot run even one model so.
    """
    if gpus_per_model <= 0:
        raise ConfigError("--gpus-per-model must be more than 0")
    if max_parallel is not None and max_parallel < 1:
        raise ConfigError("--max-parallel must be at least 1")
    wanted = min(models, max_parallel or models)
    gpus = sum(node.gpus for node in nodes)
    if device == "gpu" and not gpus:
        raise ConfigError(
            "--device gpu: the cluster has no GPU and its autoscaler can add none; "
            "--device cpu trains without"
        )
    if device == "gpu" or (device == "auto" and gpus):
        places = sum(_count(node.gpus, gpus_per_model) for node in nodes)
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


def fits(nodes: Sequence[NodeResources], needs: Sequence[tuple[float, float]]) -> bool:
    """Whether processes that need so many (CPUs, GPUs) each find room, the largest first."""
    # Those without a GPU come last, and go where there is none if they can.
    free = [[node.cpus, node.gpus] for node in sorted(nodes, key=lambda node: node.gpus)]
    for cpus, gpus in sorted(needs, key=lambda need: (need[1], need[0]), reverse=True):
        for room in free:
            if cpus <= room[0] + 1e-9 and gpus <= room[1] + 1e-9:
                room[0] -= cpus
                room[1] -= gpus
                break
        else:
            return False
    return True


def _count(offered: float, share: float) -> int:
    return math.floor(offered / share + 1e-9)


def _largest_share(nodes: Sequence[float], places: int) -> float:
    """The largest share, rounded down to a hundredth, of which `places` fit on the nodes."""
    shares = {node / parts for node in nodes for parts in range(1, places + 1)}
    fitting = [s for s in shares if s > 0 and sum(_count(node, s) for node in nodes) >= places]
    return math.floor(max(fitting, default=0.0) * 100) / 100
