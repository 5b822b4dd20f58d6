"""The experiments' results, read from what the jobs have written: a section a question."""

import io
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import pandas as pd

from colorgan.evaluation.figures import Figure, draw_differences, draw_lines, draw_means
from colorgan.evaluation.page import enumerated
from colorgan.evaluation.results import ASSEMBLED, GRAY, METRICS, open_report
from colorgan.evaluation.sets import read_sets
from colorgan.evaluation.statistics import (
    ALL_CLASSES,
    Analysis,
    Comparison,
    analyze,
    bootstrap_mean,
    compare,
    fit_power_law,
    groups,
)
from colorgan.evaluation.tables import (
    Table,
    interval,
    make_tables,
    number,
    survey_tables,
)
from colorgan.names import GENERAL, HYPERCOLUMN
from colorgan.storage import Storage
from colorgan.survey import survey_frames
from colorgan.sweeps.documents import Sweep, open_sweep, read_history
from colorgan.training.progress import format_seconds
from jobs.reproduction.plan import SCALES, Reproduction

BEST, BEST_GENERAL = "best", "best-general"

# Files that the analyses of a reproduction leave in its folder.
TRIALS = "data/trials.json"
ROUTING = "data/routing.json"
TURNS = "data/turns.csv"
REALIZATIONS = "data/realizations.csv"
FAILURES = "data/failures.csv"
FAILURES_SHEET = "pictures/failures.png"
ROUTING_SHEET = "pictures/misrouting.png"
CONFUSION = "pictures/confusion.png"

_REPORT_EPOCHS_S = {1: 8 * 3600, 5: 4 * 3600, 10: 3 * 3600}  # 50 epochs, by batch size


@dataclass(frozen=True)
class Picture:
    """A picture of a section, kept under the reproduction's folder."""

    file: str
    title: str
    caption: str


@dataclass(frozen=True)
class Section:
    """A question and its answer.

    Attributes:
        name: of its anchor.
        question: for people.
        report: what the 2018 report found.
        follows: what these numbers show, a sentence each.
        tables, figures, pictures: the numbers.
        steps: whose commands made it: see `Step`.
    """

    name: str
    question: str
    report: str
    follows: Sequence[str]
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    pictures: Sequence[Picture] = ()
    steps: Sequence[str] = ()


def make_sections(storage: Storage, reproduction: Reproduction) -> list[Section]:
    """Every section, in the report's order; raises NotInStorage where a step is missing."""
    makers: list[Callable[[Storage, Reproduction], Section]] = [
        models_section,
        time_section,
        sizes_section,
        batches_section,
        epochs_section,
        photographs_section,
        routing_section,
        realizations_section,
        failures_section,
    ]
    return [make(storage, reproduction) for make in makers]


def models_section(storage: Storage, reproduction: Reproduction) -> Section:
    """Assembled against general against hypercolumn, and the preset `best` beside them."""
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
            follows += [_sentence(each) for each in _comparisons(analysis, metric, pair)]
        if {*pair, GRAY} <= {*whole.index}:
            words = [f"{name} {number(whole[name], 2)}" for name in (*pair, GRAY)]
            follows.append(f"Fréchet distance: {', '.join(words)}.")
    for each in analysis.against_gray.get("l1", ()):
        follows.append(_sentence(each))
    return Section(
        "models",
        "Does dividing the photographs by class make colouring better?",
        "Assembled beat general and hypercolumn in the survey (all classes but people), and by the "
        "semantic score: assembled 0.4254, hypercolumn 0.3962, general 0.3665; gray 0.4155.",
        follows,
        [*tables, *survey_tables(survey_frames(report))],
        [draw_means(results, analysis), draw_differences(analysis)],
        steps=("classes", GENERAL, HYPERCOLUMN, "best", "best-general", "evaluate-models"),
    )


