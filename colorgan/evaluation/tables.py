"""The tables of a report: numbers for programs, text for people."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from colorgan.evaluation.contestants import caveats
from colorgan.evaluation.results import METRICS, Evaluation
from colorgan.evaluation.segmentation import SCORES
from colorgan.evaluation.sets import MEANINGS
from colorgan.evaluation.statistics import (
    ALL_CLASSES,
    DESCRIPTIVE,
    Analysis,
    Comparison,
    Estimate,
    contestants_of,
    groups,
)
from colorgan.metrics import FEWEST_PHOTOGRAPHS
from colorgan.models import JUDGE

# Mean semantic scores of the 2018 report, on its own photographs with its own classifier.
REPORT_2018: Mapping[str, float] = {
    "assembled": 0.4254,
    "general": 0.3665,
    "hypercolumn": 0.3962,
    "gray": 0.4155,
}

NOTHING = "–"  # noqa: RUF001 - an en dash stands for no number


@dataclass(frozen=True)
class Table:
    """A table of a report.

    Attributes:
        name: the base name of its files.
        title: the title, for people.
        note: how to read it.
        data: the numbers, unrounded.
        shown: the same as text for people.
        labels: number of columns of `shown` before the numbers.
    """

    name: str
    title: str
    note: str
    data: pd.DataFrame
    shown: pd.DataFrame
    labels: int = 1


def make_tables(
    results: pd.DataFrame,
    analysis: Analysis,
    sets: pd.DataFrame | None = None,
    judge: str = "",
) -> list[Table]:
    """The tables of the results: summary, sets, semantic score, pairs, and each metric.

    Args:
        results: as `Report.results` returns them.
        analysis: the analysis of these results.
        sets: as `describe_sets` returns them.
        judge: the classifier of the distances.
    """
    tables = [summary_table(results, analysis)]
    if sets is not None:
        tables.append(sets_table(sets, judge))
    if "semantic" in analysis.verdicts:
        tables.append(semantic_table(analysis))
    tables += [paired_table(analysis), gray_table(analysis)]
    return [table for table in tables if len(table.data)] + metric_tables(analysis)


def contestants_table(evaluation: Evaluation) -> Table:
    """The models that were compared, with their packages and the router of assembled ones."""
    shown = _frame(
        [
            {
                "Model": each.name,
                "Packages": ", ".join(each.packages) or NOTHING,
                "Router": (evaluation.routing if each.routed else "") or NOTHING,
            }
            for each in evaluation.contestants
        ]
    )
    data = shown.replace(NOTHING, "").rename(columns=str.lower)
    note = f"The semantic score is by {evaluation.classifier}"
    if evaluation.judge:
        note += f", the Fréchet distances are by {evaluation.judge}"
    if evaluation.segmenter:
        note += f", the FCN score is by {evaluation.segmenter}"
    note = " ".join([f"{note}.", *caveats(evaluation.contestants)])
    return Table("contestants", "The models", note, data, shown, 3)


def summary_table(results: pd.DataFrame, analysis: Analysis) -> Table:
    """The mean of every metric and contestant over all photographs, and the winner."""
    data, shown = [], []
    models = contestants_of(results)
    for metric, verdict in analysis.verdicts.items():
        about = METRICS[metric]
        estimates = {model: analysis.estimate(metric, model) for model in models}
        means = {model: estimate.mean for model, estimate in estimates.items()}
        # The key has spaces, which no model's name has: a model may be called best.
        data.append({"metric": metric, **means, "shown to be best": verdict.winner})
        cells = {model: interval(each, about.decimals) for model, each in estimates.items()}
        judged = verdict.comparisons and metric not in DESCRIPTIVE
        shown.append(
            {
                "Metric": titled(metric),
                "Best is": NOTHING if metric in DESCRIPTIVE else about.best,
                "Shown to be best": (verdict.winner or "none") if judged else NOTHING,
                **cells,
            }
        )
    note = (
        "The mean over the photographs, in brackets its 95 % confidence interval. Gray is the "
        "photograph without colour, the original has its true colours: both are there for "
        "reference. A model is shown to be best only where the paired tests show it to be "
        "better than each of the others."
    )
    return Table("summary", "All metrics", note, _frame(data), _frame(shown), 3)


def semantic_table(analysis: Analysis) -> Table:
    """The semantic score in the form of the 2018 report, with the report's means beside ours."""
    frame = analysis.description
    frame = frame[frame["metric"] == "semantic"].drop(columns=["metric", "low", "high"])
    report = [
        REPORT_2018.get(row["model"], float("nan")) if row["class"] == ALL_CLASSES else float("nan")
        for _, row in frame.iterrows()
    ]
    data = frame.assign(report_2018=report).reset_index(drop=True)
    decimals = METRICS["semantic"].decimals + 1
    shown = [
        {
            "Class": row["class"],
            "Model": row["model"],
            "Photographs": str(row["n"]),
            "Mean": number(row["mean"], decimals),
            "Mean in the 2018 report": number(row["report_2018"], 4),
            "Median": number(row["median"], decimals),
            "SD": number(row["sd"], decimals),
            "Best on": count(row["best"]),
        }
        for _, row in data.iterrows()
    ]
    note = (
        "The form of the 2018 report: mean, median, standard deviation, and on how many "
        "photographs a model has the highest score (where models tie, each takes its share). The "
        "report scored its own photographs with its own classifier. Compare the order of the "
        "models with the report's, not the numbers."
    )
    return Table("semantic", "Semantic score, as in the 2018 report", note, data, _frame(shown), 2)


