"""A training step of colorgan against the reference step, with the same batch, sizes and widths.

    python -m benchmarks.training_step [--quick | --full] [--json FILE]

colorgan's contender is an epoch of `Training.run` with the preset `report` and the default speed
options (`auto`). The time of its data and its steps counts, including crops, flips and the
conversion from sRGB to Lab, but not the validation. The reference gets lightness and colour from
memory. Each contender is a separate process, and the peak is the memory of that process including
PyTorch (on a GPU, only that of tensors).
"""

import statistics
import sys
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.children import Child, Facts, Work
from benchmarks.face import LATE, Settings, left_out, main_of, note
from benchmarks.measure import Result, Unavailable, interleave
from benchmarks.reference_step import ReferenceTraining
from colorgan.data.batches import JITTER, PhotoBank
from colorgan.images import lab
from colorgan.images.decoding import Pixels
from colorgan.training.config import SpeedConfig, TrainingConfig
from colorgan.training.loop import Training
from colorgan.training.presets import PRESETS
from colorgan.training.records import EpochRecord

NAME = "training_step"
REFERENCE = "reference step, float32"

# Within an epoch, Python queues work ahead of the GPU, which takes effect only over several steps.
_STEPS_ON_GPU = 30

_QUICK_WIDTH = 4

# (pixels, batch)
_QUICK = ((32, 2),)
_DEFAULT = ((256, 1), (256, 5), (256, 10), (128, 1), (128, 5), (128, 10))
_ON_GPU = ((256, 1), (256, 5), (256, 10), (256, 32))


def run(settings: Settings) -> list[Result]:
    """Measure every size and batch."""
    device, settings = settings.device_type, settings.within(210)
    results = []
    sizes = settings.pick(_QUICK, _ON_GPU if device == "cuda" else _DEFAULT, _DEFAULT)
    for size, batch in sizes:
        if settings.late():
            results.append(left_out(NAME, _case_name(size, batch), LATE))
            continue
        note(f"  {_case_name(size, batch)}")
        results += _case(settings, size, batch, device)
    return results


def _case_name(size: int, batch: int) -> str:
    return f"{size} px, batch {batch}"


def _case(settings: Settings, size: int, batch: int, device: str) -> list[Result]:
    steps = _STEPS_ON_GPU if device == "cuda" and settings.scale != "quick" else 1
    report = PRESETS["report"].training
    width = settings.pick(_QUICK_WIDTH, report.width, report.width)
    config = replace(
        report,
        size=size,
        batch_size=batch,
        width=width,
        discriminator_width=width,
        epochs=sys.maxsize,
    )
    # The preset as it is, and with batch normalisation like the reference.
    ours = {"colorgan": config}
    if settings.scale == "full":
        ours["colorgan, norm batch"] = replace(config, norm="batch")
    case = _case_name(size, batch)
    flops = count_flops(size, width)
    with ExitStack() as stack:
        try:
            reference = Child(REFERENCE, make_reference, size, batch, steps, device, width)
            children = [stack.enter_context(reference)]
            for name, training in ours.items():
                child = Child(name, make_ours, training, SpeedConfig(), steps, device)
                children.append(stack.enter_context(child))
            timings = interleave([child.variant for child in children], settings.rounds())
            ended = {child.variant.name: child.end() for child in children}
        except Unavailable as reason:
            return [left_out(NAME, case, str(reason))]
    return timings.results(
        NAME,
        case,
        "images/s",
        lambda seconds: steps * batch / seconds,
        peaks={name: peak for name, (_, peak) in ended.items()},
        facts={
            name: {
                "s/step": timings.median(name) / steps,
                "TFLOP/s": 1e-12 * flops * steps * batch / timings.median(name),
                **facts,
            }
            for name, (facts, _) in ended.items()
        },
    )


def count_flops(size: int, width: int) -> int:
    """Floating-point operations of the reference step per image, which count for all contenders."""
    with torch.device("meta"), FlopCounterMode(display=False) as counted:
        pictures = torch.empty(1, 1, size, size), torch.empty(1, 2, size, size)
        ReferenceTraining(size, "meta", width).step(*pictures)
    return int(counted.get_total_flops())


def make_reference(size: int, batch: int, steps: int, device: str, width: int = 64) -> Work:
    """Work that makes `steps` reference steps per run, on one batch in memory."""
    torch.manual_seed(0)
    training = ReferenceTraining(size, device, width)
    rgb = torch.from_numpy(_photographs(batch, size)).permute(0, 3, 1, 2)
    lightness, color = (each.to(device) for each in lab.encode(rgb, "lab"))

    def work() -> None:
        for _ in range(steps):
            training.step(lightness, color)

    return Work(work, device=device)


def make_ours(config: TrainingConfig, speed: SpeedConfig, steps: int, device: str) -> Work:
    """Work that trains an epoch of `steps` steps per run, timed by the training's own records."""
    side = round(config.size * JITTER)
    training = Training(
        config,
        PhotoBank(_photographs(steps * config.batch_size, side)),
        PhotoBank(_photographs(1, config.size)),
        torch.device(device),
        speed,
    )
    epochs = training.run()
    records: list[EpochRecord] = []

    def work() -> float:
        records.append(next(epochs))
        return records[-1].data_seconds + records[-1].step_seconds

    def facts() -> Facts:
        shares = [
            record.data_seconds / (record.data_seconds + record.step_seconds)
            for record in records[1:]
        ]
        return {"share in data": f"{statistics.median(shares):.2%}"} if shares else {}

    return Work(work, facts, device)


def _photographs(count: int, side: int) -> Pixels:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, side, side, 3), np.uint8)


if __name__ == "__main__":
    sys.exit(main_of(NAME, run, __doc__))
