import io
import json

import numpy as np
import pandas as pd
import pytest
import torch

from colorgan.cli import main
from colorgan.data.dataset import Dataset
from colorgan.evaluation.diversity import l1, measured, summarize
from colorgan.images import lab
from colorgan.storage import Storage


def test_the_measures_of_known_colours() -> None:
    gray = torch.full((3, 8, 8), 128, dtype=torch.uint8)  # a and b are 0
    unit = 1 / lab.AB_SCALE
    colors = torch.zeros(3, 2, 8, 8)
    colors[0] = 2 * unit
    colors[1] = 4 * unit  # all over the picture
    colors[2, :, :4] = -2 * unit  # and a half of it
    colors[2, :, 4:] = 6 * unit
    torch.testing.assert_close(l1(colors, gray), torch.tensor([2.0, 4.0, 4.0]), rtol=0, atol=1e-3)
    found = measured(colors, gray, np.random.default_rng(0))
    expected = {"gray": 0, "zero": 2, "mean": 10 / 3, "best": 2, "worst": 4, "spread": 10 / 3}
    expected |= {"middle": (4 / 3 + 4) / 2, "best_minus_zero": 0, "middle_minus_zero": 2 / 3}
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-2)
    # Squared: 2² all over; 4² in halves that cancel; 6² and 2², whose mean is 2.
    assert found["tint"] == pytest.approx((4 + 0 + 4) / (4 + 16 + 20), abs=1e-3)
    # The first variant counts among the tints.
    assert found["best_tint"] <= 2


def test_the_summary_compares_a_critic_with_chance() -> None:
    names = ["gray", "zero", "mean", "middle", "best", "worst", "best_tint", "spread"]
    names += ["best_minus_zero", "middle_minus_zero", "best_minus_best_tint", "tint"]
    lines = [
        dict.fromkeys(names, 1.0)
        | {"photo": str(n), "class": "a", "judge": 2.0, "judge_minus_chance": n - 1.0}
        for n in range(3)
    ]
    summary = summarize(pd.DataFrame(lines), ["judge"]).set_index("measure")
    assert summary.loc["judge_minus_chance", "mean"] == 0
    assert summary.loc["judge_minus_chance", "low"] < 0 < summary.loc["judge_minus_chance", "high"]
    assert summary.loc["judge", "mean"] == 2


def test_the_command_measures_a_model_with_noise(
    scenes: Dataset, embedded: Storage, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = scenes.storage
    where = ["--storage", storage.uri, "--dataset", "scenes"]
    command = ["variants", *where, "--photographs", "3", "--examples", "2"]
    assert main(command) == 2, "the model that comes with colorgan here has no noise"
    assert "has no noise" in capsys.readouterr().err
    options = "--start-from embedded --size 64 --width 8 --epochs 1 --batch-size 8 --noise-only "
    options += "--noise-channels 4 --lambda-diversity 50 --learning-rate 0.01 --average 0.5 "
    options += "--discriminator-width 4 --phases adversarial --keep-features off"
    assert main(["train", *where, "--model", "general", *options.split()]) == 0
    capsys.readouterr()
    assert main([*command, "--variants", "3", "--json"]) == 0
    described = {
        line["measure"]: line
        for line in json.loads(capsys.readouterr().out)
        if line["class"] == "all classes"
    }
    frame = pd.read_csv(io.BytesIO(storage.get("reports/variants/photographs.csv")))
    assert len(frame) == 3 and described["best"]["photographs"] == 3
    assert (frame["best"] <= frame["mean"]).all() and (frame["spread"] > 0).all()
    for critic in ("classifier", "discriminators"):
        assert frame[f"{critic}_choice"].isin([1, 2, 3]).all()
        difference = frame[critic] - frame["mean"]
        assert described[f"{critic}_minus_chance"]["mean"] == pytest.approx(difference.mean())
    assert storage.get("reports/variants/variants.png").startswith(b"\x89PNG")
    assert storage.exists("reports/variants/diversity.csv")
    assert main([*command, "--variants", "17"]) == 2
