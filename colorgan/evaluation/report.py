"""The report of an evaluation, for people: tables, figures, and one self-contained page."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from colorgan.errors import ColorganError
from colorgan.evaluation.figures import Figure, color_of, draw_figures, draw_votes
from colorgan.evaluation.gallery import GALLERY, choose_samples, describe_gallery
from colorgan.evaluation.page import data_uri, enumerated, photograph_count, render
from colorgan.evaluation.results import (
    ASSEMBLED,
    GRAY,
    IDENTITIES,
    METRICS,
    Contestant,
    Report,
    no_labels,
)
from colorgan.evaluation.segmentation import read_segmentation
from colorgan.evaluation.sets import MEANINGS
from colorgan.evaluation.statistics import (
    ALL_CLASSES,
    DESCRIPTIVE,
    RESAMPLES,
    Analysis,
    Comparison,
    Verdict,
    analyze,
    colorers,
    contestants_of,
    metrics_of,
)
from colorgan.evaluation.tables import (
    Table,
    bounds,
    contestants_table,
    direction,
    interval,
    judged_by,
    make_tables,
    number,
    photographs_by_class,
    probability,
    segmentation_tables,
    survey_tables,
    to_csv,
    to_markdown,
)
from colorgan.metrics import FEWEST_PHOTOGRAPHS
from colorgan.names import OBJECTS
from colorgan.packages.embedded import EMBEDDED_MODELS

_KINDS: Mapping[str, str] = {
    "gray": "The photograph without colour: what doing nothing scores.",
    "original": "The photograph with its true colours: the upper end of the semantic score.",
    "assembled": "A router sends each photograph to the model of its class.",
    "embedded": "The models that come with colorgan, each for its class.",
    "objects": "Each object by the model of its class, the rest by the general model.",
    "general": "One model that was trained on the photographs of all classes.",
    "hypercolumn": "A colouriser on the features of an ImageNet network (Dahl 2016).",
    "cic": "A network that classifies the colour of each place (Zhang et al. 2016).",
}
_WORDS = ("name", "title", "caption", "alt", "size")  # of a figure, beside its pictures
_TITLES: Mapping[str, str] = {"fid": "FID"}


@dataclass(frozen=True)
class _Duel:
    """The titles of the metrics by which one of two contestants is better, worse or level."""

    first: str
    second: str
    better: list[str]
    worse: list[str]
    level: list[str]


@dataclass(frozen=True)
class _Finding:
    """The result of one metric for the colouring contestants."""

    title: str
    best: str
    meaning: str
    verdict: str
    sentences: list[str]
    won: bool


def write_report(
    report: Report,
    results: pd.DataFrame,
    sets: pd.DataFrame | None = None,
    survey: Mapping[str, pd.DataFrame] | None = None,
    gallery: int = GALLERY,
) -> None:
    """Write an evaluation's results.csv, report.json, tables/, figures/ and index.html.

    index.html is written last. It contains its pictures and loads nothing else.

    Args:
        report: the report, which gives the folder and the pictures.
        results: as `Report.results` returns them.
        sets: as `describe_sets` returns them.
        survey: a survey's tables by their titles.
        gallery: maximum number of photographs on the page, which are sampled if there are more.

    Raises:
        ColorganError: there are no results, or a photograph has two of the same contestant.
        NotInStorage: a picture is missing.
        Corrupt: a picture cannot be read.
    """
    results = _ordered(report, results)
    analysis = analyze(results)
    tables = make_tables(results, analysis, sets, report.evaluation.judge)
    if segmentation := read_segmentation(report):
        tables += segmentation_tables(*segmentation, report.evaluation.segmenter)
    answers = survey_tables(survey or {})
    photos = describe_gallery(report, results, gallery)
    figures = draw_figures(results, analysis)
    votes = [
        draw_votes(title, frame) for title, frame in (survey or {}).items() if "question" in frame
    ]
    page = render(
        "report.html.j2",
        evaluation=report.evaluation,
        counts=photographs_by_class(results),
        all_classes=ALL_CLASSES,
        left_gray=_left_gray(analysis),
        samples=choose_samples(photos, report.evaluation.seed),
        kinds=_kinds(report.evaluation.contestants, contestants_of(results)),
        duels=_duels(analysis, colorers(results)),
        against_gray=_against_gray(analysis, colorers(results)),
        findings=_findings(analysis),
        tests=_tests(analysis),
        resamples=RESAMPLES,
        judge=judged_by(report.evaluation.judge),
        sets=MEANINGS.values() if sets is not None else [],
        main_tables=[table for table in tables if not table.name.startswith("metric-")],
        metric_tables=[table for table in tables if table.name.startswith("metric-")],
        survey_tables=[table for table in answers if "question" not in table.data],
        survey_figures=[(figure, data_uri("image/svg+xml", figure.svg)) for figure in votes],
        figures=[(each, data_uri("image/svg+xml", each.svg)) for each in figures],
        metrics=[(METRICS[name], direction(name)) for name in metrics_of(results)],
        gaps=_gaps(report, results, sets),
        colors={name: color_of(name, contestants_of(results)) for name in contestants_of(results)},
        gallery=photos,
    )
    for folder in ("tables", "figures"):  # earlier files may have no successor
        report.storage.delete(report.key(folder))
    by_photograph = results.sort_values(["class", "source", "photo"], kind="stable")
    report.storage.put(report.key("results.csv"), to_csv(by_photograph))
    written = [contestants_table(report.evaluation), *tables, *answers]
    for table in written:
        _put_table(report, table)
    report.storage.put(report.key("report.json"), _to_json(report, written))
    for figure in figures + votes:
        _put_figure(report, figure)
    report.storage.put(report.key("index.html"), page.encode())


def _put_table(report: Report, table: Table) -> None:
    report.storage.put(report.key(f"tables/{table.name}.csv"), to_csv(table.data))
    report.storage.put(report.key(f"tables/{table.name}.md"), to_markdown(table))


def _put_figure(report: Report, figure: Figure) -> None:
    words = {name: getattr(figure, name) for name in _WORDS}
    for suffix, content in (
        ("png", figure.png),
        ("svg", figure.svg),
        ("json", (json.dumps(words, indent=2) + "\n").encode()),
    ):
        report.storage.put(report.key(f"figures/{figure.name}.{suffix}"), content)


def read_figure(report: Report, name: str) -> Figure | None:
    """A figure that `write_report` has drawn; None if it has not, or was an earlier version's."""
    png, svg, words = (report.key(f"figures/{name}.{each}") for each in ("png", "svg", "json"))
    storage = report.storage
    if not storage.exists(words):
        return None
    known = json.loads(storage.get(words))
    fields = {each: known[each] for each in _WORDS}
    fields["size"] = tuple(fields["size"])
    return Figure(**fields, png=storage.get(png), svg=storage.get(svg))


