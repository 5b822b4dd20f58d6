"""Several processes of one command, which torchrun has started as the workers of a training."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

from colorgan.errors import ConfigError
from colorgan.workers import ALONE, Workers, current_workers, losses_in_words

# Longer than a worker waits for a storage that does not respond, several times over.
PATIENCE = timedelta(hours=2)


@contextmanager
def joined(device: torch.device) -> Iterator[tuple[torch.device, Workers]]:
    """Join the other processes that torchrun has started, if it has.

    Args:
        device: the type of device to train on.

    Yields:
        This process's own device, and the workers.

    Raises:
        ConfigError: the machine has fewer GPUs than processes.
        WorkerLost: another process has ended meanwhile.
    """
    if not (dist.is_available() and dist.is_torchelastic_launched()):
        yield device, ALONE
        return
    if device.type == "cuda":
        number, count = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if number >= count:
            raise ConfigError(
                f"torchrun --nproc-per-node {os.environ['LOCAL_WORLD_SIZE']}: this machine has "
                f"{count} GPU{'s' * (count > 1)}, and every process needs one; --device cpu trains "
                "without"
            )
        device = torch.device("cuda", number)
        torch.cuda.set_device(device)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=PATIENCE)
    try:
        with losses_in_words():
            yield device, current_workers()
    finally:
        dist.destroy_process_group()
        gc.collect()  # a network in a cycle of references holds the group, and so its threads
