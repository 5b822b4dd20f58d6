"""What a sweep hears from Tune; tests/jobs has whole sweeps on Ray."""

from dataclasses import asdict

import pytest

from colorgan.sweeps.documents import EvaluatedEpoch
from jobs.sweep import _number
from tune.trainable import _evaluated


def test_a_metric_that_is_missing_is_no_number_and_is_never_printed_as_nan() -> None:
    # Tune's schedulers want a number for every metric.
    whole = EvaluatedEpoch(3, 1.0, 9.0, 20.0, 0.25, 40.0, 41.0, None)
    assert _evaluated({**asdict(whole), "done": True}) == whole
    heard = _evaluated({**asdict(whole), "semantic": float("nan")})
    assert heard.semantic is None
    assert (_number(heard.semantic, 3), _number(whole.semantic, 3)) == ("-", "0.250")


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_no_number_is_a_dash(value: float | None) -> None:
    assert _number(value, 1) == "-"
