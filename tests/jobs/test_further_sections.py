"""The sections on what else the report names, from results that are made up."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import pytest

from colorgan.evaluation.results import Contestant, Evaluation
from colorgan.evaluation.tables import to_csv
from colorgan.storage import Storage
from jobs.reproduction.files import ROUTING, WORN
from jobs.reproduction.further import ARMS, BEST_CONDITIONAL, DIVERSE, Seeing, measuring_steps
from jobs.reproduction.plan import Reproduction
from jobs.reproduction.sections.baselines import (
    cic_section,
    conditional_section,
    fcn_section,
    landscapes_section,
)
from jobs.reproduction.sections.classifiers import classifiers_section, robustness_section
from jobs.reproduction.sections.diverse import diverse_section
from jobs.reproduction.sections.objects import objects_section

CLASSES = ("animals", "people", "vehicles")
ONES = (0.9, 1.0, 1.1)  # mean 1; the bootstrap of three has an interval


def reproduction(classes: tuple[str, ...] = CLASSES) -> Reproduction:
    counts = dict.fromkeys(classes, 1)
    return Reproduction("r", "", "smoke", {"name": "photos"}, classes, classes[0], counts)


def write_results(
    storage: Storage,
    name: str,
    errors: Mapping[str, float],
    classes: Sequence[str] = CLASSES,
    segments: tuple[str, ...] = (),
) -> None:
    """A report: each model's L1 is its error times 0.9, 1 and 1.1 on three photographs a class."""
    contestants = tuple(Contestant(model, "") for model in errors)
    described = ({}, "test", 9, 0, tuple(classes), contestants, "labels", "a classifier")
    seen = {"segmenter": "a segmenter", "segments": segments} if segments else {}
    evaluation = Evaluation(name, "", *described, **seen)
    storage.put(f"reports/{name}/evaluation.json", evaluation.to_json())
    lines = [
        {"photo": f"{label}-{place}", "source": "", "class": label, "model": model}
        | {"l1": error * factor, "semantic": 0.5 * factor, "colorfulness": 20 * factor}
        for label in classes
        for model, error in errors.items()
        for place, factor in enumerate(ONES)
    ]
    file = io.BytesIO()
    pd.DataFrame(lines).to_parquet(file)
    storage.put(f"reports/{name}/results.parquet", file.getvalue())


def text_of(section: object) -> str:
    return "\n".join(getattr(section, "follows"))  # noqa: B009


def test_cic_is_judged_against_gray_hypercolumn_and_general(storage: Storage) -> None:
    errors = {"gray": 10.0, "original": 0.0, "assembled": 7.0, "general": 8.0}
    write_results(storage, "r-further", {**errors, "hypercolumn": 8.0, "cic": 9.0})
    section = cic_section(storage, reproduction())
    said = text_of(section)
    assert section.follows[0] == (
        "L1 in ab: cic is better than gray, and worse than hypercolumn and general."
    )
    assert "L1 in ab, cic minus gray: \N{MINUS SIGN}1.00 [\N{MINUS SIGN}1.0" in said
    assert "cic minus general: 1.00 [" in said
    # The semantic score is the same of all, so nothing is shown.
    assert "Semantic score: cic is not shown to differ from gray, hypercolumn or general." in said
    table = section.tables[0].data.set_index(["class", "model"])
    assert table.loc[("all classes", "cic"), "l1"] == pytest.approx(9.0)
    assert table.loc[("people", "original"), "n"] == 3


def test_the_comparisons_of_conditional_models_are_corrected_together(storage: Storage) -> None:
    names = ("gray", "assembled", "general", "conditional", "general-sn", "conditional-sn")
    errors = dict.fromkeys((*names, "best", "best-general", "best-conditional"), 8.0)
    errors["conditional"] = 7.0
    write_results(storage, "r-conditional", errors)
    for run in ("classes", "general", *ARMS, "best", "best-general", "best-conditional"):
        models = CLASSES if run == "classes" else ("general", *CLASSES * (run == "best"))
        trained = [{"model": name, "photographs": 500, "epochs": 3} for name in models]
        storage.put(f"runs/r-{run}/summary.json", json.dumps({"models": trained}).encode())
    section = conditional_section(storage, reproduction())
    said = text_of(section)
    # conditional beats general, assembled and, of those with spectral normalisation, its own.
    assert section.follows[0].startswith(
        "Image passes in training: assembled 4,500, general 1,500, conditional 1,500"
    )
    assert "best 4,500, best-general 1,500" in section.follows[0]
    assert section.follows[1] == "Of the 12 comparisons, 3 show a difference."
    assert "L1 in ab: conditional is better than general and assembled." in said
    assert "best-conditional is not shown to differ from best-general or best." in said


