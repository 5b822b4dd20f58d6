"""The work of jobs/evaluate.py on the cluster: photographs are coloured and measured."""

import argparse
import time
from itertools import chain

from cluster.connection import cluster_nodes, connected
from cluster.job import say
from cluster.planning import plan_training
from cluster.waiting import wait_for_place
from colorgan.data.dataset import open_dataset
from colorgan.evaluation.evaluate import BLOCK, blocks_left, choose_rows
from colorgan.evaluation.results import Report
from colorgan.evaluation.segmentation import SegmentationConfig
from colorgan.inference.object_choice import ObjectConfig
from colorgan.inference.router_choice import RouterConfig
from colorgan.storage.lease import Lease
from colorgan.training.progress import format_seconds


def measure(
    report: Report,
    args: argparse.Namespace,
    options: tuple[RouterConfig, SegmentationConfig, ObjectConfig],
    lease: Lease,
) -> None:
    """Colour and measure the photographs that are not measured yet, with the options of the job."""
    evaluation = report.evaluation
    dataset = open_dataset(report.storage, evaluation.dataset["name"])
    rows = choose_rows(dataset, args.split, args.photographs, args.seed)
    blocks = blocks_left(report, rows)
    first = next(blocks, None)
    if first is None:
        say("all photographs are measured")
        return
    with connected(args.address):
        from cluster.evaluation import evaluate_blocks  # imports Ray: see cluster.connection

        done, total = 0, evaluation.photographs
        before = min(total, BLOCK * len(report.storage.list(report.key("parts"))))
        lease.report("photographs", before, total)
        nodes = cluster_nodes()
        plan = plan_training(max(1, int(sum(n.cpus for n in nodes))), nodes, args.device)
        wait_for_place(plan.cpus, plan.gpus, say, lease.wait_for)
        started = time.time()
        left = chain([first], blocks)
        for count in evaluate_blocks(report, left, options, plan, args.retries):
            done += count
            lease.report("photographs", before + done, total)
            each = (time.time() - started) / done
            to_go = format_seconds(each * max(0, total - before - done))
            say(
                f"{before + done} of {total} photographs measured, {each:.2f} s each, {to_go} to go"
            )
    say(f"coloured and measured in {format_seconds(time.time() - started)}")
