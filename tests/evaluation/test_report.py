"""The report of a made-up evaluation: its files, and its page in a browser."""

import dataclasses
import html
import io
import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from colorgan.errors import ColorganError, Corrupt, NotInStorage
from colorgan.evaluation.figures import (
    draw_figures,
    draw_semantic,
)
from colorgan.evaluation.report import write_report
from colorgan.evaluation.results import Contestant, Evaluation, Report
from colorgan.evaluation.sets import describe_sets, read_sets
from colorgan.evaluation.statistics import analyze
from colorgan.evaluation.tables import summary_table, to_csv
from colorgan.models import EMBEDDED, JUDGE
from colorgan.storage import Storage, open_storage
from jobs.reproduction.plan import Reproduction
from jobs.reproduction.sections.models import models_section
from tests.browser import fits, visit

EVIL = '<img src="https://example.org/x.png" onerror="alert(1)"></script><!--.jpg'
CONTESTANTS = ("gray", "original", "assembled", "general", "hypercolumn")
CLASSES = ("animals", "people", "vehicles")


SETS = pd.DataFrame(
    [
        {"class": "all classes", "model": "gray", "n": 18},
        {"class": "all classes", "model": "assembled", "n": 18},
    ]
).assign(
    distance=[math.nan, 12.345],
    distance_low=[math.nan, 11.0],
    distance_high=[math.nan, 13.69],
    hue_distance=[math.nan, 6.5],
    hue_distance_low=[math.nan, 6.0],
    hue_distance_high=[math.nan, 7.0],
    colorfulness_ratio=[0.0, 0.414],
    colorfulness_ratio_low=[0.0, 0.35],
    colorfulness_ratio_high=[0.0, 0.48],
)


def webp(seed: int, size: tuple[int, int] = (320, 200)) -> bytes:
    generator = np.random.default_rng(seed)
    file = io.BytesIO()
    small = Image.fromarray(generator.integers(0, 256, (6, 8, 3), np.uint8))
    small.resize(size).save(file, "WEBP")
    return file.getvalue()


def made_up(
    storage: Storage,
    per_class: int = 4,
    classes: Sequence[str] = CLASSES,
    contestants: Sequence[str] = CONTESTANTS,
    split: str = "test",
    judge: str = JUDGE,
) -> tuple[Report, pd.DataFrame]:
    """A report whose pictures are in storage, and its results: assembled is far ahead in L1."""
    evaluation = Evaluation(
        name="made-up",
        created="2026-11-22T12:00:00+00:00",
        dataset={"name": "photos", "fingerprint": "0f" * 8},
        split=split,
        photographs=per_class * len(classes),
        seed=0,
        classes=tuple(classes),
        contestants=tuple(
            Contestant(name, "" if name in ("gray", "original") else f"{name}@1", "")
            for name in contestants
        ),
        router="labels",
        classifier="a classifier",
        missing={"lpips": "no weights of LPIPS here", "fid": "no Inception here"},
        versions={"colorgan": "1.2.3", "torch": "2.11.0", "python": "3.11"},
        judge=judge,
    )
    report = Report(storage, evaluation)
    generator = np.random.default_rng(0)
    errors = {"gray": 10.0, "original": 0.0, "assembled": 4.0, "general": 8.0}
    rows = []
    for label in classes:
        for number in range(per_class):
            photo = f"{label}-{number}"
            score, hard = generator.uniform(0.2, 0.7), generator.uniform(1, 2)
            for model in contestants:
                storage.put(report.picture_key(photo, model), webp(len(rows)))
                error = errors.get(model, 8.0) * hard + generator.normal(0, 0.1)
                rows.append(
                    {
                        "photo": photo,
                        "source": f"{label}/{number}.jpg",
                        "class": label,
                        "model": model,
                        "sent_to": label if model == "assembled" else "",
                        "l1": 0.0 if model == "original" else error,
                        "semantic": score + generator.normal(0, 0.02),
                    }
                )
    return report, pd.DataFrame(rows)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a report: 18 photographs, one of them of an evil name."""
    root = tmp_path_factory.mktemp("report")
    report, results = made_up(open_storage(str(root)), per_class=6)
    results.loc[results["photo"] == "people-0", "source"] = EVIL
    survey = {"Votes <by> model": pd.DataFrame({"model": ["assembled"], "votes": [3]})}
    write_report(report, results, SETS, survey)
    return root / "reports" / "made-up"


@pytest.fixture
def page(browser: Browser, written: Path) -> Iterator[Page]:
    with visit(browser, (written / "index.html").as_uri()) as page:
        yield page


def contents(page: Page) -> dict[str, list[dict[str, object]]]:
    return json.loads(page.locator("#data").text_content() or "")


def choose(page: Page, name: str, value: str) -> None:
    page.locator(f"select[name={name}]").select_option(value)


def top_row(page: Page) -> Locator:
    """The gallery's first row, scrolled to and filled."""
    row = page.locator("#photos > li").first
    row.scroll_into_view_if_needed()
    expect(row.locator(".thumb")).to_have_count(5)
    return row


