"""All options of a training. Importing this module does not import PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from colorgan.data.dataset import Balance
from colorgan.errors import ConfigError
from colorgan.models import EMBEDDED
from colorgan.models.architectures import (
    BACKBONES,
    DISCRIMINATORS,
    BackboneName,
    CicConfig,
    EncoderUNetConfig,
    GeneratorConfig,
    HypercolumnConfig,
)
from colorgan.names import BASELINES, CIC, HYPERCOLUMN
from colorgan.options import Configuration, Count, NaturalNumber, Share, Weight, option
from colorgan.packages.card import ModelCard
from colorgan.system import cpu_has_bfloat16
from colorgan.training.phases import (
    Phase,
    describe_phases,
    parse_phases,
    parse_terms,
    reached,
    renamed,
)

if TYPE_CHECKING:
    import torch

# The share of the machine's memory that the decoded photographs of a training may take before
# `--data auto` streams them.
MEMORY_SHARE = 0.25

Choice = Literal["auto", "on", "off"]
Decay = Annotated[float, Field(ge=0, lt=1)]
Rate = Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class TrainingConfig(GeneratorConfig):
    """Everything that determines a training's result, including the generator's architecture.

    Raises:
        ConfigError: a value is invalid.
    """

    phases: str = option(
        "adversarial",
        "training phases in order, with relative lengths, such as "
        "regression:12+critic:1+adversarial:6: regression trains the generator with L1, "
        "perceptual with L1 and the perceptual term, critic trains the discriminators, and "
        "adversarial both",
    )
    generator: Literal["unet", "encoder_unet"] = option(
        "unet", "the paper's U-Net, or one whose encoder is an ImageNet classifier"
    )
    encoder: BackboneName = option(EMBEDDED, "the classifier that is the encoder of encoder_unet")
    attention: Literal["on", "off"] = option("off", "self-attention in the decoder of encoder_unet")
    discriminators: str = option(
        "patches",
        "one or more, joined by +, each with an optional weight, such as features:2+semantic: "
        "patches judges patches of the picture (pix2pix's PatchGAN), features judges frozen "
        "classifiers' features of it, semantic its colors with the encoder's features of the gray "
        "picture, and projection its patches, given the photograph's class",
    )
    spectral_norm: bool = option(
        False,
        "spectral normalisation of every layer of the discriminators; in patches and projection it "
        "takes the place of --norm, and features and semantic have it in most layers anyway",
    )
    discriminator_width: Count = option(64, "channels of a discriminator's first layer (ndf)")
    epochs: Count = option(200, "passes over the training photographs")
    batch_size: Count = option(5, "photographs per step")
    photographs: NaturalNumber = option(
        0, "maximum number of training photographs, balanced across classes; 0 means all"
    )
    balance: Balance = option(
        "none",
        "draw an epoch's photographs with replacement, so that the classes, or the classes and "
        "each class's sources, have equal expected shares",
    )
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = option(
        2e-4, "learning rate of Adam, for all networks"
    )
    encoder_rate: Share = option(
        1.0, "learning rate of a pretrained encoder, as a share of --learning-rate; 0 freezes it"
    )
    adversarial_rate: Share = option(
        1.0, "learning rate of the generator in adversarial phases, as a share of --learning-rate"
    )
    discriminator_rate: Rate = option(
        1.0, "learning rate of the discriminators, as a multiple of --learning-rate"
    )
    decay_share: Share = option(
        0.0,
        "final share of each phase's steps, over which its learning rate falls to zero",
    )
    average: Decay = option(
        0.0,
        "decay per step, such as 0.999, of a running average of the generator's weights, which is "
        "kept in their place; 0 keeps the weights",
    )
    beta1: Decay = option(0.5, "Adam's first-moment decay")
    lambda_l1: Weight = option(100.0, "weight of the L1 term in the generator's loss")
    lambda_perceptual: Weight = option(
        0.0, "weight of the distance in classifiers' features in the generator's loss"
    )
    lambda_coherence: Weight = option(
        0.0,
        "weight of the coherence term in the generator's loss in adversarial phases: color "
        "differences between places of a colored picture that its photograph does not have",
    )
    lambda_diversity: Weight = option(
        0.0,
        "weight of the diversity term in the generator's loss in adversarial phases, against noise "
        "that is ignored; needs --noise-channels",
    )
    diversity: Literal["nearest", "seeking"] = option(
        "nearest",
        "the diversity term: nearest pulls the nearest of some drawn colourings towards the "
        "photograph, seeking pushes two drawn colourings apart",
    )
    noise_only: bool = option(
        False,
        "train the weights of the noise channels alone, so that the zero vector keeps the colours "
        "of the model that --start-from names",
    )
    perceptual: str = option(
        "",
        "the classifiers whose features the perceptual term and the discriminator `features` use, "
        "joined by +, such as efficientnet_lite0+efficientnet_lite1; empty means the encoder",
    )
    lambda_adversary: Weight = option(
        1.0, "weight of the adversary in the generator's loss, beside each discriminator's own"
    )
    chroma: Annotated[float, Field(ge=1)] = option(
        1.0,
        "factor of the photographs' chroma, a and b of Lab, in the phases with an adversary",
    )
    interpolation: Share = option(
        1.0,
        "weight of the trained generator in its mean with the generator before adversarial "
        "training, which is measured and published; below 1, fewer mistakes and fewer colours",
    )
    publish: Literal["last", "nearest"] = option(
        "last",
        "the state to publish: the last one, or the one with the lowest Fréchet distance on the "
        "validation photographs, among the epochs that end in an adversarial phase",
    )
    colorfulness: Share = option(
        0.0,
        "raise the chroma of the published model until the coloured validation photographs reach "
        "this share of the originals' colourfulness, or their L1 has grown by a twentieth; 0 "
        "leaves it as learned",
    )
    backbone: BackboneName = option(
        "vgg16", "classifier whose features hypercolumn and a trained router use"
    )
    start_from: str = option(
        "",
        "the model whose generator's weights to begin with: a model of the same run, a package "
        "such as general@VERSION, or `embedded`, colorgan's own model of this class, or else its "
        "general one",
    )
    seed: NaturalNumber = option(0, "random seed of weights, order, crops and dropout")

    def check(self) -> None:
        """Check what the fields' types cannot express; raises ConfigError."""
        self.architecture("")
        _ = self.phase_list, self.perceptual_names
        names = [name for name, _ in self.discriminator_weights]
        if len(names) > len({*names}):
            raise ConfigError(f"--discriminators {self.discriminators!r} names one twice")
        if "semantic" in names and self.generator != "encoder_unet":
            raise ConfigError("--discriminators semantic needs --generator encoder_unet")
        if (self.chroma != 1 or self.colorfulness) and self.color_space != "lab":
            raise ConfigError("--chroma and --colorfulness need --color-space lab")
        self._check_noise()

    def _check_noise(self) -> None:
        given = {"--lambda-diversity": self.lambda_diversity > 0, "--noise-only": self.noise_only}
        needing = [name for name, is_given in given.items() if is_given]
        if needing and not self.noise_channels:
            raise ConfigError(f"{needing[0]} needs --noise-channels, such as 8")
        if self.noise_only and not self.start_from:
            raise ConfigError(
                "--noise-only needs --start-from, the model to which noise is added, such as "
                "general@VERSION, or embedded"
            )
        if self.noise_only and not all(phase.has_adversary for phase in self.phase_list):
            raise ConfigError(
                f"--noise-only learns against the adversary alone, and --phases {self.phases} has "
                "others: give --phases critic:0.2+adversarial:2.8"
            )

    def replaced(self, values: Mapping[str, Any]) -> TrainingConfig:
        """A copy with other values, named as in any version of colorgan; raises ConfigError."""
        changes: dict[str, Any] = renamed(values)
        return replace(self, **changes)

    @property
    def phase_list(self) -> tuple[Phase, ...]:
        """The phases of the training; their shares add up to 1."""
        return parse_phases(self.phases)

    @property
    def discriminator_weights(self) -> list[tuple[str, float]]:
        """Names and weights of the discriminators in phases with an adversary."""
        return parse_terms("--discriminators", self.discriminators, DISCRIMINATORS)

    @property
    def perceptual_names(self) -> tuple[str, ...]:
        """Names of the classifiers whose features the losses use."""
        if not self.perceptual:
            return (self.encoder,)
        return tuple(name for name, _ in parse_terms("--perceptual", self.perceptual, BACKBONES))

    @property
    def has_adversary(self) -> bool:
        """Whether discriminators take part in any phase."""
        return any(phase.has_adversary for phase in self.phase_list)

    @property
    def sees_colors(self) -> bool:
        """Whether a loss uses classifiers' features of coloured pictures."""
        names = [name for name, _ in self.discriminator_weights]
        perceptual = any(phase.has_perceptual_term for phase in self.phase_list)
        perceptual = perceptual and self.lambda_perceptual > 0
        return perceptual or (self.has_adversary and "features" in names)

    @property
    def has_fixed_encoder(self) -> bool:
        """Whether the generator's encoder is a frozen classifier."""
        return self.generator == "encoder_unet" and self.encoder_rate == 0

    def fixes_encoder(self, model: str) -> bool:
        """Whether a model's generator has a frozen encoder."""
        return self.has_fixed_encoder and model not in BASELINES

    def phases_of(self, model: str) -> tuple[Phase, ...]:
        """The phases of a model's training; a baseline has a single one."""
        return (Phase("regression", 1.0),) if model in BASELINES else self.phase_list

    def uses_labels(self, model: str) -> bool:
        """Whether a discriminator of a model is given the class of each photograph."""
        opposed = any(phase.has_adversary for phase in self.phases_of(model))
        return opposed and "projection" in dict(self.discriminator_weights)

    def objective(self, model: str, epochs: int | None = None) -> str:
        """The objective of a model's generator, as text for people.

        Args:
            model: the model's name.
            epochs: number of epochs done; None means all.
        """
        if model == HYPERCOLUMN:
            return "distance of U and V, as they are and blurred"
        if model == CIC:
            return "cross-entropy of the bins of a and b, rebalanced for rare colours"
        progress = 1.0 if epochs is None else min(1.0, epochs / self.epochs)
        phases = reached(self.phase_list, progress)
        terms = {} if self.noise_only else {"L1": self.lambda_l1}
        if any(phase.has_perceptual_term for phase in phases) and not self.noise_only:
            terms["perceptual term"] = self.lambda_perceptual
        if any(phase.objective == "adversarial" for phase in phases):
            terms["coherence"] = self.lambda_coherence
            terms[f"diversity ({self.diversity})"] = self.lambda_diversity
        words = [f"{name} (weight {weight:g})" for name, weight in terms.items() if weight]
        if not any(phase.has_adversary for phase in phases):
            return ", ".join([*words, "no adversary"])
        words += [
            f"adversary on {name} (weight {self.lambda_adversary * weight:g})"
            for name, weight in self.discriminator_weights
        ]
        return f"{', '.join(words)}; {describe_phases(phases, progress)}"

    def architecture(
        self, model: str
    ) -> GeneratorConfig | EncoderUNetConfig | HypercolumnConfig | CicConfig:
        """The architecture of a model's network."""
        if model == HYPERCOLUMN:
            return HypercolumnConfig(self.size, self.width, self.backbone)
        if model == CIC:
            return CicConfig(self.size, self.width)
        if self.generator == "encoder_unet":
            return EncoderUNetConfig(
                self.size,
                self.width,
                self.color_space,
                self.norm,
                self.encoder,
                self.attention == "on",
                self.noise_channels,
            )
        return GeneratorConfig(
            **{field.name: getattr(self, field.name) for field in fields(GeneratorConfig)}
        )


