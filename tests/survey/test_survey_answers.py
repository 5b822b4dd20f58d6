import json
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest

from colorgan.errors import ColorganError, ConfigError, Corrupt
from colorgan.evaluation.results import Report
from colorgan.storage import open_storage
from colorgan.survey import (
    CANNOT_TELL,
    answered_questions,
    answers_table,
    close_survey,
    create_survey,
    new_participant,
    open_survey,
    read_answers,
    record_answer,
    tally,
)
from tests.races import race
from tests.s3_server import S3Server
from tests.survey.reports import ANA, BEN, CAT, MODELS, write_report

opened = cache(open_storage)


def test_the_first_answer_of_a_participant_counts(report: Report) -> None:
    storage, survey = report.storage, create_survey(report, 3)
    assert record_answer(storage, survey, ANA, 2, "general")
    assert not record_answer(storage, survey, ANA, 2, "assembled")
    ben = new_participant()
    assert record_answer(storage, survey, ben, 2, "assembled")
    assert record_answer(storage, survey, ANA, 3, "assembled")
    assert answered_questions(storage, survey, ANA) == {2, 3}
    assert answered_questions(storage, survey, CAT) == set()
    answers = [
        (each.participant, each.question, each.model) for each in read_answers(storage, survey)
    ]
    assert set(answers) == {(ANA, 2, "general"), (ANA, 3, "assembled"), (ben, 2, "assembled")}
    assert len(answers) == 3
    assert tally(survey, read_answers(storage, survey)).participants == 2


def vote(number: int, uri: str, name: str, model: str) -> bool:
    storage = opened(uri)
    participant = f"{number:032x}"
    return record_answer(storage, open_survey(storage, name), participant, 1, model)


@pytest.mark.parametrize(("kind", "rounds"), [("local", 50), ("s3", 4)])
def test_of_answers_at_the_same_moment_one_counts_and_is_told_so(
    request: pytest.FixtureRequest,
    reports: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    rounds: int,
) -> None:
    if kind == "s3":
        server: S3Server = request.getfixturevalue("s3")
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        storage = open_storage(f"s3://{server.new_bucket()}")
    else:
        storage = open_storage(str(tmp_path / "storage"))
    survey = create_survey(write_report(storage, per_class=1), 3)
    told = race(vote, [(storage.uri, survey.name, model) for model in MODELS], rounds)
    counted = {each.participant: each.model for each in read_answers(storage, survey)}
    assert [sum(each) for each in told] == [1] * rounds
    assert counted == {
        f"{number:032x}": MODELS[each.index(True)] for number, each in enumerate(told)
    }


def test_an_answer_that_is_sent_again_counts_as_before(report: Report) -> None:
    storage, survey = report.storage, create_survey(report, 3)
    assert record_answer(storage, survey, ANA, 1, "general", "a token")
    assert record_answer(storage, survey, ANA, 1, "general", "a token")
    assert not record_answer(storage, survey, ANA, 1, "general", "another token")
    assert not record_answer(storage, survey, ANA, 1, "general")
    assert len(read_answers(storage, survey)) == 1


def test_an_answer_of_before_counts_as_before(report: Report) -> None:
    storage, survey = report.storage, create_survey(report, 3)
    document = {"question": 1, "photo": "x", "model": "general", "answered": "2026"}
    key = f"surveys/{survey.name}/answers/{ANA}/1.json"
    storage.put(key, json.dumps({**document, "schema_version": 1}).encode())
    assert not record_answer(storage, survey, ANA, 1, "general", "a token")
    assert [each.model for each in read_answers(storage, survey)] == ["general"]


@pytest.mark.parametrize(
    ("participant", "question", "model"),
    [
        ("../" + "a" * 29, 1, "general"),
        ("A" * 32, 1, "general"),
        ("a" * 32 + "\n", 1, "general"),
        (ANA, 0, "general"),
        (ANA, 4, "general"),
        (ANA, 1, "original"),
    ],
)
def test_what_is_no_answer_is_not_stored(
    report: Report, participant: str, question: int, model: str
) -> None:
    survey = create_survey(report, 3)
    with pytest.raises(ConfigError):
        record_answer(report.storage, survey, participant, question, model)
    assert read_answers(report.storage, survey) == []


def test_a_closed_survey_takes_no_answers_and_keeps_those_it_has(report: Report) -> None:
    storage, survey = report.storage, create_survey(report, 3)
    record_answer(storage, survey, ANA, 1, "general")
    closed = close_survey(storage, survey.name)
    assert closed.closed and close_survey(storage, survey.name) == closed
    with pytest.raises(ColorganError, match="has been closed since"):
        record_answer(storage, open_survey(storage, survey.name), BEN, 1, "general")
    assert len(read_answers(storage, closed)) == 1


def test_a_damaged_answer_is_named(report: Report) -> None:
    storage, survey = report.storage, create_survey(report, 3)
    key = f"surveys/{survey.name}/answers/{ANA}/1.json"
    storage.put(key, b'{"schema_version": 1}')
    with pytest.raises(Corrupt, match=key):
        read_answers(storage, survey)


def test_a_survey_lives_in_a_bucket(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    storage = open_storage(f"s3://{s3.new_bucket()}/folder")
    survey = create_survey(write_report(storage, per_class=1), 3, name="spring")
    people = [new_participant() for _ in range(8)]

    def answer(person: str) -> list[bool]:
        return [record_answer(storage, survey, person, place, "general") for place in (1, 2, 2)]

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(answer, people)) == [[True, True, False]] * 8
    assert answered_questions(storage, survey, people[0]) == {1, 2}
    counted = tally(survey, read_answers(storage, close_survey(storage, "spring")))
    assert (counted.participants, counted.votes) == (8, 16)


def test_an_answer_of_who_went_back_takes_the_place_of_the_first(report: Report) -> None:
    storage, survey = report.storage, create_survey(report, 3)
    record_answer(storage, survey, ANA, 1, "general", "a")
    assert record_answer(storage, survey, ANA, 1, CANNOT_TELL, "b", replaces=True)
    assert record_answer(storage, survey, ANA, 1, CANNOT_TELL, "b", replaces=True)
    assert not record_answer(storage, survey, ANA, 1, "general", "a")
    assert [each.model for each in read_answers(storage, survey)] == [CANNOT_TELL]
    assert answered_questions(storage, survey, ANA) == {1}
    assert answers_table(survey, read_answers(storage, survey))["model"].tolist() == [""]
    close_survey(storage, survey.name)
    with pytest.raises(ColorganError, match="has been closed"):
        record_answer(storage, open_survey(storage, survey.name), ANA, 1, "general", replaces=True)
