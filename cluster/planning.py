"""Decides how many models train at once and with which resources, before anything starts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from cluster.code import check_code, code_version
from colorgan.errors import ConfigError
from colorgan.system import keep_buffers
from colorgan.training.config import SpeedConfig

# Concurrent training pays off for three models on two cores, but not for thirty.
_MODELS_PER_CPU = 4

# Ray counts resources in ten-thousandths and truncates anything finer.
_GPU = 10_000


@dataclass(frozen=True)
class NodeResources:
    """The CPUs and GPUs of one machine of the cluster."""

    cpus: float
    gpus: float


@dataclass(frozen=True)
class Plan:
    """The resources of each training.

    Attributes:
        on_gpu: whether the models train on GPUs.
        at_once: number of trainings that run at the same time; the others wait.
        cpus: CPUs that Ray reserves for each training.
        gpus: GPUs that Ray reserves for each training.
        threads: number of PyTorch threads in each training.
        code: the version of the code of the driver; see `cluster.code`.
    """

    on_gpu: bool
    at_once: int
    cpus: float
    gpus: float
    threads: int
    code: str = field(default_factory=code_version, compare=False, repr=False)

    def apply_to_process(self) -> None:
        """Limit this process to its share; a worker calls this before anything else.

        Raises:
            ColorganError: the worker has other code than the driver.
        """
        check_code(self.code)
        import torch  # the driver of a job makes plans without importing PyTorch

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
        gpus_per_model: number of GPUs for each training; see `plan_training`.
        max_parallel: maximum number of trainings at the same time; None for no limit.
        retries: how often a training process that died is restarted.
        checkpoint_every: number of epochs between checkpoints.
        speed: how each training uses its device.
    """

    device: str
    gpus_per_model: float
    max_parallel: int | None
    retries: int
    checkpoint_every: int
    speed: SpeedConfig

    def __post_init__(self) -> None:
        """Check what no cluster can give, before one is connected to; raises ConfigError."""
        _check_share(self.gpus_per_model)
        _check_parallel(self.max_parallel)

    def share(self, trainings: int, nodes: Sequence[NodeResources]) -> Plan:
        """The share of the cluster that each of several trainings gets; raises ConfigError."""
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
        models: number of models to train.
        nodes: machines of the cluster, including those that the autoscaler may add.
        device: auto (GPUs if there are any), cpu or gpu.
        gpus_per_model: GPUs for each model: either a share of one GPU, from 0.0001 to 1, which
            never spans two GPUs; or an integer number of GPUs of one machine.
        max_parallel: the user's limit on the number of models at the same time.

    Raises:
        ConfigError: the cluster cannot run even one such model, or Ray does not support the share.
    """
    _check_share(gpus_per_model)
    _check_parallel(max_parallel)
    wanted = min(models, max_parallel or models)
    gpus = sum(node.gpus for node in nodes)
    if device == "gpu" and not gpus:
        raise ConfigError(
            "--device gpu: the cluster has no GPU and its autoscaler can add none; "
            "--device cpu trains without"
        )
    if device == "auto" and not gpus and gpus_per_model > 1:
        raise ConfigError(
            f"--gpus-per-model {gpus_per_model:g}: the cluster has no GPU; without this "
            "option, the models train on the CPUs"
        )
    if device == "gpu" or (device == "auto" and gpus):
        on_gpus = [(node.cpus, _places(node.gpus, gpus_per_model)) for node in nodes if node.gpus]
        places = sum(number for _, number in on_gpus)
        if not places:
            raise ConfigError(
                f"--gpus-per-model {gpus_per_model:g}: no machine of the cluster has that many GPUs"
            )
        running = min(wanted, places)
        # One core is enough to feed a GPU. With fewer cores than GPUs, the cores are shared.
        cpus = min(1.0, _largest_share(on_gpus, running))
        return Plan(True, running, cpus, gpus_per_model, 1)
    # A training on a GPU needs a core, and must find it free when its turn comes.
    cores = [node.cpus - node.gpus if node.cpus > node.gpus else node.cpus for node in nodes]
    cores = [each for each in cores if each]
    if not cores:
        raise ConfigError("the cluster offers no CPU: start Ray with --num-cpus")
    running = min(wanted, max(1, math.floor(sum(cores) * _MODELS_PER_CPU)))
    share = _largest_share([(each, running) for each in cores], running)
    return Plan(False, running, share, 0, max(1, math.floor(share)))


def fits(nodes: Sequence[NodeResources], needs: Sequence[tuple[float, float]]) -> bool:
    """Whether processes fit on the machines, placing the largest first.

    Like Ray, it takes a fraction of a GPU from a single GPU, and several GPUs whole.

    Args:
        nodes: the machines.
        needs: (CPUs, GPUs) of each process.
    """
    # Processes without a GPU are placed last, on machines without GPUs if possible.
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
    """Free resources of a machine: CPUs, and ten-thousandths of each of its GPUs."""

    cpus: float
    gpus: list[int]

    def take(self, cpus: float, gpus: float) -> bool:
        """Take the resources of a process, and return whether they were free."""
        units, wanted = _units(min(gpus, 1.0)), math.ceil(gpus)
        # The fullest GPU with room comes first, which keeps whole GPUs free for larger requests.
        able = sorted((left, place) for place, left in enumerate(self.gpus) if left >= units)
        if cpus > self.cpus + 1e-9 or len(able) < wanted:
            return False
        self.cpus -= cpus
        for _, place in able[:wanted]:
            self.gpus[place] -= units
        return True


def _check_share(share: float) -> None:
    """Reject shares that Ray would reject later; raises ConfigError."""
    if not math.isfinite(share):
        raise ConfigError(f"--gpus-per-model must be a finite number, not {share}")
    if share <= 0:
        raise ConfigError(f"--gpus-per-model must be more than 0, not {share:g}")
    if not _units(min(share, 1.0)):
        raise ConfigError(f"--gpus-per-model {share:g}: the smallest share of a GPU is 0.0001")
    if share > 1 and not float(share).is_integer():
        raise ConfigError(
            f"--gpus-per-model {share:g}: above 1 a model gets whole GPUs, as "
            f"{math.floor(share)} or {math.ceil(share)}"
        )


def _check_parallel(most: int | None) -> None:
    """Reject a limit that lets nothing train; raises ConfigError."""
    if most is not None and most < 1:
        raise ConfigError(f"--max-parallel must be at least 1, not {most}")


def _places(gpus: float, share: float) -> int:
    """The number of shares that a machine's GPUs hold; no share spans two GPUs."""
    whole = math.floor(gpus)
    return whole // round(share) if share > 1 else whole * (_GPU // _units(share))


def _units(share: float) -> int:
    return math.floor(share * _GPU + 1e-6)


def _count(offered: float, share: float) -> int:
    return math.floor(offered / share + 1e-9)


def _largest_share(nodes: Sequence[tuple[float, int]], places: int) -> float:
    """The largest share, rounded down to a hundredth, such that `places` shares fit on the nodes.

    Args:
        nodes: CPUs of each node, and the maximum number of processes on it.
        places: number of processes.
    """
    shares = {node / parts for node, _ in nodes for parts in range(1, places + 1)}
    fitting = [
        share
        for share in shares
        if share > 0 and sum(min(most, _count(node, share)) for node, most in nodes) >= places
    ]
    return math.floor(max(fitting, default=0.0) * 100 + 1e-6) / 100
