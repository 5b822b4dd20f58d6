import json
from collections.abc import Sequence

import pandas as pd
import pytest

from colorgan.survey import (
    CANNOT_TELL,
    Answer,
    Question,
    Survey,
    tally,
)
from tests.survey.reports import MODELS


def asked(*classes: str) -> Survey:
    """A survey of a question on each of the classes."""
    questions = tuple(Question(f"p{i}", label, MODELS) for i, label in enumerate(classes, 1))
    return Survey("s", "2026", "compared", MODELS, 0, questions, "00" * 32)


def cast(votes: Sequence[Sequence[int]]) -> list[Answer]:
    """Answers that give each question, in order, so many votes for each of MODELS."""
    return [
        Answer(f"{voter:02d}{number}", number, model, "2026")
        for number, counts in enumerate(votes, 1)
        for model, count in zip(MODELS, counts, strict=True)
        for voter in range(count)
    ]


def column(table: pd.DataFrame, name: str) -> list[float]:
    return [value.item() for value in table[name].to_numpy()]


def test_votes_are_counted_by_question_model_and_class() -> None:
    survey = asked("people", "animals", "people", "animals")
    #                    a      g   h
    counted = tally(survey, cast([(6, 3, 1), (0, 2, 8), (5, 4, 1), (2, 5, 3)]))
    assert counted.votes == 40
    models = counted.models
    assert models["model"].tolist() == list(MODELS)
    assert column(models, "questions") == [4, 4, 4]
    assert column(models, "votes") == [13, 14, 13]
    assert column(models, "mean") == [3.25, 3.5, 3.25]
    # by hand: squares of 6 0 5 2 about 3.25, of 3 2 4 5 about 3.5, of 1 8 1 3 about 3.25, over 3
    assert column(models, "sd") == pytest.approx([7.5833**0.5, 1.6667**0.5, 10.9167**0.5], abs=1e-4)
    assert column(models, "won") == [2, 1, 1]
    assert column(models, "lost") == [2, 0, 2]
    assert column(models, "won_tied") == column(models, "lost_tied") == [0, 0, 0]

    classes = counted.classes
    named = list(zip(classes["class"], classes["model"], strict=True))
    assert named == [(label, model) for label in ("animals", "people") for model in MODELS]
    assert column(classes, "votes") == [2, 7, 11, 11, 7, 2]
    assert column(classes, "share") == pytest.approx([0.1, 0.35, 0.55, 0.55, 0.35, 0.1])
    assert column(classes, "won") == [0, 1, 1, 2, 0, 0]
    assert column(classes, "lost") == [2, 0, 0, 0, 0, 2]

    questions = counted.questions
    assert questions["photo"].tolist() == [f"p{i}" for i in (1, 2, 3, 4) for _ in MODELS]
    assert column(questions, "votes") == [6, 3, 1, 0, 2, 8, 5, 4, 1, 2, 5, 3]
    assert column(questions, "share")[:3] == [0.6, 0.3, 0.1]


def test_a_tie_counts_for_each_of_the_tied_and_no_votes_for_none() -> None:
    survey = asked("people", "people", "people", "people")
    counted = tally(survey, cast([(4, 4, 2), (5, 1, 1), (3, 3, 3), (0, 0, 0)]))
    models = counted.models
    assert column(models, "won") == [3, 2, 1]
    assert column(models, "lost") == [1, 2, 3]
    assert column(models, "won_tied") == [2, 2, 1]
    assert column(models, "lost_tied") == [1, 2, 2]
    assert column(models, "questions") == [4, 4, 4], "an empty question counts in the mean"
    assert column(models, "mean") == [3, 2, 1.5]
    nobody = counted.questions[counted.questions["question"] == 4]
    assert nobody[["share", "low", "high"]].isna().all(axis=None)
    json.dumps(counted.to_dict(), allow_nan=False)


def test_shares_have_wilson_intervals() -> None:
    (assembled, *_) = tally(asked("people"), cast([(8, 1, 1)])).to_dict()["models"]
    # Wilson 1927 for 8 of 10 and z = 1.96: (8 + 1.92 -+ 1.96 sqrt(1.6 + 0.96)) / 13.84
    assert assembled["low"] == pytest.approx(0.4902, abs=1e-4)
    assert assembled["high"] == pytest.approx(0.9433, abs=1e-4)
    assert assembled["sd"] is None, "one question has no spread"


def test_a_survey_without_answers_can_be_counted() -> None:
    counted = tally(asked("people", "animals"), [])
    assert (counted.participants, counted.votes) == (0, 0)
    assert column(counted.models, "won") == column(counted.models, "lost") == [0, 0, 0]


def test_who_cannot_tell_takes_part_and_votes_for_nobody() -> None:
    survey = asked("people", "animals", "animals")
    undecided = [
        Answer(f"u{voter}", question, CANNOT_TELL, "2026")
        for voter, question in ((1, 1), (2, 1), (1, 3))
    ]
    counted = tally(survey, [*cast([(3, 1, 0), (1, 1, 0), (0, 0, 0)]), *undecided])
    assert (counted.votes, counted.undecided, counted.answers) == (6, 3, 9)
    assert counted.participants == 4 + 2, "4 of them voted"
    questions = counted.questions
    assert column(questions, "undecided") == [2, 2, 2, 0, 0, 0, 1, 1, 1]
    assert column(questions, "share")[:3] == [0.75, 0.25, 0.0], "of those who had a preference"
    assert column(questions, "won")[6:] == [False] * 3, "nobody wins what nobody could tell"
    assert column(counted.models, "votes") == [4, 2, 0]
    assert counted.to_dict()["undecided"] == 3
