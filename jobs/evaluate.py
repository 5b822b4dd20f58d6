"""Compare models on a dataset, and write a report with tables, figures and pictures.

    python jobs/evaluate.py --dataset NAME
    ray job submit -- python jobs/evaluate.py --report NAME

Started again with the same --report, the job continues, and writes the report again with the
current answers to its surveys.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from itertools import chain
from math import isnan

from cluster.connection import cluster_nodes, connected, storage_uri
from cluster.job import add_process_options, check_at_least, run_job, say, working_on
from cluster.planning import plan_training
from cluster.waiting import wait_for_place
from colorgan.commands.process import add_storage_option
from colorgan.data.dataset import SPLITS, list_datasets, open_dataset
from colorgan.errors import NotInStorage
from colorgan.evaluation.evaluate import (
    BLOCK,
    blocks_left,
    choose_rows,
    collect,
    open_evaluation,
)
from colorgan.evaluation.plan import Sample, plan_evaluation
from colorgan.evaluation.report import write_report
from colorgan.evaluation.results import Evaluation, Report, no_labels
from colorgan.inference.router_choice import RouterChoice, RouterConfig
from colorgan.options import add_options, parse
from colorgan.packages.embedded import with_embedded
from colorgan.storage import Storage, open_storage
from colorgan.storage.lease import Lease
from colorgan.survey import survey_frames
from colorgan.training.progress import format_seconds


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job; returns its exit status."""
    return run_job(_parser(), _run, argv)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="evaluate.py", description="Compare models on a dataset, as Ray tasks."
    )
    add_storage_option(parser)
    parser.add_argument("--report", metavar="NAME", help="name of the report to continue or start")
    parser.add_argument("--dataset", metavar="NAME", help="(default: the newest in storage)")
    parser.add_argument("--split", choices=SPLITS, default="test", help="(default: %(default)s)")
    parser.add_argument(
        "--models",
        metavar="[NAME=]MODEL[@VERSION]",
        nargs="+",
        help="assembled, general, hypercolumn, classes (default: those three, if they are there); "
        "embedded, the models that come with colorgan; NAME= gives it another name, "
        "NAME=MODEL@VERSION,MODEL@VERSION,… is another assembled model",
    )
    parser.add_argument(
        "--photographs",
        type=int,
        default=0,
        metavar="N",
        help="maximum number of photographs, balanced across classes (default: the whole split)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the sample")
    add_process_options(parser)
    add_options(parser.add_argument_group("router"), RouterConfig)
    return parser


def _run(args: argparse.Namespace) -> int:
    check_at_least(0, args, "photographs", "retries")
    storage = with_embedded(open_storage(storage_uri(args.storage)))
    router = parse(RouterConfig, args)
    manifests = list_datasets(storage)
    if not args.dataset and not manifests:
        raise NotInStorage(f"no dataset in {storage.uri}: create one with colorgan stage")
    dataset = open_dataset(storage, args.dataset or manifests[-1].name)
    sample = Sample(args.split, args.photographs, args.seed)
    evaluation, choice = plan_evaluation(dataset, sample, args.models, router, args.report)
    with working_on(storage, "report", evaluation.name) as lease:
        return _report(args, storage, router, evaluation, choice, lease)


def _report(
    args: argparse.Namespace,
    storage: Storage,
    router: RouterConfig,
    evaluation: Evaluation,
    choice: RouterChoice | None,
    lease: Lease,
) -> int:
    report, going_on = open_evaluation(storage, evaluation)
    say(
        f"report {evaluation.name}{' (continuing)' if going_on else ''}: "
        f"{evaluation.photographs} photographs of {evaluation.dataset['name']}, "
        f"{', '.join(each.name for each in evaluation.contestants)}"
    )
    if report.evaluation.routing:
        say(f"router of the assembled models: {report.evaluation.routing}")
    if choice and choice.note:
        say(f"note: {choice.note}")
    try:
        _evaluate(report, args, router, lease)
        results, distances = collect(report)
        write_report(report, results, distances, survey=survey_frames(report))
    except KeyboardInterrupt:
        say(f"\nstopped; run the same command with --report {evaluation.name} to continue")
        raise
    means = results.groupby("model", sort=False)[["l1", "semantic"]].mean()
    for name, row in means.iterrows():
        semantic = "" if isnan(row["semantic"]) else f", semantic score {row['semantic']:.3f}"
        say(f"{name}: L1 in ab {row['l1']:.2f}{semantic}")
    if means["semantic"].isna().all():
        say(f"no semantic score: {no_labels(evaluation.classes)}")
    say(f"report: {storage.location(report.key('index.html'))}")
    return 0


def _evaluate(report: Report, args: argparse.Namespace, router: RouterConfig, lease: Lease) -> None:
    """Colour and measure the photographs that are not measured yet."""
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
        for count in evaluate_blocks(report, left, router, plan, args.retries):
            done += count
            lease.report("photographs", before + done, total)
            each = (time.time() - started) / done
            to_go = format_seconds(each * max(0, total - before - done))
            say(
                f"{before + done} of {total} photographs measured, {each:.2f} s each, {to_go} to go"
            )
    say(f"coloured and measured in {format_seconds(time.time() - started)}")


if __name__ == "__main__":
    sys.exit(main())
