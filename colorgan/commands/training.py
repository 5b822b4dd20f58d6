"""colorgan train."""

import argparse
import sys

import torch

from colorgan.data.dataset import open_dataset
from colorgan.errors import ConfigError
from colorgan.options import add_options, given, parse
from colorgan.packages.embedded import EMBEDDED_MODELS
from colorgan.storage import open_storage
from colorgan.system import choose_device, device_name
from colorgan.training.bases import check_bases, plan_trainings
from colorgan.training.config import SpeedConfig, TrainingConfig
from colorgan.training.model_run import train_model
from colorgan.training.presets import DEFAULT_PRESET, PRESETS, find_preset
from colorgan.training.progress import Progress, format_seconds
from colorgan.training.runs import (
    ModelResult,
    ModelRun,
    find_base,
    finished_result,
    new_run_name,
    open_run,
    run_configs,
)


def prepare_train(parser: argparse.ArgumentParser) -> None:
    """Add the options of `colorgan train`."""
    parser.add_argument("--dataset", metavar="NAME", required=True, help="what to train on")
    parser.add_argument(
        "--model", metavar="MODEL", required=True, help="a class of the dataset, or general"
    )
    parser.add_argument("--run", metavar="NAME", help="go on with, or start, the run of this name")
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto")
    parser.add_argument(
        "--preset",
        choices=tuple(PRESETS),
        default=DEFAULT_PRESET,
        help="hyper-parameters that the options below override (default: %(default)s)",
    )
    parser.add_argument(
        "--checkpoint-every", type=int, default=1, metavar="N", help="epochs between checkpoints"
    )
    add_options(parser.add_argument_group("hyper-parameters"), TrainingConfig)
    add_options(parser.add_argument_group("speed"), SpeedConfig)
    parser.set_defaults(command=_train)


def _train(args: argparse.Namespace) -> int:
    if args.checkpoint_every < 1:
        raise ConfigError("--checkpoint-every must be at least 1")
    device = choose_device(args.device)
    overrides, speed = given(TrainingConfig, args), parse(SpeedConfig, args)
    preset = find_preset(args.preset)
    preset.config(args.model, overrides)  # a bad value is reported before storage is read
    storage = open_storage(args.storage)
    dataset = open_dataset(storage, args.dataset)
    dataset.model_classes(args.model)
    run = args.run or new_run_name("train")
    before = run_configs(storage, run)
    configs = plan_trainings(
        storage, dataset, run, preset, [args.model], overrides, before, reuse=True
    )
    own = configs[args.model]
    if overrides.get("start_from") and own.start_from:
        find_base(storage, run, own.start_from)  # an explicit base is required, not trained
    check_bases(storage, run, configs)
    open_run(storage, run, dataset.manifest.fingerprint, configs)
    print(f"run {run}: {args.model} on {device_name(device)}, preset {args.preset}")
    if overrides.get("start_from") == EMBEDDED_MODELS and own.start_from:
        print(f"{args.model} starts from {own.start_from}, which comes with colorgan")
    elif own.start_from and args.model not in before and "start_from" not in overrides:
        print(_base_line(args.model, own.start_from, own.start_from in configs))
    for model, config in configs.items():
        spec = ModelRun(
            storage=storage.uri,
            dataset=args.dataset,
            run=run,
            model=model,
            training=config,
            speed=speed,
            checkpoint_every=args.checkpoint_every,
        )
        print(_result_line(finished_result(storage, run, model) or _train_one(spec, device)))
    return 0


def _base_line(model: str, base: str, trained_first: bool) -> str:
    if trained_first:
        return (
            f"{base} is trained first, since {model} starts from it in this preset; --start-from "
            f"{base}@VERSION starts from a package instead, --start-from '' from nothing"
        )
    return f"{model} starts from {base}, the latest of this dataset"


def _train_one(spec: ModelRun, device: torch.device) -> ModelResult:
    model = spec.model
    print(f"{model}: {spec.training.objective(model)}")
    try:
        with Progress({model: spec.training.epochs}) as progress:
            progress.state(model, "training")
            result = train_model(
                spec,
                device,
                observe=lambda fraction: progress.step(model, fraction),
                record=lambda record: progress.epoch(model, record),
            )
            progress.state(model, "done")
    except KeyboardInterrupt:
        print(f"\nstopped; the same command with --run {spec.run} goes on", file=sys.stderr)
        raise
    return result


def _result_line(result: ModelResult) -> str:
    return (
        f"{result.package}: validation L1 {result.val_l1:.2f}, PSNR {result.val_psnr:.1f} dB, "
        f"{format_seconds(result.seconds or 0)}"
    )
