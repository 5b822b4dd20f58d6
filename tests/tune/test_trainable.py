"""What a sweep hears from Tune; tests/jobs has whole sweeps on Ray."""

from dataclasses import asdict

import pytest

from colorgan.sweeps.documents import EvaluatedEpoch
from colorgan.sweeps.results import metric_text
from tune.trainable import evaluated_epoch


def test_a_metric_that_is_missing_is_no_number_and_is_never_printed_as_nan() -> None:
    # Tune's schedulers want a number for every metric.
    whole = EvaluatedEpoch(3, 1.0, 9.0, 20.0, 0.25, 40.0, 41.0, None)
    assert evaluated_epoch({**asdict(whole), "done": True}) == whole
    heard = evaluated_epoch({**asdict(whole), "semantic": float("nan")})
    assert heard.semantic is None
    assert (metric_text(heard.semantic, 3), metric_text(whole.semantic, 3)) == ("-", "0.250")


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_no_number_is_a_dash(value: float | None) -> None:
    assert metric_text(value, 1) == "-"
