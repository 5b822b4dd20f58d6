"""A survey in browsers, against the application in one process."""

from collections import Counter
from itertools import pairwise

import pytest
from playwright.sync_api import Browser, expect

from colorgan.evaluation.results import Report
from colorgan.survey import (
    close_survey,
    create_survey,
    read_answers,
)
from tests.browser import Shoot, fits
from tests.serve.participants import results, take_part
from tests.survey.reports import CLASSES, MODELS

pytestmark = pytest.mark.slow


def test_two_people_answer_in_browsers_and_the_tables_are_right_to_the_vote(
    browser: Browser, server: str, report: Report, shoot: Shoot
) -> None:
    survey = create_survey(report, 18, seed=3)
    cast: Counter[tuple[int, str]] = Counter()
    with take_part(browser, server, survey) as ana, take_part(browser, server, survey) as ben:
        for number in range(1, 19):
            for person in (ana, ben):
                person.await_question(f"{number} of 18")
                shown = person.shown()
                assert sorted(shown) == sorted(MODELS)
                wanted = "assembled" if person is ben else MODELS[number % 3]
                if number == 3:
                    shoot(person.page, "survey_question")
                person.choices.nth(shown.index(wanted)).click()
                cast[number, wanted] += 1
        for person in (ana, ben):
            expect(person.page.get_by_role("heading", name="Thank you")).to_be_visible()
            expect(person.page.get_by_text("Your answers are stored")).to_be_visible()
            traffic = person.traffic()
            assert traffic.count(b"/pictures/") >= 18 * 3
            secrets = (*MODELS, *CLASSES, report.evaluation.name, survey.secret)
            photos = (question.photo for question in survey.questions)
            for word in (*secrets, *photos):
                assert word.encode() not in traffic, word
        shoot(ana.page, "survey_thanks")

    counted = results(server, survey)
    assert (counted["participants"], counted["votes"]) == (2, 36)
    for row in counted["questions"]:
        assert row["votes"] == cast[row["question"], row["model"]], row
    assert len(counted["questions"]) == 54
    # Ben always takes assembled; Ana takes each in turn, so that 12 questions are tied.
    by_model = {row["model"]: row for row in counted["models"]}
    won_lost = ("votes", "won", "won_tied", "lost")
    assert [by_model["assembled"][name] for name in won_lost] == [24, 18, 12, 0]
    for model in ("general", "hypercolumn"):
        assert [by_model[model][name] for name in won_lost] == [6, 6, 6, 12]
    for row in counted["classes"]:
        places = [
            i for i, each in enumerate(survey.questions, 1) if each.photo_class == row["class"]
        ]
        assert row["questions"] == len(places) == 6
        assert row["votes"] == sum(cast[place, row["model"]] for place in places)


def test_the_keyboard_is_enough(browser: Browser, server: str, report: Report) -> None:
    survey = create_survey(report, 4)
    chosen = []
    with take_part(browser, server, survey) as person:
        keyboard = person.page.keyboard
        for number, keys in enumerate(
            (["2"], ["ArrowRight", "Enter"], ["ArrowLeft", "Space"], ["ArrowDown"] * 5 + ["Enter"]),
            1,
        ):
            person.await_question(f"{number} of 4")
            expect(person.page.get_by_role("heading")).to_be_focused()
            chosen.append(person.shown()[(1, 0, 2, 1)[number - 1]])
            for key in keys:
                keyboard.press(key)
        expect(person.page.get_by_role("heading", name="Thank you")).to_be_focused()
    answers = read_answers(report.storage, survey)
    assert [each.model for each in sorted(answers, key=lambda each: each.question)] == chosen


