"""One of two workers, of which the second fails where the first waits for it."""

import sys

import torch
import torch.distributed as dist

from colorgan.commands.process import guarded
from colorgan.errors import ColorganError, WorkerLost
from colorgan.workers import current_workers, in_step


def main() -> int:
    rank, store = int(sys.argv[1]), sys.argv[2]
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    workers = current_workers()
    try:
        with in_step(), workers.together():
            if rank:
                raise ColorganError("met together")
    except WorkerLost:
        raise AssertionError("all know of it") from None
    except ColorganError as error:
        assert str(error) == "met together"
        if rank:
            print("known to all", flush=True)
    with in_step():
        if rank:
            raise ColorganError("met by one alone")
        workers.sum(torch.ones(1))
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main))
