"""The sections on classifiers: as routers, and as judges of what colours change."""

import io
from itertools import combinations

import numpy as np
import pandas as pd

from colorgan.evaluation.page import enumerated
from colorgan.evaluation.results import GRAY, ORIGINAL
from colorgan.evaluation.robustness import ATTACK, COLORING, DIFFERENCE, NOISE
from colorgan.evaluation.routing import REPORT
from colorgan.evaluation.statistics import ALL_CLASSES, Estimate, bootstrap_mean
from colorgan.evaluation.tables import NOTHING, Table, interval
from colorgan.inference.router_choice import LABELS
from colorgan.storage import Storage
from jobs.reproduction.files import WORN
from jobs.reproduction.further import (
    CLASS_ROBUSTNESS,
    CLASSIFIERS,
    ROBUSTNESS,
    known_to_labels,
)
from jobs.reproduction.plan import Reproduction
from jobs.reproduction.scales import SCALES
from jobs.reproduction.sections.section import Picture, Section

_MEASURES = {
    "class_flips_gray": "Class differs from the gray photograph's",
    "label_flips_gray": "Label differs from the gray photograph's",
    "class_flips_original": "Class differs from the original's",
    "label_flips_original": "Label differs from the original's",
    "right": "Class is right",
    "confidence": "Confidence in the label",
}


def classifiers_section(storage: Storage, reproduction: Reproduction) -> Section:
    """The accuracy of several classifiers as routers, and of routers on worn prints."""
    follows, tables = [], []
    if known_to_labels(reproduction):
        found = _read(storage, f"reports/{reproduction.run(CLASSIFIERS)}/classifiers.csv")
        tables.append(_matrices(found))
        follows += _accuracies(found, SCALES[reproduction.scale].classifiers)
    else:
        follows.append(
            f"ImageNet's labels do not know all of {enumerated(reproduction.classes)}, so the "
            "classifiers alone cannot route these photographs; heads on them can."
        )
    worn = _read(storage, reproduction.key(WORN))
    return Section(
        CLASSIFIERS,
        "Which classifier is the best router, and which copes with worn prints?",
        f"VGG-16 sent {REPORT.accuracy:.1%} of the photographs to their class.",
        [*follows, *_worn_sentences(worn)],
        [*tables, _worn_table(worn)],
        steps=(CLASSIFIERS, "worn"),
    )


def _accuracies(found: pd.DataFrame, asked: tuple[str, ...]) -> list[str]:
    """A sentence on the accuracies, the best first, and one on classifiers that are missing."""
    shares = {}
    for name, part in _by_the_rule(found).groupby("classifier", sort=False):
        right = sum(row[f"-> {row['class']}"] for _, row in part.iterrows())
        count = int(part["photographs"].sum())
        values = np.repeat([1.0, 0.0], [right, count - right])
        shares[str(name)] = (bootstrap_mean(values), count)
    ranked = sorted(shares, key=lambda name: -shares[name][0].mean)
    words = [f"{name} {_percent(shares[name][0])}" for name in ranked]
    count = shares[ranked[0]][1]
    lines = [f"Share of {count} gray photographs sent to their class: {', '.join(words)}."]
    if absent := [name for name in asked if name not in shares]:
        lines.append(f"The weights of {enumerated(absent)} were not available.")
    return lines


def _matrices(found: pd.DataFrame) -> Table:
    shown = _by_the_rule(found).astype(str).drop(columns="seen")
    for name in ("recall", "type 1 error", "accuracy"):
        shown[name] = [f"{float(value):.1%}" for value in shown[name]]
    shown.columns = [str(name)[:1].upper() + str(name)[1:] for name in shown.columns]
    note = (
        "Rows are true classes, columns with an arrow where their gray photographs are sent. The "
        "file with the unrounded numbers also has those of photographs in colour, and of the "
        "rule without its threshold."
    )
    return Table(CLASSIFIERS, "Confusion matrices of all classifiers", note, found, shown, 2)


