"""Everything that a user can set of a training; it can be read without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from colorgan.data.dataset import HYPERCOLUMN, Balance
from colorgan.errors import ConfigError
from colorgan.models import EMBEDDED
from colorgan.models.architectures import (
    BackboneName,
    EncoderUNetConfig,
    GeneratorConfig,
    HypercolumnConfig,
)
from colorgan.options import Configuration, Count, NaturalNumber, Share, Weight, option

if TYPE_CHECKING:
    import torch

Choice = Literal["auto", "on", "off"]
Decay = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True)
class TrainingConfig(GeneratorConfig):
    """Everything that decides a training's result: the generator's architecture and these.

    Raises:
        ConfigError: a value cannot be used.
    """

    generator: Literal["unet", "encoder_unet"] = option(
        "unet", "the paper's U-Net, or one whose encoder is a classifier that knows ImageNet"
    )
    encoder: BackboneName = option(EMBEDDED, "that classifier")
    discriminator_width: Count = option(64, "channels of the discriminator's first layer (ndf)")
    epochs: Count = option(200, "passes over the training photographs")
    batch_size: Count = option(5, "photographs a step")
    photographs: NaturalNumber = option(
        0, "maximum number of training photographs, balanced across classes; 0 means all"
    )
    balance: Balance = option(
        "none",
        "what has an equal expected share of an epoch, whose photographs are then drawn with "
        "replacement: the classes, or the classes and in each of them its sources",
    )
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = option(2e-4, "of Adam, for both networks")
    encoder_rate: Share = option(
        1.0, "share of the learning rate that a pretrained encoder has; with 0 it stays as it is"
    )
    decay_share: Share = option(
        0.0, "share of the epochs, the last ones, over which the learning rate falls to zero"
    )
    warm_up_share: Share = option(
        0.0,
        "share of the epochs, the first ones, in which the generator learns by L1 alone, without "
        "an adversary; with 1 there is none at all",
    )
    average: Decay = option(
        0.0,
        "decay, a step, of a running average of the generator's weights, which is kept in their "
        "place, as 0.999; 0 is none",
    )
    beta1: Decay = option(0.5, "Adam's first-moment decay")
    lambda_l1: Weight = option(100.0, "weight of the L1 term in the generator's loss")
    lambda_perceptual: Weight = option(
        0.0, "weight of the distance in the encoder's classifier's features in the generator's loss"
    )
    backbone: BackboneName = option("vgg16", "classifier below hypercolumn and a trained router")
    start_from: str = option(
        "",
        "a model of the same run, or a package as general@VERSION, whose generator's weights to "
        "begin with",
    )
    seed: NaturalNumber = option(0, "of the weights, the order, the crops and the dropout")

    def check(self) -> None:
        """Check what the architecture demands of the size; raises ConfigError."""
        self.architecture("")

    def learning_rate_in(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 1."""
        left, falling = self.epochs - epoch + 1, self.decay_share * self.epochs
        return self.learning_rate * min(1.0, left / (falling + 1))

    def adversarial_in(self, epoch: int) -> bool:
        """Whether the discriminator takes part in an epoch, counted from 1."""
        return epoch > self.warm_up_share * self.epochs

    @property
    def has_adversary(self) -> bool:
        """Whether the discriminator takes part in any epoch."""
        return self.adversarial_in(self.epochs)

    def objective(self, model: str, epochs: int | None = None) -> str:
        """What a model's generator learns by, in words.

        Args:
            model: its name.
            epochs: how many are done; all of them where None.
        """
        if model == HYPERCOLUMN:
            return "distance of U and V, as they are and blurred"
        done = self.epochs if epochs is None else epochs
        terms = {"L1": self.lambda_l1, "perceptual term": self.lambda_perceptual}
        words = [f"{name} (weight {weight:g})" for name, weight in terms.items() if weight]
        adversarial = sum(self.adversarial_in(epoch) for epoch in range(1, done + 1))
        if adversarial:
            return ", ".join([*words, f"adversary in {adversarial} of {done} epochs"])
        return ", ".join([*words, "no adversary"])

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
class SpeedConfig(Configuration):
    """How a training runs on its device; `auto` is what was measured to be fastest there."""

    precision: Literal["auto", "float32", "bfloat16"] = option(
        "auto",
        "of the networks' arithmetic; auto is bfloat16 where the device has it",
    )
    channels_last: Choice = option("auto", "memory layout of the networks; auto is on for a GPU")
    fused_adam: Choice = option("auto", "Adam's fused kernel; auto is on")
    compile: Choice = option("auto", "torch.compile; auto is off")
    prefetch: Choice = option(
        "auto", "prepare the next batch while the device works; auto is on for a GPU"
    )
    photo_memory_gib: Weight = option(
        4.0, "decoded photographs beyond this go to a memory-mapped file, in GiB"
    )

    gpu_photo_share: Share = option(
        0.3,
        "photographs stay on the GPU, and are cropped there, where they take at most this share of "
        "its free memory; others come batch by batch",
    )

    def bfloat16_on(self, device: torch.device) -> bool:
        """Whether the networks compute in bfloat16 on the device."""
        if self.precision != "auto":
            return self.precision == "bfloat16"
        if device.type == "cuda":
            import torch

            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
        return cpu_has_bfloat16()

    def prefetch_on(self, device: torch.device) -> bool:
        """Whether the next batch is prepared while the device works."""
        return self.prefetch == "on" or (self.prefetch == "auto" and device.type == "cuda")

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


def stored_config(fields_of: Mapping[str, Any]) -> TrainingConfig:
    """A configuration from a document that any version of colorgan wrote.

    An option that is newer than the document has its default, which changes nothing; one that is
    gone is left out.

    Raises:
        ConfigError: a value cannot be used.
    """
    names = {field.name for field in fields(TrainingConfig)}
    return TrainingConfig(**{name: value for name, value in fields_of.items() if name in names})


def stored_objective(model: str, fields_of: Mapping[str, Any], epochs: int) -> str:
    """What a stored model has learned by, in words; empty where its document does not say it."""
    try:
        return stored_config(fields_of).objective(model, epochs) if fields_of else ""
    except ConfigError:
        return ""


def by_objective(configs: Mapping[str, TrainingConfig]) -> dict[str, list[str]]:
    """The models that learn by each objective, in words."""
    found: dict[str, list[str]] = {}
    for model, config in configs.items():
        found.setdefault(config.objective(model), []).append(model)
    return found
