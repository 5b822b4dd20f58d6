"""The rate and the words of a tally."""

import itertools
import json

import pytest

from colorgan.archives import tally
from colorgan.archives.listing import Photo
from colorgan.archives.steps import Item, Outcome
from colorgan.archives.tally import Tally


@pytest.mark.parametrize(
    ("seconds", "present", "whole"),
    [
        ([10.0, 10.0, 10.0], 0.3, 0.3),  # one batch: it took ten seconds
        # Ten seconds to start, three photographs at once, and then one in ten seconds.
        ([10.0, 10.0, 10.0, 20.0, 30.0, 40.0], 0.1, 0.15),
    ],
)
def test_the_rate_while_it_works_leaves_out_the_start_and_that_in_the_end_does_not(
    seconds: list[float], present: float, whole: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(tally.time, "monotonic", lambda: clock[0])
    counted = Tally(10)
    for number, clock[0] in zip(itertools.count(), seconds):
        counted.add(Outcome(Item(Photo(f"{number}.png", f"{number}.png"), "a"), photo_class="b"))
    assert f", {present} a second" in counted.progress()
    assert counted.rate == pytest.approx(whole)
    assert json.loads(counted.summary({}))["photographs_per_second"] == pytest.approx(whole)