@dataclass(frozen=True)
class SpeedConfig(Configuration):
    """How a training uses its device; `auto` is the setting that measured fastest there."""

    precision: Literal["auto", "float32", "bfloat16"] = option(
        "auto",
        "precision of the networks' arithmetic; auto is bfloat16 where the device supports it",
    )
    channels_last: Choice = option(
        "auto",
        "channels-last memory layout of the networks; auto is on for a GPU and for kept features",
    )
    keep_features: Choice = option(
        "auto",
        "on a CPU, compute the features of a frozen encoder once, and keep them in the cache; auto "
        "is on",
    )
    fused_adam: Choice = option("auto", "Adam's fused kernel; auto is on")
    compile: Choice = option("auto", "torch.compile; auto is off")
    prefetch: Choice = option(
        "auto", "prepare the next batch while the device works; auto is on for a GPU"
    )
    data: Literal["auto", "memory", "stream"] = option(
        "auto",
        "decode all photographs before the first epoch, or read them as a stream in every epoch, "
        "in memory that does not grow with their number; auto streams those that would take more "
        f"than {100 * MEMORY_SHARE:g}%% of the machine's memory when decoded",
    )
    data_workers: NaturalNumber = option(
        0,
        "processes that read and decode a stream; 0 is one for a CPU, and up to eight for a GPU",
    )
    photo_memory_gib: Weight = option(
        4.0,
        "memory that a process may take for decoded photographs that it cannot share with others "
        "through files, in GiB",
    )
    scratch: str = option(
        "",
        "folder on each machine's disk for decoded photographs, kept features and the shards of a "
        "remote storage that a stream reads, shared by all trainings there, without a limit but "
        "the disk; empty means the cache, $COLORGAN_CACHE",
    )
    gpu_photo_share: Share = option(
        0.3,
        "keep photographs on the GPU, and crop them there, if they take at most this share of its "
        "free memory; otherwise transfer them batch by batch",
    )

    def check(self) -> None:
        """Check what the fields' types cannot express; raises ConfigError."""
        if self.scratch and not PurePath(self.scratch).is_absolute():
            raise ConfigError(
                f"--scratch {self.scratch} must be an absolute path, such as "
                f"/mnt/{PurePath(self.scratch).name}: every process has a folder of its own to "
                "start in"
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

    def keeps_features_on(self, device: torch.device) -> bool:
        """Whether a training on the device caches the features of a frozen encoder."""
        return self.keep_features != "off" and device.type == "cpu"

    def channels_last_on(self, device: torch.device, fixed_encoder: bool) -> bool:
        """Whether the networks use the channels_last layout on the device."""
        if self.channels_last != "auto":
            return self.channels_last == "on"
        return device.type == "cuda" or (fixed_encoder and self.keeps_features_on(device))


def stored_config(fields_of: Mapping[str, Any]) -> TrainingConfig:
    """Read a configuration from a document that any version of colorgan wrote.

    Options newer than the document get their defaults, which keep the old behaviour. Renamed
    options are read under their new names, and removed ones are ignored.

    Raises:
        ConfigError: a value is invalid.
    """
    names = {field.name for field in fields(TrainingConfig)}
    known: dict[str, Any] = renamed(fields_of)
    return TrainingConfig(**{name: value for name, value in known.items() if name in names})


def stored_objective(card: ModelCard) -> str:
    """The objective of a stored model, as text for people; empty if its card does not tell it.

    Older cards lack the objective, which then follows from their hyper-parameters.
    """
    if card.objective or not card.training or not card.colors:
        return card.objective
    try:
        return stored_config(card.training).objective(card.model, card.epochs)
    except ConfigError:
        return ""


def by_objective(configs: Mapping[str, TrainingConfig]) -> dict[str, list[str]]:
    """The models of each objective; the keys are objectives as text."""
    found: dict[str, list[str]] = {}
    for model, config in configs.items():
        found.setdefault(config.objective(model), []).append(model)
    return found
