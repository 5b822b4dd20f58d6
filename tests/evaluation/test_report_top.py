"""The report's photographs at the top, its explanations, and the axes of its figures."""

import dataclasses
import html
import re
from itertools import pairwise

import pandas as pd
import pytest
from matplotlib.figure import Figure as Canvas

from colorgan.evaluation.figures import (
    draw_differences,
    draw_means,
    draw_semantic,
    draw_votes,
)
from colorgan.evaluation.gallery import choose_samples, describe_gallery
from colorgan.evaluation.report import write_report
from colorgan.evaluation.results import METRICS, Contestant, Report
from colorgan.evaluation.statistics import analyze
from colorgan.storage import Storage, open_storage
from tests.evaluation.test_report import CLASSES, CONTESTANTS, made_up, text_of


def test_a_sample_is_called_one_and_the_whole_split_is_not(
    storage: Storage, no_figures: None
) -> None:
    report, results = made_up(storage, 2)
    for available, said in ((30, True), (6, False), (0, False)):
        evaluation = dataclasses.replace(report.evaluation, available=available)
        write_report(Report(storage, evaluation), results)
        text = " ".join(text_of(report).split())
        assert ("a sample of 6 of the 30 in the test split of the dataset" in text) == said
        assert ("These are the sample of 6 of the 30 photographs." in text) == said
        assert ("from their lightness alone: the test split of the dataset" in text) != said


def test_l1_is_explained_beside_it_with_what_gray_scores(
    storage: Storage, no_figures: None
) -> None:
    report, results = made_up(storage, 2)
    write_report(report, results)
    text = html.unescape(" ".join(text_of(report).split()))
    gray = results[results["model"] == "gray"]["l1"].mean()
    summary = text[text.index('<section id="summary">') : text.index('id="by-metric"')]
    assert "is how far the colours are from the true ones" in summary
    assert f"that is left gray is {gray:.2f} off in the mean" in summary
    finding = text[text.index("<h4>L1 in ab") :][:400]
    assert METRICS["l1"].meaning in finding


def test_six_photographs_are_at_the_top_each_class_in_turn(
    storage: Storage, no_figures: None
) -> None:
    report, results = made_up(storage, 3)
    write_report(report, results)
    gallery = describe_gallery(report, results, 300)
    chosen = choose_samples(gallery, seed=0)
    assert [photo["class"] for photo in chosen] == [*CLASSES, *CLASSES]
    assert len({photo["source"] for photo in chosen}) == 6
    assert chosen == choose_samples(gallery, seed=0)
    assert any(chosen != choose_samples(gallery, seed) for seed in (1, 2, 3))
    text = text_of(report)
    top = text[: text.index('<section id="summary">')]
    pictures = re.findall(r'<img src="data:image/webp[^"]*"[^>]* alt="([^"]*)"', top)
    assert len(pictures) == 6 * len(CONTESTANTS)
    first = chosen[0]["source"]
    assert pictures[:3] == [
        f"{first}, gray",
        f"{first}, original",
        f"{first}, coloured by assembled",
    ]
    assert "6 of the photographs, drawn at random" in top
    few, its = made_up(open_storage(f"{storage.uri}-few"), 1)
    assert len(choose_samples(describe_gallery(few, its, 300), seed=0)) == 3


def test_what_is_counted_has_whole_numbers_on_its_axis_and_no_numbers_overlap(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    canvases: list[Canvas] = []
    drawn = Canvas.savefig
    monkeypatch.setattr(
        Canvas,
        "savefig",
        lambda self, *args, **kwargs: [canvases.append(self), drawn(self, *args, **kwargs)],
    )
    _, results = made_up(storage, 6)
    questions = pd.DataFrame(
        [
            (number, "animals", model, votes, 1)
            for number in (1, 2, 3)
            for model, votes in (("assembled", 1), ("general", 0))
        ],
        columns=["question", "class", "model", "votes", "undecided"],
    )
    draw_votes("A survey", questions)
    draw_semantic(results)
    draw_means(results, analyze(results))
    draw_differences(analyze(results))
    votes, semantic, *others = canvases[::2]  # each is saved as PNG and as SVG
    assert votes.axes[0].get_ylabel() == "answers", "undecided ones included"
    for axes in (votes.axes[0], semantic.axes[0]):
        assert all(float(tick).is_integer() for tick in axes.get_yticks())
    for canvas in (votes, semantic, *others):
        for axes in canvas.axes:
            labels = [
                each.get_window_extent() for each in axes.get_xticklabels() if each.get_text()
            ]
            if axes.get_xticklabels()[0].get_rotation() == 0:
                assert all(one.x1 < other.x0 for one, other in pairwise(labels)), canvas


def test_the_page_says_what_a_contestant_is_whatever_its_name(
    storage: Storage, no_figures: None
) -> None:
    names = ("gray", "original", "before", "mine", "embedded")
    report, results = made_up(storage, 2, contestants=names)
    caveat = "Its general model colours what the router sends to scenery."
    changed = {
        "before": Contestant("before", "animals@1,people@1,vehicles@1"),
        "mine": Contestant("mine", "general@1"),
        "embedded": Contestant("embedded", "animals@e,general@e", "", caveat),
    }
    contestants = tuple(changed.get(each.name, each) for each in report.evaluation.contestants)
    evaluation = dataclasses.replace(report.evaluation, contestants=contestants)
    write_report(Report(storage, evaluation), results)
    text = html.unescape(" ".join(text_of(report).split()))
    legend = re.findall(r'<th scope="row">(\w+)</th> <td class="wrap">([^<]*)</td>', text)
    said = dict(legend)
    assert said["before"].strip() == "A router sends each photograph to the model of its class."
    assert said["mine"].startswith("One model that was trained on the photographs of all classes.")
    assert said["embedded"].strip() == (
        f"The models that come with colorgan, each for its class. {caveat}"
    )
    assert f"embedded: {caveat}" in text
    table = storage.get(report.key("tables/contestants.md")).decode()
    assert f"embedded: {caveat}" in table
