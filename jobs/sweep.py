"""Train one model with different hyper-parameters, and look at each on the way.

    python jobs/sweep.py --preset small --dataset NAME
    python jobs/sweep.py --model animals --grid batch_size=1,5,10 size=128,256 --epochs 200
    ray job submit -- python jobs/sweep.py --sweep NAME --space space.yaml --samples 8

Started again with the same --sweep it goes on; trials that are over stay as they are. The
dashboard, python -m tune.dashboard --sweep NAME, follows it.
"""

import argparse
import logging
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from cluster.connection import cluster_nodes, connected, storage_uri
from cluster.job import add_training_options, check_at_least, run_job
from cluster.planning import plan_training
from cluster.trainer import Trainer
from colorgan.commands.process import EXIT_FAULT, EXIT_INTERRUPTED, add_storage_option
from colorgan.data.dataset import Dataset, list_datasets, open_dataset
from colorgan.errors import ColorganError, ConfigError, NotInStorage
from colorgan.evaluation.evaluate import photo_id
from colorgan.models import EMBEDDED
from colorgan.names import GENERAL, HYPERCOLUMN, check_name
from colorgan.options import add_options, given, parse
from colorgan.storage import Storage, open_storage
from colorgan.sweeps.documents import (
    METRICS,
    EvaluatedEpoch,
    Sweep,
    TrialPlan,
    best_epoch,
    create_sweep,
    in_words,
    open_sweep,
    read_history,
    read_state,
    shown_rows,
    write_results,
)
from colorgan.sweeps.publishing import publish_epoch
from colorgan.training.bases import plan_trainings
from colorgan.training.config import SpeedConfig, TrainingConfig
from colorgan.training.presets import find_preset
from colorgan.training.progress import format_seconds
from colorgan.training.runs import ModelRun, finished_result, new_run_name, open_run, run_configs
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
    parse(SpeedConfig, args)
    space = _space(args)
    if args.scheduler == "pbt":
        space.mutations(0)
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
    name = check_name("sweep", args.sweep) if args.sweep else new_run_name("sweep")
    configs = _plan(args, storage, dataset, name, model, space)
    training = configs[model]
    trials = space.trials(args.samples, training)
    _check_trials(model, training, trials, configs)
    manifest = dataset.manifest
    classifier = "" if args.classifier == "none" else args.classifier
    if classifier:
        from colorgan.models.classifiers import load_classifier

        try:
            load_classifier(classifier)  # what is wrong is said before anything is started
        except ColorganError as error:
            raise ColorganError(f"{error}; --classifier none does without") from None
    if training.start_from in configs:
        base = _train_base(args, storage, dataset, name, configs[training.start_from], training)
        training = replace(training, start_from=base)
    sweep = Sweep(
        name=name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        dataset={"name": manifest.name, "fingerprint": manifest.fingerprint},
        model=model,
        training=training,
        trials=trials,
        eval_every=args.eval_every or preset.eval_every,
        classifier=classifier,
        photographs=tuple(photo_id(row) for row in rows),
    )
    return sweep, create_sweep(storage, sweep, rows)


def _plan(
    args: argparse.Namespace,
    storage: Storage,
    dataset: Dataset,
    name: str,
    model: str,
    space: Space,
) -> dict[str, TrainingConfig]:
    """The hyper-parameters that no trial varies, after those of a model that is trained first."""
    overrides = {**PRESETS[args.preset].training, **given(TrainingConfig, args)}
    if "start_from" in space.varied:
        overrides["start_from"] = ""  # the trials have their own
    before = run_configs(storage, _base_run(name))
    if storage.exists(f"runs/{name}/sweep.json"):
        before[model] = open_sweep(storage, name).training
    configs = plan_trainings(
        *(storage, dataset, _base_run(name), find_preset(args.preset), [model], overrides),
        before,
        reuse=True,
    )
    base = configs[model].start_from
    if overrides.get("start_from") and "@" not in base and base:
        raise ConfigError(f"--start-from {base}: a trial wants a package, as {base}@VERSION")
    return configs


def _check_trials(
    model: str,
    training: TrainingConfig,
    trials: Sequence[TrialPlan],
    configs: Mapping[str, TrainingConfig],
) -> None:
    """Check every trial's values, before anything is trained; raises ConfigError."""
    base = training.start_from
    for trial in trials:
        config = replace(training, **trial.values)
        other = config.architecture(model) != training.architecture(model)
        if base and config.start_from == base and other:
            raise ConfigError(
                f"trial {trial.name} ({in_words(trial.values)}) cannot start from {base}, a "
                "network of another architecture: --start-from '' starts every trial from nothing"
            )


def _base_run(sweep: str) -> str:
    """The run in which what the trials start from is trained."""
    return f"{sweep}-base"


def _train_base(
    args: argparse.Namespace,
    storage: Storage,
    dataset: Dataset,
    sweep: str,
    config: TrainingConfig,
    training: TrainingConfig,
) -> str:
    """Train the model that the trials start from, unless it is there; returns its package."""
    base, run = training.start_from, _base_run(sweep)
    result = finished_result(storage, run, base)
    if not result:
        _say(
            f"{base} is trained first, since the trials start from it in this preset; --start-from "
            f"{base}@VERSION starts from a package instead, --start-from '' from nothing"
        )
        open_run(storage, run, dataset.manifest.fingerprint, {base: config})
        spec = ModelRun(
            storage=storage.uri,
            dataset=dataset.manifest.name,
            run=run,
            model=base,
            training=config,
            speed=parse(SpeedConfig, args),
            checkpoint_every=args.checkpoint_every,
        )
        with connected(args.address):
            nodes = cluster_nodes()
            plan = plan_training(1, nodes, args.device, args.gpus_per_model, args.max_parallel)
            results = Trainer(storage, run, {base: spec}, {base: plan}).train(args.retries, 1)
            result = results[base]
            if result.status == "stopped":
                _say(f"stopped; the same command with --sweep {sweep} goes on")
                # Ray may have been told to end, too, and would not answer; it ends what this owns.
                os._exit(EXIT_INTERRUPTED)
    if not result.package:
        raise ColorganError(f"{base}, from which the trials start, failed: {result.error}")
    _say(f"the trials start from {result.package}")
    return result.package


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
        words.append(f"semantic {_number(evaluated.semantic, 3)}")
        words.append(f"Fréchet {_number(evaluated.frechet, 1)}")
    words.append(f"colourfulness {_number(evaluated.colorfulness, 2)}")
    return ", ".join([*words, f"ETA {format_seconds(left)}"])


def _number(value: float | None, digits: int) -> str:
    """A metric in words; `-` where there is none, as a semantic score of classes without labels."""
    return "-" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def _finish(args: argparse.Namespace, storage: Storage, sweep: Sweep) -> int:
    """Print the table of trials, publish the best one if asked, and return the exit status."""
    table = Table()
    for heading in ("trial", "status", *sweep.trials[0].values, "epochs", "time", "L1", "PSNR"):
        table.add_column(heading)
    for heading in ("semantic", "Fréchet", "of hues", "colourfulness"):
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
                *(_number(each, 3) for each in (last.semantic, last.frechet, last.hue_frechet)),
                _number(last.colorfulness, 2),
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
