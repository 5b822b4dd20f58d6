"""Tables and sentences of the sections that compare further models."""

from collections.abc import Iterable, Sequence

import pandas as pd

from colorgan.evaluation.page import enumerated
from colorgan.evaluation.results import METRICS
from colorgan.evaluation.statistics import (
    ALL_CLASSES,
    Comparison,
    bootstrap_mean,
    compare,
    correct,
    groups,
)
from colorgan.evaluation.tables import Table, interval, probability, titled
from jobs.reproduction.sections.section import Section, sentence

METRICS_SHOWN = ("l1", "semantic", "colorfulness_gap")


def missing(name: str, question: str, report: str, why: str) -> Section:
    """A section without numbers; `why` is a sentence."""
    return Section(name, question, report, [why])


def corrected(
    results: pd.DataFrame, pairs: Sequence[tuple[str, str]], metrics: Iterable[str] = METRICS_SHOWN
) -> list[Comparison]:
    """Compare pairs of models by several metrics, corrected for all of these comparisons (Holm)."""
    found = [
        each
        for metric in metrics
        if metric in results and results[metric].notna().any()
        for each in compare(results, metric, pairs)
    ]
    return list(correct(found))


def verdict(comparisons: Sequence[Comparison], subject: str) -> list[str]:
    """One sentence per metric on what a model is better and worse than, and those on its L1.

    Args:
        comparisons: comparisons of the model with others.
        subject: the model's name.
    """
    sentences = []
    for metric in dict.fromkeys(each.metric for each in comparisons):
        sides: dict[str, list[str]] = {"better than": [], "worse than": [], "level": []}
        for each in comparisons:
            if each.metric == metric and subject in (each.first, each.second):
                other = each.second if each.first == subject else each.first
                side = "better than" if each.better == subject else "worse than"
                sides[side if each.better else "level"].append(other)
        words = [f"{side} {enumerated(sides[side])}" for side in list(sides)[:2] if sides[side]]
        if sides["level"]:
            words.append(f"not shown to differ from {enumerated(sides['level'], 'or')}")
        sentences.append(f"{METRICS[metric].title}: {subject} is {', and '.join(words)}.")
    own = [each for each in comparisons if each.metric == "l1" and each.first == subject]
    return [*sentences, *map(sentence, own)]


def pairs_table(name: str, comparisons: Sequence[Comparison]) -> Table:
    """The comparisons of a section, with their corrected p-values."""
    data = pd.DataFrame(
        [
            {
                "metric": each.metric,
                "first": each.first,
                "second": each.second,
                "n": each.photographs,
                "difference": each.difference.mean,
                "low": each.difference.low,
                "high": each.difference.high,
                "p": each.p,
                "p_holm": each.p_holm,
                "better": each.better,
            }
            for each in comparisons
        ]
    )
    shown = pd.DataFrame(
        [
            {
                "Metric": titled(each.metric),
                "First": each.first,
                "Second": each.second,
                "Photographs": str(each.photographs),
                "First minus second": interval(each.difference, METRICS[each.metric].decimals + 1),
                "p, corrected": probability(each.p_holm),
                "Shown to be better": each.better or "neither",
            }
            for each in comparisons
        ]
    )
    note = (
        "Both models on the same photographs, with 95 % intervals. The p-values of the Wilcoxon "
        "signed-rank test are corrected for all lines of this table (Holm); a model is shown to be "
        "better where test and interval agree."
    )
    return Table(f"{name}-pairs", "Model against model", note, data, shown, 3)


def means_table(
    name: str,
    title: str,
    results: pd.DataFrame,
    models: Sequence[str],
    metrics: Sequence[str] = ("l1", "colorfulness", "semantic"),
    about: str = "",
) -> Table:
    """The means of some metrics by class and model, with their intervals.

    Args:
        name: see `Table`.
        title: see `Table`.
        results: as `Report.results` returns them.
        models: the models, in the order of the table.
        metrics: the metrics.
        about: sentences on what the models are.
    """
    metrics = [each for each in metrics if each in results and results[each].notna().any()]
    rows, shown = [], []
    for group, part in groups(results).items():
        for model in models:
            own = part[part["model"] == model]
            if not len(own):
                continue
            head = {"class": group, "model": model, "n": len(own)}
            means = {metric: bootstrap_mean(own[metric]) for metric in metrics}
            rows.append(
                head
                | {metric: each.mean for metric, each in means.items()}
                | {f"{metric}_low": each.low for metric, each in means.items()}
                | {f"{metric}_high": each.high for metric, each in means.items()}
            )
            if group != ALL_CLASSES:
                continue
            shown.append(
                {"Model": model, "Photographs": str(len(own))}
                | {
                    titled(metric): interval(each, METRICS[metric].decimals)
                    for metric, each in means.items()
                }
            )
    note = (
        f"{about} Means over the test photographs, with 95 % intervals in brackets; the file with "
        "the unrounded numbers has them by class, too."
    )
    return Table(name, title, note.strip(), pd.DataFrame(rows), pd.DataFrame(shown))
