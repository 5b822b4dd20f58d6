"""Train the class models at the same time, after the general one where they start from it.

    python jobs/train_all.py --dataset NAME
    ray job submit -- python jobs/train_all.py

Without --dataset it takes the newest dataset in storage, or stages the embedded `scenes`.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from cluster.connection import cluster_nodes, connected, storage_uri
from cluster.job import add_training_options, check_at_least, choose_dataset, run_job
from cluster.planning import Plan, plan_training
from cluster.trainer import Trainer
from colorgan.classes import PhotoClasses
from colorgan.commands.process import EXIT_FAULT, EXIT_INTERRUPTED, add_storage_option
from colorgan.data.dataset import Dataset
from colorgan.errors import ColorganError
from colorgan.inference.router_choice import AUTO, HEAD, ROUTERS
from colorgan.models import EMBEDDED
from colorgan.names import GENERAL, HYPERCOLUMN, ROUTER, check_name
from colorgan.options import add_options, given, parse
from colorgan.storage import Storage, open_storage, retry_transient
from colorgan.training.bases import check_bases, plan_trainings
from colorgan.training.config import SpeedConfig, TrainingConfig, by_objective
from colorgan.training.presets import DEFAULT_PRESET, PRESETS, Preset, find_preset
from colorgan.training.progress import format_seconds, share_in_words
from colorgan.training.runs import (
    HeadResult,
    ModelResult,
    ModelRun,
    finished_result,
    new_run_name,
    open_run,
    run_configs,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job; returns its exit status: 0 when every model was trained and published."""
    return run_job(_parser(), _run, argv)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="train_all.py", description="Train the class models at the same time on Ray."
    )
    add_storage_option(parser)
    parser.add_argument(
        "--dataset",
        metavar="NAME",
        help="what to train on (default: the newest in storage, or else scenes, staged now)",
    )
    parser.add_argument(
        "--models",
        metavar="MODEL",
        nargs="+",
        help=f"classes of the dataset, {GENERAL} and {HYPERCOLUMN} (default: every class); what "
        "they start from is trained, too",
    )
    parser.add_argument(
        "--run", metavar="NAME", help="go on with, or start, the run of this name (default: new)"
    )
    add_training_options(parser, "models")
    parser.add_argument(
        "--preset",
        choices=tuple(PRESETS),
        default=DEFAULT_PRESET,
        help="hyper-parameters that the options below override (default: %(default)s)",
    )
    parser.add_argument(
        "--router",
        choices=ROUTERS,
        default=AUTO,
        help="head: train the router's head on the dataset, too; labels: do not; auto: do where "
        "class models are trained whose classes are not those of colorgan/classes.toml (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--worker-logs", action="store_true", help="print what Ray's processes print"
    )
    add_options(parser.add_argument_group("hyper-parameters"), TrainingConfig)
    add_options(parser.add_argument_group("speed"), SpeedConfig)
    return parser


def _run(args: argparse.Namespace) -> int:
    check_at_least(1, args, "checkpoint_every")
    check_at_least(0, args, "retries")
    overrides = given(TrainingConfig, args)
    TrainingConfig(**overrides)  # a bad value is reported before anything is started
    speed = parse(SpeedConfig, args)
    storage = open_storage(storage_uri(args.storage))
    dataset = choose_dataset(storage, args.dataset)
    models = list(dict.fromkeys(args.models or dataset.manifest.classes))
    _check_models(dataset, models)

    run = check_name("run", args.run) if args.run else new_run_name("train")

    with connected(args.address, args.worker_logs):
        nodes = cluster_nodes()

        def plan(count: int) -> Plan:
            return plan_training(count, nodes, args.device, args.gpus_per_model, args.max_parallel)

        preset = find_preset(args.preset)
        before = run_configs(storage, run)
        # What models start from is trained in the same run, too.
        configs = plan_trainings(
            storage, dataset, run, preset, models, overrides, before, reuse=False
        )
        _check_models(dataset, list(configs))
        results = {model: finished_result(storage, run, model) for model in configs}
        waiting = [model for model, result in results.items() if not result]
        check_bases(storage, run, configs)
        bases = {configs[model].start_from for model in waiting}
        first = [model for model in waiting if model in bases]
        stages = [stage for stage in (first, [m for m in waiting if m not in bases]) if stage]
        plans = {model: plan(len(stage)) for stage in stages for model in stage}
        fingerprint = dataset.manifest.fingerprint
        going_on = open_run(storage, run, fingerprint, configs)
        _say(
            f"run {run}{' (going on)' if going_on else ''}: dataset {dataset.manifest.name}, "
            f"preset {args.preset}, storage {storage.uri}"
        )
        if len(nodes) > 1 and not storage.uri.startswith("s3://"):
            _say(f"note: every machine of the cluster must see {storage.uri}, or use s3://")
        for objective, of in by_objective(configs).items():
            _say(f"{', '.join(of)}: {objective}")
        for model in waiting:
            if "@" in configs[model].start_from:
                _say(f"{model}: starts from {configs[model].start_from}")
        for result in results.values():
            if result:
                _say(f"{result.model}: finished before, {result.package}")
        specs = {
            model: ModelRun(
                storage=storage.uri,
                dataset=dataset.manifest.name,
                run=run,
                model=model,
                training=configs[model],
                speed=speed,
                checkpoint_every=args.checkpoint_every,
            )
            for model in waiting
        }
        started = time.time()
        if waiting:
            for number, stage in enumerate(stages):
                _say(("then " if number else "") + plans[stage[0]].sentence(stage))
            trainer = Trainer(storage, run, specs, plans)
            results |= trainer.train(args.retries, args.max_parallel)
        stopped = any(result.status == "stopped" for result in results.values())
        router = None
        if not stopped and _needs_head(args.router, dataset, models):
            from cluster.router import fit_head  # imports Ray: see cluster.connection

            classifier = _classifier(args, preset, overrides)
            router = fit_head(storage, dataset, run, classifier, plan(1), args.retries, _say)
        ordered = [results[model] for model in configs]
        status = _summarize(storage, run, ordered, router, started)
        if status == EXIT_INTERRUPTED:
            _say(f"stopped; the same command with --run {run} goes on")
            # Ray may have been told to end, too, and would not answer; it ends what this owns.
            os._exit(status)
    return status


