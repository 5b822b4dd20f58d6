"""Train the class models, and the general one if asked, at the same time.

    python jobs/train_all.py --dataset NAME
    ray job submit -- python jobs/train_all.py

Without --dataset it takes the newest dataset in storage, or stages the embedded `scenes`.
"""

import argparse
import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from cluster.connection import cluster_nodes, connected, storage_uri
from cluster.planning import Plan, plan_training
from colorgan.cli import EXIT_FAULT, EXIT_INTERRUPTED, add_storage_option, guarded
from colorgan.data.dataset import (
    GENERAL,
    HYPERCOLUMN,
    ROUTER,
    Dataset,
    check_name,
    list_datasets,
    open_dataset,
)
from colorgan.data.sources import find_source
from colorgan.data.staging import StagingConfig, stage
from colorgan.errors import ColorganError, ConfigError
from colorgan.options import add_options, given, parse
from colorgan.presets import PRESETS, default_preset, find_preset
from colorgan.progress import Progress, format_seconds
from colorgan.runs import ModelResult, ModelRun, finished_result, new_run_name, open_run
from colorgan.storage import Storage, open_storage
from colorgan.training import SpeedConfig, TrainingConfig


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job; returns its exit status: 0 when every model was trained and published."""
    args = _parser().parse_args(argv)
    # `ray job stop` and schedulers send SIGTERM: end as for Ctrl-C, with a word on how to go on.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return guarded(lambda: _run(args))


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
        help=f"classes of the dataset, {GENERAL} and {HYPERCOLUMN} (default: every class)",
    )
    parser.add_argument(
        "--run", metavar="NAME", help="go on with, or start, the run of this name (default: new)"
    )
    parser.add_argument(
        "--address", help="of the Ray cluster (default: $RAY_ADDRESS, or a new Ray)"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto")
    parser.add_argument(
        "--gpus-per-model", type=float, default=1.0, metavar="N", help="below 1, models share a GPU"
    )
    parser.add_argument("--at-once", type=int, metavar="N", help="train at most N models at once")
    parser.add_argument(
        "--checkpoint-every", type=int, default=5, metavar="N", help="epochs between checkpoints"
    )
    parser.add_argument(
        "--retries", type=int, default=3, metavar="N", help="restarts of a process that died"
    )
    parser.add_argument(
        "--preset",
        choices=tuple(PRESETS),
        help="hyper-parameters that the options below override (default: report on GPUs, small "
        "without)",
    )
    parser.add_argument(
        "--router",
        choices=("labels", "head"),
        default="labels",
        help="head: train the router's head on the dataset, too (default: %(default)s, which needs "
        "no training)",
    )
    parser.add_argument(
        "--worker-logs", action="store_true", help="print what Ray's processes print"
    )
    add_options(parser.add_argument_group("hyper-parameters"), TrainingConfig)
    add_options(parser.add_argument_group("speed"), SpeedConfig)
    return parser


def _run(args: argparse.Namespace) -> int:
    if args.checkpoint_every < 1:
        raise ConfigError("--checkpoint-every must be at least 1")
    if args.retries < 0:
        raise ConfigError("--retries must not be negative")
    overrides = given(TrainingConfig, args)
    TrainingConfig(**overrides)  # a bad value is reported before anything is started
    storage = open_storage(storage_uri(args.storage))
    dataset = _choose_dataset(storage, args.dataset)
    models = list(dict.fromkeys(args.models or dataset.manifest.classes))
    _check_models(dataset, models)

    run = check_name("run", args.run) if args.run else new_run_name("train")
    results = {model: finished_result(storage, run, model) for model in models}
    waiting = [model for model in models if not results[model]]

    with connected(args.address, args.worker_logs):
        nodes = cluster_nodes()
        plan = plan_training(
            len(waiting) or 1, nodes, args.device, args.gpus_per_model, args.at_once
        )
        preset_name = args.preset or default_preset(plan.on_gpu)
        configs = {model: find_preset(preset_name).config(model, overrides) for model in models}
        fingerprint = dataset.manifest.fingerprint
        going_on = open_run(storage, run, "train_all", fingerprint, configs)
        _say(
            f"run {run}{' (going on)' if going_on else ''}: dataset {dataset.manifest.name}, "
            f"preset {preset_name}, storage {storage.uri}"
        )
        if len(nodes) > 1 and not storage.uri.startswith("s3://"):
            _say(f"note: every machine of the cluster must see {storage.uri}, or use s3://")
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
                speed=parse(SpeedConfig, args),
                checkpoint_every=args.checkpoint_every,
            )
            for model in waiting
        }
        started, router_error = time.time(), None
        try:
            if waiting:
                _say(plan.sentence(waiting))
                results |= _train(specs, plan, args.retries)
            if args.router == "head":
                backbone = find_preset(preset_name).config(ROUTER, overrides).backbone
                router_error = _train_router(storage, dataset, run, backbone, plan, args.retries)
        except KeyboardInterrupt:
            _say(f"\nstopped; the same command with --run {run} goes on")
            # The threads that wait for Ray cannot be interrupted; Ray ends what this process owns.
            os._exit(EXIT_INTERRUPTED)
    finished = [result for result in results.values() if result]
    status = _summarize(storage, run, finished, time.time() - started)
    if router_error:
        print(f"error: {router_error}", file=sys.stderr, flush=True)
        return EXIT_FAULT
    return status


def _choose_dataset(storage: Storage, name: str | None) -> Dataset:
    if name:
        return open_dataset(storage, name)
    manifests = list_datasets(storage)
    if manifests:
        _say(f"no --dataset: taking the newest, {manifests[-1].name}")
        return Dataset(storage, manifests[-1])
    _say(f"no dataset in {storage.uri}: staging the embedded scenes")
    source = find_source("scenes", None, 0, StagingConfig.size)
    dataset, _ = stage(source, storage, "scenes")
    return dataset


def _check_models(dataset: Dataset, models: Sequence[str]) -> None:
    for model in models:
        classes = dataset.model_classes(model)
        for split in ("train", "val"):
            if not dataset.count(classes, split):
                raise ColorganError(
                    f"model {model!r} has no photograph in the split {split} of dataset "
                    f"{dataset.manifest.name}: stage more photographs, or a larger share for it"
                )


def _train(specs: dict[str, ModelRun], plan: Plan, retries: int) -> dict[str, ModelResult]:
    """Train models on the cluster, and show how it goes."""
    from cluster.training import fit, start_board  # imports Ray: see cluster.connection

    board = start_board()
    finished: queue.SimpleQueue[ModelResult] = queue.SimpleQueue()
    places = threading.Semaphore(plan.at_once)

    def train(spec: ModelRun) -> None:
        with places:
            board.note.remote((spec.model, "starting", ""))
            finished.put(fit(spec, plan, board, retries))

    results: dict[str, ModelResult] = {}
    with Progress({model: spec.training.epochs for model, spec in specs.items()}) as progress:
        for spec in specs.values():
            # Each waits in a thread of the driver: Ray Train then keeps its controllers on this
            # machine, and the death of a worker's machine costs no more than its training process.
            threading.Thread(target=train, args=(spec,), daemon=True).start()
        while len(results) < len(specs):
            try:
                result = finished.get(timeout=1)
            except queue.Empty:
                result = None
            _show(progress, board)
            if result:
                results[result.model] = result
                progress.state(result.model, result.status, result.package or result.error or "")
    return results


def _train_router(
    storage: Storage, dataset: Dataset, run: str, classifier: str, plan: Plan, retries: int
) -> str | None:
    """Train the router's head unless the run has one; returns why it failed, if it did."""
    from cluster.router import fit_router

    key = f"runs/{run}/{ROUTER}/result.json"
    if storage.exists(key):
        _say("router: finished before")
        return None
    _say(f"router: training a head on {classifier}")
    try:
        card = fit_router(storage.uri, dataset.manifest.name, run, classifier, plan, retries)
    except ColorganError as error:
        return f"router: {error}"
    storage.put(key, (json.dumps({"package": card.reference, **card.metrics}) + "\n").encode())
    _say(f"router: {card.reference}, validation accuracy {card.metrics['val_accuracy']:.1%}")
    return None