def headings(page: Page) -> list[str]:
    """The sources of the photographs that are shown, from the top."""
    return page.locator("#photos > li:visible h3").evaluate_all(
        "all => all.map((heading) => heading.firstChild.textContent)"
    )


def test_figures_of_one_photograph_and_holes(storage: Storage) -> None:
    _, results = made_up(storage, 1, ("animals",), ("gray", "general", "animals"))
    results.loc[results["model"] == "general", "semantic"] = float("nan")
    figures = draw_figures(results, analyze(results))
    names = ["means", "differences", "semantic", "l1_against_gray"]  # and no figure by class
    assert [each.name for each in figures] == names
    assert all(each.alt and each.caption and each.svg.startswith(b"<?xml") for each in figures)


def test_the_means_of_a_model_called_best_are_its_own(storage: Storage) -> None:
    _, results = made_up(storage, 2, ("animals",), ("gray", "best", "general"))
    data = summary_table(results, analyze(results)).data.set_index("metric")
    expected = results[results["model"] == "best"]["l1"].mean()
    assert data.loc["l1", "best"] == pytest.approx(expected)
    assert data.loc["l1", "shown to be best"] in ("", "best", "general")


def test_everything_is_written_where_it_belongs(written: Path) -> None:
    names = {path.relative_to(written).as_posix() for path in written.rglob("*") if path.is_file()}
    tables = (
        "contestants",
        "summary",
        "semantic",
        "frechet",
        "paired",
        "against-gray",
        "metric-l1",
    )
    tables += ("metric-semantic", "survey-votes-by-model")
    figures = ("means", "differences", "semantic", "semantic_by_class", "l1_against_gray")
    assert {name for name in names if not name.startswith("pictures/")} == {
        *("index.html", "results.csv", "report.json"),
        *(f"tables/{name}.{kind}" for name in tables for kind in ("csv", "md")),
        *(f"figures/{name}.{kind}" for name in figures for kind in ("png", "svg", "json")),
    }
    results = pd.read_csv(written / "results.csv")
    assert len(results) == 18 * 5 and results["model"][:5].tolist() == list(CONTESTANTS)
    semantic = pd.read_csv(written / "tables/semantic.csv")
    here = semantic[semantic["class"] == "all classes"].set_index("model")["report_2018"]
    assert here.dropna().to_dict() == {
        "gray": 0.4155,
        "assembled": 0.4254,
        "general": 0.3665,
        "hypercolumn": 0.3962,
    }
    assert "| 18 | 12.35 [11.00 to 13.69] |" in (written / "tables/frechet.md").read_text()
    assert "0.41 [0.35 to 0.48]" in (written / "tables/frechet.md").read_text()
    pd.testing.assert_frame_equal(pd.read_csv(written / "tables/frechet.csv"), SETS)
    document = json.loads((written / "report.json").read_text())
    assert (document["report"], document["judge"]) == ("made-up", JUDGE)
    assert {*document["tables"]} == set(tables)
    assert document["tables"]["frechet"][1]["distance"] == 12.345
    assert document["tables"]["frechet"][0]["hue_distance"] is None
    for picture in (written / "figures").glob("*.png"):
        assert Image.open(picture).width >= 900


