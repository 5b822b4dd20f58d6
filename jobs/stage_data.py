"""Stage photographs as a dataset, spread over the cluster.

    python jobs/stage_data.py SOURCE [SOURCE ...] --dataset NAME
    ray job submit -- python jobs/stage_data.py SOURCE --dataset NAME --per-class 800

The result is byte-identical to that of `colorgan stage`, with as many processes as there are CPUs.
Submitted again, the job continues where it was interrupted.
"""

import argparse
import sys
from collections.abc import Sequence

from cluster.connection import cluster_nodes, connected, storage_uri
from cluster.job import add_address_option, check_at_least, run_job, submission_id
from colorgan.commands.process import add_storage_option
from colorgan.commands.staging import add_stage_options, run_stage
from colorgan.data.mapping import Mapper
from colorgan.storage import open_storage


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job; returns its exit status."""
    return run_job(_parser(), _run, argv)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="stage_data.py", description="Stage photographs as a dataset, by Ray Data."
    )
    add_storage_option(parser)
    add_address_option(parser)
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="number of concurrent processes (default: one per CPU)",
    )
    add_stage_options(parser)
    return parser


def _run(args: argparse.Namespace) -> int:
    check_at_least(1, args, "workers")
    storage = open_storage(storage_uri(args.storage))
    with connected(args.address):
        nodes = cluster_nodes()
        if len(nodes) > 1 and not storage.uri.startswith("s3://"):
            print(f"note: every machine must see {storage.uri}, or use s3://", flush=True)

        def mapper(most: int) -> Mapper:
            # Both import Ray: see cluster.connection.
            import ray

            from cluster.staging import RayMapper

            # The job uses the CPUs that are available now, so that the autoscaler does not start
            # GPU machines for it, unless there are no CPUs.
            there = ray.cluster_resources().get("CPU", 0) or sum(node.cpus for node in nodes)
            return RayMapper(min(args.workers or max(1, int(there)), most))

        return run_stage(args, storage, mapper, submission_id())


if __name__ == "__main__":
    sys.exit(main())
