"""The results of a sweep's trials: tables, the best epoch, and lines for a log."""

import io
import math
from dataclasses import asdict, dataclass

import pandas as pd
from rich.table import Table

from colorgan.storage import Storage
from colorgan.sweeps.documents import (
    JUDGED,
    METRICS,
    EvaluatedEpoch,
    Sweep,
    describe_values,
    read_history,
    read_state,
)
from colorgan.training.progress import format_seconds


def sweep_table(storage: Storage, sweep: Sweep) -> pd.DataFrame:
    """A table with one line per trial and epoch.

    Returns:
        The columns trial, status, the hyper-parameters that the sweep varies, the fields of
        EpochRecord, and JUDGED, which only evaluated epochs have.
    """
    lines = []
    for plan in sweep.trials:
        state = read_state(storage, sweep, plan.name)
        history = read_history(storage, sweep, plan.name)
        evaluated = {each.epoch: each for each in history.evaluations}
        for record in history.epochs:
            judged = evaluated.get(record.epoch)
            lines.append(
                {
                    "trial": plan.name,
                    "status": state.status,
                    **{name: state.values_at(record.epoch)[name] for name in plan.values},
                    **asdict(record),
                    **(judged.judged if judged else dict.fromkeys(JUDGED)),
                }
            )
    return pd.DataFrame(lines)


@dataclass(frozen=True)
class Best:
    """The best evaluated epoch of a sweep."""

    trial: str
    evaluated: EvaluatedEpoch


def best_epoch(storage: Storage, sweep: Sweep, metric: str) -> Best | None:
    """The best evaluated epoch of all trials by a metric of METRICS; None if none has a value."""
    candidates = [
        (value if METRICS[metric] else -value, Best(plan.name, evaluated))
        for plan in sweep.trials
        for evaluated in read_history(storage, sweep, plan.name).evaluations
        if (value := getattr(evaluated, metric)) is not None and math.isfinite(value)
    ]
    return min(candidates, key=lambda pair: pair[0])[1] if candidates else None


def standing(storage: Storage, sweep: Sweep, trial: str, metric: str) -> str:
    """Where a trial stood at its latest evaluation among those that had come as far, in words.

    Raises:
        NotInStorage: the sweep has no such trial.
    """
    values: dict[str, float] = {}
    evaluations = read_history(storage, sweep, sweep.trial(trial).name).evaluations
    if not evaluations:
        return "before its first evaluation"
    epoch = evaluations[-1].epoch
    for plan in sweep.trials:
        for evaluated in read_history(storage, sweep, plan.name).evaluations:
            value = getattr(evaluated, metric)
            if evaluated.epoch == epoch and value is not None and math.isfinite(value):
                values[plan.name] = value
    if trial not in values:
        return f"after epoch {epoch}, which gave no {metric}"
    order = sorted(values, key=lambda name: values[name], reverse=not METRICS[metric])
    return (
        f"after epoch {epoch}, where its {metric} of {values[trial]:.4g} was number "
        f"{order.index(trial) + 1} of the {len(values)} that had come so far"
    )


def write_results(storage: Storage, sweep: Sweep) -> str:
    """Write results.csv; returns its key."""
    text = io.StringIO()
    sweep_table(storage, sweep).to_csv(text, index=False)
    key = sweep.key("results.csv")
    storage.put(key, text.getvalue().encode())
    return key


def trials_table(storage: Storage, sweep: Sweep) -> Table:
    """A table of the trials as of their last evaluated epochs, one line each."""
    table = Table("trial", "status", *sweep.trials[0].values, "epochs", "time", "L1", "PSNR")
    for heading in ("semantic", "Fréchet", "of hues", "colourfulness"):
        table.add_column(heading)
    for plan in sweep.trials:
        state = read_state(storage, sweep, plan.name)
        evaluations = read_history(storage, sweep, plan.name).evaluations
        cells = [plan.name, state.status, *map(str, state.values.values()), str(state.epoch)]
        if evaluations:
            last = evaluations[-1]
            cells += [
                format_seconds(last.seconds),
                f"{last.val_l1:.2f}",
                f"{last.val_psnr:.1f} dB",
                *(metric_text(each, 3) for each in (last.semantic, last.frechet, last.hue_frechet)),
                metric_text(last.colorfulness, 2),
            ]
        table.add_row(*cells)
    return table


def failures(storage: Storage, sweep: Sweep) -> list[str]:
    """A sentence for every trial that failed."""
    states = {plan.name: read_state(storage, sweep, plan.name) for plan in sweep.trials}
    return [
        f"trial {name} ({describe_values(state.values)}) failed: {state.error}"
        for name, state in states.items()
        if state.status == "failed"
    ]


def epoch_line(storage: Storage, sweep: Sweep, trial: str, evaluated: EvaluatedEpoch) -> str:
    """A line for the log: a trial's evaluated epoch, and the time that the trial still needs."""
    state = read_state(storage, sweep, trial)
    config = sweep.config(state.values)
    left = (config.epochs - evaluated.epoch) * evaluated.seconds / evaluated.epoch
    words = [
        f"epoch {evaluated.epoch}/{config.epochs} ({describe_values(state.values)})",
        f"L1 {evaluated.val_l1:.2f}",
        f"PSNR {evaluated.val_psnr:.1f} dB",
    ]
    if sweep.classifier:
        words.append(f"semantic {metric_text(evaluated.semantic, 3)}")
        words.append(f"Fréchet {metric_text(evaluated.frechet, 1)}")
    words.append(f"colourfulness {metric_text(evaluated.colorfulness, 2)}")
    return ", ".join([*words, f"ETA {format_seconds(left)}"])


def metric_text(value: float | None, digits: int) -> str:
    """A metric as text for people; `-` if it is missing or not finite."""
    return "-" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"