def test_the_same_results_make_the_same_figures_and_nothing_old_stays(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = "colorgan.evaluation.report.draw_figures"  # of five: drawing takes seconds
    monkeypatch.setattr(one, lambda results, analysis: [draw_semantic(results)])
    report, results = made_up(storage, per_class=2, classes=("animals",))
    storage.put(report.key("tables/survey-old.csv"), b"old")
    write_report(report, results)
    first = {key: storage.get(key) for key in storage.list(report.key("figures"))}
    assert first and not storage.exists(report.key("tables/survey-old.csv"))
    write_report(report, results.sample(frac=1, random_state=0))
    assert {key: storage.get(key) for key in first} == first


def test_the_page_is_opened_by_itself_and_says_who_wins(page: Page) -> None:
    policy = page.locator("meta[http-equiv]").get_attribute("content") or ""
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy
    summary = page.locator("#summary")
    expect(summary).to_contain_text("assembled against general: better by L1 in ab")
    expect(summary).to_contain_text("no difference shown by semantic score")
    finding = summary.locator(".findings li", has_text="L1 in ab").first
    expect(finding.locator("strong")).to_have_text("assembled wins")
    assert re.search(r"lower than general by \d\.\d+ \(95\s% CI", finding.inner_text())
    expect(page.locator(".lead")).to_contain_text("18 photographs")
    expect(page.locator("header")).to_contain_text("assembled@1")
    expect(page.locator("#metrics")).to_contain_text("no weights of LPIPS here")
    expect(page.locator("#survey")).to_contain_text("Votes <by> model")
    loaded = page.locator("figure img").evaluate_all("all => all.map((one) => one.naturalWidth)")
    assert len(loaded) == 5 and all(loaded)
    alts = page.locator("figure img").evaluate_all("all => all.map((one) => one.alt)")
    assert all(len(alt) > 40 for alt in alts)


def test_the_gallery_sorts_by_a_metric_of_a_model_and_filters_by_class(page: Page) -> None:
    photos = contents(page)["photos"]
    number, place = 1, CONTESTANTS.index("general")  # the semantic score of general
    scores = {each["source"]: each["cells"][place]["values"][number] for each in photos}  # type: ignore[index]
    choose(page, "metric", "semantic")
    choose(page, "model", "general")
    worst = sorted(scores, key=lambda source: scores[source])
    assert headings(page)[0] == worst[0]
    choose(page, "order", "best")
    assert headings(page)[0] == worst[-1]
    choose(page, "class", "vehicles")
    expect(page.locator("#tally")).to_contain_text("6 photographs, best first by Semantic score")
    page.locator("#photos > li:visible").last.scroll_into_view_if_needed()
    expect(page.locator("#photos > li:visible .cells")).to_have_count(6)
    assert headings(page) == [source for source in worst[::-1] if source.startswith("vehicles/")]


def test_l1_is_worst_where_it_is_highest(page: Page) -> None:
    place = CONTESTANTS.index("assembled")
    photos = contents(page)["photos"]
    worst = max(photos, key=lambda each: each["cells"][place]["values"][0])  # type: ignore[index]
    assert headings(page)[0] == worst["source"]
    row = top_row(page)
    expect(row).to_contain_text("sent to")
    sizes = row.locator("img").evaluate_all("all => all.map((one) => one.naturalWidth)")
    assert sizes == [256] * 5
    expect(row.locator(".cells > li").nth(1)).not_to_contain_text("L1")  # of the original
    expect(row.locator(".cells > li").nth(2).locator("dd").first).to_have_class("top sorted")


def test_a_picture_is_enlarged_and_left_by_keyboard(page: Page) -> None:
    first = top_row(page).locator(".thumb").first
    first.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog.locator(".title")).to_contain_text("gray: ")
    page.keyboard.press("ArrowRight")
    expect(dialog.locator(".title")).to_contain_text("original: ")
    page.keyboard.press("ArrowDown")
    expect(dialog.locator(".title")).not_to_contain_text(headings(page)[0])
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(first).to_be_focused()


def test_a_source_that_is_markup_is_only_text(page: Page, written: Path) -> None:
    assert EVIL not in (written / "index.html").read_text()
    choose(page, "class", "people")
    page.locator("#photos > li:visible").last.scroll_into_view_if_needed()
    expect(page.locator("#photos h3", has_text="example.org")).to_contain_text(EVIL)
    assert page.locator("img[src*=example]").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_sideways_scrolling(browser: Browser, written: Path, scheme: str) -> None:
    phone = {"viewport": {"width": 360, "height": 740}, "color_scheme": scheme}
    with visit(browser, (written / "index.html").as_uri(), **phone) as page:
        page.locator("details").evaluate_all("all => all.forEach((one) => (one.open = true))")
        top_row(page)
        assert fits(page)


def text_of(report: Report) -> str:
    return report.storage.get(report.key("index.html")).decode()


def test_one_photograph_of_one_class_shows_nothing_and_says_so(
    storage: Storage, no_figures: None
) -> None:
    report, results = made_up(storage, per_class=1, classes=("animals",))
    write_report(report, results)
    text = text_of(report)
    assert "no difference that 1 photograph can show" in text and "wins</strong>" not in text
    assert "colorgan survey create --report made-up" in text


def test_one_model_has_nothing_to_compare_with(storage: Storage, no_figures: None) -> None:
    report, results = made_up(storage, 2, ("animals",), ("original", "general"), split="train")
    write_report(report, results)
    text = text_of(report)
    assert "Only general colours here" in text and "nothing to compare" in text
    assert "not test photographs" in text
    assert not storage.exists(report.key("tables/paired.csv"))


