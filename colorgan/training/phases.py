"""The phases of a training: their objectives, lengths and learning rates.

    --phases regression:12+critic:1+adversarial:6

The numbers are relative lengths. Phases are counted in steps, so a phase can begin within an epoch,
and the same phases fit any number of epochs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Literal, get_args

from colorgan.errors import ConfigError

Objective = Literal["regression", "perceptual", "critic", "adversarial"]
_WITH_ADVERSARY: tuple[Objective, ...] = ("critic", "adversarial")


@dataclass(frozen=True)
class Phase:
    """One phase of a training.

    Attributes:
        objective: `regression` trains the generator alone, by L1, and `perceptual` by L1 and the
            perceptual term; `critic` trains the discriminators alone; `adversarial` trains both
            against each other, the generator also by L1 and the perceptual term.
        share: the phase's share of the training's steps.
    """

    objective: Objective
    share: float

    @property
    def has_adversary(self) -> bool:
        """Whether the discriminators take part."""
        return self.objective in _WITH_ADVERSARY

    @property
    def has_perceptual_term(self) -> bool:
        """Whether the generator's loss has the perceptual term, if its weight is above 0."""
        return self.objective in ("perceptual", "adversarial")


def parse_phases(text: str) -> tuple[Phase, ...]:
    """Read `--phases`; the shares of the result add up to 1.

    Raises:
        ConfigError: a phase is missing or unknown, or a length is not a number above 0.
    """
    terms = parse_terms("--phases", text, get_args(Objective))
    total = sum(length for _, length in terms)
    return tuple(Phase(name, length / total) for name, length in terms)  # type: ignore[arg-type]


def parse_terms(option: str, text: str, names: Sequence[str]) -> list[tuple[str, float]]:
    """Read `NAME:NUMBER+NAME:NUMBER`; a missing number is 1.

    Args:
        option: the option's name, for error messages.
        text: one or more terms.
        names: the valid names.

    Raises:
        ConfigError: a name is unknown, or a number is not above 0 and finite.
    """
    terms = []
    for term in text.split("+"):
        name, _, said = term.partition(":")
        if name not in names:
            raise ConfigError(
                f"{option} {text!r}: {name!r} is unknown; choose from {', '.join(names)}"
            )
        try:
            number = float(said or "1")
        except ValueError:
            number = math.nan
        if not (number > 0 and math.isfinite(number)):
            raise ConfigError(f"{option} {text!r}: the number of {name} must be more than 0")
        terms.append((name, number))
    return terms


def phases_of_warm_up(share: float, perceptual: bool) -> str:
    """The `--phases` that replace a value of `--warm-up-share`, a former option."""
    alone = "perceptual" if perceptual else "regression"
    if share in (0, 1):
        return alone if share else "adversarial"
    return f"{alone}:{share:g}+adversarial:{1 - share:g}"


@dataclass(frozen=True)
class Moment:
    """The objective and the learning rate of a step.

    Attributes:
        objective: the objective of the step's phase.
        rate: the learning rate, as a share of the rate at the phase's beginning.
    """

    objective: Objective
    rate: float

    @property
    def has_adversary(self) -> bool:
        """Whether the discriminators take part."""
        return self.objective in _WITH_ADVERSARY


class Schedule:
    """The phase and the learning rate of every step of a training."""

    def __init__(self, phases: Sequence[Phase], steps: int, decay_share: float) -> None:
        """Divide the steps among the phases.

        Args:
            phases: the phases; their shares add up to 1.
            steps: number of steps of the whole training.
            decay_share: share of each phase's steps, at its end, over which the learning rate falls
                to zero.
        """
        self._phases = tuple(phases)
        shares = accumulate((phase.share for phase in phases), initial=0.0)
        self._bounds = [round(steps * share) for share in shares]
        self._decay_share = decay_share

    def at(self, step: int) -> Moment:
        """The moment of a step, counted from 0."""
        places = zip(self._phases, pairwise(self._bounds), strict=True)
        phase, begin, end = next((p, b, e) for p, (b, e) in places if b <= step < e)
        falling = self._decay_share * (end - begin)
        return Moment(phase.objective, min(1.0, (end - step) / (falling + 1)))


def describe_phases(phases: Sequence[Phase], progress: float = 1.0) -> str:
    """The phases that a training has gone through and their shares of that, as text.

    Args:
        phases: the phases of the whole training.
        progress: the share of the training that is done.
    """
    words, begin = [], 0.0
    for phase in phases:
        share = min(phase.share, progress - begin) / progress
        if share > 1e-9:
            words.append(f"{phase.objective} {100 * share:.0f} %")
        begin += phase.share
    return ", ".join(words)


def reached(phases: Sequence[Phase], progress: float) -> tuple[Phase, ...]:
    """The phases that a training has begun once a share of it is done."""
    begins = accumulate((phase.share for phase in phases), initial=0.0)
    return tuple(p for p, begin in zip(phases, begins, strict=False) if begin < progress - 1e-9)


def renamed(fields: Mapping[str, object]) -> dict[str, object]:
    """The hyper-parameters of a document of any version, under their present names."""
    kept = dict(fields)
    share = kept.pop("warm_up_share", None)
    if isinstance(share, int | float):
        kept["phases"] = phases_of_warm_up(float(share), bool(kept.get("lambda_perceptual")))
    return kept
