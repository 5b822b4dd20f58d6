"""colorgan train."""

import argparse
import sys

from colorgan.data.dataset import open_dataset
from colorgan.errors import ConfigError
from colorgan.hyperparameters import SpeedConfig, TrainingConfig
from colorgan.options import add_options, given, parse
from colorgan.presets import DEFAULT_PRESET, PRESETS, find_preset
from colorgan.progress import Progress, format_seconds
from colorgan.runs import ModelRun, find_base, finished_result, new_run_name, open_run
from colorgan.storage import open_storage
from colorgan.train import train_model
from colorgan.training import choose_device, device_name


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
    overrides = given(TrainingConfig, args)
    preset = find_preset(args.preset)
    config = preset.config(args.model, overrides)
    storage = open_storage(args.storage)
    dataset = open_dataset(storage, args.dataset)
    dataset.model_classes(args.model)
    run = args.run or new_run_name("train")
    if config.start_from:
        # What a preset would start from is a wish, what the user names is none.
        if "start_from" in overrides or finished_result(storage, run, config.start_from):
            find_base(storage, run, config.start_from)
        else:
            print(f"run {run} has no {config.start_from}: {args.model} starts from nothing")
            config = preset.config(args.model, {**overrides, "start_from": ""})
    open_run(storage, run, dataset.manifest.fingerprint, {args.model: config})
    result = finished_result(storage, run, args.model)
    if result is None:
        print(f"run {run}: {args.model} on {device_name(device)}, preset {args.preset}")
        spec = ModelRun(
            storage=storage.uri,
            dataset=args.dataset,
            run=run,
            model=args.model,
            training=config,
            speed=parse(SpeedConfig, args),
            checkpoint_every=args.checkpoint_every,
        )
        try:
            with Progress({args.model: config.epochs}) as progress:
                progress.state(args.model, "training")
                result = train_model(
                    spec,
                    device,
                    observe=lambda fraction: progress.step(args.model, fraction),
                    record=lambda record: progress.epoch(args.model, record),
                )
                progress.state(args.model, "done")
        except KeyboardInterrupt:
            print(f"\nstopped; the same command with --run {run} goes on", file=sys.stderr)
            raise
    print(
        f"{result.package}: validation L1 {result.val_l1:.2f}, PSNR {result.val_psnr:.1f} dB, "
        f"{format_seconds(result.seconds or 0)}"
    )
    return 0
