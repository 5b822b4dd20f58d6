"""Tables and sentences of the sections that compare further models."""

from collections.abc import Iterable, Sequence

import pandas as pd

from colorgan.evaluation.page import enumerated
from colorgan.evaluation.results import METRICS
from colorgan.evaluation.statistics import (
    Comparison,
    bootstrap_mean,
    compare,
    correct,
    groups,
)
from colorgan.evaluation.tables import Table, interval, titled
from jobs.reproduction.sections.section import Section

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
    """One sentence per metric on what a model is better and worse than.

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
    return sentences


def means_table(
    name: str,
    title: str,
    results: pd.DataFrame,
    models: Sequence[str],
    metrics: Sequence[str] = ("l1", "colorfulness", "semantic"),
) -> Table:
    """The means of some metrics by class and model, with their intervals."""
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
            shown.append(
                {"Class": group, "Model": model, "Photographs": str(len(own))}
                | {
                    titled(metric): interval(each, METRICS[metric].decimals)
                    for metric, each in means.items()
                }
            )
    note = (
        "Means over the test photographs, in brackets their 95 % intervals. The differences above "
        "compare the same photographs, so they can show more than two intervals that overlap."
    )
    return Table(name, title, note, pd.DataFrame(rows), pd.DataFrame(shown), 2)
