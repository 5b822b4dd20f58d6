import csv
import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from colorgan.cli import main
from colorgan.evaluation.results import Report
from colorgan.storage import Storage
from colorgan.survey import (
    create_survey,
    open_survey,
    record_answer,
)
from tests.survey.reports import ANA, BEN


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
        ((*CREATE, "--questions", "27"), 2, "27 questions need 9 photographs of animals, but the"),
        ((*CREATE, "--models", "general"), 2, "needs two to 9 models"),
        ((*CREATE, "--models", "general", "general"), 2, "each of them once"),
        ((*CREATE, "--models", "general", "vgg"), 2, "compared does not compare vgg: it has assem"),
        ((*CREATE, "--survey", "a/b"), 2, "survey 'a/b' is not a name"),
        ((*CREATE, "--survey", "taken"), 2, "there is a survey 'taken' already"),
        ((*CREATE, "--leave-out", "/nowhere"), 2, "--leave-out /nowhere: No such file"),
        ((*CREATE, "--questions", "24", "--models", "gray", "original"), 1, "gray.webp is not in"),
        (("results", "other"), 1, "no survey 'other' in .*: list .* with colorgan survey list"),
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