def write_parts(storage: Storage, masked: bool) -> None:
    """A segmenter's confusions of two classes: an IoU of a half in gray, and of one in colour."""
    half, whole = [2, 1, 1, 2], [3, 0, 0, 3]
    lines = [
        {"photo": f"{label}-{place}", "class": label, "model": model, "fcn_confusion": matrix}
        | {"mask_confusion": matrix if masked else None}
        for label in CLASSES
        for place in range(3)
        for model, matrix in (("gray", half), ("original", whole), ("assembled", whole))
    ]
    file = io.BytesIO()
    pd.DataFrame(lines).to_parquet(file)
    storage.put("reports/r-further/parts/00000.parquet", file.getvalue())


@pytest.mark.parametrize("masked", [True, False])
def test_the_fcn_section_compares_with_masks_where_there_are_any(
    storage: Storage, masked: bool
) -> None:
    errors = {"gray": 10.0, "original": 0.0, "assembled": 7.0, "general": 8.0}
    write_results(storage, "r-further", errors, segments=("thing", "ground"))
    write_parts(storage, masked)
    section = fcn_section(storage, reproduction())
    assert (
        "Mean IoU against the originals: gray 0.500 [0.500 to 0.500], assembled 1.000 [1.000 to "
        "1.000]." in section.follows
    )
    against_masks = "Mean IoU against the masks: gray 0.500 [0.500 to 0.500], original 1.000"
    assert any(line.startswith(against_masks) for line in section.follows) == masked
    assert ("The photographs have no masks" in text_of(section)) != masked
    assert [table.name for table in section.tables] == ["fcn", "fcn-classes"]


def test_without_a_segmenter_the_fcn_section_is_a_sentence(storage: Storage) -> None:
    write_results(storage, "r-further", {"gray": 10.0, "original": 0.0})
    assert text_of(fcn_section(storage, reproduction())) == "No segmentation network was available."


def test_landscapes_are_a_sentence_until_the_dataset_has_them(storage: Storage) -> None:
    alone = landscapes_section(storage, reproduction())
    assert len(alone.follows) == 1 and not alone.tables
    assert alone.follows[0].startswith("The dataset photos has no class landscapes")
    classes = (*CLASSES, "landscapes")
    models = ("gray", "original", "assembled", "general", "best", "best-general")
    write_results(storage, "r-models", dict.fromkeys(models, 8.0), classes)
    counts = [[3, 0, 0, 0], [0, 3, 0, 0], [0, 0, 3, 0], [1, 0, 0, 2]]
    matrix = {"classes": classes, "answers": classes, "counts": counts, "accuracy": 11 / 12}
    found = reproduction(classes)
    storage.put(found.key(ROUTING), json.dumps({"confusions": [matrix]}).encode())
    section = landscapes_section(storage, found)
    assert section.follows[0] == (
        "The router sends 2 of 3 landscapes to their model, and 92% of all photographs to theirs."
    )
    assert section.tables[0].data["n"].tolist() == [3] * 6  # landscapes alone
    assert section.tables[1].data["n"].tolist() == [3] * len(section.tables[1].data)


def worn_csv(routers: Mapping[str, tuple[float, float]]) -> bytes:
    """Nine photographs: each router is right on these of three, clean and worn."""
    return to_csv(
        pd.DataFrame(
            [
                {"router": name, "copy": copy, "photo": photo, "class": label}
                | {"right": float(photo < rights[min(copy, 1)])}
                for name, rights in routers.items()
                for copy in range(3)
                for label in CLASSES
                for photo in range(3)
            ]
        )
    )


