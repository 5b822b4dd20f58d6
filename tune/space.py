"""The search space of a sweep: grids on the command line, and search spaces in a file.

A search space is a YAML file with one hyper-parameter per line. Every value of a list is tried. A
distribution is sampled once for every sample and combination of the lists. `trials` are tried one
by one, each with the values that it changes:

    batch_size: [1, 5, 10]
    learning_rate: {loguniform: [1.0e-5, 1.0e-3]}
    lambda_l1: {uniform: [10, 200]}
    epochs: {randint: [50, 351]}
    color_space: {choice: [lab, rgb]}
    trials:
      - {}
      - {discriminators: features}
      - {discriminators: features, lambda_l1: 50}
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from colorgan.errors import ConfigError
from colorgan.names import GENERAL
from colorgan.options import check_value
from colorgan.sweeps.documents import TrialPlan
from colorgan.training.config import TrainingConfig

# Hyper-parameters that may change during training, which excludes all that determine the networks
# or the photographs.
CHANGEABLE = (
    *("batch_size", "learning_rate", "adversarial_rate", "discriminator_rate", "beta1"),
    *("lambda_l1", "lambda_adversary", "lambda_coherence", "lambda_diversity"),
)
SCHEDULERS = ("none", "asha", "pbt")
_TRIALS = "trials"  # key of the trials listed in a file
_TRUTHS = {"true": True, "false": False}

Distribution = Callable[[np.random.Generator], Any]
_DISTRIBUTIONS: Mapping[str, Callable[..., Distribution]] = {
    "uniform": lambda low, high: lambda rng: float(rng.uniform(low, high)),
    "loguniform": lambda low, high: (
        lambda rng: float(np.exp(rng.uniform(np.log(low), np.log(high))))
    ),
    "randint": lambda low, high: lambda rng: int(rng.integers(low, high)),
    "choice": lambda *values: lambda rng: values[int(rng.integers(len(values)))],
}


@dataclass(frozen=True)
class SweepPreset:
    """A sweep that needs no further options.

    Attributes:
        model: model to train.
        grid: values by hyper-parameter.
        training: hyper-parameters of every trial that override those of the training preset of the
            same name.
        eval_every: number of epochs between evaluations.
    """

    model: str
    grid: Mapping[str, tuple[Any, ...]]
    training: Mapping[str, Any]
    eval_every: int


SWEEP_PRESETS: Mapping[str, SweepPreset] = {
    # Section 4 of the report: three batch sizes, with colourings every 50 epochs.
    "report": SweepPreset("animals", {"batch_size": (1, 5, 10)}, {"epochs": 350}, 50),
    "best": SweepPreset(GENERAL, {"batch_size": (4, 8, 16)}, {}, 1),
    "small": SweepPreset(GENERAL, {"batch_size": (1, 5, 10)}, {"epochs": 12}, 3),
}


@dataclass(frozen=True)
class Space:
    """The hyper-parameters that a sweep varies.

    Attributes:
        grid: lists of values, of which every combination is tried.
        drawn: distributions by hyper-parameter, in the form of the file.
        listed: the changes of each trial that the file lists under `trials`.
    """

    grid: Mapping[str, Sequence[Any]]
    drawn: Mapping[str, Any]
    listed: Sequence[Mapping[str, Any]] = ({},)

    @property
    def varied(self) -> set[str]:
        """The hyper-parameters that any trial changes."""
        return {*self.grid, *self.drawn}.union(*self.listed)

    def trials(self, samples: int, training: TrainingConfig) -> tuple[TrialPlan, ...]:
        """The listed trials with every combination of the grid, each with `samples` random draws.

        Args:
            samples: how often values are drawn for each combination.
            training: provides the values that a listed trial does not change, and the seed.

        Raises:
            ConfigError: nothing is varied, or `samples` exceeds 1 although nothing is drawn.
        """
        if not self.varied:
            raise ConfigError("nothing to sweep: give --grid NAME=VALUE,VALUE or --space FILE")
        if samples < 1:
            raise ConfigError("--samples must be at least 1")
        if samples > 1 and not self.drawn:
            raise ConfigError("--samples: the search space has nothing to draw from")
        rng = np.random.default_rng(training.seed)
        draw = {name: _distribution(name, each) for name, each in self.drawn.items()}
        names = dict.fromkeys(name for changes in self.listed for name in changes)
        unchanged = {name: getattr(training, name) for name in names}
        combinations = [
            {**unchanged, **changes, **dict(zip(self.grid, values, strict=True))}
            for changes in self.listed
            for values in itertools.product(*self.grid.values())
        ]
        trials = [
            {**values, **{name: distribution(rng) for name, distribution in draw.items()}}
            for values in combinations
            for _ in range(samples)
        ]
        digits = max(2, len(str(len(trials))))
        return tuple(
            TrialPlan(f"{number:0{digits}d}", values) for number, values in enumerate(trials, 1)
        )

    def mutations(self, seed: int) -> dict[str, Any]:
        """The hyper-parameters that population-based training may change, in Ray Tune's form.

        Args:
            seed: seed for values that are drawn again.

        Raises:
            ConfigError: the space varies no hyper-parameter that may change during training.
        """
        rng = np.random.default_rng(seed)
        found: dict[str, Any] = {}
        for name in CHANGEABLE:
            if name in self.grid:
                found[name] = list(self.grid[name])
            elif name in self.drawn:
                # Ray Tune moves to a neighbour in a list; it samples a function again, or scales
                # the value.
                ((kind, arguments),) = self.drawn[name].items()
                distribution = _distribution(name, self.drawn[name])
                found[name] = (
                    list(arguments) if kind == "choice" else lambda each=distribution: each(rng)
                )
        if not found:
            raise ConfigError(
                f"--scheduler pbt changes {', '.join(CHANGEABLE)}: the sweep varies none of them"
            )
        return found

    def valid(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """A trial's values after population-based training has changed them, within their bounds.

        The scheduler multiplies numbers by 0.8 or 1.2 without regard to their range, so `beta1`
        would go from 0.9 to 1.08. A value that leaves its range is set back to its previous value.
        """
        return {name: _possible(name, value) for name, value in values.items()}


@dataclass(frozen=True)
class Search:
    """How a sweep searches its space.

    Attributes:
        scheduler: one of SCHEDULERS.
        space: the hyper-parameters that the sweep varies.
        metric: one of METRICS, by which the scheduler compares trials.
    """

    scheduler: str
    space: Space
    metric: str


def _possible(name: str, value: Any) -> Any:
    if name in CHANGEABLE:
        try:
            check_value(TrainingConfig, name, value)
        except ConfigError:
            return value / 1.2
    return value


def read_space(grid: Sequence[str], file: Path | None) -> Space:
    """Read a space from a file and options --grid NAME=VALUE,VALUE, which override the file.

    Raises:
        ConfigError: an entry cannot be read; the message names it.
    """
    lists: dict[str, Sequence[Any]] = {}
    drawn: dict[str, Any] = {}
    document = _read_file(file)
    listed = _listed(document.pop(_TRIALS, [{}]), str(file))
    for name, entry in document.items():
        _check_name(name, str(file))
        if isinstance(entry, list) and entry:
            lists[name] = [_value(name, str(value)) for value in entry]
        else:
            _distribution(name, entry)
            drawn[name] = entry
    for text in grid:
        name, _, values = text.partition("=")
        name = name.replace("-", "_")
        _check_name(name, f"--grid {text}")
        if not values:
            raise ConfigError(f"--grid {text}: write it as NAME=VALUE,VALUE")
        drawn.pop(name, None)
        lists[name] = [_value(name, value) for value in values.split(",")]
    for name, tried in lists.items():
        if len(set(tried)) < len(tried):
            raise ConfigError(f"{name}: a value is listed twice")
    space = Space(lists, drawn, listed)
    twice = {*lists, *drawn}.intersection(name for changes in listed for name in changes)
    if twice:
        raise ConfigError(f"{min(twice)}: a trial of {file} and a line or --grid set it: drop one")
    return space


def choose_space(
    preset: SweepPreset, grid: Sequence[str], file: Path | None, overrides: Mapping[str, Any]
) -> Space:
    """The space of the options --grid and --space, or the preset's grid without them.

    Args:
        preset: preset of the sweep.
        grid: values of the option --grid; see `read_space`.
        file: value of the option --space.
        overrides: the user's own hyper-parameters of every trial.

    Raises:
        ConfigError: an option or the file cannot be read, or the space varies an override.
    """
    space = read_space(grid, file) if grid or file else Space(preset.grid, {})
    twice = overrides.keys() & {*space.grid, *space.drawn}
    if twice:
        raise ConfigError(f"--{min(twice).replace('_', '-')}: the sweep varies it already")
    return space


def _listed(entry: Any, where: str) -> list[dict[str, Any]]:
    """The changes of each trial that a file lists; raises ConfigError."""
    if not isinstance(entry, list) or not all(isinstance(changes, dict) for changes in entry):
        raise ConfigError(
            f"{where}: write trials as lines `- {{name: value}}`; {{}} changes nothing"
        )
    trials = []
    for changes in entry:
        for name in changes:
            _check_name(name, where)
        trial = {name: _value(name, str(value)) for name, value in changes.items()}
        if trial in trials:
            raise ConfigError(f"{where}: a trial is listed twice: {trial}")
        trials.append(trial)
    return trials or [{}]


def _read_file(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        document = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--space {file}: {getattr(error, 'strerror', error)}") from None
    except yaml.YAMLError as error:
        raise ConfigError(
            f"--space {file} is not valid YAML: {' '.join(str(error).split())}"
        ) from None
    if not isinstance(document, dict) or not document:
        raise ConfigError(f"--space {file}: write a line `name: [value, value]` a hyper-parameter")
    return document


def _check_name(name: Any, where: str) -> None:
    known = [each.name for each in fields(TrainingConfig)]
    if name not in known:
        raise ConfigError(f"{where}: {name!r} is none of {', '.join(known)}")


def _value(name: str, text: str) -> Any:
    kind: Any = next(type(each.default) for each in fields(TrainingConfig) if each.name == name)
    try:
        value = _TRUTHS[text.lower()] if kind is bool else kind(text)
    except (ValueError, KeyError):
        raise ConfigError(f"{name}: {text!r} is not of type {kind.__name__}") from None
    return check_value(TrainingConfig, name, value)


def _distribution(name: str, entry: Any) -> Distribution:
    try:
        ((kind, arguments),) = entry.items()
        distribution = _DISTRIBUTIONS[kind](*arguments)
        drawn = distribution(np.random.default_rng(0))
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        raise ConfigError(
            f"{name}: {entry!r} is neither a list of values nor one of "
            f"{', '.join(f'{{{kind}: [...]}}' for kind in _DISTRIBUTIONS)}"
        ) from None
    for value in arguments if kind == "choice" else (drawn,):
        _value(name, str(value))
    return distribution
