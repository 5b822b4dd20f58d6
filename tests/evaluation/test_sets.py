import math

import numpy as np
import pandas as pd
import pytest

from colorgan.evaluation.sets import FEATURES, MEANINGS, describe_sets
from colorgan.evaluation.statistics import ALL_CLASSES
from colorgan.metrics import frechet_distance

CHOSEN = {"original": 0.0, "gray": 2.0, "assembled": 0.4, "general": 1.0}


def parts(animals: int = 24, people: int = 8, width: int = 30) -> pd.DataFrame:
    """Made-up features and colourfulness, each contestant's moved away from the original's."""
    generator = np.random.default_rng(0)
    rows = []
    for number in range(animals + people):
        base = generator.normal(0, 1, width)
        for model, far in CHOSEN.items():
            seen = base + far * generator.normal(1, 0.5, width)
            rows.append(
                {
                    "photo": f"photo-{number}",
                    "class": "animals" if number < animals else "people",
                    "model": model,
                    "colorfulness": {"gray": 0.0, "original": 40.0}.get(model, 20.0) + number % 3,
                    "judge_features": seen.astype(np.float16),
                    "judge_hue_features": (
                        None
                        if model in ("gray", "original")
                        else (base + 0.1 * (seen - base)).astype(np.float16)
                    ),
                }
            )
    return pd.DataFrame(rows)


def test_sets_have_distances_and_ratios_with_intervals_in_all_and_by_class() -> None:
    table = parts()
    sets = describe_sets(table).set_index(["class", "model"])
    assert list(sets.index) == [
        (group, model)
        for group in (ALL_CLASSES, "animals", "people")
        for model in ("gray", "assembled", "general")
    ]
    whole = sets.loc[(ALL_CLASSES, "general")]
    by_model = {
        model: np.stack(list(each["judge_features"])).astype(np.float32)
        for model, each in table.groupby("model")
    }
    expected = frechet_distance(by_model["general"], by_model["original"])
    assert whole["n"] == 32 and whole["distance"] == pytest.approx(expected)
    for name in ("distance", "hue_distance", "colorfulness_ratio"):
        assert whole[f"{name}_low"] < whole[name] < whole[f"{name}_high"]
    assert whole["hue_distance"] < whole["distance"] / 2
    assert sets.loc[(ALL_CLASSES, "assembled"), "distance"] < whole["distance"]
    colors = table.groupby("model")["colorfulness"].mean()
    assert whole["colorfulness_ratio"] == pytest.approx(colors["general"] / colors["original"])

    assert sets.loc[("people", "general"), "n"] == 8
    assert math.isnan(sets.loc[("people", "general"), "distance"]), "of eight there is none"
    assert sets.loc[("people", "general"), "colorfulness_ratio"] > 0
    assert sets.loc[("animals", "general"), "distance"] > 0
    assert math.isnan(sets.loc[(ALL_CLASSES, "gray"), "hue_distance"]), "gray has no hue"
    assert describe_sets(table).equals(describe_sets(table))


def test_a_contestant_is_compared_on_the_photographs_that_it_has() -> None:
    table = parts()
    missing = (table["model"] == "general") & table["photo"].isin(["photo-0", "photo-1"])
    sets = describe_sets(table[~missing])
    sets = sets[sets["class"] == ALL_CLASSES].set_index("model")
    assert sets["n"].to_dict() == {"gray": 32, "assembled": 32, "general": 30}
    kept = table[~table["photo"].isin(["photo-0", "photo-1"])]
    alone = describe_sets(kept[kept["model"].isin(["original", "general"])])
    assert sets.loc["general", "distance"] == pytest.approx(alone["distance"][0])
    assert sets.loc["general", "colorfulness_ratio"] == alone["colorfulness_ratio"][0]


def test_parts_without_features_or_originals_or_colours_have_what_there_is() -> None:
    old = describe_sets(parts().drop(columns=[*FEATURES.values()]))
    assert old["distance"].isna().all() and old["colorfulness_ratio"].notna().all()
    gray = parts().assign(colorfulness=0.0)
    assert describe_sets(gray)["colorfulness_ratio"].isna().all()
    (one,) = describe_sets(parts(1, 0)).query("model == 'general'").to_dict("records")
    assert one["n"] == 1 and one["colorfulness_ratio"] == 0.5
    assert all(math.isnan(one[f"{name}_low"]) for name in MEANINGS)
    alone = parts()
    assert (describe_sets(alone[alone["model"] != "original"])["n"] == 0).all()
