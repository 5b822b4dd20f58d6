"""No configuration holds a value that cannot be used, wherever the value came from."""

import argparse
import dataclasses
import json
import math
import pickle
from typing import Any

import pytest
from pydantic import ValidationError

from cluster.job import add_training_options, training_options
from cluster.planning import TrainingOptions
from colorgan.data.fetching import FetchConfig
from colorgan.data.sources import SourceConfig
from colorgan.data.staging import StagingConfig
from colorgan.errors import ConfigError
from colorgan.inference.router import RouterConfig
from colorgan.models.architectures import (
    EncoderUNetConfig,
    GeneratorConfig,
    HeadConfig,
    HypercolumnConfig,
)
from colorgan.options import add_options, check_value, choices_of, parse
from colorgan.training.config import SpeedConfig, TrainingConfig, stored_config
from colorgan.training.presets import PRESETS, preset_values
from colorgan.training.router_head import HeadTrainingConfig
from jobs import sweep, train_all
from serve.config import Limits, ServeConfig

NAN, INFINITY = math.nan, math.inf
CONFIGURATIONS = (
    *(TrainingConfig, SpeedConfig, RouterConfig, HeadTrainingConfig, GeneratorConfig),
    *(StagingConfig, FetchConfig, SourceConfig),
)


@pytest.mark.parametrize(
    ("config", "field", "value", "sentence"),
    [
        (TrainingConfig, "color_space", "foo", "--color-space foo: choose from lab, rgb"),
        (TrainingConfig, "generator", "encoder-unet", "--generator encoder-unet: choose from unet"),
        (TrainingConfig, "norm", "bar", "--norm bar: choose from batch, instance"),
        (TrainingConfig, "encoder", "alexnet", "--encoder alexnet: choose from vgg16"),
        (TrainingConfig, "lambda_l1", NAN, "--lambda-l1 must be a finite number, not nan"),
        (TrainingConfig, "lambda_l1", INFINITY, "--lambda-l1 must be a finite number, not inf"),
        (TrainingConfig, "lambda_l1", "100", "--lambda-l1 must be a number, not '100'"),
        (TrainingConfig, "lambda_l1", True, "--lambda-l1 must be a number, not True"),
        (TrainingConfig, "lambda_perceptual", -1.0, "--lambda-perceptual must be at least 0"),
        (TrainingConfig, "epochs", 1.5, "--epochs must be a whole number, not 1.5"),
        (TrainingConfig, "epochs", True, "--epochs must be a whole number, not True"),
        (TrainingConfig, "epochs", "3", "--epochs must be a whole number, not '3'"),
        (TrainingConfig, "epochs", -3, "--epochs must be at least 1, not -3"),
        (TrainingConfig, "beta1", 1.0, "--beta1 must be at least 0 and less than 1, not 1.0"),
        (TrainingConfig, "start_from", None, "--start-from must be text, not None"),
        (SpeedConfig, "precision", "float16", "--precision float16: choose from auto, float32"),
        (SpeedConfig, "compile", True, "--compile True: choose from auto, on, off"),
        (SpeedConfig, "photo_memory_gib", INFINITY, "--photo-memory-gib must be a finite"),
        (RouterConfig, "router", "foo", "--router foo: choose from auto, labels, head"),
        (RouterConfig, "unsure_below", NAN, "--unsure-below must be a finite number, not nan"),
        (RouterConfig, "classifier", 16, "--classifier must be text, not 16"),
        (HeadTrainingConfig, "steps", 0, "--steps must be at least 1, not 0"),
        (HeadTrainingConfig, "penalties", "1e-3,nan", "--penalties 1e-3,nan are not numbers"),
        (StagingConfig, "size", 286.5, "--size must be a whole number, not 286.5"),
        (StagingConfig, "val_share", NAN, "--val-share must be a finite number, not nan"),
        (StagingConfig, "near_duplicate_bits", -2, "--near-duplicate-bits must be at least -1"),
        (FetchConfig, "timeout_s", INFINITY, "--timeout-s must be a finite number, not inf"),
        (FetchConfig, "timeout_s", 0.0, "--timeout-s must be more than 0, not 0.0"),
        (FetchConfig, "allow_private", "no", "--allow-private must be true or false, not 'no'"),
        (SourceConfig, "max_others", 1.5, "--max-others must be at least 0 and at most 1"),
        (SourceConfig, "per_class", "many", "--per-class must be a whole number, not 'many'"),
    ],
)
def test_a_value_that_cannot_be_used_is_a_sentence_that_names_the_option(
    config: Any, field: str, value: Any, sentence: str
) -> None:
    with pytest.raises(ConfigError) as error:
        config(**{field: value})
    assert str(error.value).startswith(sentence) and "\n" not in str(error.value)
    with pytest.raises(ConfigError):
        dataclasses.replace(config(), **{field: value})


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: EncoderUNetConfig(224, 0, "lab", "batch", "vgg16"), "width must be at least 1"),
        (lambda: EncoderUNetConfig(224, 8, "lab", "bar", "vgg16"), "norm bar: choose from batch"),
        (lambda: HypercolumnConfig(224, 8, "alexnet"), "backbone alexnet: choose from vgg16"),
        (lambda: HeadConfig("vgg16", "", 8, ("a", "b"), NAN), "temperature must be a finite"),
    ],
)
def test_an_architecture_that_cannot_be_built_is_a_sentence(build: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        build()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("threads", "2"),
        ("threads", True),
        ("device", "tpu"),
        ("models", [3]),
        ("limits", {"timeout_s": INFINITY}),
        ("router", {"router": "foo"}),
        ("router", {"rooter": "labels"}),
    ],
)
def test_what_serves_takes_no_value_that_cannot_be_used(field: str, value: Any) -> None:
    with pytest.raises(ValidationError):
        ServeConfig(**{field: value})


