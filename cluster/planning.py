"""How many models train at once, and on what, decided before anything starts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from colorgan.errors import ConfigError
from colorgan.system import keep_buffers
from colorgan.training.config import SpeedConfig

# Three models on two cores are worth training at once; thirty are not.
_MODELS_PER_CPU = 4

# Ray counts resources in ten-thousandths, and drops what is finer.
_GPU = 10_000


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

    def apply_to_process(self) -> None:
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


@dataclass(frozen=True)
class TrainingOptions:
    """How a job trains its models or trials on the cluster.

    Attributes:
        device: auto, cpu or gpu.
        gpus_per_model: the GPUs of each training; see `plan_training`.
        max_parallel: how many trainings run at the same time at most; None for no such limit.
        retries: how often a training's process that died is started again.
        checkpoint_every: epochs between checkpoints.
        speed: how each training uses its device.
    """

    device: str
    gpus_per_model: float
    max_parallel: int | None
    retries: int
    checkpoint_every: int
    speed: SpeedConfig

    def share(self, trainings: int, nodes: Sequence[NodeResources]) -> Plan:
        """What each of several trainings gets of the cluster; raises ConfigError."""
        return plan_training(trainings, nodes, self.device, self.gpus_per_model, self.max_parallel)


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
        gpus_per_model: a GPU's share for each, from 0.0001 up to 1, of which several models fit on
            one GPU and none on parts of two; or a whole number of GPUs of one machine.
        max_parallel: an upper limit of the user's.

    Raises:
        ConfigError: the cluster cannot run even one model so, or Ray knows no such share.
    """
    _check_share(gpus_per_model)
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
        on_gpus = [(node.cpus, _places(node.gpus, gpus_per_model)) for node in nodes if node.gpus]
        places = sum(number for _, number in on_gpus)
        if not places:
            raise ConfigError(
                f"--gpus-per-model {gpus_per_model:g}: no machine of the cluster has so many GPUs"
            )
        running = min(wanted, places)
        # One core feeds a GPU; where GPUs have fewer, they share what there is.
        cpus = min(1.0, _largest_share(on_gpus, running))
        return Plan(True, running, cpus, gpus_per_model, 1)
    cores = [node.cpus for node in nodes if node.cpus]
    if not cores:
        raise ConfigError("the cluster offers no CPU: start Ray with --num-cpus")
    running = min(wanted, max(1, math.floor(sum(cores) * _MODELS_PER_CPU)))
    share = _largest_share([(each, running) for each in cores], running)
    return Plan(False, running, share, 0, max(1, math.floor(share)))


def fits(nodes: Sequence[NodeResources], needs: Sequence[tuple[float, float]]) -> bool:
    """Whether processes that need so many (CPUs, GPUs) each find room, the largest first.

    A share of a GPU is taken from one GPU, and several GPUs are taken whole, as Ray does it.
    """
    # Those without a GPU come last, and go where there is none if they can.
    rooms = [
        _Room(node.cpus, [_GPU] * math.floor(node.gpus))
        for node in sorted(nodes, key=lambda node: node.gpus)
    ]
    return all(
        any(room.take(cpus, gpus) for room in rooms)
        for cpus, gpus in sorted(needs, key=lambda need: (need[1], need[0]), reverse=True)
    )


@dataclass
class _Room:
    """What is free on a machine: CPUs, and so many ten-thousandths of each GPU."""

    cpus: float
    gpus: list[int]

    def take(self, cpus: float, gpus: float) -> bool:
        """Take what a process needs, if it is there."""
        units, wanted = _units(min(gpus, 1.0)), math.ceil(gpus)
        # On the fullest GPU that has room: whole ones are left for those who need them.
        able = sorted((left, place) for place, left in enumerate(self.gpus) if left >= units)
        if cpus > self.cpus + 1e-9 or len(able) < wanted:
            return False
        self.cpus -= cpus
        for _, place in able[:wanted]:
            self.gpus[place] -= units
        return True


def _check_share(share: float) -> None:
    """Refuse what Ray would refuse later; raises ConfigError."""
    if not share > 0:  # nor is NaN
        raise ConfigError("--gpus-per-model must be more than 0")
    if not _units(min(share, 1.0)):
        raise ConfigError(f"--gpus-per-model {share:g}: the smallest share of a GPU is 0.0001")
    if share > 1 and not float(share).is_integer():
        raise ConfigError(
            f"--gpus-per-model {share:g}: above 1 a model gets whole GPUs, as 1 or "
            f"{math.ceil(share) if math.isfinite(share) else 2}"
        )


def _places(gpus: float, share: float) -> int:
    """How many shares a machine's GPUs hold: none lies on parts of two GPUs."""
    whole = math.floor(gpus)
    return whole // round(share) if share > 1 else whole * (_GPU // _units(share))


def _units(share: float) -> int:
    return math.floor(share * _GPU + 1e-6)


def _count(offered: float, share: float) -> int:
    return math.floor(offered / share + 1e-9)


def _largest_share(nodes: Sequence[tuple[float, int]], places: int) -> float:
    """The largest share, rounded down to a hundredth, of which `places` fit on the nodes.

    Args:
        nodes: what each node offers, and how many processes it can hold at most.
        places: how many processes there are.
    """
    shares = {node / parts for node, _ in nodes for parts in range(1, places + 1)}
    fitting = [
        share
        for share in shares
        if share > 0 and sum(min(most, _count(node, share)) for node, most in nodes) >= places
    ]
    return math.floor(max(fitting, default=0.0) * 100 + 1e-6) / 100
