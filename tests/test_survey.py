import csv
import io
import json
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from colorgan.cli import main
from colorgan.data.scenes import draw_scene
from colorgan.errors import ColorganError, ConfigError, Corrupt
from colorgan.evaluation.results import Contestant, Evaluation, Report, open_report
from colorgan.storage import Storage, open_storage
from colorgan.survey import (
    Answer,
    Question,
    Survey,
    answered_questions,
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

CLASSES = ("animals", "people", "vehicles")
MODELS = ("assembled", "general", "hypercolumn")
CONTESTANTS = (*MODELS, "gray", "original")
opened = cache(open_storage)
ANA, BEN, CAT = (digit * 32 for digit in "abc")


def write_report(
    storage: Storage,
    name: str = "compared",
    contestants: Sequence[str] = CONTESTANTS,
    per_class: int = 8,
    size: tuple[int, int] = (40, 32),
) -> Report:
    """A finished report of drawn scenes.

    The first three contestants paint all in red, green or blue, by which a test knows them.
    """
    evaluation = Evaluation(
        name=name,
        created="2026-11-22T12:00:00+00:00",
        dataset={"name": "drawn", "fingerprint": "0"},
        split="test",
        photographs=per_class * len(CLASSES),
        seed=0,
        classes=CLASSES,
        contestants=tuple(Contestant(each, f"{each}@1") for each in contestants),
        router="labels",
        classifier="none",
    )
    report = Report(storage, evaluation)
    storage.put(report.key("evaluation.json"), evaluation.to_json())
    rows = []
    for label in CLASSES:
        for seed in range(per_class):
            photo = f"{label[:2]}{seed:04d}"
            scene = Image.fromarray(draw_scene(label, seed, size[1], size[0])).convert("L")
            for place, model in enumerate(contestants):
                tint = np.full(3, 0.55)
                tint[place % 3] = 1
                rgb = np.asarray(scene)[..., None] * tint + 10
                buffer = io.BytesIO()
                Image.fromarray(rgb.clip(0, 255).astype(np.uint8)).save(buffer, "WEBP")
                storage.put(report.picture_key(photo, model), buffer.getvalue())
                rows.append((photo, f"{label}/{seed}.jpg", label, model, "", 9.0))
    results = pd.DataFrame(rows, columns=["photo", "source", "class", "model", "sent_to", "l1"])
    storage.put(report.key("results.parquet"), results.to_parquet(index=False))
    return report


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a storage of reports; to be read only."""
    root = tmp_path_factory.mktemp("reports")
    storage = open_storage(str(root))
    write_report(storage)
    write_report(storage, "lonely", ("general", "gray", "original"), per_class=1)
    unfinished = write_report(storage, "unfinished", per_class=1)
    storage.delete(unfinished.key("results.parquet"))
    return root


@pytest.fixture
def report(reports: Path, storage: Storage) -> Report:
    shutil.copytree(reports, storage.uri)
    return open_report(storage, "compared")


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


@pytest.mark.parametrize(("questions", "counts"), [(18, [6, 6, 6]), (7, [2, 2, 3]), (2, [0, 1, 1])])
def test_photographs_are_balanced_over_the_classes(
    report: Report, questions: int, counts: list[int]
) -> None:
    survey = create_survey(report, questions)
    by_class = Counter(question.photo_class for question in survey.questions)
    assert sorted(by_class[label] for label in CLASSES) == counts
    assert len({question.photo for question in survey.questions}) == questions
    assert all(question.photo[:2] == question.photo_class[:2] for question in survey.questions)
    assert open_survey(report.storage, survey.name) == survey
    assert survey.models == MODELS


def test_the_seed_decides_photographs_and_order(report: Report) -> None:
    first, again, other = (create_survey(report, 6, seed) for seed in (1, 1, 2))
    assert first.questions == again.questions != other.questions
    assert len({first.name, again.name, other.name}) == 3
    assert len({first.secret, again.secret, other.secret}) == 3
    assert first.secret not in repr(first)


def test_what_is_left_out_is_not_asked(report: Report) -> None:
    left_out = {"an0000", "an0001", "people/0.jpg", "people/1.jpg"}
    survey = create_survey(report, 19, left_out=left_out, models=("original", "assembled"))
    photos = {question.photo for question in survey.questions}
    assert not photos & {"an0000", "an0001", "pe0000", "pe0001"}
    assert len(photos) == 19, "the class that has most gives one more"
    assert survey.models == ("original", "assembled")
    with pytest.raises(ConfigError, match="want 7 photographs of animals, and the report has 6 "):
        create_survey(report, 20, left_out=left_out)


def test_a_photograph_that_a_model_has_not_coloured_is_not_asked(report: Report) -> None:
    results = report.results()
    lost = (results["photo"] == "ve0003") & (results["model"] == "general")
    report.storage.put(report.key("results.parquet"), results[~lost].to_parquet(index=False))
    create_survey(report, 24, models=("assembled", "hypercolumn"))
    with pytest.raises(ConfigError, match="8 photographs of vehicles, and the report has 7"):
        create_survey(report, 24)


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


def create_spring(number: int, uri: str, seed: int) -> str:
    report = open_report(open_storage(uri), "compared")
    try:
        return create_survey(report, 6, seed, name=f"spring-{number}").secret
    except ConfigError as error:
        return str(error)


def test_of_two_surveys_of_one_name_one_is_created(report: Report) -> None:
    storage = report.storage
    races = race(create_spring, [(storage.uri, 1), (storage.uri, 2)], 10)
    for number, outcomes in enumerate(races):
        secret = open_survey(storage, f"spring-{number}").secret
        (other,) = set(outcomes) - {secret}
        assert f"there is a survey 'spring-{number}' already" in other


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


def run(storage: Storage, *arguments: str) -> int:
    return main(["survey", *arguments, "--storage", storage.uri])


def test_a_survey_from_the_command_line(
    report: Report, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = report.storage
    left_out = tmp_path / "seen.txt"
    left_out.write_text("an0000\n\npeople/3.jpg\nfrom/elsewhere.jpg\n")
    create = ("create", "--report", "compared", "--questions", "21", "--leave-out", str(left_out))
    assert run(storage, *create, "--survey", "spring", "--seed", "5") == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == (
        "survey spring: 21 questions (7 animals, 7 people, 7 vehicles) on assembled, general, "
        "hypercolumn, seed 5"
    )
    assert second == "/survey/spring"
    survey = open_survey(storage, "spring")
    assert not {"an0000", "pe0003"} & {question.photo for question in survey.questions}

    assert main(["survey", "--storage", storage.uri, "create", "--report", "compared"]) == 0
    random_name = capsys.readouterr().out.split()[-1].removeprefix("/survey/")
    assert len(random_name) == 16
    assert len(open_survey(storage, random_name).questions) == 18
    assert run(storage, "list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["survey", "spring", random_name]

    for participant in (ANA, BEN):
        record_answer(storage, survey, participant, 1, "general")
    record_answer(storage, survey, ANA, 2, "assembled")
    assert run(storage, "results", "spring") == 0
    printed = capsys.readouterr().out
    assert "2 participants, 3 votes, 21 questions, open" in printed
    rows = {line.split()[0]: line.split() for line in printed.splitlines()[:7] if line}
    # model, questions, votes, share, low, to, high, mean, sd, won, lost
    assert rows["general"][1:4] == ["21", "2", "66.7%"] and rows["general"][-2:] == ["1", "1"]
    assert rows["hypercolumn"][2] == "0" and rows["hypercolumn"][-2:] == ["0", "2"]
    assert "0 questions on most, 2 questions on fewest" in printed
    assert run(storage, "results", "spring", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["survey"], document["closed"], document["votes"]) == ("spring", None, 3)
    assert [row["votes"] for row in document["models"]] == [1, 2, 0]

    out = tmp_path / "answers.csv"
    assert run(storage, "export", "spring", "-o", str(out)) == 0
    assert capsys.readouterr().out == f"3 answers are in {out}\n"
    assert run(storage, "export", "spring", "-o", str(out)) == 2, "it is not replaced unasked"
    assert str(out) in capsys.readouterr().err
    assert run(storage, "export", "spring", "-o", str(out), "--overwrite") == 0
    capsys.readouterr()
    lines = list(csv.DictReader(out.open()))
    assert sorted((line["question"], line["model"]) for line in lines) == [
        *[("1", "general")] * 2,
        ("2", "assembled"),
    ]
    assert {line["photo"] for line in lines} == {each.photo for each in survey.questions[:2]}
    assert len({line["participant"] for line in lines}) == 2
    assert ANA not in out.read_text(), "who has the table cannot answer for a participant"
    assert run(storage, "export", "spring") == 0
    assert capsys.readouterr().out == out.read_text()

    assert run(storage, "close", "spring") == 0
    assert capsys.readouterr().out.startswith("survey spring has been closed since 20")
    assert run(storage, "list", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert [bool(each["closed"]) for each in listed] == [True, False]
    assert "secret" not in json.dumps(listed)


CREATE = ("create", "--report", "compared")


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("create", "--report", "other"), 1, "no report 'other' in .*: there are .*compared"),
        (("create", "--report", "../x"), 2, "'../x' is not a name"),
        (("create", "--report", "unfinished"), 1, "has no results yet"),
        (
            ("create", "--report", "lonely"),
            2,
            "fewer than two of assembled, general, hyp.*--models",
        ),
        ((*CREATE, "--questions", "0"), 2, "--questions must be from 1 to 200"),
        ((*CREATE, "--questions", "201"), 2, "--questions must be from 1 to 200"),
        ((*CREATE, "--questions", "27"), 2, "27 questions want 9 photographs of animals, and the"),
        ((*CREATE, "--models", "general"), 2, "from two to 9 models"),
        ((*CREATE, "--models", "general", "general"), 2, "each of them once"),
        ((*CREATE, "--models", "general", "vgg"), 2, "compared does not compare vgg: it has assem"),
        ((*CREATE, "--survey", "a/b"), 2, "survey 'a/b' is not a name"),
        ((*CREATE, "--survey", "taken"), 2, "there is a survey 'taken' already"),
        ((*CREATE, "--leave-out", "/nowhere"), 2, "--leave-out /nowhere: No such file"),
        ((*CREATE, "--questions", "24", "--models", "gray", "original"), 1, "gray.webp is not in"),
        (("results", "other"), 1, "no survey 'other' in .*: colorgan survey list"),
        (("close", "other"), 1, "no survey 'other'"),
        (("export", "other"), 1, "no survey 'other'"),
        (("export", "taken", "-o", "/nowhere/x.csv"), 2, "there is no folder /nowhere"),
    ],
)
def test_an_error_is_one_sentence(
    report: Report,
    arguments: Sequence[str],
    status: int,
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    storage = report.storage
    create_survey(report, 3, name="taken")
    storage.delete(report.picture_key("pe0002", "gray"))
    before = storage.folders("surveys")
    assert run(storage, *arguments) == status
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert re.search(words, line), line
    assert storage.folders("surveys") == before
