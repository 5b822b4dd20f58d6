"""Counting the votes of a survey."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from colorgan.evaluation.results import Report
from colorgan.survey.answers import CANNOT_TELL, Answer, read_answers
from colorgan.survey.documents import Survey, list_surveys

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Tally:
    """The result of a survey.

    A *vote* is one participant's choice of a picture. An answer that prefers none is *undecided*:
    it is no vote, so that shares are shares of those who had a preference. `low` and `high` bound
    the `share` of the votes with 95 % confidence (Wilson), on the assumption that all votes are
    independent. A question is *won* by the model with the most votes and *lost* by the one with the
    fewest. A tie counts for each of the tied models; `won_tied` and `lost_tied` are the numbers of
    these questions. A question without votes is neither won nor lost.

    Attributes:
        participants: number of participants who answered at least once.
        votes: number of votes.
        undecided: number of undecided answers.
        questions: one line per question and model: question, photo, class, model, votes, undecided
            (of the question, the same on each of its lines), share, low, high, won, lost, won_tied,
            lost_tied (figure 10 of the 2018 report).
        models: one line per model: model, questions, votes, share, low, high, mean and sd (of the
            votes per question; the sample's SD), won, lost, won_tied, lost_tied (its table 1).
        classes: the same by class: class, model, … (its table 2).
    """

    participants: int
    votes: int
    undecided: int
    questions: pd.DataFrame
    models: pd.DataFrame
    classes: pd.DataFrame

    @property
    def answers(self) -> int:
        """Number of answers, undecided ones included."""
        return self.votes + self.undecided

    def to_dict(self) -> dict[str, Any]:
        """The same for JSON; values that cannot be computed are None."""
        return {
            "participants": self.participants,
            "votes": self.votes,
            "undecided": self.undecided,
            "models": _records(self.models),
            "classes": _records(self.classes),
            "questions": _records(self.questions),
        }


def tally(survey: Survey, answers: Sequence[Answer]) -> Tally:
    """Count the votes; see Tally for the definitions."""
    counts = Counter((answer.question, answer.model) for answer in answers)
    table = pd.DataFrame(
        [
            (
                *(number, question.photo, question.photo_class),
                *(model, counts[number, model], counts[number, CANNOT_TELL]),
            )
            for number, question in enumerate(survey.questions, 1)
            for model in question.models
        ],
        columns=["question", "photo", "class", "model", "votes", "undecided"],
    )
    votes = table.groupby("question")["votes"]
    table = _with_shares(table, votes.transform("sum"))
    for column, best in (("won", "max"), ("lost", "min")):
        table[column] = (votes.transform("sum") > 0) & (table["votes"] == votes.transform(best))
    for column in ("won", "lost"):
        alike = table.groupby("question")[column].transform("sum")
        table[f"{column}_tied"] = table[column] & (alike > 1)
    return Tally(
        participants=len({answer.participant for answer in answers}),
        votes=int(table["votes"].sum()),
        undecided=sum(answer.model == CANNOT_TELL for answer in answers),
        questions=table,
        models=_summary(table, []).drop(columns="all"),
        classes=_summary(table.sort_values("class", kind="stable"), ["class"]),
    )


def survey_frames(report: Report) -> dict[str, pd.DataFrame]:
    """The results so far of the surveys on a report's pictures, by the titles of the tables."""
    frames = {}
    for survey in list_surveys(report.storage):
        if survey.report != report.evaluation.name:
            continue
        counted = tally(survey, read_answers(report.storage, survey))
        if counted.votes:
            people = f"{counted.participants} participant{'s' * (counted.participants != 1)}"
            title = f"Survey {survey.name}, {people}"
            if counted.undecided:
                title += f", {counted.undecided} of {counted.answers} answers undecided"
            frames[f"{title}: all photographs (the report's table 1)"] = counted.models
            frames[f"{title}: by class (its table 2)"] = counted.classes
            frames[f"{title}: each question (its figure 10)"] = counted.questions
    return frames


def _summary(table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Votes, wins and losses of each model in each group of questions."""
    groups = by or ["all"]
    summed = (
        table.assign(all=0)
        .groupby([*groups, "model"], sort=False)
        .agg(
            questions=("votes", "size"),
            votes=("votes", "sum"),
            mean=("votes", "mean"),
            sd=("votes", "std"),
            won=("won", "sum"),
            lost=("lost", "sum"),
            won_tied=("won_tied", "sum"),
            lost_tied=("lost_tied", "sum"),
        )
        .reset_index()
    )
    summed = _with_shares(summed, summed.groupby(groups)["votes"].transform("sum"))
    counted = ["questions", "votes", "share", "low", "high", "mean", "sd"]
    return summed[[*groups, "model", *counted, "won", "lost", "won_tied", "lost_tied"]]


def _with_shares(table: pd.DataFrame, totals: Iterable[int]) -> pd.DataFrame:
    """Add the share of the totals that the `votes` of a table have, and its bounds."""
    shares = [_share(votes, total) for votes, total in zip(table["votes"], totals, strict=True)]
    share, low, high = zip(*shares, strict=True)
    return table.assign(share=share, low=low, high=high)


def _share(votes: int, total: int) -> tuple[float, float, float]:
    if not total:
        return float("nan"), float("nan"), float("nan")
    # The service counts seldom, and scipy.stats takes 40 MB in each of its processes.
    from scipy.stats import binomtest

    interval = binomtest(int(votes), int(total)).proportion_ci(CONFIDENCE, method="wilson")
    return votes / total, float(interval.low), float(interval.high)


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = json.loads(table.to_json(orient="records", double_precision=15))
    return records
