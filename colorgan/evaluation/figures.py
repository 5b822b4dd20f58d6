"""The figures of a report, as PNG and SVG."""

import io
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from colorgan.evaluation.results import GRAY, METRICS
from colorgan.evaluation.statistics import (
    ALL_CLASSES,
    DESCRIPTIVE,
    Analysis,
    best_counts,
    colorers,
    contestants_of,
    groups,
    values_of,
)
from colorgan.evaluation.tables import count, number, titled

# Okabe and Ito's colours, which people with any kind of colour vision can tell apart.
COLORS = {
    "gray": "#8a8a8a",
    "original": "#222222",
    "assembled": "#d55e00",
    "general": "#0072b2",
    "hypercolumn": "#009e73",
}
_OTHERS = ("#cc79a7", "#56b4e9", "#e69f00", "#7a5195", "#a05a2c")
_INK = "#24211d"
_LINE = "#d9d2c5"
_PALE = "#e3ddd2"
_WIDTH = 9.0  # inches
_DPI = 140
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "colorgan",
    "font.size": 10.5,
    "axes.titlesize": 11.5,
    "axes.edgecolor": "#8d8577",
    "axes.labelcolor": _INK,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "grid.color": _LINE,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
}


@dataclass(frozen=True)
class Figure:
    """A figure of a report.

    Attributes:
        name: the base name of its files.
        title: the title, for people.
        caption: what it shows, and how to read it.
        alt: its content as text, for people who do not see it.
        size: width and height in pixels.
        png: the PNG file, of this size.
        svg: the SVG file, the same for the same results.
    """

    name: str
    title: str
    caption: str
    alt: str
    size: tuple[int, int]
    png: bytes
    svg: bytes


def color_of(name: str, contestants: Sequence[str]) -> str:
    """A contestant's colour, the same in every figure."""
    others = [each for each in contestants if each not in COLORS]
    return COLORS.get(name) or _OTHERS[others.index(name) % len(_OTHERS)]


def draw_figures(results: pd.DataFrame, analysis: Analysis) -> list[Figure]:
    """Draw all figures that the results have values for.

    Args:
        results: as `Report.results` returns them.
        analysis: the analysis of these results.
    """
    drawn = [draw_means(results, analysis)] if analysis.verdicts else []
    if any(verdict.comparisons for verdict in analysis.verdicts.values()):
        drawn.append(draw_differences(analysis))
    if "semantic" in analysis.verdicts:
        drawn.append(draw_semantic(results))
        if len(groups(results)) > 1:
            drawn.append(draw_semantic_by_class(results))
    if analysis.against_gray.get("l1"):
        drawn.append(draw_against_gray(results))
    return drawn


