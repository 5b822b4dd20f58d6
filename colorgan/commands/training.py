"""The command `colorgan train`."""

import argparse
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from functools import partial

import torch

from colorgan.commands.holding import working_on
from colorgan.commands.joining import joined
from colorgan.commands.publishing import add_publishing_options, given_publishing
from colorgan.commands.stopping import stops_when_asked
from colorgan.commands.tracking import add_tracking_option
from colorgan.data.dataset import open_dataset
from colorgan.errors import ColorganError, ConfigError, WorkerLost
from colorgan.options import add_options, given, parse
from colorgan.packages.releases import release_sentence
from colorgan.storage import Storage, open_storage
from colorgan.storage.lease import Lease
from colorgan.system import choose_device, device_name
from colorgan.training.config import SpeedConfig, TrainingConfig
from colorgan.training.model_run import train_model
from colorgan.training.plan import (
    RunPlan,
    RunRequest,
    continuations,
    plan_run,
    trained_first,
    unpublished,
)
from colorgan.training.presets import add_preset_option, find_preset, preset_values
from colorgan.training.progress import Progress, format_seconds
from colorgan.training.records import EpochRecord
from colorgan.training.runs import (
    ModelResult,
    ModelRun,
    StopRequest,
    epochs_begun_with,
    new_run_name,
    open_run,
)
from colorgan.training.tracking import Tracking, open_tracking
from colorgan.workers import Workers


def prepare_train(parser: argparse.ArgumentParser) -> None:
    """Add the options of `colorgan train`."""
    parser.add_argument("--dataset", metavar="NAME", required=True, help="dataset to train on")
    parser.add_argument(
        "--model",
        metavar="MODEL",
        required=True,
        help="a class of the dataset, general, hypercolumn or cic",
    )
    parser.add_argument("--run", metavar="NAME", help="name of the run to continue or start")
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto")
    add_preset_option(parser)
    parser.add_argument(
        "--checkpoint-every", type=int, default=1, metavar="N", help="epochs between checkpoints"
    )
    add_publishing_options(parser)
    add_tracking_option(parser)
    add_options(parser.add_argument_group("hyper-parameters"), TrainingConfig, preset_values)
    add_options(parser.add_argument_group("speed"), SpeedConfig)
    parser.set_defaults(command=_train)


def _train(args: argparse.Namespace) -> int:
    with joined(choose_device(args.device)) as (device, workers):
        if not workers.first:
            _assist(device, workers)
            return 0
        try:
            _lead(args, device, workers)
        except WorkerLost:
            raise  # the others do not wait to be dismissed, and end because this one does
        except ColorganError:
            _dismiss(workers)
            raise
        _dismiss(workers)
    return 0


def _lead(args: argparse.Namespace, device: torch.device, workers: Workers) -> None:
    """Plan the run, and train its models with the other workers."""
    if args.checkpoint_every < 1:
        raise ConfigError("--checkpoint-every must be at least 1")
    overrides, speed = given(TrainingConfig, args), parse(SpeedConfig, args)
    preset, publishing = find_preset(args.preset), given_publishing(args)
    preset.config(args.model, overrides)  # a bad value is reported before storage is read
    storage = open_storage(args.storage)
    dataset = open_dataset(storage, args.dataset)
    request = RunRequest(
        run=args.run or new_run_name("train"),
        models=[args.model],
        preset=preset,
        overrides=overrides,
        trains_bases=False,
        publishing=publishing,
    )
    with working_on(storage, "run", request.run) as lease:
        plan = plan_run(storage, dataset, request)
        open_run(storage, plan.run, plan.fingerprint, plan.configs, plan.continued)
        together = "" if workers.alone else f", {workers.count} workers"
        name = device_name(device)
        print(f"run {plan.run}: {args.model} on {name}{together}, preset {args.preset}")
        _train_run(args, storage, plan, partial(_train_one, device, workers, lease), speed)


def _assist(device: torch.device, workers: Workers) -> None:
    """Train the models that the first worker names, without a word, until it dismisses this one."""
    with stops_when_asked(quiet=True) as asked:
        while spec := _next_model(workers):
            try:
                train_model(spec, device, observe=lambda fraction: "stop" if asked() else None)
            except WorkerLost:
                raise
            except ColorganError:
                pass  # the first worker has it, too, and reports it


def _next_model(workers: Workers, spec: ModelRun | None = None) -> ModelRun | None:
    """What all workers train next, which the first one says; None when they are dismissed."""
    return workers.of_first(spec)


def _dismiss(workers: Workers) -> None:
    """Let the other workers end."""
    _next_model(workers)


def _train_run(
    args: argparse.Namespace,
    storage: Storage,
    plan: RunPlan,
    train: Callable[[ModelRun, Tracking], ModelResult],
    speed: SpeedConfig,
) -> None:
    note = _base_note(args.model, plan)
    if note:
        print(note)
    if not plan.publishing.publishes and plan.waiting:
        print(unpublished(plan))
    for line in continuations(plan):
        print(line)
    for model in plan.configs:
        result = plan.finished.get(model)
        if not result:
            spec = plan.model_run(model, storage.uri, speed, args.checkpoint_every)
            tracking = open_tracking(args.track, plan.run, print)
            with closing(tracking):
                tracking.begin(model, asdict(spec.training))
                result = train(spec, tracking)
                tracking.end(model, result.status, storage, result.package)
        print(_result_line(model, result))
        if result.package:
            print(release_sentence(storage, result.package))


def _base_note(model: str, plan: RunPlan) -> str:
    """A note on the base model, if the user has not named it; may be empty."""
    base = plan.bases.get(model)
    if base is None or base.origin in ("named", "begun"):
        return ""
    if base.name in plan.waiting:
        return trained_first(base.name, f"{model} starts")
    where = {
        "embedded": "which comes with colorgan",
        "latest": "the latest of this dataset",
        "preset": f"which run {plan.run} has trained",
    }
    return f"{model} starts from {base.name}, {where[base.origin]}"


def _train_one(
    device: torch.device, workers: Workers, lease: Lease, spec: ModelRun, tracking: Tracking
) -> ModelResult:
    model = spec.model
    _next_model(workers, spec)
    print(f"{model}: {spec.training.objective(model)}")

    def record(epoch: EpochRecord) -> None:
        progress.epoch(model, epoch)
        tracking.epoch(model, asdict(epoch))
        lease.report("epochs", epoch.epoch, spec.training.epochs)

    try:
        begun = epochs_begun_with(open_storage(spec.storage), spec.run, [model])
        epochs = {model: spec.training.epochs}
        with stops_when_asked() as asked, Progress(epochs, begun) as progress:

            def observe(fraction: float) -> StopRequest | None:
                progress.step(model, fraction)
                return "stop" if asked() else None

            progress.state(model, "training")
            result = train_model(spec, device, observe=observe, record=record)
            progress.state(model, result.status)
        if result.status == "stopped":
            _dismiss(workers)
            tracking.end(model, result.status, open_storage(spec.storage))
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        print(
            f"\nstopped; run the same command with --run {spec.run} to continue",
            file=sys.stderr,
        )
        raise
    return result


def _result_line(model: str, result: ModelResult) -> str:
    return (
        f"{result.package or model}: validation L1 {result.val_l1:.2f}, "
        f"PSNR {result.val_psnr:.1f} dB, {format_seconds(result.seconds or 0)}"
    )