def _to_json(report: Report, tables: Sequence[Table]) -> bytes:
    """The tables' numbers by the tables' names, unrounded, and null where a number is missing."""
    numbers = {table.name: json.loads(table.data.to_json(orient="records")) for table in tables}
    document = {"report": report.evaluation.name, "judge": report.evaluation.judge}
    return (json.dumps({**document, "tables": numbers}, indent=1) + "\n").encode()


def _tests(analysis: Analysis) -> int:
    """Number of comparisons that were corrected together."""
    pairs = [verdict.comparisons for verdict in analysis.verdicts.values()]
    return sum(map(len, [*pairs, *analysis.against_gray.values()]))


def _ordered(report: Report, results: pd.DataFrame) -> pd.DataFrame:
    """The results in the contestants' order, and of each contestant by class and source."""
    name = report.evaluation.name
    if not len(results):
        raise ColorganError(f"report {name!r} has results of no photograph")
    twice = results.duplicated(["photo", "model"])
    if twice.any():
        first = results[twice].iloc[0]
        raise ColorganError(
            f"report {name!r} has two results of {first['model']} for photograph {first['photo']}: "
            "its results were not written by one evaluation"
        )
    order = [contestant.name for contestant in report.evaluation.contestants]
    places = results["model"].map({name: place for place, name in enumerate(order)})
    return (
        results.assign(_place=places)
        .sort_values(["_place", "class", "source", "photo"], kind="stable")
        .drop(columns="_place")
        .reset_index(drop=True)
    )


def _kinds(contestants: Sequence[Contestant], measured: Sequence[str]) -> dict[str, str]:
    """What each contestant with results is, in sentences."""
    return {each.name: _kind(each) for each in contestants if each.name in measured}


def _kind(contestant: Contestant) -> str:
    """What a contestant is, whatever its name: that is the user's choice."""
    if contestant.name in IDENTITIES:
        return _KINDS[contestant.name]
    models = [*contestant.by_model]
    embedded = contestant.name == EMBEDDED_MODELS or contestant.caveat
    if contestant.detector:
        kind = _KINDS[OBJECTS]
    elif embedded and contestant.routed:
        kind = _KINDS[EMBEDDED_MODELS]
    elif contestant.routed:
        kind = _KINDS[ASSEMBLED]
    else:
        kind = _KINDS.get(models[0], f"The model of the class {models[0]}, on every photograph.")
    return f"{kind} {contestant.caveat}".strip()


def _duels(analysis: Analysis, models: Sequence[str]) -> list[_Duel]:
    """Compare the assembled model, or else the first one, with each of the others."""
    ours = ASSEMBLED if ASSEMBLED in models else next(iter(models), "")
    comparisons = [
        each
        for metric, verdict in analysis.verdicts.items()
        if metric not in DESCRIPTIVE
        for each in verdict.comparisons
    ]
    return [
        _duel(ours, other, [each for each in comparisons if {each.first, each.second} == pair])
        for other in models
        if other != ours and (pair := {ours, other})
    ]


def _against_gray(analysis: Analysis, models: Sequence[str]) -> list[_Duel]:
    comparisons = [each for several in analysis.against_gray.values() for each in several]
    return [
        _duel(model, GRAY, [each for each in comparisons if each.first == model])
        for model in models
        if any(each.first == model for each in comparisons)
    ]