def draw_means(results: pd.DataFrame, analysis: Analysis) -> Figure:
    """The mean of every metric and contestant with its interval, one panel per metric."""
    metrics = list(analysis.verdicts)
    everyone = contestants_of(results)
    across = min(3, len(metrics))
    down = -(-len(metrics) // across)
    with _canvas(0.75 + down * (0.85 + 0.25 * len(everyone))) as (figure, saved):
        for place, metric in enumerate(metrics):
            axes = figure.add_subplot(down, across, place + 1)
            frame = analysis.description
            models = [
                model
                for model in everyone
                if ((frame["metric"] == metric) & (frame["model"] == model)).any()
            ]
            for height, model in enumerate(models):
                each, color = analysis.estimate(metric, model), color_of(model, everyone)
                axes.plot([each.low, each.high], [height, height], color=color, linewidth=2.5)
                axes.plot(each.mean, height, "o", color=color, markersize=7)
            axes.set_yticks(range(len(models)), models)
            axes.set_ylim(len(models) - 0.4, -0.6)
            arrow = "→ better" if METRICS[metric].best == "highest" else "better ←"
            axes.set_title(titled(metric), loc="left")
            axes.set_xlabel(arrow if metric not in DESCRIPTIVE else "→ more colourful")
            axes.grid(axis="x")
            axes.set_axisbelow(True)
            _few_ticks(axes.xaxis)
    words = [
        f"{METRICS[metric].title}: "
        + ", ".join(
            f"{model} {number(analysis.estimate(metric, model).mean, METRICS[metric].decimals)}"
            for model in everyone
            if math.isfinite(analysis.estimate(metric, model).mean)
        )
        for metric in metrics
    ]
    return saved(
        "means",
        "Every metric and model",
        "A dot is the mean over all photographs, its line the 95 % confidence interval. Where two "
        "lines overlap, look at the paired differences: they compare the same photographs and see "
        "more. The original is left out where a metric compares with it.",
        "Means with intervals. " + "; ".join(words) + ".",
    )


def draw_differences(analysis: Analysis) -> Figure:
    """A forest plot: the paired differences with their intervals, one panel per metric."""
    verdicts = [verdict for verdict in analysis.verdicts.values() if verdict.comparisons]
    across = min(2, len(verdicts))
    down = -(-len(verdicts) // across)
    most = max(len(verdict.comparisons) for verdict in verdicts)
    with _canvas(0.4 + down * (0.95 + 0.3 * most)) as (figure, saved):
        words = []
        for place, verdict in enumerate(verdicts):
            about = METRICS[verdict.metric]
            sign = 1 if about.best == "highest" else -1
            axes = figure.add_subplot(down, across, place + 1)
            axes.axvline(0, color="#8d8577", linewidth=1)
            labels = []
            for height, each in enumerate(verdict.comparisons):
                low, high = sorted((sign * each.difference.low, sign * each.difference.high))
                color = _INK if each.better else "#8d8577"
                axes.plot([low, high], [height, height], color=color, linewidth=2.5)
                axes.plot(
                    sign * each.difference.mean,
                    height,
                    "o",
                    color=color,
                    markersize=7,
                    markerfacecolor=color if each.better else "white",
                )
                labels.append(f"{each.first} over {each.second}")
                shown = f"{each.better} shown better" if each.better else "no difference shown"
                words.append(f"{about.title}, {each.first} and {each.second}: {shown}")
            axes.set_yticks(range(len(labels)), labels)
            axes.set_ylim(len(labels) - 0.4, -0.6)
            axes.set_title(titled(verdict.metric), loc="left")
            axes.set_xlabel("worse ← first named → better")
            if verdict.metric in DESCRIPTIVE:
                axes.set_xlabel("paler ← first named → more colourful")
            reach = max(abs(bound) for bound in axes.get_xlim())
            axes.set_xlim(-reach, reach)
            _few_ticks(axes.xaxis)
            axes.grid(axis="x")
            axes.set_axisbelow(True)
    return saved(
        "differences",
        "Pairs of models on the same photographs",
        "Each line is one pair: the mean difference over the photographs and its 95 % confidence "
        "interval, turned so that right of zero the model that is named first is better. A filled "
        "black dot is a difference that the photographs show; a hollow gray one may be chance.",
        "Paired differences. " + "; ".join(words) + ".",
    )


def draw_semantic(results: pd.DataFrame) -> Figure:
    """Figure 11 of the 2018 report: best counts and the spread of the semantic score by model."""
    everyone = contestants_of(results)
    counts = best_counts(results, "semantic")
    with _canvas(4.2) as (figure, saved):
        left, right = figure.subplots(1, 2, width_ratios=(2, 3))
        for place, (model, best) in enumerate(counts.items()):
            left.bar(place, best, color=color_of(model, everyone), width=0.65)
            left.annotate(
                count(best), (place, best), (0, 3), textcoords="offset points", ha="center"
            )
        _name_ticks(left, list(counts))
        left.set_ylabel("photographs")
        _count_in_ones(left)
        left.set_title("On how many photographs\nits score is the highest", loc="left")
        _boxes(right, results, everyone)
        right.set_ylabel("semantic score")
        right.set_title("Score of every photograph", loc="left")
    wide = values_of(results, "semantic")
    medians = ", ".join(
        f"{model} {number(wide[model].median(), 3)}" for model in everyone if model in wide
    )
    most = ", ".join(f"{model} on {count(best)}" for model, best in counts.items())
    return saved(
        "semantic",
        "The semantic score by model (figure 11 of the 2018 report)",
        "Left: on how many photographs each colouring model has the highest score; a tie is split. "
        "Right: every photograph is a dot. The box holds the middle half of them, the line in it "
        "is the median, the diamond the mean; the whiskers reach to the last dot within one and a "
        "half boxes. Gray and original are the marks to compare with.",
        f"Highest score: {most}. Median scores: {medians}.",
    )


def draw_semantic_by_class(results: pd.DataFrame) -> Figure:
    """Figure 12 of the 2018 report: the semantic score by class and model."""
    everyone = contestants_of(results)
    parts = {name: part for name, part in groups(results).items() if name != ALL_CLASSES}
    across = min(3, len(parts))
    down = -(-len(parts) // across)
    words = []
    with _canvas(0.3 + 3.9 * down) as (figure, saved):
        first = None
        for place, (name, part) in enumerate(parts.items()):
            axes = figure.add_subplot(down, across, place + 1, sharey=first)
            first = first or axes
            _boxes(axes, part, everyone, rotation=50)
            axes.set_title(f"{name} ({part['photo'].nunique()})", loc="left")
            if place % across == 0:
                axes.set_ylabel("semantic score")
            wide = values_of(part, "semantic")
            words.append(
                f"{name}: "
                + ", ".join(f"{model} {number(wide[model].median(), 3)}" for model in wide.columns)
            )
    return saved(
        "semantic_by_class",
        "The semantic score by class and model (figure 12 of the 2018 report)",
        "The same for each class, with the number of its photographs. Compare boxes within a "
        "class: some classes are easier for the classifier than others, whoever colours them.",
        "Median scores by class. " + "; ".join(words) + ".",
    )


def draw_against_gray(results: pd.DataFrame) -> Figure:
    """Each photograph's error by every colouring contestant, against its error without colour."""
    wide = values_of(results, "l1")
    everyone = contestants_of(results)
    models = [model for model in colorers(results) if wide[model].notna().any()]
    across = min(3, len(models))
    down = -(-len(models) // across)
    top = 1.05 * float(np.nanmax(wide[[GRAY, *models]].to_numpy())) or 1.0
    words = []
    with _canvas(0.5 + 3.2 * down) as (figure, saved):
        for place, model in enumerate(models):
            pair = wide[[GRAY, model]].dropna()
            nearer = int((pair[model] < pair[GRAY]).sum())
            axes = figure.add_subplot(down, across, place + 1)
            axes.fill_between([0, top], [0, top], color="#f3efe7", linewidth=0)
            axes.plot([0, top], [0, top], color="#8d8577", linewidth=1)
            color = color_of(model, everyone)
            axes.scatter(pair[GRAY], pair[model], s=22, color=color, alpha=0.7, linewidth=0)
            axes.set(xlim=(0, top), ylim=(0, top), aspect="equal")
            for axis in (axes.xaxis, axes.yaxis):
                _few_ticks(axis)
            axes.set_title(f"{model}:\nnearer on {nearer} of {len(pair)}", loc="left")
            axes.set_xlabel("L1 in ab of gray")
            if place % across == 0:
                axes.set_ylabel("L1 in ab of the model")
            words.append(f"{model} is nearer to the true colours than gray on {nearer} photographs")
    return saved(
        "l1_against_gray",
        "Is the colour nearer to the truth than no colour?",
        "Each dot is a photograph. To the right are photographs of strong colours, where leaving "
        "them gray costs much. Dots in the shaded half, below the line, came nearer to their true "
        "colours than gray is; dots above it were coloured wrongly enough to be worse than gray.",
        "; ".join(words) + ".",
    )


def _boxes(
    axes: Any, results: pd.DataFrame, everyone: Sequence[str], rotation: float | None = None
) -> None:
    wide = values_of(results, "semantic")
    models = [model for model in everyone if model in wide and wide[model].notna().any()]
    generator = np.random.default_rng(0)
    for place, model in enumerate(models):
        values, color = wide[model].dropna().to_numpy(), color_of(model, everyone)
        scatter = place + generator.uniform(-0.22, 0.22, len(values))
        axes.plot(scatter, values, ".", color=color, alpha=0.45, markersize=4.5, linestyle="")
        axes.boxplot(
            values,
            positions=[place],
            widths=0.6,
            showfliers=False,
            boxprops={"color": color, "linewidth": 1.6},
            whiskerprops={"color": color, "linewidth": 1.6},
            capprops={"color": color, "linewidth": 1.6},
            medianprops={"color": _INK, "linewidth": 2},
        )
        axes.plot(
            place, values.mean(), "D", color="white", markeredgecolor=_INK, markersize=6, zorder=5
        )
    _name_ticks(axes, models, rotation)
    axes.grid(axis="y")
    axes.set_axisbelow(True)


def draw_lines(
    name: str,
    title: str,
    caption: str,
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    across: str,
    up: str,
) -> Figure:
    """Draw one line per name.

    Args:
        name: the base name of the figure's files.
        title: the title, for people.
        caption: what the figure shows, and how to read it.
        lines: by name, the x and the y values.
        across: the label of the x axis.
        up: the label of the y axis.
    """
    others = [each for each in lines if each not in COLORS]
    palette = (*_OTHERS, *COLORS.values())
    with _canvas(3.8) as (figure, saved):
        axes = figure.add_subplot()
        words = []
        for each, (xs, ys) in lines.items():
            color = COLORS.get(each) or palette[others.index(each) % len(palette)]
            mark = "o" if len(xs) < 25 else ""
            axes.plot(xs, ys, color=color, linewidth=2, marker=mark, markersize=4, label=each)
            words.append(f"{each}: from {number(ys[0], 3)} to {number(ys[-1], 3)}")
        axes.set_xlabel(across)
        axes.set_ylabel(up)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        axes.legend(frameon=False)
    return saved(name, title, caption, "; ".join(words) + ".")


def draw_votes(title: str, questions: pd.DataFrame) -> Figure:
    """The votes of a survey, one bar per question: figure 10 of the 2018 report.

    Args:
        title: the title of the survey.
        questions: as `survey.Tally.questions`.
    """
    models = list(dict.fromkeys(questions["model"]))
    table = questions.pivot_table(
        index=["class", "question"], columns="model", values="votes", aggfunc="sum"
    )[models]
    with _canvas(3.6) as (figure, saved):
        axes = figure.add_subplot()
        floor = np.zeros(len(table))
        for model in models:
            votes = table[model].to_numpy(float)
            axes.bar(range(len(table)), votes, bottom=floor, color=color_of(model, models))
            floor += votes
        named, undecided = list(models), _undecided(questions)
        if undecided.any():
            axes.bar(range(len(table)), undecided, bottom=floor, color=_PALE)
            named.append("cannot tell")
        labels = [f"{question} {label}" for label, question in table.index]
        axes.set_xticks(range(len(table)), labels, rotation=60, ha="right", rotation_mode="anchor")
        axes.set_ylabel("answers" if undecided.any() else "votes")
        _count_in_ones(axes)
        axes.legend(named, loc="upper center", bbox_to_anchor=(0.5, 1.18), ncols=len(named))
    totals = questions.groupby("model", sort=False)["votes"].sum()
    return saved(
        "-".join(("votes", *re.findall(r"[a-z0-9]+", title.lower()))),
        title,
        "Each bar is one photograph: who chose whose colouring of it. Questions stand by class.",
        "Votes in all: " + ", ".join(f"{name} {votes}" for name, votes in totals.items()) + ".",
    )


def _undecided(questions: pd.DataFrame) -> Any:
    """The undecided answers to each question, in the order of the bars of `draw_votes`."""
    if "undecided" not in questions:
        return np.zeros(0)
    return questions.groupby(["class", "question"])["undecided"].first().to_numpy(float)


def _few_ticks(axis: Any) -> None:
    """Let a small panel have ticks so few and small that their numbers cannot overlap."""
    axis.get_major_locator().set_params(nbins=4)
    axis.set_tick_params(labelsize=9)


def _count_in_ones(axes: Any) -> None:
    """Let the y axis, which counts, have ticks at whole numbers alone."""
    axes.yaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)


def _name_ticks(axes: Any, names: Sequence[str], rotation: float | None = None) -> None:
    slant = (0 if len(names) <= 3 else 30) if rotation is None else rotation
    leaning = {"rotation": slant, "ha": "right", "rotation_mode": "anchor"} if slant else {}
    axes.set_xticks(range(len(names)), names, **leaning)


@contextmanager
def _canvas(height: float) -> Iterator[tuple[Any, Callable[[str, str, str, str], Figure]]]:
    """A canvas to draw on, and a function that turns it into a Figure after the drawing."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(_WIDTH, height), layout="constrained")

    def saved(name: str, title: str, caption: str, alt: str) -> Figure:
        with rc_context(_STYLE):
            png, svg = io.BytesIO(), io.BytesIO()
            canvas.savefig(png, format="png", dpi=_DPI)
            canvas.set_layout_engine("none")  # a second layout would take as long
            canvas.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
        size = (round(_WIDTH * _DPI), round(height * _DPI))
        return Figure(name, title, caption, alt, size, png.getvalue(), svg.getvalue())

    with rc_context(_STYLE):
        canvas.set_facecolor("white")
        yield canvas, saved
