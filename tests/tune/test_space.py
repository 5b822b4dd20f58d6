from dataclasses import replace
from pathlib import Path

import pytest

from colorgan.errors import ConfigError
from colorgan.training.config import TrainingConfig
from tune.space import SWEEP_PRESETS, read_space

CONFIG = TrainingConfig()
SPACE = """
batch_size: [1, 5]
learning_rate: {loguniform: [1.0e-5, 1.0e-3]}
color_space: {choice: [lab, rgb]}
epochs: {randint: [50, 351]}
"""


def test_a_grid_is_every_combination_in_order() -> None:
    trials = read_space(["batch-size=1,5,10", "size=128,256"], None).trials(1, CONFIG)
    assert [trial.name for trial in trials] == ["01", "02", "03", "04", "05", "06"]
    assert [tuple(trial.values.values()) for trial in trials] == [
        (batch, size) for batch in (1, 5, 10) for size in (128, 256)
    ]


def test_an_option_without_a_value_is_true_or_false_in_a_grid_and_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text("spectral_norm: [false, true]")
    for space in (read_space(["spectral-norm=false,true"], None), read_space([], file)):
        trials = space.trials(1, CONFIG)
        assert [trial.values for trial in trials] == [
            {"spectral_norm": False},
            {"spectral_norm": True},
        ]
    with pytest.raises(ConfigError, match="spectral_norm: 'on' is not of type bool"):
        read_space(["spectral-norm=on"], None)


def test_trials_that_are_listed_change_only_what_they_say(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text("""
trials:
  - {}
  - {discriminators: "features:6", epochs: 3}
  - {chroma: 1.2}
""")
    training = replace(CONFIG, discriminators="patches:2", epochs=5)
    space = read_space(["batch-size=1,5"], file)
    assert space.varied == {"discriminators", "epochs", "chroma", "batch_size"}
    trials = space.trials(1, training)
    names = ("discriminators", "epochs", "chroma", "batch_size")
    assert [trial.values for trial in trials] == [
        dict(zip(names, (*values, batch), strict=True))
        for values in (("patches:2", 5, 1.0), ("features:6", 3, 1.0), ("patches:2", 5, 1.2))
        for batch in (1, 5)
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trials: 3", "write trials as lines"),
        ("trials: [chroma]", "write trials as lines"),
        ("trials: [{colour: 1}]", "'colour' is none of"),
        ("trials: [{chroma: much}]", "chroma: 'much' is not of type float"),
        ("trials: [{chroma: 1.2}, {chroma: 1.2}]", "a trial is listed twice"),
        ("trials: [{epochs: 2}]\nepochs: [3, 4]", "epochs: a trial of .* set it"),
    ],
)
def test_listed_trials_that_cannot_be_used_are_named(
    tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_space([], file)


def test_a_space_is_drawn_from_and_a_seed_draws_the_same(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(SPACE)
    trials = read_space([], file).trials(8, replace(CONFIG, seed=3))
    assert len(trials) == 16
    assert trials == read_space([], file).trials(8, replace(CONFIG, seed=3))
    assert trials != read_space([], file).trials(8, replace(CONFIG, seed=4))
    rates = {trial.values["learning_rate"] for trial in trials}
    assert len(rates) == 16 and all(1e-5 <= rate <= 1e-3 for rate in rates)
    assert sum(rate < 1e-4 for rate in rates) > 3, "even on a logarithmic scale"
    assert {trial.values["color_space"] for trial in trials} == {"lab", "rgb"}
    assert all(50 <= trial.values["epochs"] < 351 for trial in trials)
    for trial in trials:
        TrainingConfig(**trial.values)


def test_population_based_training_may_change_what_leaves_the_networks_alone(
    tmp_path: Path,
) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(SPACE)
    changing = read_space([], file).mutations(3)
    assert changing["batch_size"] == [1, 5]
    assert 1e-5 <= changing["learning_rate"]() <= 1e-3
    assert changing.keys() == {"batch_size", "learning_rate"}
    again = read_space([], file).mutations(3)
    draws = [[each["learning_rate"]() for _ in range(5)] for each in (changing, again)]
    assert draws[0] != draws[1], "one draw of the first went before"
    assert draws[0][:4] == draws[1][1:]
    with pytest.raises(ConfigError, match="varies none of them"):
        read_space(["size=128,256"], None).mutations(3)


def test_population_based_training_leaves_a_value_that_cannot_grow_as_it_was() -> None:
    changed = {"name": "01", "beta1": 0.9 * 1.2, "lambda_l1": 120.0, "batch_size": 6}
    kept = read_space(["beta1=0.5,0.9"], None).valid(changed)
    assert kept == {**changed, "beta1": pytest.approx(0.9)}


def test_the_presets_are_grids_of_options() -> None:
    for preset in SWEEP_PRESETS.values():
        for name, values in preset.grid.items():
            for value in values:
                TrainingConfig(**{**preset.training, name: value})


@pytest.mark.parametrize(
    ("grid", "file", "message"),
    [
        (["batch_size"], None, "write it as NAME=VALUE,VALUE"),
        (["batch_size=one"], None, "batch_size: 'one' is not of type int"),
        (["batch_size=1,1"], None, "is listed twice"),
        (["generator=unet,encoder-unet"], None, "--generator encoder-unet: choose from unet, enc"),
        (["color_space=lab,foo"], None, "--color-space foo: choose from lab, rgb"),
        (["lambda_l1=100,nan"], None, "--lambda-l1 must be a finite number, not nan"),
        (["batch_size=0,1"], None, "--batch-size must be at least 1, not 0"),
        ([], "norm: [batch, bar]", "--norm bar: choose from batch, instance"),
        ([], "color_space: {choice: [lab, foo]}", "--color-space foo: choose from lab, rgb"),
        ([], "lambda_l1: {uniform: [-9, -1]}", "--lambda-l1 must be at least 0"),
        (["colour=red"], None, "'colour' is none of"),
        ([], "x: [1", "is not valid YAML"),
        ([], "[1, 2]", "write a line"),
        ([], "colour: [1]", "'colour' is none of"),
        ([], "batch_size: {normal: [1, 2]}", "is neither a list of values nor one of"),
        ([], "batch_size: {uniform: [1, 2]}", r"batch_size: '1\.\d+' is not of type int"),
        ([], "learning_rate: {loguniform: [1.0e-5]}", "is neither a list"),
        ([], "learning_rate: 3", "is neither a list"),
    ],
)
def test_what_cannot_be_swept_is_one_sentence(
    grid: list[str], file: str | None, message: str, tmp_path: Path
) -> None:
    path = None
    if file is not None:
        path = tmp_path / "space.yaml"
        path.write_text(file)
    with pytest.raises(ConfigError, match=message) as error:
        read_space(grid, path)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_space([], tmp_path / "nowhere.yaml")


def test_samples_need_something_to_draw_from() -> None:
    with pytest.raises(ConfigError, match="nothing to draw from"):
        read_space(["batch_size=1,5"], None).trials(2, CONFIG)
    with pytest.raises(ConfigError, match="nothing to sweep"):
        read_space([], None).trials(1, CONFIG)