def test_classifiers_are_ranked_and_those_without_weights_named(storage: Storage) -> None:
    lines = []
    for name, right in (("efficientnet_lite0", 1), ("vgg16", 2)):
        for seen in ("gray, 0.05 rule", "gray, no threshold", "colour, 0.05 rule"):
            for label in CLASSES:
                sent = {f"-> {each}": 2 - right for each in CLASSES} | {f"-> {label}": right}
                shares = {"recall": right / 2, "type 1 error": 0.25, "accuracy": right / 2}
                head = {"classifier": name, "seen": seen, "class": label, "photographs": 2}
                lines.append(head | sent | shares)
    storage.put("reports/r-classifiers/classifiers.csv", to_csv(pd.DataFrame(lines)))
    found = reproduction()
    storage.put(found.key(WORN), worn_csv({"labels": (3, 0), "head with worn copies": (3, 2)}))
    section = classifiers_section(storage, found)
    assert section.report == "VGG-16 sent 90.7% of the photographs to their class."
    assert section.follows[0].startswith(
        "Share of 6 gray photographs sent to their class: vgg16 100.0 [100.0 to 100.0] %, "
        "efficientnet_lite0 50.0 ["
    )
    assert section.follows[1] == "The weights of efficientnet_lite2 were not available."
    assert section.follows[2].startswith(
        "Share sent to their class, of 2 copies of each photograph"
    )
    assert "head with worn copies minus labels: 66.7 [" in section.follows[3]
    assert section.follows[3].endswith("shown to be more.")
    assert set(section.tables[0].shown["Classifier"]) == {"efficientnet_lite0", "vgg16"}
    assert len(section.tables[0].shown) == 2 * len(CLASSES)  # gray, by the rule
    worn = section.tables[1].data.set_index(["router", "photographs"])["right"]
    assert worn["labels", "clean"] == 1 and worn["labels", "worn"] == 0


def test_classifiers_cannot_route_classes_that_their_labels_do_not_know(storage: Storage) -> None:
    found = reproduction((*CLASSES, "landscapes"))
    storage.put(found.key(WORN), worn_csv({"head with worn copies": (3, 2)}))
    section = classifiers_section(storage, found)
    assert section.follows[0].startswith("ImageNet's labels do not know all of animals, people")
    assert len(section.tables) == 1
    names = ("assembled", "general", "hypercolumn", "cic", "best", "best-general")
    models = dict.fromkeys((*names, *ARMS, BEST_CONDITIONAL, DIVERSE), "m@1")
    seen = Seeing("a segmenter", "a detector")
    assert "classifiers" not in [step.name for step in measuring_steps(found, models, seen, True)]
    assert "classifiers" in [
        step.name for step in measuring_steps(reproduction(), models, seen, True)
    ]


def robustness_csv(word: str, difference: float) -> bytes:
    shares = {
        ("colouring", 0.0, f"{word}_flips_gray"): 0.25,
        ("noise", 8.0, f"{word}_flips"): 0.1,
        ("attack", 8.0, f"{word}_flips"): 0.1 + difference,
        ("attack minus noise", 8.0, f"{word}_flips"): difference,
    }
    return to_csv(
        pd.DataFrame(
            [
                {"against": word, "class": "all classes", "model": model, "change": change}
                | {"epsilon": epsilon, "measure": measure, "photographs": 9, "mean": mean}
                | {"low": mean - 0.1, "high": mean + 0.1}
                for model in ("gray", "best", "original")
                for (change, epsilon, measure), mean in shares.items()
            ]
        )
    )


def test_robustness_says_what_colours_change_and_whether_an_attack_beats_noise(
    storage: Storage, tmp_path: Path
) -> None:
    storage.put("reports/r-robustness/robustness.csv", robustness_csv("label", 0.5))
    storage.put("reports/r-robustness/flipped.png", b"a sheet")
    storage.put("reports/r-class-robustness/robustness.csv", robustness_csv("class", 0.05))
    found = reproduction()
    section = robustness_section(storage, found)
    said = text_of(section)
    assert section.follows[0] == (
        "The colours of best change the label of 25.0 [15.0 to 35.0] % of the photographs."
    )
    assert "Within 8 Lab units, chosen changes of a and b change the label of more pictures" in said
    assert "best 50.0 [40.0 to 60.0] % (shown to be more)" in said
    assert "best 5.0 [\N{MINUS SIGN}5.0 to 15.0] % (no difference shown)" in said
    assert storage.get(found.key(section.pictures[0].file)) == b"a sheet"
    attacks = section.tables[1].shown
    assert attacks["Change"].tolist() == ["noise", "attack", "attack minus noise"]
    assert attacks["best"].tolist()[1] == "0.600 [0.500 to 0.700]"


