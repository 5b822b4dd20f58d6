"""The sections on CIC, on the FCN score, on class-conditional models and on landscapes."""

import json
from dataclasses import replace

import pandas as pd

from colorgan.evaluation.results import ASSEMBLED, GRAY, ORIGINAL, open_report
from colorgan.evaluation.segmentation import SCORES, read_segmentation
from colorgan.evaluation.statistics import ALL_CLASSES, Estimate
from colorgan.evaluation.tables import interval, segmentation_tables
from colorgan.names import CIC, GENERAL, HYPERCOLUMN
from colorgan.storage import Storage
from jobs.reproduction.files import ROUTING
from jobs.reproduction.further import ARMS, BEST_CONDITIONAL, CONDITIONAL, FURTHER
from jobs.reproduction.plan import BEST, BEST_GENERAL, Reproduction
from jobs.reproduction.sections.comparing import (
    corrected,
    means_table,
    missing,
    pairs_table,
    verdict,
)
from jobs.reproduction.sections.section import Section, sentence

_LANDSCAPES = "landscapes"
_ARMS_IN_WORDS = (
    "Assembled: a model for each class. General: one for all. Conditional: one for all, whose "
    "discriminator is told the class. Those with sn have spectral normalisation. Best, "
    "best-general and best-conditional are the first three on a pretrained classifier."
)


def cic_section(storage: Storage, reproduction: Reproduction) -> Section:
    """CIC beside no colour, hypercolumn and the general cGAN."""
    results = open_report(storage, reproduction.run(FURTHER)).results()
    compared = corrected(results, [(CIC, GRAY), (CIC, HYPERCOLUMN), (CIC, GENERAL)])
    return Section(
        "cic",
        "How good is CIC, the baseline of pix2pix?",
        "The study named CIC (Zhang, Isola and Efros 2016) without measuring it. CIC predicts for "
        "each place how likely each of 313 colours is, and gives rare colours more weight.",
        verdict(compared, CIC),
        [
            means_table(
                "cic",
                "CIC, hypercolumn and the cGANs",
                results,
                (GRAY, HYPERCOLUMN, CIC, GENERAL, ASSEMBLED, ORIGINAL),
            ),
            pairs_table("cic", compared),
        ],
        steps=(CIC, f"evaluate-{FURTHER}"),
    )


def fcn_section(storage: Storage, reproduction: Reproduction) -> Section:
    """What a segmentation network sees in the colourings."""
    name = "fcn"
    question = "Does a segmentation network see in a colouring what it sees in the original?"
    asked = (
        "The study judged colourings by whether a classifier recognises them. The FCN score "
        "(Long 2015), by which pix2pix was judged, looks at every pixel."
    )
    report = open_report(storage, reproduction.run(FURTHER))
    described = read_segmentation(report)
    if described is None:
        return missing(name, question, asked, "No segmentation network was available.")
    scores, per_class = described
    results = report.results()
    compared = corrected(
        results,
        [(ASSEMBLED, GRAY), (GENERAL, GRAY), (ASSEMBLED, GENERAL)],
        ("fcn_iou", "mask_iou"),
    )
    without = (
        "The photographs have no masks, so the score compares colourings with originals alone, and "
        f"{report.evaluation.segmenter} tells only the classes' own subjects from everything else."
    )
    follows = [*_fcn_means(scores), *map(sentence, compared)]
    return Section(
        name,
        question,
        asked,
        follows if "masks" in {*scores["against"]} else [*follows, without],
        [
            replace(each, shown=each.shown[~each.shown["Class"].isin(reproduction.classes)])
            if "Class" in each.shown
            else each
            for each in segmentation_tables(scores, per_class, report.evaluation.segmenter)
        ],
        steps=("seeing", f"evaluate-{FURTHER}"),
    )


def _fcn_means(scores: pd.DataFrame) -> list[str]:
    """A sentence on the mean IoU of all photographs by model, for each thing compared with."""
    sentences = []
    whole = scores[scores["class"] == ALL_CLASSES]
    for against, part in whole.groupby("against", sort=False):
        words = [
            f"{row['model']} "
            + interval(Estimate(row["mean_iou"], row["mean_iou_low"], row["mean_iou_high"]), 3)
            for _, row in part.iterrows()
        ]
        what = "the masks" if against == "masks" else "the originals"
        sentences.append(f"{SCORES['mean_iou']} against {what}: {', '.join(words)}.")
    return sentences