def test_an_answer_that_the_network_swallows_is_sent_again_and_a_reload_goes_on(
    browser: Browser, server: str, report: Report, shoot: Shoot
) -> None:
    survey = create_survey(report, 3)
    with take_part(browser, server, survey, failures=True) as person:
        page = person.page
        person.await_question("1 of 3")
        first = person.shown()
        page.route("**/answers", lambda route: route.abort())
        person.choices.nth(1).click()
        expect(page.get_by_role("alert")).to_contain_text("be reached. Nothing is lost")
        expect(page.get_by_role("button", name="Try again")).to_be_focused()
        shoot(page, "survey_trouble")
        assert read_answers(report.storage, survey) == []
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_be_visible()
        page.unroute("**/answers")
        page.get_by_role("button", name="Try again").click()
        person.await_question("2 of 3")
        expect(page.get_by_role("alert")).to_be_hidden()
        assert [each.model for each in read_answers(report.storage, survey)] == [first[1]]

        page.reload()
        person.await_question("2 of 3")
        pictures = [response for response in person.responses if "/pictures/" in response.url]
        page.wait_for_load_state("networkidle")
        assert len(pictures) >= 3 + 3 + 3, "what comes next is fetched beforehand"
        page.context.clear_cookies()
        person.choices.nth(0).click()
        expect(page.get_by_role("alert")).to_contain_text("allow cookies")
        page.get_by_role("button", name="Try again").click()
        person.await_question("1 of 3")

        close_survey(report.storage, survey.name)
        person.choices.nth(0).click()
        expect(page.get_by_role("heading", name="This survey is closed")).to_be_visible()
        page.reload()
        expect(page.get_by_role("heading", name="This survey is closed")).to_be_visible()
    assert len(read_answers(report.storage, survey)) == 1


def test_a_picture_that_does_not_come_is_asked_for_again(
    browser: Browser, server: str, report: Report
) -> None:
    survey = create_survey(report, 2)
    with take_part(browser, server, survey, failures=True) as person:
        person.await_question("1 of 2")
        person.page.route("**/pictures/*", lambda route: route.abort())
        person.page.reload()
        expect(person.page.get_by_role("alert")).to_be_visible()
        person.page.unroute("**/pictures/*")
        person.page.get_by_role("button", name="Try again").click()
        person.await_question("1 of 2")


@pytest.mark.parametrize(
    ("name", "context"),
    [
        (
            "survey_phone",
            {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True},
        ),
        ("survey_phone_dark", {"viewport": {"width": 360, "height": 640}, "color_scheme": "dark"}),
        ("survey_wide_dark", {"viewport": {"width": 1600, "height": 900}, "color_scheme": "dark"}),
    ],
)
def test_all_pictures_fit_the_screen(
    browser: Browser,
    server: str,
    report: Report,
    shoot: Shoot,
    name: str,
    context: dict[str, object],
) -> None:
    with take_part(browser, server, create_survey(report, 2), **context) as person:
        person.await_question("1 of 2")
        shoot(person.page, name)
        assert fits(person.page)
        boxes = [choice.bounding_box() for choice in person.choices.all()]
        stacked = person.page.evaluate("innerWidth") < 768
        for before, after in pairwise(boxes):
            assert before and after
            apart = "y" if stacked else "x"
            size = "height" if stacked else "width"
            assert after[apart] >= before[apart] + before[size]
            for side in ("width", "height"):
                assert after[side] == pytest.approx(before[side], abs=0.1)
        if context.get("has_touch"):
            person.choices.nth(2).tap()
            person.await_question("2 of 2")


def test_who_cannot_tell_says_so_and_who_was_too_quick_goes_back(
    browser: Browser, server: str, report: Report, shoot: Shoot
) -> None:
    survey = create_survey(report, 3)
    with take_part(browser, server, survey) as person:
        page = person.page
        back = page.get_by_role("button", name="Back", exact=True)
        cannot_tell = page.get_by_role("button", name="I cannot tell")
        person.await_question("1 of 3")
        expect(back).to_be_hidden()
        models = [person.shown()]
        person.choices.nth(0).click()
        person.await_question("2 of 3")
        cannot_tell.click()
        person.await_question("3 of 3")
        back.click()
        person.await_question("2 of 3")
        expect(cannot_tell).to_have_attribute("aria-current", "true")
        shoot(page, "survey_back")
        page.keyboard.press("Backspace")
        person.await_question("1 of 3")
        assert person.shown() == models[0], "the pictures stay where they were"
        expect(person.choices.nth(0)).to_have_attribute("aria-current", "true")
        page.keyboard.press("2")  # another one after all
        person.await_question("2 of 3")
        page.keyboard.press("0")
        person.await_question("3 of 3")
        last = person.shown()
        person.choices.nth(2).click()
        expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
        page.get_by_role("button", name="Back to the last question").click()
        person.await_question("3 of 3")
        person.choices.nth(1).click()
        expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
    answers = sorted(read_answers(report.storage, survey), key=lambda each: each.question)
    assert [each.model for each in answers] == [models[0][1], "", last[1]]