def test_variants_are_compared_with_plain_tints_and_choices_with_chance(storage: Storage) -> None:
    means = {"gray": 10.0, "zero": 9.0, "mean": 9.5, "middle": 9.0, "best": 8.0, "worst": 11.0}
    means |= {"best_tint": 8.5, "spread": 2.0, "best_minus_zero": -1.0, "middle_minus_zero": 0.0}
    means |= {"best_minus_best_tint": -0.5, "tint": 0.25}
    means |= {"classifier": 9.4, "classifier_minus_chance": -0.1}
    means |= {"discriminators": 9.2, "discriminators_minus_chance": -0.3}
    lines = [
        {"model": "general@1", "class": label, "measure": name, "photographs": 9, "mean": mean}
        | {"low": mean - 0.2, "high": mean + 0.2}
        for label in ("all classes", *CLASSES)
        for name, mean in means.items()
    ]
    storage.put("reports/r-variants/diversity.csv", to_csv(pd.DataFrame(lines)))
    storage.put("reports/r-variants/variants.png", b"a sheet")
    section = diverse_section(storage, reproduction())
    said = text_of(section)
    assert "Two variants differ by 2.00 [1.80 to 2.20] Lab units" in section.follows[0]
    assert "25 [5 to 45] %" in section.follows[0]
    assert "best of 3 variants" in said and "\N{MINUS SIGN}1.00 [\N{MINUS SIGN}1.20 to" in said
    assert "\N{MINUS SIGN}0.50 [\N{MINUS SIGN}0.70 to \N{MINUS SIGN}0.30]: lower" in said
    assert "The classifier" in said and "The discriminators" in said
    chances = [line for line in section.follows if "chance" in line]
    assert [line.split(": ")[-1] for line in chances] == ["no difference shown.", "lower."]
    assert section.tables[0].shown["Mean"][0] == "10.00 [9.80 to 10.20]"
    assert len(section.tables[0].shown) == len(means)


def hybrids_csv(differences: Mapping[str, float]) -> bytes:
    lines = []
    for region in ("second object", "first object", "whole picture"):
        for model, minus, mean in (
            *((name, "", 9.0) for name in ("gray", "assembled", "general", *differences)),
            *((name, "assembled", value) for name, value in differences.items()),
        ):
            head = {"region": region, "model": model, "minus": minus, "pictures": 6}
            lines.append(head | {"mean": mean, "low": mean - 0.1, "high": mean + 0.1})
    return to_csv(pd.DataFrame(lines))


def test_objects_are_compared_with_assembled_inside_the_second_object(storage: Storage) -> None:
    found = reproduction()
    gains = {"objects": 0.05, "objects, true places": -0.5}
    storage.put("reports/r-hybrids/hybrids.csv", hybrids_csv(gains))
    pictures = [{"model": "objects", "found": share} for share in (0.5, 0.25)]
    lines = [*pictures, {"model": "assembled", "found": float("nan")}]
    storage.put("reports/r-hybrids/pictures.csv", to_csv(pd.DataFrame(lines)))
    storage.put("reports/r-hybrids/pictures.png", b"a sheet")
    section = objects_section(storage, found)
    assert section.follows[0] == (
        "L1 in ab of the second object, objects minus assembled: 0.05 [\N{MINUS SIGN}0.05 to 0.15] "
        "on 6 pictures: no difference shown."
    )
    assert section.follows[3].startswith("The detector finds 38 [")  # 37.5, of two pictures
    assert section.follows[4].endswith("on 6 pictures: objects, true places is better.")
    assert "gray" in section.tables[0].shown["Model"].tolist()
    assert storage.get(found.key(section.pictures[0].file)) == b"a sheet"


def test_objects_need_models_of_the_classes_that_detectors_find(storage: Storage) -> None:
    section = objects_section(storage, reproduction(("cats", "dogs")))
    assert section.follows == [
        "The classes cats, dogs are not those whose objects a detector finds: animals, people and "
        "vehicles."
    ]
