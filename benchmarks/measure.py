"""Times contenders and their reference in turns, and summarises the results.

The speed of a shared machine changes by the minute, so times are compared only within a round:
every round times every contender, and the result is the ratio to the reference in that round. The
reference takes two turns per round; the deviation of their ratio from 1 is the noise.
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


class Unavailable(Exception):  # noqa: N818 - the name states the condition
    """A contender cannot be measured here; the message says why."""


@dataclass(frozen=True)
class Variant:
    """A contender.

    Attributes:
        name: name in the table.
        run: does the work once; returns the seconds that count, or None if all of its time counts.
    """

    name: str
    run: Run


@dataclass(frozen=True)
class Rounds:
    """How long to measure.

    Attributes:
        most: maximum number of rounds.
        least: minimum number of rounds, regardless of their duration.
        seconds: time after which no further round begins.
        turn: minimum duration of a contender's turn in seconds; shorter work is repeated.
    """

    most: int
    least: int = 3
    seconds: float = math.inf
    turn: float = 0.2


@dataclass(frozen=True)
class Spread:
    """The median, minimum and maximum of the values of all rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """The spread of values, one per round."""
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        """The form shown in the table."""
        return f"{self.median:.2f} ({self.low:.2f}-{self.high:.2f})"


@dataclass(frozen=True)
class Result:
    """A row of the table: one contender in one case.

    Attributes:
        benchmark: name of the benchmark's module.
        case: the sizes that were measured, such as `256 px, batch 5`.
        variant: name of the contender.
        value: the median over the rounds; None if it could not be measured.
        unit: unit of the value.
        ratio: speed-up over the reference of the same round, or another ratio that the benchmark
            defines; None for the reference itself.
        peak_mib: peak memory of the process, or of the GPU, in MiB; None if it was not measured.
        facts: further results by name.
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
    """Seconds of one run of each contender, one value per round; the first is the reference."""

    seconds: Mapping[str, Sequence[float]]

    @property
    def reference(self) -> str:
        """The reference's name."""
        return next(iter(self.seconds))

    def median(self, name: str) -> float:
        """Median seconds of a contender."""
        return statistics.median(self.seconds[name])

    def speedup(self, name: str, over: str | None = None) -> Spread:
        """The speed-up of a contender over the reference or another contender."""
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
            benchmark: name of the benchmark's module.
            case: the sizes that were measured.
            unit: unit of the values.
            value: computes a value from a contender's seconds.
            peaks: peak memory by contender, in MiB.
            facts: further results by contender.
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
    """Time contenders in rounds, in an order that rotates from round to round.

    Args:
        variants: the contenders, the reference first.
        rounds: how long to measure.
        settle: waits until the device has finished its work.
        clock: returns the time in seconds.

    Returns:
        The timings. Those of the reference's second turn are under AGAIN, right after the first.
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
    # Warm-up: allocate memory, select kernels, fill caches. The first run may be many times slower
    # than the next one, so short work runs again before its number of repetitions is computed.
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
    """The order of a round: the first place rotates, so no contender always has an advantage."""
    first = number % len(contenders)
    return [*contenders[first:], *contenders[:first]]
