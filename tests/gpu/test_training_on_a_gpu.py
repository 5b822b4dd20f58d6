"""Every kind of model trains on CUDA as it does on the CPU."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from colorgan.data.batches import JITTER, PhotoBank
from colorgan.models import EMBEDDED
from colorgan.names import CIC, HYPERCOLUMN
from colorgan.training.config import SpeedConfig, TrainingConfig
from colorgan.training.loop import Training
from colorgan.training.records import EpochRecord

CPU = torch.device("cpu")
SIDE = 64
PHOTOGRAPHS = 8

UNET = TrainingConfig(size=SIDE, width=8, discriminator_width=8, epochs=2, batch_size=4)
ENCODER_UNET = dataclasses.replace(
    UNET,
    generator="encoder_unet",
    encoder_rate=0.0,
    norm="batch",
    average=0.9,
    lambda_perceptual=10.0,
)
HYPERCOLUMNS = dataclasses.replace(UNET, backbone=EMBEDDED)

MODELS = {
    "unet, cGAN": (UNET, "animals"),
    "encoder_unet, cGAN": (ENCODER_UNET, "animals"),
    "encoder_unet, L1 and perceptual": (
        dataclasses.replace(ENCODER_UNET, phases="regression"),
        "animals",
    ),
    "encoder_unet, every phase and discriminator": (
        dataclasses.replace(
            ENCODER_UNET,
            phases="regression+critic+adversarial:2",
            discriminators="features+semantic",
            chroma=1.1,
        ),
        "animals",
    ),
    "hypercolumn": (HYPERCOLUMNS, HYPERCOLUMN),
    "cic": (UNET, CIC),
}
every_model = pytest.mark.parametrize(("config", "model"), MODELS.values(), ids=MODELS)


def banks(config: TrainingConfig) -> tuple[PhotoBank, PhotoBank]:
    """Smooth random pictures: noise would leave nothing to learn."""
    side = SIDE if config.has_fixed_encoder else round(SIDE * JITTER)
    rng = np.random.default_rng(0)

    def pictures(count: int, side: int) -> PhotoBank:
        coarse = torch.from_numpy(rng.uniform(0, 255, (count, 3, 4, 4))).float()
        fine = torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear")
        return PhotoBank(fine.permute(0, 2, 3, 1).to(torch.uint8).contiguous().numpy())

    return pictures(PHOTOGRAPHS, side), pictures(3, SIDE)


def training(
    config: TrainingConfig, model: str, device: torch.device, precision: str = "float32"
) -> Training:
    speed = SpeedConfig(precision=precision)  # type: ignore[arg-type]
    return Training(config, *banks(config), device, speed, model)


def losses(records: list[EpochRecord]) -> list[tuple[float, ...]]:
    return [(r.loss_d, r.loss_gan, r.loss_l1, r.val_l1, r.val_psnr) for r in records]


@contextmanager
def without_tf32() -> Iterator[None]:
    """Full float32 in CUDA's convolutions and products, to compare with the CPU's."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


@every_model
def test_losses_agree_with_the_cpus(
    device: torch.device, config: TrainingConfig, model: str
) -> None:
    # Dropout draws other masks on another device, so this compares an epoch's mean over two
    # steps, in which the masks have moved little.
    config = dataclasses.replace(config, epochs=1)
    with without_tf32():
        ours = losses(list(training(config, model, device).run()))
    theirs = losses(list(training(config, model, CPU).run()))
    np.testing.assert_allclose(ours, theirs, rtol=0.05, atol=0.02)


@every_model
def test_bfloat16_agrees_with_float32(
    device: torch.device, config: TrainingConfig, model: str
) -> None:
    half = losses(list(training(config, model, device, "bfloat16").run()))
    full = losses(list(training(config, model, device).run()))
    np.testing.assert_allclose(half, full, rtol=0.1, atol=0.05)


@every_model
@pytest.mark.usefixtures("deterministic")
def test_a_training_resumes_exactly(
    device: torch.device, config: TrainingConfig, model: str
) -> None:
    whole = training(config, model, device, "bfloat16")
    list(whole.run())
    stopped = training(config, model, device, "bfloat16")
    next(stopped.run())
    resumed = training(config, model, device, "bfloat16")
    resumed.load(stopped.snapshot().files())
    list(resumed.run())
    assert losses(resumed.history) == losses(whole.history)
    expected = whole.snapshot().tensors
    differing = [
        n for n, t in resumed.snapshot().tensors.items() if not torch.equal(t, expected[n])
    ]
    assert not differing


@every_model
def test_no_step_waits_for_the_device(
    cuda: torch.device, config: TrainingConfig, model: str
) -> None:
    """After an epoch's first step, until its last one, nothing reads from the GPU."""
    config = dataclasses.replace(config, batch_size=1)

    def watch(fraction: float) -> None:
        torch.cuda.set_sync_debug_mode("default" if fraction == 1 else "error")

    try:
        records = list(training(config, model, cuda, "bfloat16").run(watch))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(records) == config.epochs


@every_model
def test_memory_does_not_grow_from_epoch_to_epoch(
    cuda: torch.device, config: TrainingConfig, model: str
) -> None:
    config = dataclasses.replace(config, epochs=4)
    peaks = []
    for _ in training(config, model, cuda, "bfloat16").run():
        peaks.append(torch.cuda.max_memory_allocated())
        torch.cuda.reset_peak_memory_stats()
    assert max(peaks[1:]) <= 1.02 * peaks[1]
