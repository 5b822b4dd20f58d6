"""The sections on the sweeps: costs and benefits of image size, batch size and photographs."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from colorgan.evaluation.figures import Figure, draw_lines
from colorgan.evaluation.results import METRICS, open_report
from colorgan.evaluation.statistics import bootstrap_mean, compare, fit_power_law
from colorgan.evaluation.tables import Table, interval, number
from colorgan.storage import Storage
from colorgan.sweeps.documents import Sweep, open_sweep, read_history
from colorgan.training.progress import format_seconds
from jobs.reproduction.plan import Reproduction, trial_name
from jobs.reproduction.sections.section import Section, sentence

_REPORT_EPOCHS_S = {1: 8 * 3600, 5: 4 * 3600, 10: 3 * 3600}  # 50 epochs, by batch size


def sizes_section(storage: Storage, reproduction: Reproduction) -> Section:
    """The comparison of small and large images."""
    trials = _trials(storage, reproduction, "sizes", "size")
    small, *_, large = trials
    return Section(
        "sizes",
        "Can the generator be smaller?",
        "128 px took half the time of 256 px, and its colours collapsed to sepia, or to red and "
        "blue.",
        [
            f"An epoch at {small.value} px took {number(small.epoch_s / large.epoch_s, 2)} of the "
            f"time of one at {large.value} px.",
            *_between(storage, reproduction, small, large, "px"),
        ],
        [_trials_table("sizes", "Sizes", "px", trials)],
        [_curves("sizes", trials, "px")],
        steps=("sizes", "evaluate-trials"),
    )


def batches_section(storage: Storage, reproduction: Reproduction) -> Section:
    """The comparison of batch sizes."""
    trials = _trials(storage, reproduction, "batches", "batch_size")
    small, *_, large = trials
    ratio = _REPORT_EPOCHS_S.get(large.value, 0) / _REPORT_EPOCHS_S.get(small.value, 1)
    beside = f" (the report: {number(ratio, 2)})" if ratio else ""
    return Section(
        "batches",
        "Which batch size?",
        "50 epochs took 8 hours with batches of 1, 4 with 5 and 3 with 10; 5 was chosen.",
        [
            f"An epoch in batches of {large.value} took "
            f"{number(large.epoch_s / small.epoch_s, 2)} of the time of one in batches of "
            f"{small.value}{beside}.",
            *_between(storage, reproduction, small, large, "a batch"),
        ],
        [_trials_table("batches", "Batch sizes", "a batch", trials)],
        [_curves("batches", trials, "a batch")],
        steps=("batches", "evaluate-trials"),
    )


def photographs_section(storage: Storage, reproduction: Reproduction) -> Section:
    """The costs and benefits of more training photographs."""
    trials = _trials(storage, reproduction, "photographs", "photographs")
    few, *_, many = trials
    law = fit_power_law([trial.value for trial in trials], [trial.epoch_s for trial in trials])
    return Section(
        "photographs",
        "How many photographs, and what do they cost?",
        "Training time was said to grow faster than linearly with the number of photographs.",
        [
            f"The time of an epoch grows with the number of photographs to the power of "
            f"{number(law.exponent, 2)} (R\u00b2 {number(law.r_squared, 3)}): 1 is linear.",
            *_between(storage, reproduction, few, many, "photographs"),
        ],
        [_trials_table("photographs", "Numbers of photographs", "photographs", trials)],
        [_curves("photographs", trials, "photographs")],
        steps=("photographs", "evaluate-trials"),
    )


@dataclass(frozen=True)
class _Trial:
    """A sweep's trial after its last epoch.

    Attributes:
        name: the trial's name in the comparison of the trials.
        value: value of the hyper-parameter that the sweep varies.
        epoch_s: median time of an epoch in seconds, without the first epoch and without validation.
        seconds: total time of all epochs, including validation.
        curve: epoch numbers, and the validation L1 after each.
        results: results on the swept class's test photographs, in the form of `Report.results`.
    """

    name: str
    value: int
    epoch_s: float
    seconds: float
    curve: tuple[list[float], list[float]]
    results: pd.DataFrame


def _trials(storage: Storage, reproduction: Reproduction, part: str, varied: str) -> list[_Trial]:
    sweep = open_sweep(storage, reproduction.run(part))
    results = _swept_results(storage, reproduction)
    trials = []
    for trial, value in varied_values(sweep, varied).items():
        epochs = read_history(storage, sweep, trial).epochs
        name = trial_name(part, value)
        trained = [record.data_seconds + record.step_seconds for record in epochs]
        trials.append(
            _Trial(
                name,
                value,
                statistics.median(trained[1:] or trained),
                sum(record.seconds for record in epochs),
                ([r.epoch for r in epochs], [r.val_l1 for r in epochs]),
                results[results["model"] == name],
            )
        )
    return sorted(trials, key=lambda each: each.value)


def varied_values(sweep: Sweep, varied: str) -> dict[str, int]:
    """The values of the hyper-parameter that a sweep varies, by trial."""
    return {plan.name: int(plan.values[varied]) for plan in sweep.trials}


def _swept_results(storage: Storage, reproduction: Reproduction) -> pd.DataFrame:
    """The trials' results on the test photographs of the swept class."""
    results = open_report(storage, reproduction.run("trials")).results()
    return results[results["class"] == reproduction.swept]


def _trials_table(name: str, title: str, unit: str, trials: Sequence[_Trial]) -> Table:
    rows, shown = [], []
    for trial in trials:
        metrics = {
            metric: bootstrap_mean(trial.results[metric])
            for metric in ("l1", "semantic", "colorfulness")
        }
        rows.append(
            {
                "value": trial.value,
                "epoch_s": trial.epoch_s,
                "seconds": trial.seconds,
                "val_l1": trial.curve[1][-1],
                **{f"test_{name}": each.mean for name, each in metrics.items()},
                **{f"test_{name}_low": each.low for name, each in metrics.items()},
                **{f"test_{name}_high": each.high for name, each in metrics.items()},
            }
        )
        shown.append(
            {
                unit.capitalize() if unit != "px" else unit: str(trial.value),
                "An epoch": f"{number(trial.epoch_s, 1)} s",
                "All epochs": format_seconds(trial.seconds),
                "Validation L1": number(trial.curve[1][-1], 2),
                **{
                    f"Test: {METRICS[metric].title}": interval(each, METRICS[metric].decimals)
                    for metric, each in metrics.items()
                },
            }
        )
    note = (
        "All trials started from the same seed and trained for the same number of epochs. The time "
        "of an epoch excludes its validation; the time of all epochs includes it. The test metrics "
        "are measured on the class's test photographs at full size, with 95 % intervals."
    )
    return Table(name, title, note, pd.DataFrame(rows), pd.DataFrame(shown))


def _curves(name: str, trials: Sequence[_Trial], unit: str) -> Figure:
    return draw_lines(
        name,
        "Validation L1 over the epochs",
        "Each at its training size; lower values are closer to the true colours.",
        {f"{trial.value} {unit}": trial.curve for trial in trials},
        "epoch",
        "L1 in ab",
    )


def _between(
    storage: Storage, reproduction: Reproduction, one: _Trial, other: _Trial, unit: str
) -> list[str]:
    """Sentences that compare two trials on the test photographs."""
    if one is other:
        return []
    results = _swept_results(storage, reproduction)
    sentences = []
    for metric in ("l1", "semantic"):
        for each in compare(results, metric, [(one.name, other.name)], seed=0):
            sentences.append(sentence(each, {t.name: f"{t.value} {unit}" for t in (one, other)}))
    return sentences