def _by_the_rule(found: pd.DataFrame) -> pd.DataFrame:
    """The matrices of gray photographs by the rule with its threshold."""
    return found[found["seen"] == found["seen"].iloc[0]]


def _shares(worn: pd.DataFrame) -> dict[str, dict[str, pd.Series]]:
    """By router, the share of right answers for each photograph: clean, and over its copies."""
    keys = ["photo", "class"]
    return {
        str(name): {
            "clean": part[part["copy"] == 0].set_index(keys)["right"],
            "worn": part[part["copy"] > 0].groupby(keys)["right"].mean(),
        }
        for name, part in worn.groupby("router", sort=False)
    }


def _worn_sentences(worn: pd.DataFrame) -> list[str]:
    shares = _shares(worn)
    copies = worn["copy"].max()
    words = [f"{name} {_percent(bootstrap_mean(each['worn']))}" for name, each in shares.items()]
    kinds = "a copy" if copies == 1 else f"{copies} copies"
    lines = [
        f"Share sent to their class, of {kinds} of each photograph with simulated wear: "
        f"{', '.join(words)}."
    ]
    names = list(shares)
    for second, first in combinations(names, 2):
        gain = bootstrap_mean(shares[first]["worn"] - shares[second]["worn"])
        lines.append(f"{first} minus {second}: {_percent(gain)}: {_shown(gain)}.")
    return lines


def _worn_table(worn: pd.DataFrame) -> Table:
    rows = []
    for name, each in _shares(worn).items():
        for seen, values in each.items():
            mean = bootstrap_mean(values)
            line = {"router": name, "photographs": seen, "n": len(values)}
            rows.append(line | {"right": mean.mean, "low": mean.low, "high": mean.high})
    data = pd.DataFrame(rows)
    shown = pd.DataFrame(
        {
            "Router": data["router"],
            "Photographs": data["photographs"],
            "Number": data["n"].astype(str),
            "Sent to their class": [
                _percent(Estimate(row["right"], row["low"], row["high"]))
                for _, row in data.iterrows()
            ],
        }
    )
    note = (
        f"Noise, blur, fading, scratches, vignettes and borders at random. {LABELS} is the rule on "
        "ImageNet's labels; a head is trained on this dataset, the last one also on worn copies of "
        "its training photographs, whose wear is simulated by the same code as here."
    )
    return Table("worn", "Worn prints", note, data, shown, 2)


def robustness_section(storage: Storage, reproduction: Reproduction) -> Section:
    """Whether colours change what a classifier says, by themselves and as an attack."""
    folder = f"reports/{reproduction.run(ROBUSTNESS)}"
    label = _read(storage, f"{folder}/robustness.csv")
    of_class = _read(storage, f"reports/{reproduction.run(CLASS_ROBUSTNESS)}/robustness.csv")
    sheet = reproduction.key("pictures/flipped.png")
    storage.put(sheet, storage.get(f"{folder}/flipped.png"))
    return Section(
        ROBUSTNESS,
        "Does a colouring change what a classifier says, as an adversarial example does?",
        "The study left colourings as adversarial examples (Kurakin 2016) for later.",
        [
            *_flip_sentences(label),
            *_attack_sentences(label, "label"),
            *_attack_sentences(of_class, "class"),
        ],
        [
            _flips_table(label),
            _attack_table("attacks", "Colours as an attack on the label", label, "label"),
            _attack_table("class-attacks", "Colours as an attack on the class", of_class, "class"),
        ],
        pictures=[
            Picture(
                "pictures/flipped.png",
                "The photographs about which the classifier changes its mind most",
                "By themselves, and after the attack with the largest bound.",
            )
        ],
        steps=(ROBUSTNESS, CLASS_ROBUSTNESS),
    )