def time_section(storage: Storage, reproduction: Reproduction) -> Section:
    """Three models in parallel against one general model."""
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
            "Device time, added up": [format_seconds(each) for each in data["sum"]],
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
        "Three class models, trained at the same time, were there in a fraction of the general "
        "model's time: they are independent of each other.",
        [
            f"For as many image passes the class models at the same time took "
            f"{number(classes / general, 2)} of the wall time of one general model, on "
            f"{cores} cores that they share.",
            "On a device each, their wall time is that of the longest of them: "
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


def sizes_section(storage: Storage, reproduction: Reproduction) -> Section:
    """Small squares against large ones."""
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
    """Batches of 1, 5 and 10."""
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


def epochs_section(storage: Storage, reproduction: Reproduction) -> Section:
    """How quality and stability come with epochs."""
    rows, lines = [], {}
    for model in (*reproduction.classes, GENERAL):
        part = GENERAL if model == GENERAL else "classes"
        history = _history(storage, reproduction, part, model)
        losses = history["val_l1"].tolist()
        third = max(1, len(losses) // 3)
        moves = [abs(after - before) for before, after in pairwise(losses)]
        rows.append(
            {
                "model": model,
                "epochs": len(losses),
                "first": losses[0],
                "best": min(losses),
                "best_epoch": losses.index(min(losses)) + 1,
                "last": losses[-1],
                "early_moves": _mean(moves[:third]),
                "late_moves": _mean(moves[-third:]),
            }
        )
        lines[model] = (history["epoch"].tolist(), losses)
    data = pd.DataFrame(rows)
    shown = pd.DataFrame(
        {
            "Model": data["model"],
            "Epochs": data["epochs"].astype(str),
            "L1 after the first": [number(each, 2) for each in data["first"]],
            "Best": [number(each, 2) for each in data["best"]],
            "after epoch": data["best_epoch"].astype(str),
            "Last": [number(each, 2) for each in data["last"]],
            "Moves, first third": [number(each, 2) for each in data["early_moves"]],
            "Moves, last third": [number(each, 2) for each in data["late_moves"]],
        }
    )
    figures = [
        draw_lines(
            "epochs",
            "Validation L1 over the epochs",
            "Of the plain cGANs; lower is nearer to the true colours.",
            lines,
            "epoch",
            "L1 in ab",
        )
    ]
    sweep = open_sweep(storage, reproduction.run("batches"))
    judged = {
        f"{name} a batch": _evaluated(storage, sweep, trial)
        for trial, name in _values(sweep, "batch_size").items()
    }
    figures += [
        draw_lines(
            f"epochs-{metric}",
            f"{title} over the epochs",
            f"Of {reproduction.swept}, on the validation split, in the sweep over batch sizes.",
            {name: (frame["epoch"].tolist(), frame[metric].tolist()) for name, frame in own},
            "epoch",
            title,
        )
        for metric, title in (("semantic", "Semantic score"), ("frechet", "Fréchet distance"))
        if (own := [(n, f) for n, f in judged.items() if f[metric].notna().any()])
    ]
    calmer = [row["model"] for row in rows if row["late_moves"] < row["early_moves"]]
    early = [row["model"] for row in rows if row["best_epoch"] < row["epochs"]]
    return Section(
        "epochs",
        "How many epochs?",
        "Colours were strong after 2 epochs and stable only after hundreds; the classes needed "
        "350, 200 and 300 epochs.",
        [
            f"The validation L1 moved less from epoch to epoch at the end than at the beginning "
            f"for {enumerated(calmer) or 'none'} of {len(rows)} models.",
            f"It was best before the last epoch for {enumerated(early) or 'none'}.",
        ],
        [
            Table(
                "epochs",
                "Validation L1 by epoch",
                "A move is the difference of two epochs that follow each other, on average, in Lab "
                "units: how restless a training is.",
                data,
                shown,
            )
        ],
        figures,
        steps=("classes", GENERAL, "batches"),
    )


def photographs_section(storage: Storage, reproduction: Reproduction) -> Section:
    """More photographs: what they cost and what they bring."""
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


def routing_section(storage: Storage, reproduction: Reproduction) -> Section:
    """Where the router sends photographs, and what a wrong turn costs."""
    found = json.loads(storage.get(reproduction.key(ROUTING)))
    turns = pd.read_csv(io.BytesIO(storage.get(reproduction.key(TURNS))))
    matrix = found["confusions"][0]
    data = pd.DataFrame(matrix["counts"], columns=matrix["answers"])
    data.insert(0, "class", matrix["classes"])
    shown = data.astype(str).rename(columns={"class": "Class"})
    shown["recall"] = [f"{matrix['recall'][label]:.0%}" for label in matrix["classes"]]
    cost = pd.DataFrame(found["cost"])
    columns = [name for name in cost.columns if name not in ("photographs of", "photographs")]
    cost_shown = pd.DataFrame(
        {
            "Photographs": cost["photographs of"],
            "Number": cost["photographs"].astype(str),
            **{name.capitalize(): [number(v, 2) for v in cost[name]] for name in columns},
        }
    )
    wrong = turns[~turns["right"]]
    chosen = [row[row["sent_to"]] - row[row["class"]] for _, row in wrong.iterrows()]
    price = bootstrap_mean(chosen)
    return Section(
        "router",
        "How often does the router err, and what does it cost?",
        "VGG-16 sent all animals, 85 % of people and 87 % of vehicles to their models.",
        [
            f"{matrix['accuracy']:.0%} of the test photographs were sent to their class "
            f"({_recalls(matrix)}).",
            f"A wrong turn changed L1 by {interval(price, 2)} Lab units on {len(wrong)} "
            "photographs, compared with the model of the true class."
            if len(wrong)
            else "No photograph was sent astray.",
        ],
        [
            Table(
                "confusion",
                "Where photographs are sent, as gray pictures",
                f"Rows are the true classes. Router: {found['router']} on {found['classifier']}.",
                data,
                shown,
            ),
            Table(
                "wrong-turns",
                "What a wrong turn costs",
                "L1 in ab of the plain class models, by groups of test photographs. A hybrid shows "
                "a second class, too.",
                cost,
                cost_shown,
            ),
        ],
        pictures=[
            Picture(CONFUSION, "Confusion matrices", "Gray and coloured, beside the report's."),
            Picture(
                ROUTING_SHEET,
                "Wrong turns and hybrids",
                "Grayscale, the router's model, the model of the true class, original.",
            ),
        ],
        steps=("routing",),
    )


def realizations_section(storage: Storage, reproduction: Reproduction) -> Section:
    """Dropout on at test time: several colourings of a photograph."""
    table = pd.read_csv(io.BytesIO(storage.get(reproduction.key(REALIZATIONS))))
    count = SCALES[reproduction.scale].realizations
    columns = ("gray", "still", "mean", "best", "worst", "middle", "spread")
    rows = [
        {"class": name, "n": len(part), **{each: part[each].mean() for each in columns}}
        for name, part in groups(table.assign(photo=table["source"])).items()
    ]
    data = pd.DataFrame(rows)
    titles = {
        "gray": "Gray",
        "still": "Dropout off",
        "mean": "On, mean",
        "best": f"Best of {count}",
        "worst": f"Worst of {count}",
        "middle": "Their mean picture",
        "spread": "Between two",
    }
    shown = pd.DataFrame(
        {
            "Class": data["class"],
            "Photographs": data["n"].astype(str),
            **{title: [number(v, 2) for v in data[name]] for name, title in titles.items()},
        }
    )
    best = bootstrap_mean(table["best"] - table["still"])
    middle = bootstrap_mean(table["middle"] - table["still"])
    return Section(
        "realizations",
        "Is the colouring stochastic, and does it help to choose?",
        "Dropout at test time is the only noise; the report saw little of it.",
        [
            f"Two colourings of a photograph are {number(data['spread'].iloc[0], 2)} Lab units "
            f"from each other, where they are {number(data['mean'].iloc[0], 2)} from the truth.",
            f"The best of {count}, which only the truth can choose, differs from the one without "
            f"dropout by {interval(best, 2)}; their mean picture, which anybody can make, by "
            f"{interval(middle, 2)}.",
        ],
        [
            Table(
                "realizations",
                "Several colourings of each test photograph",
                "L1 in ab, in Lab units, of the plain class models at 128 px; in the last column "
                "between two colourings of a photograph.",
                data,
                shown,
            )
        ],
        steps=("realizations",),
    )


def failures_section(storage: Storage, reproduction: Reproduction) -> Section:
    """The worst photographs of each model, with a reason where it can be measured."""
    table = pd.read_csv(io.BytesIO(storage.get(reproduction.key(FAILURES))), keep_default_na=False)
    # Tables are passed on: they do not say in which folder of whose machine a photograph lay.
    table["source"] = table["source"].str.rsplit("/", n=1).str[-1]
    shown = pd.DataFrame(
        {
            "Model": table["model"],
            "Photograph": table["source"],
            "Class": table["class"],
            "What is wrong": table["reason"],
            "L1": [number(each, 1) for each in table["l1"]],
            "L1 of gray": [number(each, 1) for each in table["gray"]],
        }
    )
    counted = table["reason"].str.split(", ").explode().groupby(table["model"]).value_counts()
    follows = []
    for model in dict.fromkeys(table["model"]):
        reasons = ", ".join(f"{reason} {times}" for reason, times in counted[model].items())
        follows.append(f"{model}: {reasons}.")
    return Section(
        "failures",
        "What goes wrong?",
        "Patches of colour, and backgrounds that stay gray.",
        follows,
        [
            Table(
                "failures",
                "Each model's worst photographs",
                "Those whose L1 is most above that of the gray photograph. Patches: colour changes "
                "where the lightness does not, half as often again as in the original; nearly gray "
                "and too strong: less than a third, more than one and a half times as colourful.",
                table,
                shown,
                4,
            )
        ],
        pictures=[
            Picture(
                FAILURES_SHEET,
                "Each model's worst photographs",
                "Grayscale, coloured, original.",
            )
        ],
        steps=("evaluate-models", "failures"),
    )


@dataclass(frozen=True)
class _Trial:
    """A sweep's trial after its last epoch.

    Attributes:
        name: of its contestant in the comparison of the trials.
        value: of what the sweep varies.
        epoch_s: median seconds of an epoch but the first, without its validation.
        seconds: of all epochs, with it.
        curve: epochs, and the validation L1 after each.
        results: of the swept class's test photographs, as `Report.results` returns them.
    """

    name: str
    value: int
    epoch_s: float
    seconds: float
    curve: tuple[list[float], list[float]]
    results: pd.DataFrame


def trial_name(part: str, value: object) -> str:
    """What a trial is called in the comparison of all trials, as `sizes-128`."""
    return f"{part}-{value}"


def _trials(storage: Storage, reproduction: Reproduction, part: str, varied: str) -> list[_Trial]:
    sweep = open_sweep(storage, reproduction.run(part))
    results = _swept_results(storage, reproduction)
    trials = []
    for trial, value in _values(sweep, varied).items():
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


def _values(sweep: Sweep, varied: str) -> dict[str, int]:
    return {plan.name: int(plan.values[varied]) for plan in sweep.trials}


def _evaluated(storage: Storage, sweep: Sweep, trial: str) -> pd.DataFrame:
    records = read_history(storage, sweep, trial).evaluations
    return pd.DataFrame(
        [{"epoch": r.epoch, "semantic": r.semantic, "frechet": r.frechet} for r in records]
    ).astype(float)


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
        "Each trained from the same seed for as many epochs. An epoch is without its validation, "
        "all epochs are with it. The test's figures are of the class's test photographs at their "
        "full size, with 95 % intervals."
    )
    return Table(name, title, note, pd.DataFrame(rows), pd.DataFrame(shown))


def _curves(name: str, trials: Sequence[_Trial], unit: str) -> Figure:
    return draw_lines(
        name,
        "Validation L1 over the epochs",
        "Each training at its own size; lower is nearer to the true colours.",
        {f"{trial.value} {unit}": trial.curve for trial in trials},
        "epoch",
        "L1 in ab",
    )


def _between(
    storage: Storage, reproduction: Reproduction, one: _Trial, other: _Trial, unit: str
) -> list[str]:
    """What the test photographs say of two trials."""
    if one is other:
        return []
    results = _swept_results(storage, reproduction)
    sentences = []
    for metric in ("l1", "semantic"):
        for each in compare(results, metric, [(one.name, other.name)], seed=0):
            sentences.append(_sentence(each, {t.name: f"{t.value} {unit}" for t in (one, other)}))
    return sentences


def _comparisons(analysis: Analysis, metric: str, pair: tuple[str, str]) -> list[Comparison]:
    verdict = analysis.verdicts.get(metric)
    found = verdict.comparisons if verdict else ()
    return [each for each in found if {each.first, each.second} == {*pair}]


def _sentence(each: Comparison, named: Mapping[str, str] = MappingProxyType({})) -> str:
    """The mean difference of a pair, its interval, and whether it is beyond chance.

    Args:
        each: the pair.
        named: what is called otherwise than in the comparison.
    """
    about = METRICS[each.metric]
    first, second, better = (
        named.get(name, name) for name in (each.first, each.second, each.better)
    )
    verdict = f"{better} is better" if better else "no difference shown"
    return (
        f"{about.title}, {first} minus {second}: "
        f"{interval(each.difference, about.decimals)} on {each.photographs} photographs: {verdict}."
    )


def _summary(storage: Storage, reproduction: Reproduction, part: str) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads(storage.get(f"runs/{reproduction.run(part)}/summary.json"))
    return summary


def _history(storage: Storage, reproduction: Reproduction, part: str, model: str) -> pd.DataFrame:
    key = f"runs/{reproduction.run(part)}/{model}/history.csv"
    return pd.read_csv(io.BytesIO(storage.get(key)))


def _each_time(summary: Mapping[str, Any]) -> str:
    times = (f"{each['model']} {format_seconds(each['seconds'])}" for each in summary["models"])
    return ", ".join(times) + " of device time here."


def _recalls(matrix: Mapping[str, Any]) -> str:
    return ", ".join(f"{label} {share:.0%}" for label, share in matrix["recall"].items())


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values) if values else float("nan")
