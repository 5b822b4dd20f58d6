"""Train all class models concurrently, after the general model if they start from it.

    python jobs/train_all.py --dataset NAME
    ray job submit -- python jobs/train_all.py

Without --dataset, the job takes the newest dataset in storage, or stages the embedded `scenes`.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import closing

from cluster.connection import cluster_nodes, connected, storage_uri
from cluster.job import (
    add_training_options,
    choose_dataset,
    end_stopped,
    run_job,
    say,
    training_options,
    working_on,
)
from cluster.planning import TrainingOptions
from cluster.trainer import announce, plan_shares, report_run, train_run
from colorgan.commands.process import EXIT_FAULT, add_storage_option
from colorgan.commands.publishing import add_publishing_options, given_publishing
from colorgan.commands.tracking import add_tracking_option
from colorgan.data.dataset import Dataset
from colorgan.inference.router_choice import AUTO, ROUTERS
from colorgan.names import CIC, GENERAL, HYPERCOLUMN
from colorgan.options import add_options, given
from colorgan.storage import Storage, open_storage
from colorgan.storage.lease import Lease
from colorgan.training.config import SpeedConfig, TrainingConfig
from colorgan.training.plan import Publishing, RunRequest, plan_run
from colorgan.training.presets import add_preset_option, find_preset, preset_values
from colorgan.training.runs import new_run_name, open_run
from colorgan.training.summary import RunSummary
from colorgan.training.tracking import open_tracking


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job; returns its exit status: 0 if every model was trained and published."""
    return run_job(make_parser(), _run, argv)


def make_parser() -> argparse.ArgumentParser:
    """The parser of the job's command line."""
    parser = argparse.ArgumentParser(
        prog="train_all.py", description="Train the class models at the same time on Ray."
    )
    add_storage_option(parser)
    parser.add_argument(
        "--dataset",
        metavar="NAME",
        help="dataset to train on (default: the newest in storage, or else scenes, staged now)",
    )
    parser.add_argument(
        "--models",
        metavar="MODEL",
        nargs="+",
        help=f"classes of the dataset, {GENERAL}, {HYPERCOLUMN} and {CIC} (default: every class); "
        "what they start from is trained as well",
    )
    parser.add_argument(
        "--run", metavar="NAME", help="name of the run to continue or start (default: new)"
    )
    add_training_options(parser, "models")
    add_preset_option(parser)
    parser.add_argument(
        "--router",
        choices=ROUTERS,
        default=AUTO,
        help="head: also train the router's head on the dataset; labels: do not; auto: train it if "
        "class models are trained whose classes differ from those of colorgan/classes.toml "
        "(default: %(default)s)",
    )
    add_publishing_options(parser)
    add_tracking_option(parser)
    parser.add_argument(
        "--worker-logs", action="store_true", help="print what Ray's processes print"
    )
    add_options(parser.add_argument_group("hyper-parameters"), TrainingConfig, preset_values)
    add_options(parser.add_argument_group("speed"), SpeedConfig)
    return parser


def _run(args: argparse.Namespace) -> int:
    options, publishing = training_options(args), given_publishing(args)
    TrainingConfig(**given(TrainingConfig, args))  # reports a bad value before anything is started
    storage = open_storage(storage_uri(args.storage))
    dataset = choose_dataset(storage, args.dataset)
    request = run_request(args, dataset, publishing)
    with working_on(storage, "run", request.run) as lease:
        return _train(args, options, storage, dataset, request, lease)


def run_request(args: argparse.Namespace, dataset: Dataset, publishing: Publishing) -> RunRequest:
    """The run that the job's options ask for; raises ConfigError."""
    return RunRequest(
        run=args.run or new_run_name("train"),
        models=list(dict.fromkeys(args.models or dataset.manifest.classes)),
        preset=find_preset(args.preset),
        overrides=given(TrainingConfig, args),
        trains_bases=True,
        router=args.router,
        publishing=publishing,
    )


def _train(
    args: argparse.Namespace,
    options: TrainingOptions,
    storage: Storage,
    dataset: Dataset,
    request: RunRequest,
    lease: Lease,
) -> int:
    plan = plan_run(storage, dataset, request)
    options.check_steps({model: config.batch_size for model, config in plan.configs.items()})
    with connected(args.address, args.worker_logs):
        nodes = cluster_nodes()
        shares = plan_shares(plan, options, nodes)
        lease.confirm()
        open_run(storage, plan.run, plan.fingerprint, plan.configs, plan.continued)
        announce(storage, plan, args.preset, shares, len(nodes))
        started = time.time()
        with closing(open_tracking(args.track, plan.run, say)) as tracking:
            results = train_run(storage, plan, options, shares, tracking)
        router = None
        if plan.head and not any(result.status == "stopped" for result in results.values()):
            from cluster.router import fit_head  # imports Ray: see cluster.connection

            share = options.share(1, nodes)
            router = fit_head(storage, dataset, plan, share, options.retries, say)
        summary = RunSummary(plan.run, time.time() - started, [*results.values()], router)
        report_run(storage, summary)
        if summary.stopped:
            end_stopped("--run", plan.run)
    return EXIT_FAULT if summary.failures else 0


if __name__ == "__main__":
    sys.exit(main())
