"""Several processes that train one model together, each on its part of every batch.

Every worker takes the same steps with the same random numbers, and computes the losses of its own
photographs, weighted by its share of the batch, so that a step is the same whatever their number.
They communicate through PyTorch's default process group, whose tensors on the CPU must travel
through gloo: `cpu:gloo,cuda:nccl` on GPUs. The caller initialises it, as torchrun's scripts and Ray
Train's TorchTrainer do.
"""

import pickle
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist

# Its functions have the process group of their import as a default argument. If there were one, it
# would never end, nor would its threads, which abort a process that exits meanwhile.
# DistributedDataParallel imports it.
import torch.distributed.nn.functional
from torch import Tensor

from colorgan.errors import ColorganError, WorkerLost

Value = TypeVar("Value")

_KNOWN = "colorgan_known_to_all"  # attribute of an exception that all workers have raised
_GONE = re.compile("gloo|NCCL|Connection (closed|reset) by peer")  # in messages of PyTorch


@dataclass(frozen=True)
class Workers:
    """The workers of a training, as one of them sees them.

    Every method that communicates must be called by all workers, in the same order.

    Attributes:
        rank: this worker's number, from 0.
        count: the number of workers.
    """

    rank: int = 0
    count: int = 1

    @property
    def alone(self) -> bool:
        """Whether there is no other worker."""
        return self.count == 1

    @property
    def first(self) -> bool:
        """Whether this worker writes what all have computed."""
        return self.rank == 0

    def bounds(self, size: int) -> tuple[int, int]:
        """The begin and end of this worker's part of `size` things; it may be empty."""
        return self.rank * size // self.count, (self.rank + 1) * size // self.count

    def within(self, start: int, stop: int) -> range:
        """The positions that this worker reads of a batch from position `start` to `stop`.

        They are never none: a worker without a part reads the first position, and its result has
        the weight 0 (see `Part`).
        """
        begin, end = self.bounds(stop - start)
        return range(start + begin, start + end) if end > begin else range(start, start + 1)

    def sum(self, tensor: Tensor) -> Tensor:
        """Replace a tensor, in place, by its sum over all workers; also returns it."""
        if not self.alone:
            dist.all_reduce(tensor)
        return tensor

    def greatest(self, number: int) -> int:
        """The greatest of all workers' numbers."""
        if self.alone:
            return number
        found = torch.tensor(number)
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return int(found)

    def of_first(self, value: Value) -> Value:
        """The first worker's value, which is pickled; the others' are ignored."""
        if self.alone:
            return value
        found: list[Any] = [value if self.first else None]
        dist.broadcast_object_list(found)
        return cast(Value, found[0])

    def of_all(self, value: Value) -> list[Value]:
        """All workers' values, which are pickled, by rank."""
        found: list[Any] = [None] * self.count
        if self.alone:
            return [value]
        dist.all_gather_object(found, value)
        return found

    def joined(self, rows: Tensor | None) -> Tensor | None:
        """All workers' rows in the order of their ranks; None except in the first worker.

        Args:
            rows: this worker's; None if it has none.
        """
        if self.alone:
            return rows
        found: list[Any] | None = [None] * self.count if self.first else None
        dist.gather_object(None if rows is None else rows.cpu(), found)
        given = [each for each in found or () if each is not None]
        return torch.cat(given) if given else None

    def broadcast(self, tensors: list[Tensor], source: int = 0) -> None:
        """Overwrite tensors by those of a worker, which is the first by default."""
        if not self.alone:
            for tensor in tensors:
                dist.broadcast(tensor, source)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Run a block that does not communicate; what one worker raises, all raise at its end.

        After such an error they can still work together; see `in_step`.
        """
        if self.alone:
            yield
            return
        own: Exception | None = None
        try:
            yield
        except Exception as error:
            own = error
        if not self.greatest(own is not None):
            return
        errors = self.of_all(own and _picklable(own))
        first = own or next(each for each in errors if each is not None)
        first.__dict__[_KNOWN] = True
        raise first


ALONE = Workers()


def current_workers() -> Workers:
    """The workers of PyTorch's default process group; this process alone if there is none."""
    if not (dist.is_available() and dist.is_initialized()):
        return ALONE
    return Workers(dist.get_rank(), dist.get_world_size())


@contextmanager
def in_step() -> Iterator[None]:
    """Enclose what the workers of the process group do together.

    Raises:
        WorkerLost: instead of a ColorganError that this worker has met outside of `together`, so
            that the others wait for it in another place, and instead of PyTorch's error if another
            worker has gone.
    """
    alone = current_workers().alone
    try:
        with losses_in_words():
            yield
    except ColorganError as error:
        if alone or _KNOWN in error.__dict__ or isinstance(error, WorkerLost):
            raise
        raise WorkerLost(str(error)) from error


@contextmanager
def losses_in_words() -> Iterator[None]:
    """Say in words that another worker has gone; raises WorkerLost."""
    try:
        yield
    except RuntimeError as error:
        told = isinstance(error, dist.DistError) or _GONE.search(str(error))
        if current_workers().alone or not told:
            raise
        raise WorkerLost(
            "another worker of this training has ended, and its own message says why: run the same "
            "command again with --run NAME to continue"
        ) from error


class Part:
    """A worker's part of the current batch.

    Attributes:
        workers: the workers.
        start: the position in the batch at which it begins.
        stop: the position at which it ends.
        total: the number of photographs of the whole batch.
    """

    def __init__(self, workers: Workers) -> None:
        """Take a batch of one photograph per worker until `take` is called."""
        self.workers = workers
        self.take(workers.count)

    def take(self, total: int) -> None:
        """Take a part of the next batch, which has `total` photographs."""
        self.total = total
        self.start, self.stop = self.workers.bounds(total)

    @property
    def positions(self) -> range:
        """The positions in the batch that this worker computes; see `Workers.within`."""
        return self.workers.within(0, self.total)

    @property
    def share(self) -> float:
        """The share of the batch that is this worker's, in [0, 1]."""
        return (self.stop - self.start) / self.total

    def mean(self, means: Tensor) -> Tensor:
        """The means over the whole batch, from those over this worker's part; no gradient."""
        return self.workers.sum(means.detach() * self.share)


def _picklable(error: Exception) -> Exception:
    """The exception itself, or one with its words where it does not survive pickling."""
    try:
        copy = pickle.loads(pickle.dumps(error))
    except Exception:  # whatever its class does there
        return RuntimeError(repr(error))
    return error if isinstance(copy, type(error)) else RuntimeError(repr(error))
