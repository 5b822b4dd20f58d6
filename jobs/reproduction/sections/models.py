"""The sections that compare the models: how well they colour, and how long they train."""

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from colorgan.evaluation.figures import draw_differences, draw_means
from colorgan.evaluation.report import read_figure
from colorgan.evaluation.results import ASSEMBLED, GRAY, open_report
from colorgan.evaluation.sets import read_sets
from colorgan.evaluation.statistics import ALL_CLASSES, Analysis, Comparison, analyze
from colorgan.evaluation.tables import Table, make_tables, number, survey_tables
from colorgan.names import GENERAL, HYPERCOLUMN
from colorgan.storage import Storage
from colorgan.survey import survey_frames
from colorgan.training.progress import format_seconds
from jobs.reproduction.plan import BEST, BEST_GENERAL, Reproduction
from jobs.reproduction.sections.section import Section, sentence


def models_section(storage: Storage, reproduction: Reproduction) -> Section:
    """The comparison of assembled, general and hypercolumn, and of the preset `best`."""
    report = open_report(storage, reproduction.run("models"))
    results = report.results()
    analysis = analyze(results)
    sets = read_sets(report)
    whole = sets[sets["class"] == ALL_CLASSES].set_index("model")["distance"].dropna()
    wanted = ("summary", "semantic", "frechet", "paired", "against-gray", "metric-l1")
    made = make_tables(results, analysis, sets, report.evaluation.judge)
    tables = [table for table in made if table.name in wanted]
    follows = []
    for pair in (
        (ASSEMBLED, GENERAL),
        (BEST, BEST_GENERAL),
        (ASSEMBLED, HYPERCOLUMN),
        (BEST, ASSEMBLED),
    ):
        for metric in ("l1", "semantic", "colorfulness_gap"):
            follows += [sentence(each) for each in _comparisons(analysis, metric, pair)]
        if {*pair, GRAY} <= {*whole.index}:
            words = [f"{name} {number(whole[name], 2)}" for name in (*pair, GRAY)]
            follows.append(f"Fréchet distance: {', '.join(words)}.")
    for each in analysis.against_gray.get("l1", ()):
        follows.append(sentence(each))
    return Section(
        "models",
        "Does dividing the photographs by class make colouring better?",
        "Assembled beat general and hypercolumn in the survey (all classes but people), and by the "
        "semantic score: assembled 0.4254, hypercolumn 0.3962, general 0.3665; gray 0.4155.",
        follows,
        [*tables, *survey_tables(survey_frames(report))],
        [
            read_figure(report, "means") or draw_means(results, analysis),
            read_figure(report, "differences") or draw_differences(analysis),
        ],
        steps=("classes", GENERAL, HYPERCOLUMN, "best", "best-general", "evaluate-models"),
    )


def time_section(storage: Storage, reproduction: Reproduction) -> Section:
    """The training time of class models in parallel, compared with one general model."""
    rows = []
    for part, what in (
        ("classes", "the class models, at the same time"),
        (GENERAL, "one general model"),
        (BEST, "best: general, then the class models"),
    ):
        summary = _summary(storage, reproduction, part)
        models = summary["models"]
        began = min(each["started"] for each in models)
        rows.append(
            {
                "what": what,
                "models": len(models),
                "passes": sum(each["photographs"] * each["epochs"] for each in models),
                "wall": max(each["ended"] for each in models) - began,
                "sum": summary["sum_seconds"],
                "devices": ", ".join(sorted({each["device"] for each in models})),
            }
        )
    data = pd.DataFrame(rows)
    shown = pd.DataFrame(
        {
            "Trained": data["what"],
            "Image passes": [f"{passes:,}" for passes in data["passes"]],
            "Wall time": [format_seconds(each) for each in data["wall"]],
            "Device time, total": [format_seconds(each) for each in data["sum"]],
            "Wall time of 10,000 passes": [
                format_seconds(10_000 * wall / passes)
                for wall, passes in zip(data["wall"], data["passes"], strict=True)
            ],
            "Device": data["devices"],
        }
    )
    classes, general = (row["wall"] / row["passes"] for row in rows[:2])
    cores = reproduction.machine.get("cores")
    return Section(
        "time",
        "Does dividing make training faster?",
        "Three class models, trained at the same time, finished in a fraction of the general "
        "model's time: they are independent of each other.",
        [
            f"For the same number of image passes, the class models, trained at the same time on "
            f"{cores} shared cores, took {number(classes / general, 2)} of the wall time of one "
            "general model.",
            "With one device each, their wall time is that of the slowest of them: "
            + _each_time(_summary(storage, reproduction, "classes")),
        ],
        [
            Table(
                "time",
                "Wall time and device time",
                "From the first model's first step to the last one's package. An image pass is one "
                "photograph in one epoch.",
                data,
                shown,
            )
        ],
        steps=("classes", GENERAL, BEST),
    )


def _comparisons(analysis: Analysis, metric: str, pair: tuple[str, str]) -> list[Comparison]:
    verdict = analysis.verdicts.get(metric)
    found = verdict.comparisons if verdict else ()
    return [each for each in found if {each.first, each.second} == {*pair}]


def _summary(storage: Storage, reproduction: Reproduction, part: str) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads(storage.get(f"runs/{reproduction.run(part)}/summary.json"))
    return summary


def _each_time(summary: Mapping[str, Any]) -> str:
    times = (f"{each['model']} {format_seconds(each['seconds'])}" for each in summary["models"])
    return ", ".join(times) + " of device time here."
