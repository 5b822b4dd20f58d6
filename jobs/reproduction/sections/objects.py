"""The section on colouring by objects."""

import io

import pandas as pd

from colorgan.evaluation.hybrids import REGIONS, SECOND, TRUTH
from colorgan.evaluation.results import ASSEMBLED
from colorgan.evaluation.statistics import Estimate, bootstrap_mean
from colorgan.evaluation.tables import Table, interval
from colorgan.names import OBJECTS
from colorgan.storage import Storage
from jobs.reproduction.further import HYBRIDS, knows_labels
from jobs.reproduction.plan import Reproduction
from jobs.reproduction.sections.comparing import missing
from jobs.reproduction.sections.section import Picture, Section

_SHEET = "pictures/hybrids.png"


def objects_section(storage: Storage, reproduction: Reproduction) -> Section:
    """Colouring by objects beside assembled, on pictures in which two classes are seen."""
    question = "Does it help to colour each object by the model of its class?"
    asked = (
        "The study's models coloured photographs with things of two classes badly, such as people "
        "in the class of animals. Its third idea for later is to find objects and colour each by "
        "the model of its class."
    )
    if not knows_labels(reproduction):
        why = (
            f"The classes {', '.join(reproduction.classes)} are not those whose objects a detector "
            "finds: animals, people and vehicles."
        )
        return missing(OBJECTS, question, asked, why)
    folder = f"reports/{reproduction.run(HYBRIDS)}"
    summary = pd.read_csv(io.BytesIO(storage.get(f"{folder}/hybrids.csv")), keep_default_na=False)
    pictures = pd.read_csv(io.BytesIO(storage.get(f"{folder}/pictures.csv")))
    storage.put(reproduction.key(_SHEET), storage.get(f"{folder}/pictures.png"))
    return Section(
        OBJECTS,
        question,
        asked,
        [
            *_gain(summary, OBJECTS),
            *_found(pictures),
            *_gain(summary, TRUTH),
        ],
        [_table(summary)],
        pictures=[
            Picture(
                _SHEET,
                "Pictures of two classes",
                f"{TRUTH} knows where the objects are, as a perfect detector would.",
            )
        ],
        steps=("seeing", HYBRIDS),
    )


def _gain(summary: pd.DataFrame, model: str) -> list[str]:
    """Sentences on what a model changes against assembled, in each part of the pictures."""
    lines = []
    for region in REGIONS:
        here = summary[
            (summary["region"] == region)
            & (summary["model"] == model)
            & (summary["minus"] == ASSEMBLED)
        ]
        for _, row in here.iterrows():
            gain = Estimate(float(row["mean"]), float(row["low"]), float(row["high"]))
            better = model if gain.high < 0 else ASSEMBLED if gain.low > 0 else ""
            verdict = f"{better} is better" if better else "no difference shown"
            lines.append(
                f"L1 in ab of the {region}, {model} minus {ASSEMBLED}: {interval(gain, 2)} on "
                f"{row['pictures']} pictures: {verdict}."
            )
    return lines


def _found(pictures: pd.DataFrame) -> list[str]:
    shares = pictures[pictures["model"] == OBJECTS]["found"].dropna()
    if not len(shares):
        return []
    share = bootstrap_mean(100 * shares)
    return [f"The detector finds {interval(share, 0)} % of the {SECOND}s' pixels."]


def _table(summary: pd.DataFrame) -> Table:
    rows = []
    for (model, minus), part in summary.groupby(["model", "minus"], sort=False):
        cells = {
            str(row["region"]).capitalize(): interval(
                Estimate(float(row["mean"]), float(row["low"]), float(row["high"])), 2
            )
            for _, row in part.iterrows()
        }
        rows.append({"Model": f"{model} minus {minus}" if minus else str(model), **cells})
    note = (
        "L1 in ab, in Lab units, with 95 % intervals in brackets. The second object is the one to "
        "whose class the router did not send the picture. All models are the released ones."
    )
    return Table(OBJECTS, "Pictures of two classes", note, summary, pd.DataFrame(rows))
