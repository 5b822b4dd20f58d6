"""The evaluation on a real Ray."""

import html
import signal
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from colorgan.data.dataset import Dataset
from colorgan.evaluation.evaluate import BLOCK
from colorgan.evaluation.results import METRICS, open_report
from colorgan.models import EMBEDDED
from colorgan.models.architectures import HypercolumnConfig
from colorgan.models.hypercolumn import HypercolumnNetwork
from colorgan.names import HYPERCOLUMN
from colorgan.packages.weights import Trained, publish
from colorgan.survey import create_survey, new_participant, record_answer
from jobs import evaluate
from tests.conftest import Jobs
from tests.evaluation.test_segmentation import publish_segmenter
from tests.serve.conftest import publish_untrained


@pytest.fixture
def compared(scenes: Dataset) -> Dataset:
    """Scenes beside untrained models of everything that can be compared."""
    for seed, model in enumerate((*scenes.manifest.classes, "general")):
        publish_untrained(scenes.storage, model, seed)
    torch.manual_seed(0)
    network = HypercolumnNetwork(HypercolumnConfig(64, 4, EMBEDDED))
    trained = Trained(network, scenes.manifest.classes, {}, {}, 1.0, "cpu")
    publish(scenes.storage, HYPERCOLUMN, scenes, trained)
    return scenes


@pytest.mark.slow
def test_an_interrupted_evaluation_goes_on_and_ends_in_a_report(
    jobs: Jobs, compared: Dataset, tmp_path: Path
) -> None:
    storage = compared.storage
    publish_segmenter(storage)
    options = ("--storage", storage.uri, "--report", "r", "--split", "train")
    options += ("--segmenter", "trained")
    job = jobs.start_script("evaluate", *options)
    parts = Path(storage.uri) / "reports/r/parts"
    job.wait_for(lambda: list(parts.glob("*.parquet")))
    job.process.send_signal(
        signal.SIGTERM
    )  # as `ray job stop`; in the background SIGINT is ignored
    assert job.finish() == 130, job.output
    assert "run the same command with --report r to continue" in job.output
    written = {path: path.stat().st_mtime_ns for path in parts.glob("*.parquet")}

    job = jobs.start_script("evaluate", *options)
    assert job.finish() == 0, job.output
    assert {path: path.stat().st_mtime_ns for path in written} == written
    count = compared.count(compared.manifest.classes, "train")
    assert len(list(parts.glob("*.parquet"))) == -(-count // BLOCK)
    report = open_report(storage, "r")
    results = report.results()
    names = ["gray", "original", "assembled", "general", "hypercolumn"]
    assert Counter(results["model"]) == dict.fromkeys(names, count)
    assert asdict(report.evaluation.contestants[-1])["note"] == f"on {EMBEDDED}"

    survey = create_survey(report, 3)
    record_answer(storage, survey, new_participant(), 1, "general")
    assert evaluate.main(options) == 0  # all is measured: the report alone is written again
    text = html.unescape((Path(storage.uri) / "reports/r/index.html").read_text())
    for name in names:
        assert name in text
    assert {"fcn_accuracy", "mask_iou"} <= set(results.columns)
    for metric in set(results.columns) & set(METRICS):
        assert METRICS[metric].title in text
    assert "LPIPS needs torchvision's AlexNet weights" in text
    assert f"Survey {survey.name}, 1 participant:" in text
    assert any("/figures/votes-survey-" in key for key in storage.list("reports/r/figures"))


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--photographs", "-1"], 2, "--photographs must be at least 0"),
        (["--dataset", "moon"], 1, "moon"),
        (["--models", "dogs"], 1, "no model 'dogs'"),
        (["--router", "labels", "--unsure-below", "2"], 2, "is not a probability"),
        (["--segmenter", "unet"], 2, "no segmenter 'unet': choose trained"),
        (["--masks", "folder"], 2, "--masks needs --segmenter NAME"),
    ],
)
def test_what_cannot_be_used_is_one_sentence_before_ray_is_started(
    options: list[str],
    status: int,
    message: str,
    scenes: Dataset,
    capsys: pytest.CaptureFixture[str],
) -> None:
    publish_untrained(scenes.storage, "general")
    assert evaluate.main(["--storage", scenes.storage.uri, *options]) == status
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ") and error.count("\n") == 1
