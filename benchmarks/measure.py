"""Contenders timed beside their reference, in turns; and what comes of it.

A shared machine's speed changes by the minute, so a time is compared with none but those of the
same round: every round times every contender, and what counts is the ratio within it. The reference
takes two turns a round; how far the ratio of the two is from 1 is the noise.
"""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

AGAIN = "the reference again (A/A)"

Run = Callable[[], float | None]
Item = TypeVar("Item")


class Unavailable(Exception):  # noqa: N818 - it reads as what it says
    """A contender cannot be measured here; the message says why."""


@dataclass(frozen=True)
class Variant:
    """A contender.

    Attributes:
        name: what it is called in the table.
        run: does the work once; returns the seconds that count where not all of its time does.
    """

    name: str
    run: Run


@dataclass(frozen=True)
class Rounds:
    """How long to measure.

    Attributes:
        most: rounds.
        least: rounds, however long they take.
        seconds: after so many no further round begins.
        turn: seconds that a contender's turn takes at least; shorter work is repeated.
    """

    most: int
    least: int = 3
    seconds: float = math.inf
    turn: float = 0.2


@dataclass(frozen=True)
class Spread:
    """The median of the rounds' values, the least and the greatest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Of one value a round."""
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        """As the table shows it."""
        return f"{self.median:.2f} ({self.low:.2f}-{self.high:.2f})"


@dataclass(frozen=True)
class Result:
    """A row of the table: one contender in one case.

    Attributes:
        benchmark: the module's name.
        case: what was done, as `256 px, batch 5`.
        variant: the contender.
        value: the median over the rounds; None where it could not be measured.
        unit: of the value.
        ratio: how many times as fast as the reference of the same round, or in whatever sense the
            benchmark says; None for the reference itself.
        peak_mib: the most memory of its process (of the GPU, on one), where that was asked.
        facts: whatever else was found, by name.
    """

    benchmark: str
    case: str
    variant: str
    value: float | None
    unit: str
    ratio: Spread | None = None
    peak_mib: float | None = None
    facts: Mapping[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True)
class Timings:
    """Seconds of one run of each contender, a value a round; the first is the reference."""

    seconds: Mapping[str, Sequence[float]]

    @property
    def reference(self) -> str:
        """The reference's name."""
        return next(iter(self.seconds))

    def median(self, name: str) -> float:
        """Seconds of a contender."""
        return statistics.median(self.seconds[name])

    def speedup(self, name: str, over: str | None = None) -> Spread:
        """How many times as fast as the reference, or another contender, one is."""
        pairs = zip(self.seconds[over or self.reference], self.seconds[name], strict=True)
        return Spread.of([theirs / ours for theirs, ours in pairs])

    def results(
        self,
        benchmark: str,
        case: str,
        unit: str,
        value: Callable[[float], float],
        peaks: Mapping[str, float] | None = None,
        facts: Mapping[str, Mapping[str, float | str]] | None = None,
    ) -> list[Result]:
        """The rows of a case.

        Args:
            benchmark: the module's name.
            case: what was done.
            unit: of the values.
            value: makes one from a contender's seconds.
            peaks: MiB by contender.
            facts: by contender.
        """
        return [
            Result(
                benchmark,
                case,
                name,
                value(self.median(name)),
                unit,
                None if name == self.reference else self.speedup(name),
                (peaks or {}).get(name),
                (facts or {}).get(name, {}),
            )
            for name in self.seconds
        ]


def interleave(
    variants: Sequence[Variant],
    rounds: Rounds,
    settle: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> Timings:
    """Time contenders in rounds, each after another one every round.

    Args:
        variants: the contenders, the reference first.
        rounds: how often.
        settle: waits until the device has nothing to do.
        clock: tells seconds.

    Returns:
        The timings, with those of the reference's second turn under AGAIN, right after its first.
    """

    def turn(variant: Variant, times: int) -> float:
        settle()
        began = clock()
        said = [variant.run() for _ in range(times)]
        settle()
        took = clock() - began
        told = [seconds for seconds in said if seconds is not None]
        return (sum(told) if told else took) / times

    reference, *others = variants
    # Warm-up: memory is taken, kernels are chosen, files come into the cache. A first run may be
    # many times as slow as the next one, and says little of how often a short one must be repeated.
    times = {}
    for variant in variants:
        took = turn(variant, 1)
        if took < rounds.turn:
            took = turn(variant, 1)
        times[variant.name] = max(1, math.ceil(rounds.turn / max(took, 1e-6)))
    contenders = [(reference.name, reference), (AGAIN, reference), *((v.name, v) for v in others)]
    seconds: dict[str, list[float]] = {name: [] for name, _ in contenders}
    started = clock()
    for number in range(rounds.most):
        if number >= rounds.least and clock() - started > rounds.seconds:
            break
        for name, variant in rotate(contenders, number):
            seconds[name].append(turn(variant, times[variant.name]))
    return Timings(seconds)


def rotate(contenders: Sequence[Item], number: int) -> list[Item]:
    """The order of a round: each contender goes first in turn, so none always finds it quiet."""
    first = number % len(contenders)
    return [*contenders[first:], *contenders[:first]]
