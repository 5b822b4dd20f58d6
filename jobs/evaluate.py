"""Compare models on a dataset, and write a report that people can read.

    python jobs/evaluate.py --dataset NAME
    ray job submit -- python jobs/evaluate.py --report NAME

Started again with the same --report it goes on, and writes the report anew, with the answers to its
surveys by then.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import chain
from math import isnan

import torch

import colorgan
from cluster.connection import cluster_nodes, connected, storage_uri
from cluster.job import add_process_options, check_at_least, run_job
from cluster.planning import plan_training
from colorgan.commands.process import add_storage_option
from colorgan.data.dataset import SPLITS, list_datasets, open_dataset
from colorgan.errors import ConfigError, NotInStorage
from colorgan.evaluation.contestants import (
    choose_evaluated_router,
    default_models,
    find_contestants,
)
from colorgan.evaluation.evaluate import (
    blocks_left,
    choose_rows,
    collect,
    missing_metrics,
    open_evaluation,
)
from colorgan.evaluation.report import write_report
from colorgan.evaluation.results import Evaluation, Report, no_labels
from colorgan.inference.router_choice import RouterConfig
from colorgan.names import check_name
from colorgan.options import add_options, parse
from colorgan.packages.embedded import with_embedded
from colorgan.storage import open_storage
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
    parser.add_argument("--report", metavar="NAME", help="go on with, or start, the one so named")
    parser.add_argument("--dataset", metavar="NAME", help="(default: the newest in storage)")
    parser.add_argument("--split", choices=SPLITS, default="test", help="(default: %(default)s)")
    parser.add_argument(
        "--models",
        metavar="[NAME=]MODEL[@VERSION]",
        nargs="+",
        help="assembled, general, hypercolumn, classes (default: those three, if they are there); "
        "embedded, the models that come with colorgan; NAME= calls it otherwise, "
        "NAME=MODEL@VERSION,MODEL@VERSION,… is another assembled model",
    )
    parser.add_argument(
        "--photographs",
        type=int,
        default=0,
        metavar="N",
        help="a sample of so many, as even over the classes as it goes (default: the whole split)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    add_process_options(parser)
    add_options(parser.add_argument_group("router"), RouterConfig)
    return parser


def _run(args: argparse.Namespace) -> int:
    check_at_least(0, args, "photographs", "retries")
    storage = with_embedded(open_storage(storage_uri(args.storage)))
    router = parse(RouterConfig, args)
    manifests = list_datasets(storage)
    if not args.dataset and not manifests:
        raise NotInStorage(f"no dataset in {storage.uri}: colorgan stage makes one")
    dataset = open_dataset(storage, args.dataset or manifests[-1].name)
    manifest = dataset.manifest
    photographs = dataset.count(manifest.classes, args.split)
    if args.photographs:
        photographs = min(args.photographs, photographs)
    if not photographs:
        raise ConfigError(f"dataset {manifest.name} has no photograph in the split {args.split}")
    now = datetime.now(UTC)
    models = args.models or default_models(storage, manifest.classes)
    contestants = find_contestants(storage, models, manifest.classes)
    choice = choose_evaluated_router(router, storage, dataset, contestants)
    evaluation = Evaluation(
        name=check_name("report", args.report or f"evaluation-{now:%Y%m%d-%H%M%S}"),
        created=now.isoformat(timespec="seconds"),
        dataset={"name": manifest.name, "fingerprint": manifest.fingerprint},
        split=args.split,
        photographs=photographs,
        seed=args.seed,
        classes=manifest.classes,
        contestants=contestants,
        router=choice.config.router if choice else "",
        router_package=choice.package if choice else "",
        classifier=choice.classifier if choice else router.classifier,
        missing=missing_metrics(),
        versions={"colorgan": colorgan.__version__, "torch": str(torch.__version__)},
    )
    report, going_on = open_evaluation(storage, evaluation)
    _say(
        f"report {evaluation.name}{' (going on)' if going_on else ''}: {photographs} photographs "
        f"of {manifest.name}, {', '.join(each.name for each in evaluation.contestants)}"
    )
    if report.evaluation.routing:
        _say(f"router of the assembled models: {report.evaluation.routing}")
    if choice and choice.note:
        _say(f"note: {choice.note}")
    try:
        _evaluate(report, args, router)
        results, distances = collect(report)
        write_report(report, results, distances, survey=survey_frames(report))
    except KeyboardInterrupt:
        _say(f"\nstopped; the same command with --report {evaluation.name} goes on")
        raise
    means = results.groupby("model", sort=False)[["l1", "semantic"]].mean()
    for name, row in means.iterrows():
        semantic = "" if isnan(row["semantic"]) else f", semantic score {row['semantic']:.3f}"
        _say(f"{name}: L1 in ab {row['l1']:.2f}{semantic}")
    if means["semantic"].isna().all():
        _say(f"no semantic score: {no_labels(manifest.classes)}")
    _say(f"report: {storage.location(report.key('index.html'))}")
    return 0


def _evaluate(report: Report, args: argparse.Namespace, router: RouterConfig) -> None:
    """Colour and measure what has not been yet."""
    evaluation = report.evaluation
    dataset = open_dataset(report.storage, evaluation.dataset["name"])
    rows = choose_rows(dataset, args.split, args.photographs, args.seed)
    blocks = blocks_left(report, rows)
    first = next(blocks, None)
    if first is None:
        _say("all photographs are measured")
        return
    with connected(args.address):
        from cluster.evaluation import evaluate_blocks  # imports Ray: see cluster.connection

        started, done = time.time(), 0
        nodes = cluster_nodes()
        plan = plan_training(max(1, int(sum(n.cpus for n in nodes))), nodes, args.device)
        left = chain([first], blocks)
        for count in evaluate_blocks(report, left, router, plan, args.retries):
            done += count
            each = (time.time() - started) / done
            _say(f"{done} photographs measured, {each:.2f} s each")
    _say(f"coloured and measured in {format_seconds(time.time() - started)}")


def _say(line: str) -> None:
    """Print at once: the log of a job is followed while it grows."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
