import io
import json

import pandas as pd
import pytest

from colorgan.cli import main
from colorgan.data.dataset import Dataset
from colorgan.storage import Storage


def test_the_command_writes_a_table_the_photographs_and_the_most_flipped_pictures(
    scenes: Dataset, embedded: Storage, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = scenes.storage
    command = ["robustness", "--storage", storage.uri, "--dataset", "scenes"]
    options = ["--photographs", "3", "--epsilons", "4", "--steps", "1", "--examples", "1"]
    assert main([*command, *options, "--models", "embedded", "--against", "class"]) == 0
    printed = capsys.readouterr().out
    assert "label flips original" in printed and "attack minus noise" in printed
    summary = pd.read_csv(io.BytesIO(storage.get("reports/robustness/robustness.csv")))
    assert set(summary["model"]) == {"gray", "original", "embedded"}
    assert set(summary["against"]) == {"class"}
    everything = summary[summary["class"] == "all classes"]
    assert (everything["photographs"] == 3).all()
    frame = pd.read_csv(io.BytesIO(storage.get("reports/robustness/photographs.csv")))
    assert len(frame) == 3 * 3 * 3
    flips = frame[(frame["model"] == "embedded") & (frame["change"] == "colouring")]
    chosen = everything.set_index(["model", "change", "measure"])["mean"]
    share = chosen["embedded", "colouring", "label_flips_original"]
    assert share == pytest.approx(flips["label_flips_original"].mean())
    assert storage.get("reports/robustness/flipped.png").startswith(b"\x89PNG")


def test_the_command_prints_json_and_refuses_bad_options(
    scenes: Dataset, embedded: Storage, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["robustness", "--storage", scenes.storage.uri, "--dataset", "scenes"]
    command += ["--photographs", "3", "--steps", "1", "--examples", "1", "--models", "general"]
    assert main([*command, "--epsilons", "4", "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert {line["change"] for line in described} == {
        *("colouring", "noise", "attack", "attack minus noise")
    }
    for bad in (("--epsilons", "0"), ("--steps", "0"), ("--report", "../x")):
        assert main([*command, *bad]) == 2
    assert main([*command, "--models", "nobody"]) == 1
