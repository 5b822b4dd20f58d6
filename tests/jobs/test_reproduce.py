"""The whole reproduction at the scale `smoke`, on a real Ray; stopped once on the way."""

import io
import re
import signal

import pandas as pd
import pytest

from colorgan.data.dataset import Dataset
from colorgan.packages.card import find
from jobs.reproduction.plan import SCALES
from tests.conftest import Jobs

pytestmark = pytest.mark.slow

SECTIONS = (
    *("models", "time", "sizes", "batches", "epochs", "photographs"),
    *("router", "realizations", "failures"),
)


def test_every_question_is_answered_and_a_stopped_reproduction_goes_on(
    jobs: Jobs, scenes: Dataset
) -> None:
    storage = scenes.storage
    options = ("--storage", storage.uri, "--preset", "smoke", "--name", "r")
    jobs.environment["COLORGAN_WARM_COMMANDS"] = "1"  # its steps start warm as well

    running = jobs.start_script("reproduce", *options)
    running.wait_for(lambda: storage.exists("reproductions/r/steps/sizes.json"))
    running.process.send_signal(signal.SIGTERM)
    assert running.finish() == 130, running.output
    assert "run the same command with --name r to continue" in running.output

    running = jobs.start_script("reproduce", *options)
    assert running.finish() == 0, running.output
    assert "== sizes: done before" in running.output

    page = storage.get("reproductions/r/index.html").decode()
    assert re.findall(r'<section id="(\w+)">', page) == list(SECTIONS)
    assert "This is a smoke test" in page
    assert "http://" not in page.replace("http://www.w3.org", "")  # it asks for nothing else
    markdown = storage.get("reproductions/r/results.md").decode()
    for file in re.findall(r"\(((?:figures|tables)/.+)\)", markdown):
        assert storage.exists(f"reproductions/r/{file}")
    for word in ("assembled", "general", "hypercolumn", "best", "best-general"):
        assert f"| {word} |" in markdown or f" {word} " in markdown

    def table(name: str) -> pd.DataFrame:
        return pd.read_csv(io.BytesIO(storage.get(f"reproductions/r/tables/{name}.csv")))

    assert table("sizes")["value"].tolist() == list(SCALES["smoke"].sizes)
    assert table("batches")["value"].tolist() == list(SCALES["smoke"].batches)
    assert table("photographs")["value"].iloc[-1] == scenes.count(["animals"], "train")
    realized = table("realizations").iloc[0]
    assert realized["best"] <= realized["mean"] <= realized["worst"]
    assert realized["spread"] > 0
    confusion = table("confusion").drop(columns="class").to_numpy()
    assert confusion.sum() == scenes.count(scenes.manifest.classes, "test")

    # The table that is passed on has photographs' names without their folders.
    assert "scenes:" in storage.get("reproductions/r/data/failures.csv").decode()
    assert "scenes:" not in storage.get("reproductions/r/tables/failures.csv").decode()

    # The newest of each name is the preset's model; the rule of releases decides which one is used.
    newest = max(storage.folders("models/animals"))
    assert find(storage, f"animals@{newest}").kind == "encoder_unet"

    running = jobs.start_script("reproduce", *options, "--backbone", "vgg16")
    assert running.finish() == 2
    assert "started with another backbone" in running.output