def _show(progress: Progress, board: Any) -> None:
    import ray

    for model, kind, value in ray.get(board.take.remote()):
        if kind == "step":
            progress.step(model, value)
        elif kind == "epoch":
            progress.epoch(model, value)
        else:
            progress.state(model, kind, value)


def _summarize(storage: Storage, run: str, results: list[ModelResult], wall: float) -> int:
    """Write summary.json, print it as a table, and return the exit status."""
    total = sum(result.seconds or 0 for result in results)
    summary = {
        "run": run,
        "wall_seconds": wall,
        "sum_seconds": total,
        "models": [asdict(result) for result in results],
    }
    key = f"runs/{run}/summary.json"
    storage.put(key, (json.dumps(summary, indent=2) + "\n").encode())
    table = Table()
    for heading in ("model", "status", "photographs", "epochs", "time", "device", "images/s"):
        table.add_column(heading)
    for heading in ("val L1", "PSNR", "package"):
        table.add_column(heading)
    for result in results:
        cells = [result.model, result.status]
        if result.status == "done":
            cells += [
                str(result.photographs),
                str(result.epochs),
                format_seconds(result.seconds or 0),
                str(result.device),
                f"{result.images_per_second:.1f}",
                f"{result.val_l1:.2f}",
                f"{result.val_psnr:.1f} dB",
                str(result.package),
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
    failed = [result for result in results if result.status != "done"]
    for result in failed:
        print(f"error: {result.model} failed: {result.error}", file=sys.stderr, flush=True)
    return EXIT_FAULT if failed else 0


def _say(line: str) -> None:
    """Print at once: the log of a job is followed while it grows."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
