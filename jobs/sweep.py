"""Train one model with different hyper-parameters, and look at each on the way.

    python jobs/sweep.py --preset small --dataset NAME
    python jobs/sweep.py --model animals --grid batch_size=1,5,10 size=128,256 --epochs 200
    ray job submit -- python jobs/sweep.py --sweep NAME --space space.yaml --samples 8

Started again with the same --sweep it goes on; trials that are over stay as they are. The
dashboard, python -m tune.dashboard --sweep NAME, follows it.
"""

import argparse
import logging
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from cluster.connection import cluster_nodes, connected, storage_uri
from cluster.job import add_training_options, check_at_least, run_job
from cluster.planning import plan_training
from colorgan.cli import EXIT_FAULT, EXIT_INTERRUPTED, add_storage_option
from colorgan.data.dataset import GENERAL, HYPERCOLUMN, check_name, list_datasets, open_dataset
from colorgan.errors import ColorganError, ConfigError, NotInStorage
from colorgan.evaluation.evaluate import photo_id
from colorgan.hyperparameters import SpeedConfig, TrainingConfig
from colorgan.models import EMBEDDED
from colorgan.options import add_options, given, parse
from colorgan.presets import find_preset
from colorgan.progress import format_seconds
from colorgan.runs import new_run_name
from colorgan.storage import Storage, open_storage
from colorgan.sweeps import (
    METRICS,
    EvaluatedEpoch,
    Sweep,
    best_epoch,
    create_sweep,
    in_words,
    publish_epoch,
    read_history,
    read_state,
    shown_rows,
    write_results,
)
from tune.space import PRESETS, Space, read_space


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job; returns its exit status: 0 also where trials failed, but with --strict."""
    return run_job(_parser(), _run, argv)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sweep.py", description="Train one model with different hyper-parameters on Ray Tune."
    )
    add_storage_option(parser)
    parser.add_argument("--dataset", metavar="NAME", help="(default: the newest in storage)")
    parser.add_argument(
        "--model",
        metavar="MODEL",
        help=f"a class of the dataset, {GENERAL} or {HYPERCOLUMN} (default: the preset's)",
    )
    parser.add_argument(
        "--sweep", metavar="NAME", help="go on with, or start, the sweep of this name"
    )
    parser.add_argument(
        "--preset",
        choices=tuple(PRESETS),
        default="small",
        help="what is swept, and from where, unless the options below say otherwise; report is the "
        "2018 report's, for a GPU (default: %(default)s)",
    )
    parser.add_argument(
        "--grid", metavar="NAME=VALUE,VALUE", nargs="+", default=[], help="try every combination"
    )
    parser.add_argument(
        "--space", metavar="FILE", type=Path, help="a search space in YAML: see tune/space.py"
    )
    parser.add_argument(
        "--samples", type=int, default=1, metavar="N", help="draw from the search space N times"
    )
    parser.add_argument(
        "--scheduler",
        choices=("none", "asha", "pbt"),
        default="none",
        help="asha stops what lags behind; pbt lets it take over what leads, with other values "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--metric",
        choices=tuple(METRICS),
        default="val_l1",
        help="what the scheduler and --publish-best go by (default: %(default)s)",
    )
    parser.add_argument(
        "--eval-every", type=int, metavar="N", help="epochs between evaluations (default: preset's)"
    )
    parser.add_argument(
        "--classifier",
        default=EMBEDDED,
        help="of the semantic score and the Fréchet distance; none leaves them out (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--publish-best", action="store_true", help="publish the best epoch of all as a package"
    )
    parser.add_argument(
        "--strict", action="store_true", help="end with status 1 if any trial failed"
    )
    add_training_options(parser, "trials")
    add_options(parser.add_argument_group("hyper-parameters of every trial"), TrainingConfig)
    add_options(parser.add_argument_group("speed"), SpeedConfig)
    return parser


def _run(args: argparse.Namespace) -> int:
    check_at_least(1, args, "checkpoint_every", "eval_every")
    check_at_least(0, args, "retries")
    overrides = given(TrainingConfig, args)
    TrainingConfig(**overrides)
    space = _space(args)
    if args.scheduler == "pbt":
        space.mutations()
    storage = open_storage(storage_uri(args.storage))
    sweep, going_on = _open(args, storage, space)
    _say(
        f"sweep {sweep.name}{' (going on)' if going_on else ''}: {sweep.model} on "
        f"{sweep.dataset['name']}, {len(sweep.trials)} trials, evaluated every {sweep.eval_every} "
        f"epochs, storage {storage.uri}"
    )
    _say(f"to follow it: python -m tune.dashboard --storage {storage.uri} --sweep {sweep.name}")
    if all(read_state(storage, sweep, plan.name).over for plan in sweep.trials):
        _say("every trial is over")
    else:
        _train(args, storage, sweep, space)
    return _finish(args, storage, sweep)


def _space(args: argparse.Namespace) -> Space:
    if args.grid or args.space:
        space = read_space(args.grid, args.space)
    else:
        space = Space(PRESETS[args.preset].grid, {})
    twice = given(TrainingConfig, args).keys() & {*space.grid, *space.drawn}
    if twice:
        raise ConfigError(f"--{min(twice).replace('_', '-')}: the sweep varies it already")
    return space


def _open(args: argparse.Namespace, storage: Storage, space: Space) -> tuple[Sweep, bool]:
    """The sweep that the options describe, new or begun before."""
    preset = PRESETS[args.preset]
    manifests = list_datasets(storage)
    if not args.dataset and not manifests:
        raise NotInStorage(f"no dataset in {storage.uri}: colorgan stage makes one")
    dataset = open_dataset(storage, args.dataset or manifests[-1].name)
    model = args.model or preset.model
    rows = shown_rows(dataset, model)
    overrides = {**preset.training, **given(TrainingConfig, args)}
    training = find_preset(args.preset).config(model, overrides)
    manifest = dataset.manifest
    classifier = "" if args.classifier == "none" else args.classifier
    if classifier:
        from colorgan.models.classifiers import load_classifier

        try:
            load_classifier(classifier)  # what is wrong is said before anything is started
        except ColorganError as error:
            raise ColorganError(f"{error}; --classifier none does without") from None
    sweep = Sweep(
        name=check_name("sweep", args.sweep) if args.sweep else new_run_name("sweep"),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        dataset={"name": manifest.name, "fingerprint": manifest.fingerprint},
        model=model,
        training=training,
        trials=space.trials(args.samples, training.seed),
        eval_every=args.eval_every or preset.eval_every,
        classifier=classifier,
        photographs=tuple(photo_id(row) for row in rows),
    )
    return sweep, create_sweep(storage, sweep, rows)


def _train(args: argparse.Namespace, storage: Storage, sweep: Sweep, space: Space) -> None:
    # Tune would write files beside ours, and end as finished on Ctrl-C.
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    os.environ["TUNE_DISABLE_STRICT_METRIC_CHECKING"] = "1"  # a trial that fails reports nothing
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # the other prints tables of its own
    logging.getLogger("ray.tune").setLevel(logging.ERROR)  # it misses its own files, and says so
    with connected(args.address):
        from tune.trainable import TrialRunner, run_sweep  # imports Ray: see cluster.connection

        nodes = cluster_nodes()
        plan = plan_training(
            len(sweep.trials), nodes, args.device, args.gpus_per_model, args.max_parallel
        )
        _say(plan.sentence([trial.name for trial in sweep.trials], "trial"))
        runner = TrialRunner(
            storage.uri,
            sweep.name,
            parse(SpeedConfig, args),
            args.checkpoint_every,
            plan,
            # ASHA compares a trial with all others at its epoch; PBT with those that train.
            replays=args.scheduler == "asha",
        )
        started = time.time()

        def heard(trial: str, evaluated: EvaluatedEpoch) -> None:
            _say(f"trial {trial}: {_line(storage, sweep, trial, evaluated)}")

        try:
            run_sweep(
                storage,
                sweep,
                runner,
                args.scheduler,
                space,
                args.metric,
                args.retries,
                heard,
            )
        except KeyboardInterrupt:
            _say(f"\nstopped; the same command with --sweep {sweep.name} goes on")
            os._exit(EXIT_INTERRUPTED)  # Tune's threads cannot be interrupted
        _say(f"trained in {format_seconds(time.time() - started)}")


def _line(storage: Storage, sweep: Sweep, trial: str, evaluated: EvaluatedEpoch) -> str:
    state = read_state(storage, sweep, trial)
    config = sweep.config(state.values)
    left = (config.epochs - evaluated.epoch) * evaluated.seconds / evaluated.epoch
    words = [
        f"epoch {evaluated.epoch}/{config.epochs} ({in_words(state.values)})",
        f"L1 {evaluated.val_l1:.2f}",
        f"PSNR {evaluated.val_psnr:.1f} dB",
    ]
    if sweep.classifier:
        if evaluated.semantic is not None:
            words.append(f"semantic {evaluated.semantic:.3f}")
        if evaluated.frechet is not None:
            words.append(f"Fréchet {evaluated.frechet:.1f}")
    return ", ".join([*words, f"ETA {format_seconds(left)}"])


def _finish(args: argparse.Namespace, storage: Storage, sweep: Sweep) -> int:
    """Print the table of trials, publish the best one if asked, and return the exit status."""
    table = Table()
    for heading in ("trial", "status", *sweep.trials[0].values, "epochs", "time", "L1", "PSNR"):
        table.add_column(heading)
    for heading in ("semantic", "Fréchet"):
        table.add_column(heading)
    failures = []
    for plan in sweep.trials:
        state = read_state(storage, sweep, plan.name)
        evaluations = read_history(storage, sweep, plan.name).evaluations
        cells = [plan.name, state.status, *(f"{value}" for value in state.values.values())]
        cells.append(str(state.epoch))
        if evaluations:
            last = evaluations[-1]
            cells += [
                format_seconds(last.seconds),
                f"{last.val_l1:.2f}",
                f"{last.val_psnr:.1f} dB",
                *("" if each is None else f"{each:.3f}" for each in (last.semantic, last.frechet)),
            ]
        table.add_row(*cells)
        if state.status == "failed":
            failures.append(f"trial {plan.name} ({in_words(state.values)}) failed: {state.error}")
    console = Console() if sys.stdout.isatty() else Console(width=140)
    console.print(table)
    _say(f"results: {storage.location(write_results(storage, sweep))}")
    for failure in failures:
        print(failure, file=sys.stderr, flush=True)
    best = best_epoch(storage, sweep, args.metric)
    if best:
        value = getattr(best.evaluated, args.metric)
        _say(
            f"best by {args.metric}: trial {best.trial}, epoch {best.evaluated.epoch}, {value:.4g}"
        )
    if args.publish_best:
        if best is None:
            raise ColorganError(f"no trial has a {args.metric}: there is nothing to publish")
        card = publish_epoch(storage, sweep.name, best.trial, best.evaluated.epoch)
        _say(f"published {card.reference}")
    return EXIT_FAULT if failures and args.strict else 0


def _say(line: str) -> None:
    """Print at once: the log of a job is followed while it grows."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
