"""The sections on routing, on colourings with dropout, and on failures."""

import io
import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from colorgan.evaluation.statistics import bootstrap_mean, groups
from colorgan.evaluation.tables import Table, interval, number
from colorgan.storage import Storage
from jobs.reproduction.files import (
    CONFUSION,
    FAILURES,
    FAILURES_SHEET,
    REALIZATIONS,
    ROUTING,
    ROUTING_SHEET,
    TURNS,
)
from jobs.reproduction.plan import Reproduction
from jobs.reproduction.scales import SCALES
from jobs.reproduction.sections.section import Picture, Section


def routing_section(storage: Storage, reproduction: Reproduction) -> Section:
    """How often the router errs, and what misrouting costs."""
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
            f"Misrouting changed L1 by {interval(price, 2)} Lab units on {len(wrong)} "
            "photographs, compared with the model of the true class."
            if len(wrong)
            else "No photograph was misrouted.",
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
                "What misrouting costs",
                "L1 in ab of the plain class models, by groups of test photographs. A hybrid also "
                "shows a second class.",
                cost,
                cost_shown,
            ),
        ],
        pictures=[
            Picture(CONFUSION, "Confusion matrices", "Gray and coloured, beside the report's."),
            Picture(
                ROUTING_SHEET,
                "Misrouted photographs and hybrids",
                "Grayscale, the router's model, the model of the true class, original.",
            ),
        ],
        steps=("routing",),
    )


def realizations_section(storage: Storage, reproduction: Reproduction) -> Section:
    """How much colourings differ with dropout on at test time, and whether choosing helps."""
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
        "middle": "Mean picture",
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
            f"Two colourings of a photograph differ by {number(data['spread'].iloc[0], 2)} Lab "
            f"units on average, and each differs from the original by "
            f"{number(data['mean'].iloc[0], 2)}.",
            f"Choosing the best of {count} needs the original, and changes L1 by "
            f"{interval(best, 2)} compared with the colouring without dropout. Taking the mean of "
            f"all {count} needs no original, and changes it by {interval(middle, 2)}.",
        ],
        [
            Table(
                "realizations",
                "Several colourings of each test photograph",
                "L1 in ab of the plain class models at 128 px, in Lab units. The last column is "
                "the L1 between two colourings of a photograph.",
                data,
                shown,
            )
        ],
        steps=("realizations",),
    )


def failures_section(storage: Storage, reproduction: Reproduction) -> Section:
    """The worst photographs of each model, with a reason if it can be measured."""
    table = pd.read_csv(io.BytesIO(storage.get(reproduction.key(FAILURES))), keep_default_na=False)
    # Tables are shared with others, so they must not reveal the folders of somebody's machine.
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
                "The photographs whose L1 exceeds that of the gray photograph most. Patches: "
                "colour changes where the lightness does not, over one and a half times as much as "
                "in the original. Nearly gray: less than a third as colourful as the original. Too "
                "strong: more than one and a half times as colourful.",
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


def _recalls(matrix: Mapping[str, Any]) -> str:
    return ", ".join(f"{label} {share:.0%}" for label, share in matrix["recall"].items())