def _estimate(
    found: pd.DataFrame, model: str, change: str, measure: str, epsilon: float = 0.0
) -> Estimate | None:
    here = found[
        (found["class"] == ALL_CLASSES)
        & (found["model"] == model)
        & (found["change"] == change)
        & (found["epsilon"] == epsilon)
        & (found["measure"] == measure)
    ]
    for _, row in here.iterrows():
        return Estimate(row["mean"], row["low"], row["high"])
    return None


def _models(found: pd.DataFrame) -> list[str]:
    return [str(name) for name in found["model"].unique()]


def _flip_sentences(found: pd.DataFrame) -> list[str]:
    """For every model, the share of photographs whose label and class its colours change."""
    lines = []
    for model in _models(found):
        if model in (GRAY, ORIGINAL):
            continue
        parts = {
            word: _estimate(found, model, COLORING, f"{word}_flips_{GRAY}")
            for word in ("label", "class")
        }
        words = [f"the {word} of {_percent(each)}" for word, each in parts.items() if each]
        lines.append(f"The colours of {model} change {' and '.join(words)} of the photographs.")
    return lines


def _attack_sentences(found: pd.DataFrame, word: str) -> list[str]:
    """For every bound, how many pictures the attack changes more than noise does."""
    measure, lines = f"{word}_flips", []
    for epsilon in sorted(found.loc[found["change"] == DIFFERENCE, "epsilon"].unique()):
        words = [
            f"{model} {_percent(each)} ({_shown(each)})"
            for model in _models(found)
            if (each := _estimate(found, model, DIFFERENCE, measure, epsilon))
        ]
        lines.append(
            f"Within {epsilon:g} Lab units, chosen changes of a and b change the {word} of more "
            f"pictures than noise does, by: {', '.join(words)}."
        )
    return lines


def _flips_table(found: pd.DataFrame) -> Table:
    models = _models(found)
    part = found[(found["class"] == ALL_CLASSES) & (found["change"] == COLORING)]
    shown = [
        {"": title}
        | {
            model: NOTHING if each is None else interval(each, 3)
            for model in models
            for each in [_estimate(found, model, COLORING, measure)]
        }
        for measure, title in _MEASURES.items()
    ]
    note = (
        "Shares of photographs, with 95 % intervals in brackets. The classifier names the ImageNet "
        "label; the class follows from it by the router's rule. Best are the class models on a "
        "pretrained classifier, assembled, and best-general is the general one."
    )
    title = "What the classifier says about colourings"
    return Table("flips", title, note, part.reset_index(drop=True), pd.DataFrame(shown))


def _attack_table(name: str, title: str, found: pd.DataFrame, word: str) -> Table:
    changed = found["change"].isin([NOISE, ATTACK, DIFFERENCE])
    part = found[
        (found["class"] == ALL_CLASSES) & changed & (found["measure"] == f"{word}_flips")
    ].reset_index(drop=True)
    shown = []
    for (epsilon, change), own in part.groupby(["epsilon", "change"], sort=False):
        cells = {
            row["model"]: interval(Estimate(row["mean"], row["low"], row["high"]), 3)
            for _, row in own.iterrows()
        }
        shown.append({"Bound": f"{epsilon:g}", "Change": str(change), **cells})
    note = (
        f"The share of pictures whose {word} is another after every a and b is changed by at most "
        "the bound, in Lab units, while the lightness stays: at random, or by gradient steps."
    )
    return Table(name, title, note, part, pd.DataFrame(shown), 2)


def _read(storage: Storage, key: str) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(storage.get(key)))


def _percent(share: Estimate) -> str:
    """A share with its interval, in percent."""
    each = Estimate(100 * share.mean, 100 * share.low, 100 * share.high)
    return f"{interval(each, 1)} %"


def _shown(difference: Estimate) -> str:
    """Whether the interval of a difference excludes zero, as words."""
    if difference.low > 0:
        return "shown to be more"
    return "shown to be less" if difference.high < 0 else "no difference shown"
