"""The rate and the words of a tally."""

import itertools

import pytest

from colorgan.archives import tally
from colorgan.archives.listing import Photo
from colorgan.archives.steps import Item, Outcome
from colorgan.archives.tally import Tally


@pytest.mark.parametrize(
    ("seconds", "rate"),
    [
        ([10.0, 10.0, 10.0], 0.3),  # one batch: it took ten seconds
        ([10.0, 20.0, 30.0], 0.1),  # ten seconds to start, and ten between two photographs
    ],
)
def test_the_rate_is_that_of_the_work(
    seconds: list[float], rate: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(tally.time, "monotonic", lambda: clock[0])
    counted = Tally(3)
    for number, clock[0] in zip(itertools.count(), seconds):
        counted.add(Outcome(Item(Photo(f"{number}.png", f"{number}.png"), "a"), photo_class="b"))
    assert counted.rate == pytest.approx(rate)
    assert f"{rate} a second" in counted.sentence()
