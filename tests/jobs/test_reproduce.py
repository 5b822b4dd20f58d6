"""The whole reproduction at the scale `smoke`, on a real Ray; stopped once on the way."""

import io
import re
import signal

import pandas as pd
import pytest

from colorgan.data.dataset import Dataset
from colorgan.packages.card import find
from jobs.reproduction.scales import SCALES
from tests.conftest import Jobs

pytestmark = pytest.mark.slow

SECTIONS = (
    *("models", "time", "sizes", "batches", "epochs", "photographs"),
    *("router", "realizations", "failures"),
    *("cic", "classifiers", "fcn", "diverse", "conditional", "objects", "robustness", "landscapes"),
)


def test_every_question_is_answered_and_a_stopped_reproduction_goes_on(
    jobs: Jobs, scenes: Dataset
) -> None:
    storage = scenes.storage
    options = ("--storage", storage.uri, "--preset", "smoke", "--name", "r")
    jobs.environment["COLORGAN_WARM_COMMANDS"] = "1"  # its steps start warm as well

    running = jobs.start_script("reproduce", *options)
    running.wait_for(lambda: storage.exists("runs/r-classes/run.json"))
    running.process.send_signal(signal.SIGTERM)
    assert running.finish() == 130, running.output
    assert "run the same command with --name r to continue" in running.output

    running = jobs.start_script("reproduce", *options)
    assert running.finish() == 0, running.output
    assert "== sizes: done before" in running.output
    assert "run r-classes (continuing)" in running.output

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

    # What else the report names: the numbers of the sections come from their steps' own files.
    assert set(table("cic")["model"]) >= {"gray", "hypercolumn", "cic", "general"}
    assert set(table("conditional-pairs")["first"]) >= {"conditional", "general-sn"}
    assert set(table("fcn")["against"]) == {"original", "masks"}
    assert "segmenter@" in storage.get("reproductions/r/data/seeing.json").decode()
    assert set(table("objects")["model"]) >= {"assembled", "objects"}
    assert {"best_minus_zero", "spread"} <= set(table("diverse")["measure"])
    assert table("classifiers")["photographs"].sum() > 0
    assert set(table("worn")["photographs"]) == {"clean", "worn"}
    assert "attack" in table("attacks")["change"].tolist()
    assert "The dataset scenes has no class landscapes" in page

    # Only the first job of each kind is one of its own; the figures of its report are used again.
    ways = (storage.exists(f"reports/r-{part}/index.html") for part in ("models", "trials"))
    assert [*ways] == [True, False]
    drawn = storage.get("reports/r-models/figures/means.svg")
    assert storage.get("reproductions/r/figures/means.svg") == drawn

    # The table that is passed on has photographs' names without their folders.
    assert "scenes:" in storage.get("reproductions/r/data/failures.csv").decode()
    assert "scenes:" not in storage.get("reproductions/r/tables/failures.csv").decode()

    # The newest of each name is the preset's model; the rule of releases decides which one is used.
    newest = max(storage.folders("models/animals"))
    assert find(storage, f"animals@{newest}").kind == "encoder_unet"

    running = jobs.start_script("reproduce", *options, "--backbone", "vgg16")
    assert running.finish() == 2
    assert "started with another backbone" in running.output