def _duel(first: str, second: str, comparisons: Sequence[Comparison]) -> _Duel:
    sides: dict[str, list[str]] = {first: [], second: [], "": []}
    for each in comparisons:
        sides[each.better].append(_in_text(METRICS[each.metric].title))
    return _Duel(first, second, sides[first], sides[second], sides[""])


def _findings(analysis: Analysis) -> list[_Finding]:
    """The findings of all metrics; the semantic score, the 2018 report's criterion, comes first."""
    verdicts = sorted(analysis.verdicts.values(), key=lambda each: each.metric != "semantic")
    return [_finding(analysis, verdict) for verdict in verdicts]


def _finding(analysis: Analysis, verdict: Verdict) -> _Finding:
    about = METRICS[verdict.metric]
    valued = verdict.metric not in DESCRIPTIVE
    means = [
        f"{model} {interval(analysis.estimate(verdict.metric, model), about.decimals)}"
        for model in verdict.contestants
    ]
    unit = f" ({about.unit})" if about.unit else ""
    listed = f"Means, {'best' if valued else 'most colourful'} first: {'; '.join(means)}{unit}."
    best = f"{about.best} is best" if valued else "more is not better"
    head = (about.title, best, about.meaning)
    if not verdict.comparisons:
        return _Finding(*head, "nothing to compare", [listed], False)
    fewest = min(each.photographs for each in verdict.comparisons)
    nothing = f"no difference that {photograph_count(fewest)} can show"
    if not verdict.shown:
        return _Finding(*head, nothing, [listed], False)
    words = f"{verdict.winner} {'wins' if valued else 'is the most colourful'}"
    sentences = [_difference(each) for each in verdict.shown]
    if not verdict.winner:
        words = "no single winner"
    if len(verdict.shown) < len(verdict.comparisons):
        others = [f"{e.first} and {e.second}" for e in verdict.comparisons if not e.better]
        named = enumerated(others, "or") if len(others) < 4 else f"the other {len(others)} pairs"
        sentences.append(f"Between {named}: {nothing}.")
    won = bool(verdict.winner) and valued
    return _Finding(*head, words, [*sentences, listed], won)


def _left_gray(analysis: Analysis) -> str:
    """The mean L1 of photographs without colour, as text; empty if it is not known."""
    if "l1" not in analysis.verdicts:
        return ""
    mean = analysis.estimate("l1", GRAY).mean
    return number(mean, METRICS["l1"].decimals) if np.isfinite(mean) else ""


def _difference(each: Comparison) -> str:
    """A sentence on a pair that is shown to differ."""
    about = METRICS[each.metric]
    low, high = sorted((abs(each.difference.low), abs(each.difference.high)))
    word, decimals = ("lower" if about.best == "lowest" else "higher"), about.decimals + 1
    p = probability(each.p_holm)
    return (
        f"{each.better} is {word} than {each.worse} by "
        f"{number(abs(each.difference.mean), decimals)} "
        f"(95\N{NO-BREAK SPACE}% CI {bounds(low, high, decimals)}, "
        f"p {p if p.startswith('<') else f'= {p}'})."
    )


def _gaps(
    report: Report, results: pd.DataFrame, sets: pd.DataFrame | None
) -> list[tuple[str, str]]:
    """What could not be computed, and why."""
    evaluation = report.evaluation
    gaps = [
        (METRICS[name].title if name in METRICS else _TITLES.get(name, name), reason)
        for name, reason in evaluation.missing.items()
    ]
    photographs = results["photo"].nunique()
    if sets is not None and not report.evaluation.judge:
        why = "an earlier colorgan began this report; a new report under another name has them"
        gaps.append(("Fréchet distances", why))
    elif sets is not None and photographs < FEWEST_PHOTOGRAPHS:
        why = (
            f"{photograph_count(photographs)} are too few: at least {FEWEST_PHOTOGRAPHS} are needed"
        )
        gaps.append(("Fréchet distances", why))
    there = results["model"].value_counts()
    for contestant in evaluation.contestants:
        lost = photographs - int(there.get(contestant.name, 0))
        if lost:
            what = f"no result for {lost} of {photograph_count(photographs)}"
            gaps.append((contestant.name, what))
    if "semantic" in results and results["semantic"].isna().all():
        gaps.append((METRICS["semantic"].title, no_labels(evaluation.classes)))
    for name in metrics_of(results):
        values = results[name].astype(float).replace([np.inf, -np.inf], np.nan)
        counts = values.groupby(results["model"]).agg(["size", "count"])
        for model, row in counts.iterrows():
            if row["count"] < row["size"]:
                lost = int(row["size"] - row["count"])
                what = f"no value for {lost} of {photograph_count(int(row['size']))}"
                gaps.append((f"{METRICS[name].title} of {model}", what))
    return gaps


def _in_text(title: str) -> str:
    """A title as written within a sentence: `semantic score`, but `L1 in ab` and `PSNR`."""
    return title[0].lower() + title[1:] if title[1:2].islower() else title