def test_a_file_of_the_service_is_read_as_yaml_writes_it() -> None:
    config = ServeConfig(
        models=["animals@1"],  # type: ignore[arg-type]
        router={"router": "head", "unsure_below": 1},  # type: ignore[arg-type]
        limits={"timeout_s": 60},  # type: ignore[arg-type]
    )
    assert config.models == ("animals@1",)
    assert config.router == RouterConfig("head", unsure_below=1.0)
    assert config.limits == Limits(timeout_s=60.0)
    assert ServeConfig(**config.model_dump()) == config


@pytest.mark.parametrize("config", CONFIGURATIONS)
def test_choices_stand_once_and_the_command_line_has_them(config: Any) -> None:
    parser = argparse.ArgumentParser()
    add_options(parser, config)
    shown = {action.dest: action for action in parser._actions}
    for field in dataclasses.fields(config):
        assert tuple(shown[field.name].choices or ()) == choices_of(config, field.name)
    assert parse(config, parser.parse_args([])) == config()


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--gpus-per-model=nan", "--gpus-per-model must be a finite number, not nan"),
        ("--gpus-per-model=inf", "--gpus-per-model must be a finite number, not inf"),
        ("--gpus-per-model=0", "--gpus-per-model must be more than 0, not 0"),
        ("--gpus-per-model=-1", "--gpus-per-model must be more than 0, not -1"),
        ("--gpus-per-model=1.5", "1.5: above 1 a model gets whole GPUs, as 1 or 2"),
        ("--gpus-per-model=2.5", "2.5: above 1 a model gets whole GPUs, as 2 or 3"),
        ("--gpus-per-model=0.00001", "1e-05: the smallest share of a GPU is 0.0001"),
        ("--workers-per-model=0", "each model needs at least 1 worker, not 0"),
        ("--workers-per-model=0-2", "each model needs at least 1 worker, not 0"),
        ("--workers-per-model=4-2", "4-2 workers: the greatest number is below the smallest"),
        ("--resize-every=0.5", "--resize-every must be at least 1, not 0.5"),
        ("--resize-every=nan", "--resize-every must be at least 1, not nan"),
        ("--max-parallel=0", "--max-parallel must be at least 1, not 0"),
        ("--photo-memory-gib=-1", "--photo-memory-gib must be at least 0, not -1.0"),
        ("--photo-memory-gib=nan", "--photo-memory-gib must be a finite number, not nan"),
        ("--gpu-photo-share=inf", "--gpu-photo-share must be a finite number, not inf"),
    ],
)
def test_what_no_cluster_can_give_is_refused_in_words_before_one_is_asked(
    option: str, words: str
) -> None:
    parser = argparse.ArgumentParser()
    add_training_options(parser, "models")
    add_options(parser, SpeedConfig)
    with pytest.raises(ConfigError) as error:
        training_options(parser.parse_args([option]))
    assert words in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "numbers"), [("2", (2, 2)), ("1-4", (1, 4)), ("3-3", (3, 3)), (None, (None, None))]
)
def test_the_workers_of_a_model_are_a_number_or_a_range(
    given: str | None, numbers: tuple[int | None, int | None]
) -> None:
    parser = argparse.ArgumentParser()
    add_training_options(parser, "models")
    add_options(parser, SpeedConfig)
    options = training_options(
        parser.parse_args([] if given is None else [f"--workers-per-model={given}"])
    )
    assert (options.workers, options.most_workers) == numbers