def conditional_section(storage: Storage, reproduction: Reproduction) -> Section:
    """Dividing by weights beside telling the discriminator the class, at equal image passes."""
    results = open_report(storage, reproduction.run(CONDITIONAL)).results()
    plain, general_sn, conditional_sn = ARMS
    pairs = [
        (plain, GENERAL),
        (plain, ASSEMBLED),
        (general_sn, GENERAL),
        (conditional_sn, plain),
        (BEST_CONDITIONAL, BEST_GENERAL),
        (BEST_CONDITIONAL, BEST),
    ]
    compared = corrected(results, pairs)
    conclusions = [
        _passes(storage, reproduction),
        f"Of the {len(compared)} comparisons, {sum(bool(each.better) for each in compared)} show a "
        "difference.",
        *(
            line
            for subject in (plain, BEST_CONDITIONAL)
            for line in verdict([e for e in compared if e.first == subject], subject)
        ),
    ]
    return Section(
        CONDITIONAL,
        "Divide the weights by class, or tell one model's discriminator the class?",
        "The study's thesis is a model for each class. The rival, one model whose discriminator is "
        "given the class (Miyato and Koyama 2018), and spectral normalisation (Miyato 2018) are "
        "newer.",
        conclusions,
        [
            means_table(
                CONDITIONAL,
                "Assembled, general and class-conditional",
                results,
                (GRAY, ASSEMBLED, GENERAL, *ARMS, BEST, BEST_GENERAL, BEST_CONDITIONAL),
                about=_ARMS_IN_WORDS,
            ),
            pairs_table(CONDITIONAL, compared),
        ],
        steps=("classes", GENERAL, *ARMS, BEST_CONDITIONAL, f"evaluate-{CONDITIONAL}"),
    )


def _passes(storage: Storage, reproduction: Reproduction) -> str:
    """A sentence on how many photographs the trainings have passed over."""
    runs = {ASSEMBLED: "classes", BEST: BEST}
    words = []
    for name in (ASSEMBLED, GENERAL, *ARMS, BEST, BEST_GENERAL, BEST_CONDITIONAL):
        run = reproduction.run(runs.get(name, name))
        trained = json.loads(storage.get(f"runs/{run}/summary.json"))["models"]
        # The general model from which the class models of `best` start is the others' start, too.
        own = [each for each in trained if name != BEST or each["model"] != GENERAL]
        words.append(f"{name} {sum(each['photographs'] * each['epochs'] for each in own):,}")
    return f"Image passes in training: {', '.join(words)}."


def landscapes_section(storage: Storage, reproduction: Reproduction) -> Section:
    """The fourth class: whether its photographs reach their model, and what that gains."""
    name, question = _LANDSCAPES, "Do landscapes, the fourth class, gain by a model of their own?"
    asked = "The study gave up this class for want of photographs."
    if _LANDSCAPES not in reproduction.classes:
        why = (
            f"The dataset {reproduction.dataset['name']} has no class {_LANDSCAPES}: a folder of "
            "that name beside the other classes, staged, is all that this section needs."
        )
        return missing(name, question, asked, why)
    report = open_report(storage, reproduction.run("models"))
    own = report.results()
    own = own[own["class"] == _LANDSCAPES]
    pairs = [(ASSEMBLED, GENERAL), (BEST, BEST_GENERAL), (ASSEMBLED, GRAY), (BEST, GRAY)]
    compared = corrected(own, pairs)
    routed = json.loads(storage.get(reproduction.key(ROUTING)))["confusions"][0]
    counts = routed["counts"][routed["classes"].index(_LANDSCAPES)]
    right = counts[routed["answers"].index(_LANDSCAPES)]
    return Section(
        name,
        question,
        asked,
        [
            f"The router sends {right} of {sum(counts)} landscapes to their model, and "
            f"{routed['accuracy']:.0%} of all photographs to theirs.",
            *verdict([e for e in compared if e.first == ASSEMBLED], ASSEMBLED),
            *verdict([e for e in compared if e.first == BEST], BEST),
        ],
        [
            means_table(
                name,
                "Landscapes",
                own,
                (GRAY, ASSEMBLED, GENERAL, BEST, BEST_GENERAL, ORIGINAL),
                ("l1", "colorfulness", "colorfulness_gap"),
            ),
            pairs_table(name, compared),
        ],
        steps=("classes", GENERAL, BEST, BEST_GENERAL, "evaluate-models", "routing"),
    )