def test_what_a_contestant_lacks_is_said(storage: Storage, no_figures: None) -> None:
    report, results = made_up(storage, 2, ("animals",))
    results.loc[results["model"] == "hypercolumn", "semantic"] = float("nan")
    results = results[(results["model"] != "general") | (results["photo"] != "animals-0")]
    write_report(report, results)
    text = text_of(report)
    assert "Semantic score of hypercolumn" in text and "no value for 2 of 2 photographs" in text
    assert "no result for 1 of 2 photographs" in text


@pytest.mark.parametrize(
    ("judge", "said"),
    [
        (JUDGE, f"features of {JUDGE}, which no loss of a training uses"),
        (EMBEDDED, f"Losses of a training may have used it, so they flatter .* where {JUDGE}"),
        ("", "an earlier colorgan began this report"),
    ],
)
def test_the_page_says_who_judges_and_what_that_is_worth(
    judge: str, said: str, storage: Storage, no_figures: None
) -> None:
    report, results = made_up(storage, 2, ("animals",), ("original", "general"), judge=judge)
    write_report(report, results, describe_sets(results))
    text = html.unescape(" ".join(text_of(report).split()))
    assert re.search(said, text)
    assert ("2 photographs are too few: at least 20 are needed" in text) == bool(judge)
    assert "Hue-invariant Fréchet distance" in text and "Colourfulness ratio" in text


def test_a_report_is_read_with_the_sets_that_it_was_written_with(
    storage: Storage, no_figures: None
) -> None:
    report, results = made_up(storage, 2, ("animals",), ("original", "general"))
    assert read_sets(report).empty
    write_report(report, results, SETS)
    pd.testing.assert_frame_equal(read_sets(report), SETS)
    # Distances of an earlier colorgan are of another definition.
    storage.put(report.key("tables/frechet.csv"), b"model,distance\ngeneral,7.0\n")
    assert read_sets(report).empty and {*read_sets(report).columns} == {*SETS.columns}


def test_a_reproduction_reads_a_report_with_and_without_distances(
    storage: Storage, no_figures: None
) -> None:
    contestants = ("gray", "original", "assembled", "general", "hypercolumn")
    report, results = made_up(storage, 2, ("animals",), contestants)
    evaluation = dataclasses.replace(report.evaluation, name="repro-models")
    storage.put("reports/repro-models/evaluation.json", evaluation.to_json())
    file = io.BytesIO()
    results.to_parquet(file)
    storage.put("reports/repro-models/results.parquet", file.getvalue())
    reproduction = Reproduction("repro", "", "smoke", {}, ("animals",), "animals", {"animals": 1})
    distance = "Fréchet distance: assembled 12.35, general 14.00, gray 9.00."
    assert distance not in models_section(storage, reproduction).follows
    general = SETS.iloc[1:].assign(model="general", distance=14.0)
    sets = pd.concat([SETS.fillna({"distance": 9.0}), general])
    storage.put("reports/repro-models/tables/frechet.csv", to_csv(sets))
    section = models_section(storage, reproduction)
    assert distance in section.follows
    assert "frechet" in [table.name for table in section.tables]


def test_the_page_says_how_many_comparisons_were_corrected(
    storage: Storage, no_figures: None
) -> None:
    report, results = made_up(storage, 2, ("animals",))
    write_report(report, results)
    text = " ".join(text_of(report).split())
    # Of two metrics, three pairs of models and three of a model and gray.
    assert "corrected by Holm for all 12 comparisons of this page" in text


def test_a_large_evaluation_shows_some_of_its_photographs(
    storage: Storage, no_figures: None
) -> None:
    report, results = made_up(storage, 3, ("animals",), ("original", "general"))
    write_report(report, results, gallery=2)
    assert "2 of the 3 photographs, drawn at random" in text_of(report)


def test_what_cannot_be_reported_is_an_error_and_leaves_no_page(
    storage: Storage, no_figures: None
) -> None:
    report, results = made_up(storage, 1, ("animals",), ("original", "general"))
    with pytest.raises(ColorganError, match="no photograph"):
        write_report(report, results[:0])
    with pytest.raises(ColorganError, match="two results of general for photograph animals-0"):
        write_report(report, pd.concat([results, results[1:]]))
    storage.put(report.picture_key("animals-0", "general"), b"no picture")
    with pytest.raises(Corrupt, match=r"animals-0/general\.webp"):
        write_report(report, results)
    storage.delete(report.picture_key("animals-0", "general"))
    with pytest.raises(NotInStorage, match=r"animals-0/general\.webp"):
        write_report(report, results)
    assert not storage.exists(report.key("index.html"))