@pytest.mark.parametrize(
    ("trainings", "option", "words"),
    [
        ("models", "--workers-per-model=some", "a smallest and a greatest one as 1-4, not 'some'"),
        ("models", "--workers-per-model=-2", "a smallest and a greatest one as 1-4, not '-2'"),
        ("models", "--workers-per-model=1-2-3", "a smallest and a greatest one as 1-4"),
        ("trials", "--workers-per-trial=1-4", "does not change while a trial trains"),
    ],
)
def test_what_is_no_number_of_workers_is_refused(
    trainings: str, option: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    add_training_options(parser, trainings)
    with pytest.raises(SystemExit):
        parser.parse_args([option])
    assert words in capsys.readouterr().err


def test_more_workers_than_photographs_in_a_step_are_refused() -> None:
    options = TrainingOptions("auto", None, None, 3, 5, SpeedConfig(), 1, 3)
    options.check_steps({"animals": 3})
    with pytest.raises(ConfigError, match=r"1-3 workers a model: a step of people has 2 photo"):
        options.check_steps({"animals": 3, "people": 2})


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--epochs=1.5", "argument --epochs: must be a whole number, not '1.5'"),
        ("--epochs=nan", "argument --epochs: must be a whole number, not 'nan'"),
        ("--lambda-l1=much", "argument --lambda-l1: must be a number, not 'much'"),
    ],
)
def test_a_text_that_is_no_number_is_refused_in_words(
    option: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    add_options(parser, TrainingConfig)
    with pytest.raises(SystemExit):
        parser.parse_args([option])
    assert capsys.readouterr().err.rstrip().endswith(words)


def test_the_help_shows_what_each_preset_sets() -> None:
    assert preset_values("size") == "best: 224, and 256 for cic; report: 256; small: 128"
    assert preset_values("beta1") == "default: 0.5, and 0.9 for cic"
    assert preset_values("perceptual") == ""
    assert preset_values("start_from") == "best: general, report and small: none"
    assert (
        preset_values("epochs") == "best: 19, or 3 from a base model; report: 120 to 350; small: 14"
    )
    assert preset_values("epochs", {"small": {"epochs": 12}}).endswith("small: 12")
    for command in (train_all, sweep):
        helped = " ".join(command.make_parser().format_help().split())
        sizes = "(best: 224, and 256 for cic; report: 256; small: 128)"
        assert f"for encoder_unet {sizes} --width" in helped
    fields = {field.name for field in dataclasses.fields(TrainingConfig)}
    assert all(set(preset.fine_tuning) <= fields for preset in PRESETS.values())


@pytest.mark.parametrize("config", [each.training for each in PRESETS.values()])
def test_a_configuration_survives_json_and_pickling(config: TrainingConfig) -> None:
    assert pickle.loads(pickle.dumps(config)) == config
    assert TrainingConfig(**json.loads(json.dumps(dataclasses.asdict(config)))) == config


def test_a_whole_number_serves_where_a_number_is_wanted() -> None:
    config = TrainingConfig(lambda_l1=3)
    assert (config.lambda_l1, type(config.lambda_l1)) == (3.0, float)


def test_a_document_of_an_earlier_version_is_read() -> None:
    # `liven` was an option once; `average` was not one yet.
    earlier = {"size": 128, "liven": 0.5, "lambda_l1": 100}
    assert stored_config(earlier) == TrainingConfig(size=128)


def test_one_value_is_checked_without_the_others() -> None:
    assert check_value(TrainingConfig, "size", 96) == 96  # of encoder_unet alone
    assert check_value(TrainingConfig, "lambda_l1", 3) == 3.0
    with pytest.raises(ConfigError, match="--generator encoder-unet: choose from unet"):
        check_value(TrainingConfig, "generator", "encoder-unet")