def _needs_head(router: str, dataset: Dataset, models: Sequence[str]) -> bool:
    """Whether the job trains a head: for class models that the router `labels` does not know."""
    classes = dataset.manifest.classes
    if router != AUTO:
        return router == HEAD
    return {*classes} != {*PhotoClasses.load().names} and not {*classes}.isdisjoint(models)


def _classifier(args: argparse.Namespace, preset: Preset, overrides: dict[str, Any]) -> str:
    """What the head sees with: the preset's backbone, or the one that needs no download."""
    if args.router == AUTO and "backbone" not in overrides:
        return EMBEDDED
    return preset.config(ROUTER, overrides).backbone


def _check_models(dataset: Dataset, models: Sequence[str]) -> None:
    for model in models:
        classes = dataset.model_classes(model)
        for split in ("train", "val"):
            if not dataset.count(classes, split):
                raise ColorganError(
                    f"model {model!r} has no photograph in the split {split} of dataset "
                    f"{dataset.manifest.name}: stage more photographs, or a larger share for it"
                )


def _summarize(
    storage: Storage,
    run: str,
    results: list[ModelResult],
    router: HeadResult | None,
    started: float,
) -> int:
    """Write summary.json, print it as a table, and return the exit status."""
    wall = time.time() - started
    total = sum(result.seconds or 0 for result in results)
    summary = {
        "run": run,
        "wall_seconds": wall,
        "sum_seconds": total,
        "models": [asdict(result) for result in results],
        "router": asdict(router) if router else None,
    }
    key = f"runs/{run}/summary.json"
    content = (json.dumps(summary, indent=2) + "\n").encode()
    retry_transient(lambda: storage.put(key, content))
    table = Table()
    for heading in ("model", "status", "photographs", "epochs", "time", "device", "images/s"):
        table.add_column(heading)
    for heading in ("val L1", "PSNR", "colour", "package"):
        table.add_column(heading)
    for result in results:
        cells = [result.model, result.status]
        if result.epochs:
            cells += [
                str(result.photographs),
                str(result.epochs),
                format_seconds(result.seconds or 0),
                str(result.device),
                f"{result.images_per_second:.1f}",
                f"{result.val_l1:.2f}",
                f"{result.val_psnr:.1f} dB",
                share_in_words(result.val_colorfulness),
                result.package or "",
            ]
        table.add_row(*cells)
    # A job's log has no terminal whose width could be asked for.
    console = Console() if sys.stdout.isatty() else Console(width=140)
    console.print(table)
    _say(
        f"{format_seconds(wall)} of wall time; the models' own times add up to "
        f"{format_seconds(total)}"
    )
    _say(f"summary: {storage.location(key)}")
    failed = [result for result in results if result.status == "failed"]
    for result in failed:
        print(f"error: {result.model} failed: {result.error}", file=sys.stderr, flush=True)
    if router and router.status == "failed":
        print(f"error: router failed: {router.error}", file=sys.stderr, flush=True)
    statuses = {result.status for result in results} | ({router.status} if router else set())
    if "stopped" in statuses:
        return EXIT_INTERRUPTED
    return EXIT_FAULT if "failed" in statuses else 0


def _say(line: str) -> None:
    """Print at once: the log of a job is followed while it grows."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