def metric_tables(analysis: Analysis) -> list[Table]:
    """One table per metric, with all its statistics, overall and by class."""
    tables = []
    for metric in analysis.verdicts:
        about = METRICS[metric]
        frame = analysis.description
        data = frame[frame["metric"] == metric].drop(columns="metric").reset_index(drop=True)
        shown = [
            {
                "Class": row["class"],
                "Model": row["model"],
                "Photographs": str(row["n"]),
                "Mean": number(row["mean"], about.decimals),
                "95 % CI": bounds(row["low"], row["high"], about.decimals),
                "Median": number(row["median"], about.decimals),
                "SD": number(row["sd"], about.decimals),
                "Best on": count(row["best"]),
            }
            for _, row in data.iterrows()
        ]
        note = f"{about.meaning} {direction(metric)}"
        tables.append(Table(f"metric-{metric}", titled(metric), note, data, _frame(shown), 2))
    return tables


def paired_table(analysis: Analysis) -> Table:
    """The comparisons of all pairs of colouring contestants, on every metric."""
    comparisons = [each for verdict in analysis.verdicts.values() for each in verdict.comparisons]
    note = (
        "Both models on the same photographs: the mean of the first minus the second, its 95 % "
        "confidence interval, and the Wilcoxon signed-rank test, corrected for all comparisons of "
        "this report, of every metric and with gray (Holm). A model is named only where test and "
        "interval agree."
    )
    return _pairs("paired", "Model against model", note, comparisons)


def gray_table(analysis: Analysis) -> Table:
    """The comparisons of all colouring contestants with no colour at all."""
    comparisons = [each for several in analysis.against_gray.values() for each in several]
    note = (
        "The same comparison with the photograph without colour. A model that is not better than "
        "gray would do best to leave the photograph as it is, as far as this metric can tell."
    )
    return _pairs("against-gray", "Model against no colour", note, comparisons)


def _pairs(name: str, title: str, note: str, comparisons: Sequence[Comparison]) -> Table:
    data, shown = [], []
    for each in comparisons:
        estimate, decimals = each.difference, METRICS[each.metric].decimals + 1
        more = " (more colourful)" if each.better and each.metric in DESCRIPTIVE else ""
        data.append(
            {
                "metric": each.metric,
                "first": each.first,
                "second": each.second,
                "n": each.photographs,
                "difference": estimate.mean,
                "low": estimate.low,
                "high": estimate.high,
                "p": each.p,
                "p_holm": each.p_holm,
                "better": each.better,
            }
        )
        shown.append(
            {
                "Metric": titled(each.metric),
                "First": each.first,
                "Second": each.second,
                "Photographs": str(each.photographs),
                "Difference": number(estimate.mean, decimals, sign=True),
                "95 % CI": bounds(estimate.low, estimate.high, decimals),
                "p": probability(each.p),
                "p, corrected": probability(each.p_holm),
                "Shown to be better": f"{each.better or 'neither'}{more}",
            }
        )
    return Table(name, title, note, _frame(data), _frame(shown), 3)


def sets_table(sets: pd.DataFrame, judge: str) -> Table:
    """The Fréchet distances and the colourfulness ratio, overall and by class.

    Args:
        sets: as `describe_sets` returns them.
        judge: the classifier of the distances.
    """
    shown = []
    for _, row in sets.iterrows():
        cells = {
            title: interval(Estimate(row[name], row[f"{name}_low"], row[f"{name}_high"]), 2)
            for name, (title, _) in MEANINGS.items()
        }
        head = {"Class": row["class"], "Model": row["model"], "Photographs": str(row["n"])}
        shown.append(head | cells)
    note = (
        "Each model's colourings as a set beside the originals as a set; in brackets 95 % "
        "confidence intervals, from drawing the photographs anew. The hue-invariant distance is "
        f"that of colourings with their originals' mean chroma. {judged_by(judge)} A distance "
        "shrinks as photographs are added, so compare it only among equally many, as within a "
        f"class here; of fewer than {FEWEST_PHOTOGRAPHS} there is none. Models whose intervals "
        "overlap may differ all the same: each interval is of one model alone."
    )
    return Table("frechet", "Colourings as a set", note, sets, _frame(shown), 2)


