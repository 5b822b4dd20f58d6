import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pytest

from colorgan.evaluation.statistics import (
    ALL_CLASSES,
    analyze,
    best_counts,
    bootstrap_mean,
    compare,
    describe,
    holm,
    judge,
    metrics_of,
    signed_rank,
)


def table(
    values: Mapping[str, Sequence[float]],
    metric: str = "semantic",
    classes: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Results of one metric: by contestant, a value a photograph."""
    count = len(next(iter(values.values())))
    return pd.DataFrame(
        {
            "photo": f"photo-{number}",
            "source": f"{number}.jpg",
            "class": classes[number] if classes else "animals",
            "model": model,
            "sent_to": "",
            metric: value,
        }
        for number in range(count)
        for model, value in ((name, each[number]) for name, each in values.items())
    )


def noise(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.4, 0.1, count)


def test_the_interval_of_a_mean_holds_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    estimates = [bootstrap_mean(generator.normal(3, 2, 50), seed=n) for n in range(200)]
    held = sum(each.low <= 3 <= each.high for each in estimates)
    assert 180 <= held <= 199
    half = np.mean([each.high - each.low for each in estimates]) / 2
    assert half == pytest.approx(1.96 * 2 / math.sqrt(50), rel=0.08)


def test_the_bootstrap_draws_the_same_every_time_in_chunks_and_leaves_out_what_is_not_finite(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = [1.0, 2.0, 4.0, 8.0]
    estimate = bootstrap_mean(values)
    assert estimate.mean == 3.75 and estimate.low < 3.75 < estimate.high
    assert bootstrap_mean([*values, math.nan, math.inf]) == estimate
    monkeypatch.setattr("colorgan.evaluation.statistics.CHUNK", 12)
    assert bootstrap_mean(values) == estimate


def test_one_value_has_a_mean_but_no_interval_and_none_has_neither() -> None:
    one, nothing = bootstrap_mean([5.0]), bootstrap_mean([math.nan])
    assert one.mean == 5 and math.isnan(one.low) and math.isnan(one.high)
    assert math.isnan(nothing.mean)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.4]) == [0.8, 0.8]
    assert holm([]) == []


def test_signed_rank_by_hand() -> None:
    # All of six differ to one side: two of the 64 sign patterns are as extreme.
    p, rank = signed_rank(np.array([1.0, 2, 3, 4, 5, 6, 0, 0]))
    assert p == pytest.approx(2 / 64) and rank == 21
    assert signed_rank(np.zeros(9)) == (1.0, 0.0)
    assert signed_rank(np.array([])) == (1.0, 0.0)


def test_best_counts_split_ties_and_know_which_way_is_best() -> None:
    values = {
        "gray": [9.0, 9, 9, 9],
        "assembled": [3.0, 2, 1, 5],
        "general": [1.0, 2, 2, 5],
        "hypercolumn": [1.0, 3, 3, 5],
    }
    third = 1 / 3
    assert best_counts(table(values), "semantic") == pytest.approx(
        {"assembled": 1 + third, "general": third, "hypercolumn": 2 + third}
    )
    assert best_counts(table(values, "l1"), "l1") == pytest.approx(
        {"assembled": 1.5 + third, "general": 1 + third, "hypercolumn": 0.5 + third}
    )


def test_best_counts_leave_out_photographs_that_a_contestant_lacks() -> None:
    values = {"assembled": [3.0, 3, 3], "general": [1.0, math.nan, 4], "animals": [math.nan] * 3}
    assert best_counts(table(values), "semantic") == {"assembled": 1, "general": 1}
    assert best_counts(table({"gray": [1.0]}), "semantic") == {}


def test_a_clear_shift_wins_and_noise_shows_no_difference() -> None:
    base = noise(60, 0)
    close = base + np.random.default_rng(1).normal(0, 0.02, 60)
    verdict = judge(table({"general": base, "assembled": base + 0.05 * noise(60, 2)}), "semantic")
    assert verdict.winner == "assembled" and verdict.contestants == ("assembled", "general")
    (pair,) = verdict.shown
    assert (pair.better, pair.worse) == ("assembled", "general")
    assert pair.difference.low < pair.difference.mean < pair.difference.high < 0
    level = judge(table({"assembled": base, "general": close}), "semantic")
    assert level.winner == "" and level.shown == ()
    assert level.comparisons[0].p_holm > 0.05


def test_where_low_is_best_the_lower_contestant_wins() -> None:
    base = 10 * noise(30, 0)
    verdict = judge(table({"assembled": base, "general": base + 1}, "l1"), "l1")
    assert verdict.winner == "assembled" and verdict.contestants[0] == "assembled"


def test_a_contestant_that_beats_only_one_of_two_has_not_won() -> None:
    base = noise(60, 0)
    close = base + np.random.default_rng(1).normal(0, 0.02, 60)
    verdict = judge(
        table({"assembled": base, "general": base - 0.1, "hypercolumn": close}), "semantic"
    )
    assert verdict.winner == ""
    assert {(each.better, each.worse) for each in verdict.shown} == {
        ("assembled", "general"),
        ("hypercolumn", "general"),
    }


def test_a_mean_that_one_photograph_makes_does_not_win() -> None:
    # The ranks point one way, the mean the other.
    base = np.zeros(30)
    other = np.full(30, 0.01)
    other[0] = -40
    verdict = judge(table({"assembled": base, "general": other}), "semantic")
    assert verdict.comparisons[0].p < 0.001 and verdict.winner == ""


def test_equal_contestants_are_level_even_in_their_last_bits() -> None:
    base = noise(20, 0)
    results = table({"assembled": base, "animals": base * (1 + 1e-8)})
    (pair,) = compare(results, "semantic")
    assert (pair.p, pair.p_holm, pair.better) == (1, 1, "")
    assert pair.difference.mean == pair.difference.low == pair.difference.high == 0
    assert best_counts(results, "semantic") == {"assembled": 10, "animals": 10}


def test_pairs_are_compared_on_the_photographs_that_both_have() -> None:
    values = {"assembled": [1.0, 2, math.nan, 4], "general": [0.0, math.nan, 1, 1]}
    (pair,) = compare(table(values), "semantic")
    assert pair.photographs == 2 and pair.difference.mean == 2
    apart = {"assembled": [1.0, math.nan], "general": [math.nan, 1.0]}
    (pair,) = compare(table(apart), "semantic")
    assert pair.photographs == 0 and pair.p == 1 and pair.better == ""
    assert math.isnan(pair.difference.mean)
    lonely = {"assembled": [1.0, 2], "general": [math.nan] * 2}
    assert compare(table(lonely), "semantic") == ()
    assert judge(table(lonely), "semantic").contestants == ("assembled",)


def test_description_by_hand_in_all_and_by_class() -> None:
    values = {"gray": [1.0, 2, 6], "original": [7.0] * 3, "assembled": [2.0, math.nan, 1]}
    results = table(values, classes=["animals", "people", "people"])
    frame = describe(results).set_index(["class", "model"])
    assert list(dict.fromkeys(frame.index.get_level_values(0))) == [
        ALL_CLASSES,
        "animals",
        "people",
    ]
    gray = frame.loc[(ALL_CLASSES, "gray")]
    assert (gray["n"], gray["mean"], gray["median"]) == (3, 3, 2)
    assert gray["sd"] == pytest.approx(math.sqrt(7)) and math.isnan(gray["best"])
    assembled = frame.loc[(ALL_CLASSES, "assembled")]
    assert (assembled["n"], assembled["mean"], assembled["best"]) == (2, 1.5, 2)
    assert frame.loc[("people", "assembled")]["n"] == 1
    assert frame.loc[(ALL_CLASSES, "original")]["mean"] == 7


def test_the_original_has_no_line_where_a_metric_compares_with_it_and_one_class_no_lines() -> None:
    frame = describe(table({"original": [0.0, 0], "assembled": [1.0, 2]}, "l1"))
    assert frame["model"].tolist() == ["assembled"]
    assert frame["class"].tolist() == [ALL_CLASSES]


def test_a_metric_without_any_value_is_not_there() -> None:
    results = table({"assembled": [1.0, 2]}).assign(lpips=math.nan, l1=[1.0, math.inf])
    assert metrics_of(results) == ("l1", "semantic")


def test_all_comparisons_of_a_page_are_corrected_together() -> None:
    base, shift = noise(60, 0), np.random.default_rng(3).normal(0.006, 0.02, 60)
    values = {"gray": base - 0.1, "assembled": base + shift, "general": base}
    one = table(values)
    alone = analyze(one).verdicts["semantic"].comparisons[0]
    assert alone.p < 0.05 and alone.better == "assembled"

    # Twelve more tests, of metrics on which all are level, and the same difference.
    several = one.assign(**dict.fromkeys(("l1", "rmse", "psnr", "ssim"), one["semantic"] * 0 + 1))
    analysis = analyze(several)
    tests = [
        each
        for several in (
            *(verdict.comparisons for verdict in analysis.verdicts.values()),
            *analysis.against_gray.values(),
        )
        for each in several
    ]
    assert len(tests) == 5 * 3
    again = analysis.verdicts["semantic"].comparisons[0]
    assert again.p == alone.p
    assert again.p_holm == pytest.approx(13 * alone.p), "two, against gray, are smaller"
    assert again.better == "" and analysis.verdicts["semantic"].winner == ""
    assert [each.p_holm for each in tests] == pytest.approx(holm([each.p for each in tests]))
