"""Decides how many models train at once and with which resources, before anything starts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from cluster.code import check_code, code_version
from colorgan.errors import ConfigError
from colorgan.system import keep_buffers
from colorgan.training.config import SpeedConfig

# Concurrent training pays off for three models on two cores, but not for thirty.
_MODELS_PER_CPU = 4

# Ray counts resources in ten-thousandths and truncates anything finer.
_GPU = 10_000

# A training that changes the number of its workers starts them anew, which takes it the time to
# start and to read its photographs. So it does that at most once in so many seconds.
RESIZE_SECONDS = 60.0

Need = tuple[float, float]  # the CPUs and GPUs of a process, which must lie on one machine


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
        cpus: CPUs that Ray reserves for each worker of a training.
        gpus: GPUs that Ray reserves for each worker.
        threads: number of PyTorch threads in each worker.
        workers: number of workers of each training; the smallest, if it may change.
        most: the greatest number of workers of a training.
        together: whether the workers of a training must share a machine.
        resize_every: seconds between two looks whether the number of workers should change.
        code: the version of the code of the driver; see `cluster.code`.
    """

    on_gpu: bool
    at_once: int
    cpus: float
    gpus: float
    threads: int
    workers: int = 1
    together: bool = False
    most: int = 0
    resize_every: float = RESIZE_SECONDS
    code: str = field(default_factory=code_version, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Take `workers` for the greatest number where none is given."""
        object.__setattr__(self, "most", self.most or self.workers)

    @property
    def elastic(self) -> bool:
        """Whether the number of workers follows the resources that are free."""
        return self.most > self.workers

    def apply_to_process(self) -> None:
        """Limit this process to its share; a worker calls this before anything else.

        Raises:
            ColorganError: the worker has other code than the driver.
        """
        check_code(self.code)
        import torch  # the driver of a job makes plans without importing PyTorch

        torch.set_num_threads(self.threads)
        keep_buffers()

    @property
    def reservations(self) -> list[Need]:
        """What a training reserves for as many workers as it must have."""
        if self.together:
            return [(self.workers * self.cpus, self.workers * self.gpus)]
        return [(self.cpus, self.gpus)] * self.workers

    def sentence(self, models: Sequence[str], noun: str = "model") -> str:
        """The plan in one line."""
        share = f"{self.cpus:g} CPU and {self.threads} thread{'s' * (self.threads > 1)}"
        if self.on_gpu:
            share = f"{self.gpus:g} GPU and {self.cpus:g} CPU"
        if self.most > 1:
            number = f"{self.workers} to {self.most}" if self.elastic else str(self.workers)
            share = f"{number} workers of {share}"
        share += " each"
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
        retries: how often a training whose process died is restarted.
        checkpoint_every: number of epochs between checkpoints.
        speed: how each training uses its device.
        workers: number of workers of each training; see `plan_training`.
        most_workers: the greatest number of workers; None if the number does not change.
        resize_every: see `Plan`.
    """

    device: str
    gpus_per_model: float | None
    max_parallel: int | None
    retries: int
    checkpoint_every: int
    speed: SpeedConfig
    workers: int | None = None
    most_workers: int | None = None
    resize_every: float = RESIZE_SECONDS

    def __post_init__(self) -> None:
        """Check what no cluster can give, before one is connected to; raises ConfigError."""
        _check(self.gpus_per_model, self.max_parallel, self.workers)
        _check_range(self.gpus_per_model, self.workers, self.most_workers)
        if not (math.isfinite(self.resize_every) and self.resize_every >= 1):
            raise ConfigError(f"--resize-every must be at least 1, not {self.resize_every:g}")

    def check_steps(self, batch_sizes: Mapping[str, int]) -> None:
        """Check that a step has a photograph for each of the workers that may come.

        Args:
            batch_sizes: the size of a step, by model.

        Raises:
            ConfigError: a model's steps are smaller.
        """
        for model, size in batch_sizes.items():
            if self.most_workers != self.workers and (self.most_workers or 0) > size:
                raise ConfigError(
                    f"{self.workers}-{self.most_workers} workers a model: a step of {model} has "
                    f"{size} photographs (--batch-size), so more than {size} workers are of no use"
                )

    def share(self, trainings: int, nodes: Sequence[NodeResources]) -> Plan:
        """The share of the cluster that each of several trainings gets; raises ConfigError."""
        plan = plan_training(
            trainings,
            nodes,
            self.device,
            self.gpus_per_model,
            self.max_parallel,
            self.workers,
            self.most_workers,
        )
        return replace(plan, resize_every=self.resize_every)


def plan_training(
    models: int,
    nodes: Sequence[NodeResources],
    device: str = "auto",
    gpus_per_model: float | None = None,
    max_parallel: int | None = None,
    workers: int | None = None,
    most_workers: int | None = None,
) -> Plan:
    """Divide a cluster among models.

    Args:
        models: number of models to train.
        nodes: machines of the cluster, including those that the autoscaler may add.
        device: auto (GPUs if there are any), cpu or gpu.
        gpus_per_model: either a share of one GPU, from 0.0001 to 1, for each worker of a model,
            which never spans two GPUs; or an integer number of GPUs of one machine, each of which
            gets a worker. None gives each worker a GPU.
        max_parallel: the user's limit on the number of models at the same time.
        workers: number of workers of each model, on any machines. None gives a model one worker,
            or one for each GPU of a machine that it has to itself, if `gpus_per_model` is None.
        most_workers: the greatest number of workers of each model, which has between `workers` and
            so many, each with a whole GPU, or with whole CPUs. None if the number does not change.

    Raises:
        ConfigError: the cluster cannot run even one such model, or Ray does not support the share.
    """
    _check(gpus_per_model, max_parallel, workers)
    _check_range(gpus_per_model, workers, most_workers)
    wanted = min(models, max_parallel or models)
    gpus = sum(node.gpus for node in nodes)
    if device == "gpu" and not gpus:
        raise ConfigError(
            "--device gpu: the cluster has no GPU and its autoscaler can add none; "
            "--device cpu trains without"
        )
    if device == "auto" and not gpus and (gpus_per_model or 0) > 1:
        raise ConfigError(
            f"--gpus-per-model {gpus_per_model:g}: the cluster has no GPU; without this "
            "option, the models train on the CPUs"
        )
    if device == "gpu" or (device == "auto" and gpus):
        return _plan_on_gpus(wanted, nodes, gpus_per_model, workers, most_workers or 0)
    if most_workers and most_workers > (workers or 1):
        return _plan_on_whole_cpus(wanted, nodes, workers or 1, most_workers)
    return _plan_on_cpus(wanted, nodes, workers or 1)


def _plan_on_gpus(
    wanted: int,
    nodes: Sequence[NodeResources],
    gpus_per_model: float | None,
    workers: int | None,
    most: int,
) -> Plan:
    share, together = gpus_per_model or 1.0, False
    if share > 1:
        workers, share, together = round(share), 1.0, True
    elif workers is None:
        workers = _gpus_of_own_machine(wanted, nodes) if gpus_per_model is None else 1
        together = workers > 1
    on_gpus = [(node.cpus, _places(node.gpus, share)) for node in nodes if node.gpus]
    if together:  # a place is what all workers of a model need
        on_gpus = [(cpus, number // workers) for cpus, number in on_gpus]
    places = sum(number for _, number in on_gpus)
    if together and not places:
        raise ConfigError(
            f"--gpus-per-model {workers}: no machine of the cluster has that many GPUs"
        )
    running = min(wanted, places if together else places // workers)
    if not running:
        raise ConfigError(
            f"{workers} workers a model: the cluster's GPUs hold {places} worker"
            f"{'s' * (places != 1)} of {share:g} GPU; give fewer workers"
        )
    # One core is enough to feed a GPU. With fewer cores than GPUs, the cores are shared.
    if together:
        cpus = math.floor(_largest_share(on_gpus, running) / workers * 100 + 1e-6) / 100
    else:
        cpus = _largest_share(on_gpus, min(places, running * max(workers, most)))
    return Plan(True, running, min(1.0, cpus), share, 1, workers, together, most)


def _gpus_of_own_machine(wanted: int, nodes: Sequence[NodeResources]) -> int:
    """The GPUs of the machine that every model has to itself; 1 if it has none to itself."""
    gpus = sorted((math.floor(node.gpus) for node in nodes), reverse=True)
    return max(1, gpus[wanted - 1]) if 0 < wanted <= len(gpus) else 1


def _plan_on_cpus(wanted: int, nodes: Sequence[NodeResources], workers: int) -> Plan:
    cores = _cores(nodes)
    most = max(1, math.floor(sum(cores) * _MODELS_PER_CPU))
    if workers > most:
        raise ConfigError(
            f"{workers} workers a model: the cluster's {sum(cores):g} CPU hold at most {most} "
            "of them; give fewer"
        )
    running = min(wanted, most // workers)
    processes = running * workers
    share = _largest_share([(each, processes) for each in cores], processes)
    return Plan(False, running, share, 0, max(1, math.floor(share)), workers)


def _plan_on_whole_cpus(
    wanted: int, nodes: Sequence[NodeResources], workers: int, most: int
) -> Plan:
    """The plan of trainings whose workers come and go, for which Ray counts whole CPUs."""
    cores = _cores(nodes)
    places = sum(math.floor(each) for each in cores)
    running = min(wanted, places // workers)
    if not running:
        raise ConfigError(
            f"{workers} to {most} workers a model: each needs a whole CPU, and the cluster has "
            f"{places}; give fewer"
        )
    processes = running * most
    share = max(1, math.floor(_largest_share([(each, processes) for each in cores], processes)))
    return Plan(False, running, share, 0, share, workers, most=most)


def _cores(nodes: Sequence[NodeResources]) -> list[float]:
    """The CPUs of each machine on which models can train; raises ConfigError if there is none."""
    # A training on a GPU needs a core, and must find it free when its turn comes.
    cores = [node.cpus - node.gpus if node.cpus > node.gpus else node.cpus for node in nodes]
    cores = [each for each in cores if each]
    if not cores:
        raise ConfigError("the cluster offers no CPU: start Ray with --num-cpus")
    return cores


def workers_with_room(
    plan: Plan, free: Sequence[NodeResources], others: Sequence[Sequence[Need]]
) -> int:
    """The number of workers that a training whose workers come and go should have now.

    It leaves room for what others wait for, but only where they could start with it.

    Args:
        plan: the training's plan.
        free: what is free on each machine, including what the training has now.
        others: what each of the others needs that wait for room.

    Returns:
        Between `plan.workers` and `plan.most`; the former also where there is no room for it.
    """
    least = plan.reservations
    left: list[Need] = []
    for needs in others:
        if fits(free, [*least, *left, *needs]):
            left += needs
    for number in range(plan.most, plan.workers, -1):
        if fits(free, [*left, *[(plan.cpus, plan.gpus)] * number]):
            return number
    return plan.workers


def fits(nodes: Sequence[NodeResources], needs: Sequence[Need]) -> bool:
    """Whether processes fit on the machines, placing the largest first.

    Like Ray, it takes a fraction of a GPU from a single GPU, and several GPUs whole.

    Args:
        nodes: the machines.
        needs: what each process needs.
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


def _check(share: float | None, most: int | None, workers: int | None) -> None:
    """Reject what no cluster can give; raises ConfigError.

    Args:
        share: the GPUs of a model.
        most: the limit on the number of models at the same time.
        workers: the number of workers of a model.
    """
    if share is not None:
        _check_share(share)
    if most is not None and most < 1:
        raise ConfigError(f"--max-parallel must be at least 1, not {most}")
    if workers is not None and workers < 1:
        raise ConfigError(f"each model needs at least 1 worker, not {workers}")
    if workers is not None and share is not None and share > 1 and share != workers:
        raise ConfigError(
            f"--gpus-per-model {share:g} with {workers} worker{'s' * (workers > 1)} a model: each "
            "worker uses one GPU, so give one of the two"
        )


def _check_range(share: float | None, workers: int | None, most: int | None) -> None:
    """Reject a range of workers that cannot be; raises ConfigError."""
    if most is None or most == workers:
        return
    if most < (workers or 1):
        raise ConfigError(f"{workers}-{most} workers: the greatest number is below the smallest")
    if share is not None and share != 1:
        raise ConfigError(
            f"--gpus-per-model {share:g} with {workers} to {most} workers a model: workers that "
            "come and go have whole GPUs, one each; leave this option out"
        )


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


def _places(gpus: float, share: float) -> int:
    """The number of shares, of at most 1, that a machine's GPUs hold; none spans two GPUs."""
    return math.floor(gpus) * (_GPU // _units(share))


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