def segmentation_tables(scores: pd.DataFrame, per_class: pd.DataFrame, name: str) -> list[Table]:
    """The FCN score in the form of Long et al. 2015, and each class's intersection over union.

    Args:
        scores: as `describe_segmentation` returns them.
        per_class: as `describe_segmentation` returns them.
        name: the segmenter.
    """
    note = (
        f"What {name} sees in the pictures, pixel by pixel, against what it sees in the originals "
        "and, where there are masks, against these: one confusion matrix of all photographs (Long "
        "et al. 2015), in brackets 95 % confidence intervals from drawing the photographs anew."
    )
    frames = (
        ("fcn", "FCN score", "Class", scores, SCORES),
        ("fcn-classes", "FCN score by what is shown", "Shown", per_class, {"iou": "IoU"}),
    )
    tables = []
    for key, title, head, frame, named in frames:
        shown = [
            {
                "Against": row["against"],
                head: row["class"],
                "Model": row["model"],
                "Photographs": str(row["n"]),
                **{
                    words: interval(Estimate(row[each], row[f"{each}_low"], row[f"{each}_high"]), 3)
                    for each, words in named.items()
                },
            }
            for _, row in frame.iterrows()
        ]
        tables.append(Table(key, title, note, frame, _frame(shown), 3))
    return tables


def judged_by(judge: str) -> str:
    """A sentence on the classifier of the distances, and whether it is independent."""
    if judge == JUDGE:
        return f"The distances are of the features of {judge}, which no loss of a training uses."
    if not judge:
        return "There are no distances, since this report was begun by an earlier colorgan."
    return (
        f"The distances are of the features of {judge}. Losses of a training may have used it, so "
        f"they flatter what was trained so; where {JUDGE} is installed (pip install "
        "'colorgan[judge]'), a new report is judged by that."
    )


def survey_tables(survey: Mapping[str, pd.DataFrame]) -> list[Table]:
    """A survey's tables, unchanged; their names become titles and file names."""
    tables = []
    for title, frame in survey.items():
        if not isinstance(frame.index, pd.RangeIndex):
            frame = frame.reset_index()
        words = frame.map(_plain)
        words.columns = [str(column) for column in frame.columns]
        name = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "answers"
        tables.append(Table(f"survey-{name}", title, "", frame, words))
    return tables


def to_csv(frame: pd.DataFrame) -> bytes:
    """A table as CSV, without the index."""
    text: str = frame.to_csv(index=False, lineterminator="\n")
    return text.encode()


def to_markdown(table: Table) -> bytes:
    """A table as GitHub's Markdown: title, note, and the text for people."""
    columns = [str(column) for column in table.shown.columns]
    marks = ["---" if place < table.labels else "---:" for place in range(len(columns))]
    rows = [columns, marks, *table.shown.to_numpy().tolist()]
    lines = ["| " + " | ".join(map(_cell, row)) + " |" for row in rows]
    note = f"{table.note}\n\n" if table.note else ""
    return (f"## {table.title}\n\n{note}" + "\n".join(lines) + "\n").encode()


def titled(metric: str) -> str:
    """A metric's title with its unit."""
    about = METRICS[metric]
    return f"{about.title} ({about.unit})" if about.unit else about.title


def direction(metric: str) -> str:
    """A sentence on which values are good."""
    if metric in DESCRIPTIVE:
        return "More is not better."
    return f"The {METRICS[metric].best} is the best."


def number(value: float, decimals: int, sign: bool = False) -> str:
    """A number as text, with a true minus; a dash for NaN."""
    if not math.isfinite(value):
        return NOTHING
    text = f"{value:{'+' if sign else ''}.{decimals}f}"
    return text.replace("-", "\N{MINUS SIGN}")


def bounds(low: float, high: float, decimals: int) -> str:
    """An interval as text."""
    if not math.isfinite(low):
        return NOTHING
    return f"{number(low, decimals)} to {number(high, decimals)}"


def interval(estimate: Estimate, decimals: int) -> str:
    """A mean with its interval, as text."""
    mean = number(estimate.mean, decimals)
    around = bounds(estimate.low, estimate.high, decimals)
    return mean if around == NOTHING else f"{mean} [{around}]"


def probability(p: float) -> str:
    """A p-value as text."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def count(photographs: float) -> str:
    """A number of photographs, which may be fractional, as text."""
    return NOTHING if not math.isfinite(photographs) else f"{round(photographs, 1):g}"


def photographs_by_class(results: pd.DataFrame) -> dict[str, int]:
    """Number of photographs of each class, ALL_CLASSES first."""
    return {name: int(part["photo"].nunique()) for name, part in groups(results).items()}


def _plain(value: object) -> str:
    if isinstance(value, float):
        return NOTHING if not math.isfinite(value) else f"{value:.4g}"
    return NOTHING if value is None else str(value)


def _cell(text: object) -> str:
    return str(text).replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def _frame(rows: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    return pd.DataFrame(list(rows))
