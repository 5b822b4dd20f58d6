"""The section on several colourings by noise."""

import io

import pandas as pd

from colorgan.evaluation.diversity import MEASURES, DiversityConfig
from colorgan.evaluation.statistics import ALL_CLASSES, Estimate
from colorgan.evaluation.tables import Table, interval
from colorgan.storage import Storage
from jobs.reproduction.further import DIVERSE, VARIANTS
from jobs.reproduction.plan import BEST_GENERAL, Reproduction
from jobs.reproduction.scales import SCALES
from jobs.reproduction.sections.section import Picture, Section

_SHEET = "pictures/variants.png"
_CHANCE = "_minus_chance"
_SHARE = "tint"  # a share, not a length in Lab units


def diverse_section(storage: Storage, reproduction: Reproduction) -> Section:
    """How much colourings by noise differ, how near the best one is, and who can choose."""
    folder = f"reports/{reproduction.run(VARIANTS)}"
    data = pd.read_csv(io.BytesIO(storage.get(f"{folder}/diversity.csv")))
    storage.put(reproduction.key(_SHEET), storage.get(f"{folder}/variants.png"))
    whole = data[data["class"] == ALL_CLASSES].set_index("measure")
    found = {
        str(name): Estimate(float(row["mean"]), float(row["low"]), float(row["high"]))
        for name, row in whole.iterrows()
    }
    options = SCALES[reproduction.scale].variants
    count = options.get("variants", DiversityConfig.variants)
    share = found[_SHARE]
    percent = Estimate(100 * share.mean, 100 * share.low, 100 * share.high)
    follows = [
        f"Two variants differ by {interval(found['spread'], 2)} Lab units; "
        f"{interval(percent, 0)} % of the squared difference is one tint all over the picture.",
        f"The best of {count} variants by the original, minus the colouring without noise: "
        f"{_judged(found['best_minus_zero'])}",
        f"The same minus the best of {count} plain tints of that colouring, which need no network: "
        f"{_judged(found['best_minus_best_tint'])}",
        f"The mean of all variants minus the colouring without noise: "
        f"{_judged(found['middle_minus_zero'])}",
        *(
            f"The {name.removesuffix(_CHANCE)} chose a variant; its L1 minus that of chance: "
            f"{_judged(each)}"
            for name, each in found.items()
            if name.endswith(_CHANCE)
        ),
    ]
    return Section(
        DIVERSE,
        "Can noise give a photograph several colourings, and can anybody choose among them?",
        "The study left open how to add noise effectively, since dropout hardly changes colours. "
        "Cao et al. (2017) feed noise to several layers.",
        follows,
        [_table(data, found)],
        pictures=[
            Picture(_SHEET, "Variants", "Grayscale, the variants by their numbers, original.")
        ],
        steps=(BEST_GENERAL, DIVERSE, VARIANTS),
    )


def _judged(difference: Estimate) -> str:
    """A difference of L1, and whether its interval excludes zero."""
    verdict = "no difference shown"
    if difference.high < 0:
        verdict = "lower"
    elif difference.low > 0:
        verdict = "higher"
    return f"L1 in ab {interval(difference, 2)}: {verdict}."


def _table(data: pd.DataFrame, found: dict[str, Estimate]) -> Table:
    shown = pd.DataFrame(
        [
            {
                "Measure": name.replace("_", " "),
                "What it is": MEASURES.get(name, "L1 of the variant that this critic chose"),
                "Mean": interval(each, 2),
            }
            for name, each in found.items()
        ]
    )
    shown.loc[shown["Measure"].str.endswith("minus chance"), "What it is"] = (
        "that minus the mean L1 of all variants"
    )
    note = (
        "Means over the test photographs at the model's size, in Lab units of a and b, with 95 % "
        "intervals in brackets. Variant 1 is the colouring of the zero vector, which is that "
        "without noise."
    )
    return Table(DIVERSE, "Several colourings of each photograph", note, data, shown, 2)
