"""Named sets of hyper-parameters."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from colorgan.errors import ConfigError
from colorgan.models import EMBEDDED
from colorgan.names import BASELINES, CIC, GENERAL
from colorgan.options import default_in_words, value_in_words
from colorgan.training.config import TrainingConfig


@dataclass(frozen=True)
class Preset:
    """Hyper-parameters for every model.

    Attributes:
        description: what the preset is for.
        training: the hyper-parameters that all models share.
        epochs: epochs by model, where they differ from those of `training`.
        models: further hyper-parameters by model that differ from those of `training`.
        fine_tuning: overrides for a model that starts from a base model.
    """

    description: str
    training: TrainingConfig
    epochs: Mapping[str, int] = field(default_factory=dict)
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    fine_tuning: Mapping[str, Any] = field(default_factory=dict)

    def config(self, model: str, overrides: Mapping[str, Any]) -> TrainingConfig:
        """A model's hyper-parameters: the preset's, overridden by the user's.

        Args:
            model: a class, `general`, `hypercolumn` or `cic`.
            overrides: the user's own hyper-parameters, by their names in TrainingConfig.

        Returns:
            The configuration. Its `start_from` is empty if the model cannot start from the base
            that the preset or the user names: no model starts from itself, nor a baseline from a
            generator. If it is not empty, `fine_tuning` applies.

        Raises:
            ConfigError: a value is invalid.
        """
        base = overrides.get("start_from", self.training.start_from)
        if model == base or (model in BASELINES and not base.startswith(f"{model}@")):
            base = ""
        own = dict(self.models.get(model, {}))
        if model in self.epochs:
            own["epochs"] = self.epochs[model]
        tuning = self.fine_tuning if base else {}
        return replace(self.training, **{**own, **tuning, **overrides, "start_from": base})


PRESETS: Mapping[str, Preset] = {
    "report": Preset(
        "the best models of the 2018 report, conditional GANs for a GPU: 256 px, 350, 200 and 300 "
        "epochs",
        TrainingConfig(epochs=300),
        {"animals": 350, "vehicles": 200, "people": 300, GENERAL: 120},
        # As the authors trained it, though without weight decay.
        {CIC: {"batch_size": 40, "learning_rate": 3e-5, "beta1": 0.9}},
    ),
    "best": Preset(
        "conditional GANs on a pretrained encoder: general first, by L1 and a perceptual term, "
        "then against its adversary; each class from that, against its own",
        TrainingConfig(
            generator="encoder_unet",
            encoder_rate=0.0,
            norm="batch",
            size=224,
            width=32,
            batch_size=16,
            phases="regression:14+critic:0.3+adversarial:4.7",
            epochs=19,
            learning_rate=1e-3,
            adversarial_rate=0.4,
            discriminator_rate=0.4,
            decay_share=0.7,
            average=0.998,
            discriminators="semantic:4+features:6",
            discriminator_width=48,
            lambda_perceptual=120.0,
            lambda_coherence=400.0,
            interpolation=0.7,
            colorfulness=0.8,
            backbone=EMBEDDED,
            start_from=GENERAL,
        ),
        models={CIC: {"size": 256, "width": 64, "beta1": 0.9}},  # their architecture
        fine_tuning={
            "phases": "critic:0.2+adversarial:2.8",
            "epochs": 3,
            "adversarial_rate": 0.3,
            "lambda_coherence": 1600.0,
        },
    ),
    "small": Preset(
        "conditional GANs in minutes on a CPU: 128 px, width 24, 14 epochs in small, long steps",
        TrainingConfig(
            size=128,
            width=24,
            discriminator_width=24,
            batch_size=2,
            epochs=14,
            learning_rate=4e-4,
            decay_share=0.5,
            backbone=EMBEDDED,
        ),
        models={CIC: {"batch_size": 16, "learning_rate": 1e-3, "beta1": 0.9}},
    ),
}


DEFAULT_PRESET = "best"


def add_preset_option(parser: argparse.ArgumentParser) -> None:
    """Add the option --preset, whose hyper-parameters the other options override."""
    parser.add_argument(
        "--preset",
        choices=tuple(PRESETS),
        default=DEFAULT_PRESET,
        help="hyper-parameters that the options below override (default: %(default)s)",
    )


def find_preset(name: str) -> Preset:
    """A preset by its name; raises ConfigError."""
    if name not in PRESETS:
        raise ConfigError(f"no preset {name!r}: choose from {', '.join(PRESETS)}")
    return PRESETS[name]


def preset_values(
    field: str, overrides: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
) -> str:
    """What a hyper-parameter is by default, for a help text: `best: 224, report: 256`.

    Args:
        field: the hyper-parameter's name in TrainingConfig.
        overrides: hyper-parameters by preset that take the place of the preset's own.

    Returns:
        One `default: …` where the presets agree; presets of the same value stand together.
    """
    names: dict[str, list[str]] = {}
    for name in sorted(PRESETS, key=lambda name: name != DEFAULT_PRESET):
        preset = PRESETS[name]
        names.setdefault(_value_in_words(preset, field, overrides.get(name, {})), []).append(name)
    if len(names) == 1:
        (value,) = names
        return default_in_words(value)
    parts = [f"{' and '.join(each)}: {value or 'none'}" for value, each in names.items()]
    return ("; " if any(", " in part for part in parts) else ", ").join(parts)


def _value_in_words(preset: Preset, field: str, overrides: Mapping[str, Any]) -> str:
    if field in overrides:
        return value_in_words(overrides[field])
    value = getattr(preset.training, field)
    if field == "epochs" and preset.epochs:
        by_model = (value, *preset.epochs.values())
        return f"{min(by_model)} to {max(by_model)}"
    words = value_in_words(value)
    if field in preset.fine_tuning:
        words += f", or {value_in_words(preset.fine_tuning[field])} from a base model"
    for model, own in preset.models.items():
        if field in own:
            words += f", and {value_in_words(own[field])} for {model}"
    return words
