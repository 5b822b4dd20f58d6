from pathlib import Path

import pytest

from colorgan.errors import ConfigError
from colorgan.hyperparameters import TrainingConfig
from tune.space import PRESETS, read_space

SPACE = """
batch_size: [1, 5]
learning_rate: {loguniform: [1.0e-5, 1.0e-3]}
color_space: {choice: [lab, rgb]}
epochs: {randint: [50, 351]}
"""


def test_a_grid_is_every_combination_in_order() -> None:
    trials = read_space(["batch-size=1,5,10", "size=128,256"], None).trials(1, 0)
    assert [trial.name for trial in trials] == ["01", "02", "03", "04", "05", "06"]
    assert [tuple(trial.values.values()) for trial in trials] == [
        (batch, size) for batch in (1, 5, 10) for size in (128, 256)
    ]


def test_a_space_is_drawn_from_and_a_seed_draws_the_same(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(SPACE)
    trials = read_space([], file).trials(8, 3)
    assert len(trials) == 16
    assert trials == read_space([], file).trials(8, 3)
    assert trials != read_space([], file).trials(8, 4)
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
    changing = read_space([], file).mutations()
    assert changing["batch_size"] == [1, 5]
    assert 1e-5 <= changing["learning_rate"]() <= 1e-3
    assert changing.keys() == {"batch_size", "learning_rate"}
    with pytest.raises(ConfigError, match="varies none of them"):
        read_space(["size=128,256"], None).mutations()


def test_the_presets_are_grids_of_options() -> None:
    for preset in PRESETS.values():
        for name, values in preset.grid.items():
            for value in values:
                TrainingConfig(**{**preset.training, name: value})


@pytest.mark.parametrize(
    ("grid", "file", "message"),
    [
        (["batch_size"], None, "write it as NAME=VALUE,VALUE"),
        (["batch_size=one"], None, "batch_size: 'one' is no int"),
        (["batch_size=1,1"], None, "stands there twice"),
        (["colour=red"], None, "'colour' is none of"),
        ([], "x: [1", "is no YAML"),
        ([], "[1, 2]", "write a line"),
        ([], "colour: [1]", "'colour' is none of"),
        ([], "batch_size: {normal: [1, 2]}", "is neither a list of values nor one of"),
        ([], "batch_size: {uniform: [1, 2]}", r"batch_size: '1\.\d+' is no int"),
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
        read_space(["batch_size=1,5"], None).trials(2, 0)
    with pytest.raises(ConfigError, match="nothing to sweep"):
        read_space([], None).trials(1, 0)
