"""Compare models on a dataset, and write a report with tables, figures and pictures.

    python jobs/evaluate.py --dataset NAME
    ray job submit -- python jobs/evaluate.py --report NAME

Started again with the same --report, the job continues, and writes the report again with the
current answers to its surveys.
"""

import argparse
import sys
from collections.abc import Sequence
from math import isnan

from cluster.connection import storage_uri
from cluster.job import add_process_options, check_at_least, run_job, say, working_on
from cluster.measuring import measure
from colorgan.commands.process import add_storage_option
from colorgan.data.dataset import SPLITS, list_datasets, open_dataset
from colorgan.errors import NotInStorage
from colorgan.evaluation.evaluate import (
    collect,
    open_evaluation,
)
from colorgan.evaluation.plan import Sample, plan_evaluation
from colorgan.evaluation.report import write_report
from colorgan.evaluation.results import METRICS, Evaluation, no_labels
from colorgan.evaluation.segmentation import SegmentationConfig
from colorgan.inference.object_choice import ObjectConfig
from colorgan.inference.router_choice import RouterChoice, RouterConfig
from colorgan.options import add_options, parse
from colorgan.packages.embedded import with_embedded
from colorgan.storage import Storage, open_storage
from colorgan.storage.lease import Lease
from colorgan.survey import survey_frames


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
        help="assembled, general, hypercolumn, cic, classes (default: the first four, as far as "
        "they are there); objects, each object by the model of its class and the rest by general; "
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
    add_options(parser.add_argument_group("FCN score"), SegmentationConfig)
    add_options(parser.add_argument_group("model objects"), ObjectConfig)
    return parser


def _run(args: argparse.Namespace) -> int:
    check_at_least(0, args, "photographs", "retries")
    storage = with_embedded(open_storage(storage_uri(args.storage)))
    router, segmentation = parse(RouterConfig, args), parse(SegmentationConfig, args)
    objects = parse(ObjectConfig, args)
    manifests = list_datasets(storage)
    if not args.dataset and not manifests:
        raise NotInStorage(f"no dataset in {storage.uri}: create one with colorgan stage")
    dataset = open_dataset(storage, args.dataset or manifests[-1].name)
    sample = Sample(args.split, args.photographs, args.seed)
    evaluation, choice = plan_evaluation(
        dataset, sample, args.models, router, args.report, segmentation, objects
    )
    with working_on(storage, "report", evaluation.name) as lease:
        options = (router, segmentation, objects)
        return _report(args, storage, options, evaluation, choice, lease)


def _report(
    args: argparse.Namespace,
    storage: Storage,
    options: tuple[RouterConfig, SegmentationConfig, ObjectConfig],
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
        measure(report, args, options, lease)
        results, distances = collect(report)
        write_report(report, results, distances, survey=survey_frames(report))
    except KeyboardInterrupt:
        say(f"\nstopped; run the same command with --report {evaluation.name} to continue")
        raise
    shown = [name for name in ("l1", "semantic", "fcn_accuracy") if name in results]
    means = results.groupby("model", sort=False)[shown].mean()
    for name, row in means.iterrows():
        others = [
            f", {METRICS[each].title.replace('Semantic', 'semantic')} {row[each]:.3f}"
            for each in shown[1:]
            if not isnan(row[each])
        ]
        say(f"{name}: L1 in ab {row['l1']:.2f}{''.join(others)}")
    if means["semantic"].isna().all():
        say(f"no semantic score: {no_labels(evaluation.classes)}")
    say(f"report: {storage.location(report.key('index.html'))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
