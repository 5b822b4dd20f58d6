"""Everything that a user can set of a training; it can be read without PyTorch."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from colorgan.data.dataset import HYPERCOLUMN
from colorgan.errors import ConfigError
from colorgan.models import EMBEDDED
from colorgan.models.architectures import (
    BACKBONES,
    EncoderUNetConfig,
    GeneratorConfig,
    HypercolumnConfig,
    check_backbone,
)
from colorgan.options import option

if TYPE_CHECKING:
    import torch

Choice = Literal["auto", "on", "off"]
_CHOICES = ("auto", "on", "off")


@dataclass(frozen=True)
class TrainingConfig(GeneratorConfig):
    """Everything that decides a training's result: the generator's architecture and these."""

    generator: Literal["unet", "encoder_unet"] = option(
        "unet",
        "the paper's U-Net, or one whose encoder is a classifier that knows ImageNet",
        choices=("unet", "encoder_unet"),
    )
    encoder: str = option(EMBEDDED, f"that classifier: {' or '.join(BACKBONES)}")
    discriminator_width: int = option(64, "channels of the discriminator's first layer (ndf)")
    epochs: int = option(200, "passes over the training photographs")
    batch_size: int = option(5, "photographs a step")
    photographs: int = option(
        0, "train on so many at most, as even over the classes as it goes; 0 is all"
    )
    learning_rate: float = option(2e-4, "of Adam, for both networks")
    encoder_rate: float = option(
        1.0, "share of the learning rate that a pretrained encoder has; with 0 it stays as it is"
    )
    decay_share: float = option(
        0.0, "share of the epochs, the last ones, over which the learning rate falls to zero"
    )
    warm_up_share: float = option(
        0.0,
        "share of the epochs, the first ones, in which the generator learns by L1 alone, without "
        "an adversary",
    )
    average: float = option(
        0.0,
        "decay, a step, of a running average of the generator's weights, which is kept in their "
        "place, as 0.999; 0 is none",
    )
    beta1: float = option(0.5, "Adam's first-moment decay")
    lambda_l1: float = option(100.0, "weight of the L1 term in the generator's loss")
    lambda_perceptual: float = option(
        0.0, "weight of the distance in the encoder's classifier's features in the generator's loss"
    )
    backbone: str = option(
        "vgg16", f"classifier below hypercolumn and a trained router: {' or '.join(BACKBONES)}"
    )
    start_from: str = option(
        "",
        "a model of the same run, or a package as general@VERSION, whose generator's weights to "
        "begin with",
    )
    seed: int = option(0, "of the weights, the order, the crops and the dropout")

    def __post_init__(self) -> None:
        """Check the values; raises ConfigError."""
        self.architecture(HYPERCOLUMN)
        self.architecture("")
        for name in ("discriminator_width", "epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"--{name.replace('_', '-')} must be at least 1")
        if not 0 < self.learning_rate < 1:
            raise ConfigError("--learning-rate must lie between 0 and 1")
        for name in ("decay_share", "warm_up_share", "encoder_rate"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"--{name.replace('_', '-')} must lie between 0 and 1")
        if not 0 <= self.average < 1:
            raise ConfigError("--average must be at least 0 and less than 1")
        if not 0 <= self.beta1 < 1:
            raise ConfigError("--beta1 must be at least 0 and less than 1")
        if self.lambda_perceptual:
            check_backbone(self.encoder)
        for name in ("lambda_l1", "lambda_perceptual"):
            if getattr(self, name) < 0:
                raise ConfigError(f"--{name.replace('_', '-')} must not be negative")
        for name in ("photographs", "seed"):
            if getattr(self, name) < 0:
                raise ConfigError(f"--{name} must not be negative")

    def learning_rate_in(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 1."""
        left, falling = self.epochs - epoch + 1, self.decay_share * self.epochs
        return self.learning_rate * min(1.0, left / (falling + 1))

    def adversarial_in(self, epoch: int) -> bool:
        """Whether the discriminator takes part in an epoch, counted from 1."""
        return epoch > self.warm_up_share * self.epochs

    def architecture(self, model: str) -> GeneratorConfig | EncoderUNetConfig | HypercolumnConfig:
        """The part that decides the architecture of a model's network."""
        if model == HYPERCOLUMN:
            return HypercolumnConfig(self.size, self.width, self.backbone)
        if self.generator == "encoder_unet":
            return EncoderUNetConfig(
                self.size, self.width, self.color_space, self.norm, self.encoder
            )
        return GeneratorConfig(
            **{field.name: getattr(self, field.name) for field in fields(GeneratorConfig)}
        )


@dataclass(frozen=True)
class SpeedConfig:
    """How a training runs on its device; `auto` is what was measured to be fastest there."""

    precision: Literal["auto", "float32", "bfloat16"] = option(
        "auto",
        "of the networks' arithmetic; auto is bfloat16 where the device has it",
        choices=("auto", "float32", "bfloat16"),
    )
    channels_last: Choice = option(
        "auto", "memory layout of the networks; auto is on for a GPU", choices=_CHOICES
    )
    fused_adam: Choice = option("auto", "Adam's fused kernel; auto is on", choices=_CHOICES)
    compile: Choice = option("auto", "torch.compile; auto is off", choices=_CHOICES)
    photo_memory_gib: float = option(
        4.0, "decoded photographs beyond this go to a memory-mapped file, in GiB"
    )

    def bfloat16_on(self, device: torch.device) -> bool:
        """Whether the networks compute in bfloat16 on the device."""
        if self.precision != "auto":
            return self.precision == "bfloat16"
        if device.type == "cuda":
            import torch

            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
        return cpu_has_bfloat16()

    def channels_last_on(self, device: torch.device) -> bool:
        """Whether the networks use the channels_last layout on the device."""
        return self.channels_last == "on" or (
            self.channels_last == "auto" and device.type == "cuda"
        )


def cpu_has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 itself: emulated, it is slower than float32."""
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text() if cpuinfo.exists() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags
