"""The steps of a reproduction: commands in this process, and jobs whose work is done in it."""

import pytest

from colorgan.data.dataset import Dataset
from colorgan.data.scenes.hybrids import SMALLEST
from colorgan.errors import ColorganError
from colorgan.evaluation.diversity import DiversityConfig
from colorgan.evaluation.hybrids import HybridConfig
from colorgan.evaluation.robustness import RobustnessConfig
from colorgan.packages.card import find
from colorgan.training.detector import DetectorTrainingConfig
from colorgan.training.presets import find_preset
from colorgan.training.segmenter import SegmenterTrainingConfig
from jobs.reproduction.further import further_trainings, is_drawn
from jobs.reproduction.here import train_all_here
from jobs.reproduction.plan import COMMAND, Step, new_reproduction, read_record
from jobs.reproduction.runner import JobOptions, StepRunner
from jobs.reproduction.scales import HEAD, SCALES, WORN_HEAD
from tests.conftest import SMALL, summary

OPTIONS = JobOptions("cpu", 0, None)


def test_a_command_that_fails_is_a_fault_and_its_step_is_not_done(
    scenes: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    reproduction = new_reproduction("r", "", "smoke", scenes, "", {})
    step = Step("x", COMMAND, ("evaluate-router", "--dataset=nothing"))
    assert step.command == "colorgan evaluate-router --dataset=nothing"
    with (
        StepRunner(scenes.storage, reproduction, OPTIONS, None) as runner,
        pytest.raises(ColorganError, match="colorgan evaluate-router failed; its output above"),
    ):
        runner.run(step)
    assert "no dataset 'nothing'" in capsys.readouterr().err
    assert read_record(scenes.storage, reproduction, "x") is None


def test_a_training_done_here_is_not_done_twice(scenes: Dataset) -> None:
    storage = scenes.storage
    run = ["--storage", storage.uri, "--dataset", "scenes", "--run", "r", *SMALL]
    run += ["--epochs", "1", "--tag", "trial", "--models", "general"]
    train_all_here(run)
    package = summary(storage, "r")["models"][0]["package"]
    train_all_here(run)
    assert summary(storage, "r")["models"][0]["package"] == package
    assert find(storage, package).tag == "trial"


def test_the_arms_differ_from_general_by_their_options_alone(scenes: Dataset) -> None:
    reproduction = new_reproduction("r", "", "cpu", scenes, "", {})
    assert is_drawn(scenes)
    steps = {step.name: step for step in further_trainings(reproduction, "general@1")}
    plain, own = ({*steps[name].options} for name in ("conditional", "conditional-sn"))
    assert own - plain == {"--spectral-norm", "--tag=conditional-sn", "--run=r-conditional-sn"}
    assert "--discriminators=projection" in plain & own
    assert steps["conditional"].options[-2:] == ("--models", "general")
    assert "--start-from=general@1" in steps["best-conditional"].options
    assert {"--size=64", "--width=16", "--channels-last=on"} <= {*steps["cic"].options}


@pytest.mark.parametrize("name", SCALES)
def test_every_scale_has_options_that_its_commands_take(name: str) -> None:
    scale = SCALES[name]
    SegmenterTrainingConfig(**scale.segmenter)
    DetectorTrainingConfig(**scale.detector)
    RobustnessConfig(**scale.robustness)
    DiversityConfig(**scale.variants)
    HybridConfig(**scale.hybrids)
    assert {*scale.heads} <= {HEAD, WORN_HEAD}
    assert scale.masks["size"] >= SMALLEST
    preset = find_preset(scale.preset)
    speed = {"channels_last"}  # not a hyper-parameter
    assert preset.config("cic", {k: v for k, v in scale.cic.items() if k not in speed})
